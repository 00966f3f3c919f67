"""Recurrent layers piled up."""

import dataclasses

import keras
import numpy as np
import pytest

from seqkeras import kernels, layers, models
from seqkeras.errors import ArgumentError
from seqkeras.models import StackOptions, recurrent_stack
from seqkeras.models._stack import Stack

LAYERS = {
    "lstm": layers.LSTM,
    "gru": layers.GRU,
    "simple_rnn": layers.SimpleRNN,
}


def stack_model(*, return_sequences=True, features=3, batch_size=None, **options):
    """A model of the stack alone."""
    x = keras.Input(batch_shape=(batch_size, None, features))
    y = recurrent_stack(x, return_sequences=return_sequences, batch_size=batch_size, **options)
    return keras.Model(x, y)


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize(
    ("units", "widths"), [(5, [5]), ((5,), [5]), ((6, 4), [6, 4]), ([3, 4, 5], [3, 4, 5])]
)
def test_layers_come_in_the_order_of_units(cell, units, widths):
    recurrent = stack_model(cell=cell, units=units).layers[1:]
    assert [type(layer) for layer in recurrent] == [LAYERS[cell]] * len(widths)
    assert [layer.units for layer in recurrent] == widths
    assert [layer.name for layer in recurrent] == [
        f"recurrent_{level}" for level in range(1, len(widths) + 1)
    ]


def test_units_and_cell_have_defaults():
    (layer,) = stack_model().layers[1:]
    assert isinstance(layer, keras.layers.LSTM)
    assert layer.units == 64


def test_without_return_sequences_the_last_layer_alone_gives_its_last_output():
    model = stack_model(units=(4, 5), return_sequences=False)
    assert [layer.return_sequences for layer in model.layers[1:]] == [True, False]
    assert model.output_shape == (None, 5)


@pytest.mark.parametrize("cell", [*LAYERS, [keras.layers.GRUCell(4), keras.layers.LSTMCell(5)]])
def test_every_bidirectional_layer_reads_both_directions_of_the_layer_below(cell):
    options = {} if isinstance(cell, list) else {"units": (4, 5)}
    model = stack_model(cell=cell, bidirectional=True, **options)
    first, second = model.layers[1:]
    assert first.output.shape == (None, None, 8)
    assert second.output.shape == (None, None, 10)
    for direction in (second.forward_layer, second.backward_layer):
        assert direction.get_weights()[0].shape[0] == 2 * 4


def test_directions_have_weights_of_their_own_and_the_backward_one_reads_from_the_end(
    outputs, randomize
):
    model = randomize(stack_model(cell="gru", units=4, bidirectional=True))
    (layer,) = model.layers[1:]
    x = np.random.default_rng(1).normal(size=(2, 6, 3))
    alone = stack_model(cell="gru", units=4)
    halves = np.split(outputs(model, x), 2, axis=-1)
    alone.set_weights(layer.forward_layer.get_weights())
    np.testing.assert_allclose(halves[0], outputs(alone, x), atol=1e-5)
    alone.set_weights(layer.backward_layer.get_weights())
    np.testing.assert_allclose(halves[1], outputs(alone, x[:, ::-1])[:, ::-1], atol=1e-5)


def test_a_list_of_cells_may_mix_names_and_keras_cells():
    cells = ["gru", keras.layers.LSTMCell(5), "simple_rnn"]
    first, second, third = stack_model(cell=cells).layers[1:]
    assert isinstance(first, keras.layers.GRU)
    assert isinstance(second.cell, keras.layers.LSTMCell)
    assert isinstance(third, keras.layers.SimpleRNN)
    assert [first.units, second.cell.units, third.units] == [64, 5, 64]


def test_a_list_of_names_takes_one_number_of_units_or_one_for_each():
    assert [one.units for one in stack_model(cell=["gru", "lstm"], units=7).layers[1:]] == [7, 7]
    made = stack_model(cell=["gru", "lstm"], units=(7, 8)).layers[1:]
    assert [(type(one), one.units) for one in made] == [
        (layers.GRU, 7),
        (layers.LSTM, 8),
    ]


def test_one_cell_given_twice_does_not_share_weights():
    cell = keras.layers.GRUCell(3)
    first, second = stack_model(cell=[cell, cell]).layers[1:]
    assert not {id(w) for w in first.weights} & {id(w) for w in second.weights}
    assert not cell.built


@keras.saving.register_keras_serializable("seqkeras_tests")
class LeakyCell(keras.layers.Layer):
    """The smallest cell that a user might write: a leaky average of a projection."""

    def __init__(self, units, leak=0.5, **options):
        super().__init__(**options)
        self.units = self.state_size = self.output_size = units
        self.leak = leak

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")

    def call(self, inputs, states):
        new = self.leak * states[0] + keras.ops.matmul(inputs, self.kernel)
        return new, [new]

    def get_config(self):
        return {**super().get_config(), "units": self.units, "leak": self.leak}


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_cell_that_a_user_wrote_runs_as_written(outputs, bidirectional):
    model = stack_model(cell=LeakyCell(2, leak=0.25), bidirectional=bidirectional)
    x = np.random.default_rng(0).normal(size=(1, 4, 3))
    state, expected = np.zeros((1, 2)), []
    for timestep in range(4):
        state = 0.25 * state + x[:, timestep] @ model.get_weights()[0]
        expected.append(state)
    np.testing.assert_allclose(outputs(model, x)[..., :2], np.stack(expected, axis=1), atol=1e-5)


@pytest.mark.parametrize(("dropout", "recurrent_dropout"), [(0.4, 0.0), (0.0, 0.3)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_dropout_reaches_every_layer_and_acts_in_training_alone(
    outputs, dropout, recurrent_dropout, bidirectional
):
    options = {"units": (4, 5), "bidirectional": bidirectional}
    model = stack_model(dropout=dropout, recurrent_dropout=recurrent_dropout, **options)
    for layer in model.layers[1:]:
        inner = layer.forward_layer if bidirectional else layer
        assert (inner.dropout, inner.recurrent_dropout) == (dropout, recurrent_dropout)
    plain = stack_model(**options)
    plain.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    np.testing.assert_allclose(outputs(model, x), outputs(plain, x), atol=1e-6)
    trained = outputs(model, x, training=True)
    assert np.abs(trained - outputs(plain, x)).max() > 1e-3
    assert np.abs(trained - outputs(model, x, training=True)).max() > 1e-3


def test_stateful_and_batch_size_reach_every_layer():
    plan = Stack.parse(units=(4, 5), stateful=True, reset_input=True, batch_size=2)
    x = plan.input(None, 3)
    model = plan.model(x, lambda reset: plan(x, return_sequences=True, reset=reset), "stack")
    assert all(layer.stateful for layer in model.layers if isinstance(layer, keras.layers.RNN))
    shapes = {name: tensor.shape for name, tensor in model.input.items()}
    assert shapes == {"sequence": (2, None, 3), "reset": (2, None)}


def test_mirrored_turns_the_order_and_keeps_the_rest():
    plan = Stack.parse(cell=["lstm", "gru"], units=(8, 4), dropout=0.1, bidirectional=True)
    mirrored = plan.mirrored()
    assert (mirrored.cells, mirrored.units) == (("gru", "lstm"), (4, 8))
    assert mirrored.mirrored() == plan
    assert (mirrored.dropout, mirrored.bidirectional) == (0.1, True)


def test_a_plan_is_a_value_and_the_callers_list_is_left_alone():
    units = [8, 4]
    plan = Stack.parse(units=units)
    units.append(2)
    assert plan == Stack.parse(units=(8, 4))
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.dropout = 0.5


def test_every_stack_keyword_is_explained_and_a_field_of_the_plan():
    fields = {field.name for field in dataclasses.fields(Stack)}
    for name in StackOptions.__annotations__:
        assert f"    {name}: " in StackOptions.__doc__
        assert name == "cell" or name in fields


def refused(**options):
    """The message about stack keywords that cannot work."""
    with pytest.raises(ArgumentError) as caught:
        Stack.parse(**options)
    return str(caught.value)


@pytest.mark.parametrize("units", [0, -1, 2.5, 8.0, True, "64", np.array([4, 5])])
def test_units_that_are_no_positive_integer_are_refused(units):
    message = refused(units=units)
    assert message.startswith("units must be an integer >= 1.")
    assert f"Got: units={units!r}." in message


@pytest.mark.parametrize("units", [(), []])
def test_units_of_no_layer_are_refused(units):
    message = refused(units=units)
    assert "units must be an integer, or a tuple of one integer or more" in message
    assert f"Got: units={units!r}." in message


@pytest.mark.parametrize(("units", "bad"), [((64, 0), 0), ((True, 32), True), ((8, "4"), "4")])
def test_one_bad_number_of_units_is_shown_with_its_tuple(units, bad):
    assert f"Got: units={bad!r}. Got it in {units!r}." in refused(units=units)


def test_layer_options_reach_every_layer_and_keep_the_fused_kernel():
    options = {
        "bias_initializer": "ones",
        "unit_forget_bias": False,
        "kernel_regularizer": keras.regularizers.L2(0.1),
        "zoneout_h": 0.1,
    }
    for layer in stack_model(units=(4, 5), layer_options=options).layers[1:]:
        assert (keras.ops.convert_to_numpy(layer.cell.bias) == 1).all()
        assert len(layer.losses) == 1
        assert layer.cell.zoneout_h == 0.1
        assert kernels.Spec.of(layer).cell == "lstm"


def test_an_initializer_without_a_seed_draws_new_values_for_each_layer():
    start = keras.initializers.RandomUniform(-0.1, 0.1)
    options = {"recurrent_initializer": start, "kernel_initializer": start}
    first, second = stack_model(units=(3, 3), layer_options=options).layers[1:]
    for kernel in ("kernel", "recurrent_kernel"):
        values = [
            keras.ops.convert_to_numpy(getattr(layer.cell, kernel)) for layer in (first, second)
        ]
        assert np.abs(values).max() <= 0.1
        assert (values[0] != values[1]).all()


def test_layer_options_pass_through_both_directions():
    options = {"bias_initializer": "ones", "weight_drop": 0.5}
    (both,) = stack_model(cell="gru", units=4, bidirectional=True, layer_options=options).layers[1:]
    for layer in (both.forward_layer, both.backward_layer):
        assert (keras.ops.convert_to_numpy(layer.cell.bias) == 1).all()
        assert layer.weight_drop == 0.5


def test_layer_options_that_no_layer_takes_are_refused_with_those_that_it_takes():
    message = refused(layer_options={"kernel_initialiser": "ones"})
    assert "Got: 'kernel_initialiser'. Did you mean 'kernel_initializer'?" in message
    assert "recurrent_regularizer" in message
    assert "layer_options must be arguments of the layers" in refused(layer_options={"units": 3})
    message = refused(cell=["lstm", "gru"], units=3, layer_options={"unit_forget_bias": False})
    assert "Got: 'unit_forget_bias'. " in message
    message = refused(cell=keras.layers.GRUCell(4), layer_options={"use_bias": False})
    assert "layer_options must be omitted where cell is a Keras cell" in message
    assert "a dict of arguments" in refused(layer_options="glorot_uniform")


def test_an_input_projection_is_what_the_lowest_layer_reads():
    dense, lowest, second = stack_model(units=(4, 5), input_projection=7, features=3).layers[1:]
    assert (dense.name, dense.activation) == ("input_projection", keras.activations.linear)
    assert lowest.cell.kernel.shape == (7, 16)
    assert second.cell.kernel.shape == (4, 20)
    assert "input_projection must be an integer >= 1." in refused(input_projection=0)


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (lambda **stack: models.many_to_one(3, **stack), {"input_projection"}),
        (
            lambda **stack: models.encoder_decoder(lookback=5, horizon=2, **stack),
            {"input_projection", "ahead_projection"},
        ),
        (lambda **stack: models.autoencoder(3, latent=2, **stack), {"input_projection"}),
    ],
    ids=["many_to_one", "encoder_decoder", "autoencoder"],
)
def test_builders_project_inputs(build, names):
    model = build(units=(4, 3), input_projection=6)
    parts = [model, *(layer for layer in model.layers if isinstance(layer, keras.Model))]
    layers_of_all = [layer for part in parts for layer in part.layers]
    projections = [layer for layer in layers_of_all if layer.name.endswith("_projection")]
    assert {layer.name for layer in projections} == names
    assert {layer.units for layer in projections} == {6}


def test_segments_are_projected_already():
    with pytest.raises(ArgumentError, match="input_projection must be omitted for segment_rnn"):
        models.segment_rnn(lookback=96, horizon=24, units=4, input_projection=3)


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, True, "0.1", None])
@pytest.mark.parametrize("name", ["dropout", "recurrent_dropout"])
def test_rate_outside_0_to_1_is_refused(name, rate):
    assert refused(**{name: rate}) == f"{name} must be a number in [0, 1). Got: {name}={rate!r}."


def test_stateful_without_batch_size_is_refused_with_the_reason():
    message = refused(stateful=True)
    assert "batch_size must be given where stateful=True. Got: batch_size=None." in message
    assert "Each row of the batch keeps its own state" in message


@pytest.mark.parametrize("batch_size", [0, -2, 2.5, True, "8"])
def test_batch_size_that_is_no_positive_integer_is_refused(batch_size):
    message = refused(batch_size=batch_size)
    assert message == f"batch_size must be an integer >= 1. Got: batch_size={batch_size!r}."


def test_stateful_and_bidirectional_is_refused_with_the_reason():
    message = refused(stateful=True, batch_size=2, bidirectional=True)
    assert "bidirectional must be False where stateful=True. Got: bidirectional=True." in message
    assert "backward direction starts at the end" in message


@pytest.mark.parametrize(
    ("keyword", "nearest"),
    [("unit", "units"), ("drop_out", "dropout"), ("bidirection", "bidirectional")],
)
def test_unknown_keyword_suggests_the_nearest_and_lists_all(keyword, nearest):
    message = refused(**{keyword: 1})
    assert f"Unknown keyword {keyword!r}. Did you mean {nearest!r}?" in message
    assert all(name in message for name in StackOptions.__annotations__)


@pytest.mark.parametrize(
    ("cell", "units", "cells"),
    [(["lstm", "gru"], (8, 4, 2), 2), (["lstm"] * 3, (8, 4), 3), (("gru", "gru"), (1, 2, 3), 2)],
)
def test_lists_of_different_length_are_refused_with_both(cell, units, cells):
    message = refused(cell=cell, units=units)
    assert f"units must be one number for each cell. Got: units={units!r}." in message
    assert f"There are {cells} cells." in message


@pytest.mark.parametrize("cell", [[], ()])
def test_no_cell_at_all_is_refused(cell):
    message = refused(cell=cell)
    assert f"cell must be a cell, or a list of one cell or more. Got: cell={cell!r}." in message


@pytest.mark.parametrize("cell", [keras.layers.GRUCell(4), ["gru", keras.layers.GRUCell(4)]])
@pytest.mark.parametrize("units", [8, (8, 4)])
def test_units_beside_a_keras_cell_are_refused_instead_of_forgotten(cell, units):
    message = refused(cell=cell, units=units)
    assert "units must be omitted where cell is a Keras cell." in message
    assert f"Got: units={units!r}." in message
    assert "has its own units" in message
