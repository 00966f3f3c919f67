"""Models onto our recurrent layers and back."""

import json

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.models import assert_close, to_numpy
from helpers.stock_keras import Saved, outputs_without_seqkeras
from seqkeras import conversion, layers
from seqkeras.errors import ArgumentError, ForgottenStateWarning, KeptLayerWarning

stock = keras.layers
X = np.random.default_rng(0).normal(size=(4, 3, 3)).astype("float32")
Y = X[:, 0, :2]


def model_of(*parts, batch=None, compiled=True, **options):
    """Return a model with these layers and two outputs."""
    inputs = keras.Input((3, 3), batch_size=batch)
    x = inputs
    for part in parts:
        x = part(x)
    if len(x.shape) == 3:
        x = stock.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, stock.Dense(2)(x), name="model")
    if compiled:
        # Momentum, so that the optimizer has variables that a copy needs.
        momentum = keras.optimizers.SGD(0.1, momentum=0.9)
        model.compile(**{"optimizer": momentum, "loss": "mse", "run_eagerly": True, **options})
    return model


def recurrent(model):
    """Return the names of the recurrent layers, and whether each is ours."""
    return {
        layer.name: type(layer).__module__.startswith("seqkeras")
        for layer in model._flatten_layers()
        if isinstance(layer, stock.RNN)
    }


def train(model):
    model.optimizer.build(model.trainable_variables)  # else the first step is traced twice
    model.train_on_batch(X, Y)
    return model


def assert_same(model, *copies, tolerance=1e-5):
    """Compare outputs, weights and variables of the optimizer."""
    expected = to_numpy(model(X))
    for copy in copies:
        assert_close(copy(X), expected, tolerance)
        assert_close(copy.get_weights(), model.get_weights(), tolerance)
        assert model.compiled == copy.compiled
        assert_close(_optimizer_variables(copy), _optimizer_variables(model), tolerance)


def _optimizer_variables(model):
    variables = model.optimizer.variables if model.compiled else []
    return [to_numpy(variable) for variable in variables]


CELLS = {
    "lstm": (stock.LSTM, stock.LSTMCell),
    "gru": (stock.GRU, stock.GRUCell),
    "simple_rnn": (stock.SimpleRNN, stock.SimpleRNNCell),
}


#: Ways to have a recurrent layer or its cell in a model.
WAYS = [
    lambda layer, cell, options: layer(3, return_sequences=True, **options),
    lambda layer, cell, options: layer(3, return_sequences=True, trainable=False, **options),
    lambda layer, cell, options: layer(2, return_sequences=True, go_backwards=True, **options),
    lambda layer, cell, options: stock.RNN(cell(3, **options), return_sequences=True),
    lambda layer, cell, options: stock.RNN(
        [cell(3, **options), stock.GRUCell(2)], return_sequences=True
    ),
    lambda layer, cell, options: stock.Bidirectional(
        layer(2, return_sequences=True, **options), merge_mode="sum"
    ),
    lambda layer, cell, options: stock.Bidirectional(
        stock.RNN(cell(2, **options), return_sequences=True)
    ),
    lambda layer, cell, options: stock.TimeDistributed(
        keras.Sequential([stock.Reshape((1, -1)), layer(3, **options)])
    ),
]


#: A number in `WAYS`, a cell, dropout, and whether there are biases.
PARTS = st.tuples(
    st.integers(0, len(WAYS) - 1),
    st.sampled_from(sorted(CELLS)),
    st.sampled_from([0.0, 0.3]),
    st.booleans(),
)


def part_of(way, cell, dropout, use_bias):
    return WAYS[way](*CELLS[cell], {"dropout": dropout, "use_bias": use_bias})


@examples(1)
@given(st.booleans(), st.lists(PARTS, min_size=1, max_size=2))
@example(True, [(number, "lstm", 0.3, True) for number in range(len(WAYS) - 1)])
@example(False, [(len(WAYS) - 1, "gru", 0.3, True)])
def test_a_copy_and_its_copy_back_train_like_the_model(masked, parts):
    parts = [part_of(*part) for part in parts]
    model = train(model_of(*([stock.Masking()] if masked else []), *parts))
    there = conversion.accelerate(model)
    back = conversion.to_keras(there)
    assert all(recurrent(there).values())
    assert not any(recurrent(back).values())
    assert recurrent(back).keys() == recurrent(there).keys()
    # Stock layers draw random numbers in every call, so each model is called equally often.
    assert_same(model, train(there), train(model), train(back))


@pytest.mark.backends
def test_a_model_of_many_kinds_is_copied_on_each_backend():
    inner = keras.Sequential(
        [keras.Input((3, 4)), stock.GRU(3, return_sequences=True), stock.LSTM(3)], name="inner"
    )
    # Keras on PyTorch only uses the seed of a layer if it is an argument.
    shared = stock.LSTM(4, return_sequences=True, name="shared", dropout=0.2, seed=1)
    inputs = {"a": keras.Input((3, 3), name="a"), "b": keras.Input((3, 3), name="b")}
    a = shared(stock.Masking()(inputs["a"]))
    b = shared(inputs["b"])
    last, h, c = stock.LSTM(3, return_state=True, name="states")(b)
    from_state = stock.RNN(stock.LSTMCell(3), name="from_state")(a, initial_state=[h, c])
    outputs = {"y": inner(a), "z": stock.Add()([last, from_state])}
    model = keras.Model(inputs, outputs)
    model.compile(
        "rmsprop",
        loss={"y": "mse", "z": "mae"},
        metrics={"z": ["mae"]},
        run_eagerly=keras.backend.backend() != "jax",  # where that compiles each operation
    )
    data = {"a": X, "b": X[::-1].copy()}, {"y": X[:, 0], "z": X[:, 1]}
    model.train_on_batch(*data)
    there = conversion.accelerate(model)
    back = conversion.to_keras(there)
    assert all(recurrent(there).values())
    assert len(there.get_layer("shared")._inbound_nodes) == 2
    for copy in (model, there, back):
        copy.train_on_batch(*data)
    for copy in (there, back):
        assert_close(copy(data[0]), model(data[0]), 1e-5)
        assert copy.optimizer.iterations == model.optimizer.iterations
        assert copy.metrics_names == model.metrics_names


def test_the_model_itself_does_not_change():
    model = train(model_of(stock.LSTM(3)))
    weights = model.get_weights()
    config = json.dumps(model.get_config(), default=str)
    train(conversion.accelerate(model))
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert json.dumps(model.get_config(), default=str) == config


def test_a_model_with_nothing_to_convert_is_copied():
    model = train(model_of(stock.Dense(3), stock.BatchNormalization()))
    copy = conversion.accelerate(model)
    assert copy is not model
    assert copy.layers[1] is not model.layers[1]
    assert_same(model, copy)


@pytest.mark.parametrize("convert", [conversion.accelerate, conversion.to_keras])
def test_a_sequential_in_a_sequential_stays_one(convert):
    inner = keras.Sequential([keras.Input((3, 3)), stock.LSTM(3)], name="inner")
    model = keras.Sequential([keras.Input((3, 3)), inner, stock.Dense(2)], name="outer")
    copy = convert(model)
    assert type(copy) is type(copy.layers[0]) is keras.Sequential
    assert copy.name == model.name
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
    assert_close(copy(X), model(X))


def test_the_options_of_a_layer_are_copied():
    options = {
        "kernel_regularizer": keras.regularizers.L2(0.1),
        "recurrent_constraint": "max_norm",
        "bias_initializer": "ones",
        "activity_regularizer": "l1",
        "dtype": "mixed_bfloat16",
        "recurrent_dropout": 0.1,
        "zero_output_for_mask": True,
        "use_cudnn": False,
        "unroll": True,
    }
    model = model_of(stock.LSTM(3, name="a", **options))
    there = conversion.accelerate(model)
    back = conversion.to_keras(there)
    config = model.get_layer("a").get_config()
    assert back.get_layer("a").get_config() == config
    assert config.items() <= there.get_layer("a").get_config().items()
    assert there.get_layer("a").use_cudnn is back.get_layer("a").use_cudnn is False
    np.testing.assert_allclose(float(sum(there.losses)), float(sum(model.losses)), rtol=1e-5)


def test_the_options_of_an_rnn_around_its_cell_are_copied():
    options = {"activity_regularizer": keras.regularizers.L1(0.5), "zero_output_for_mask": True}
    parts = stock.Masking(), stock.RNN(stock.GRUCell(3, reset_after=False), name="a", **options)
    model = model_of(*parts)
    copy = conversion.accelerate(model).get_layer("a")
    assert copy.activity_regularizer is parts[1].activity_regularizer
    assert copy.zero_output_for_mask
    assert not copy.reset_after


def test_trainable_flags_are_copied_at_every_depth():
    inner = keras.Sequential([keras.Input((3, 3)), stock.LSTM(3, name="in"), stock.Dense(3)])
    cells = stock.RNN([stock.LSTMCell(2), stock.LSTMCell(2)], return_sequences=True)
    model = model_of(cells, stock.Dense(3), inner)
    inner.trainable = False
    inner.get_layer("in").trainable = True
    cells.cell.cells[0].trainable = False
    copy = conversion.accelerate(model)
    shapes = [weight.shape for weight in copy.trainable_weights]
    assert shapes == [weight.shape for weight in model.trainable_weights]
    inner_copy = copy.get_layer(inner.name)
    assert not inner_copy.trainable
    assert inner_copy.get_layer("in").trainable


def test_layers_frozen_after_training_keep_their_optimizer():
    model = train(model_of(stock.LSTM(3, name="a")))
    model.get_layer("a").trainable = False
    assert_same(model, conversion.accelerate(model))


@pytest.mark.parametrize(
    "options",
    [
        {
            "optimizer": keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 9)),
            "run_eagerly": False,
        },
        {"optimizer": keras.optimizers.AdamW(0.01, use_ema=True, gradient_accumulation_steps=2)},
        {"loss": lambda y, p: keras.ops.mean((y - p) ** 2), "metrics": [keras.metrics.R2Score()]},
        {"optimizer": "adam", "weighted_metrics": ["mae"]},
    ],
    ids=["schedule", "average", "functions", "adam"],
)
def test_training_continues_as_it_was_compiled(options):
    model = train(model_of(stock.LSTM(3), **options))
    copy = conversion.accelerate(model)
    assert copy.run_eagerly == model.run_eagerly
    assert copy.optimizer is not model.optimizer
    assert_same(train(model), train(copy))
    if "metrics" in options:
        assert copy.metrics[-1] is not model.metrics[-1]


def test_mixed_float16_keeps_its_loss_scale():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = train(model_of(stock.RNN(stock.LSTMCell(3))))
    finally:
        keras.config.set_dtype_policy("float32")
    copy = conversion.accelerate(model)
    assert type(copy.optimizer) is keras.optimizers.LossScaleOptimizer
    assert copy.layers[1].compute_dtype == "float16"
    assert_same(model, copy, tolerance=1e-3)


class OwnModel(keras.Model):
    def compile(self, optimizer, loss, extra):
        super().compile(optimizer, loss, run_eagerly=True)
        self.extra = extra

    def get_compile_config(self):
        return {**super().get_compile_config(), "extra": self.extra}

    def compile_from_config(self, config):
        optimizer = keras.optimizers.deserialize(config["optimizer"])
        self.compile(optimizer, config["loss"], config["extra"])
        self.optimizer.build(self.trainable_variables)


def test_a_model_of_your_own_class_is_compiled_by_it():
    plain = model_of(stock.LSTM(3), compiled=False)
    model = OwnModel(plain.input, plain.output)
    model.compile("adam", "mse", 7)
    copy = conversion.accelerate(train(model))
    assert (type(copy), copy.extra) == (OwnModel, 7)
    assert_same(model, copy)


@pytest.mark.backends
def test_a_stateful_model_continues_where_it_is():
    cells = stock.RNN([stock.LSTMCell(3), stock.GRUCell(2)], stateful=True, return_sequences=True)
    model = model_of(stock.GRU(3, stateful=True, return_sequences=True), cells, batch=4)
    model(X)
    copy = conversion.accelerate(model)
    for _ in range(2):
        assert_close(copy(X), model(X))
    if keras.backend.backend() == "jax":
        with pytest.warns(ForgottenStateWarning, match="do not update the states of"):
            back = conversion.to_keras(copy)
    else:
        back = conversion.to_keras(copy)
    assert_close(back(X), model(X))


class OwnLSTM(stock.LSTM):
    pass


class OwnLayer(stock.Layer):
    def __init__(self, kind="stock", **options):
        super().__init__(**options)
        self.kind = kind
        self.inner = (stock if kind == "stock" else layers).LSTM(3)

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}


def _from_state(x):
    cells = [stock.LSTMCell(2), stock.LSTMCell(2)]
    _, *states = stock.RNN([stock.LSTMCell(2), stock.LSTMCell(2)], return_state=True)(x)
    return stock.RNN(cells, name="from_state")(x, initial_state=states)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (OwnLSTM(3, name="a"), r"1 recurrent .*'a' \(OwnLSTM\): seqkeras has no faster layer"),
        (OwnLayer(), r"\(LSTM\): it is created within a layer of your own"),
        (stock.RNN([stock.LSTMCell(2), OwnLSTM(3).cell], go_backwards=True), "reads backwards"),
        (
            stock.Bidirectional(stock.RNN([stock.LSTMCell(2), stock.GRUCell(2)])),
            "2 recurrent .* in a wrapper, which takes one layer",
        ),
        (stock.RNN(stock.LSTMCell(3, dtype="float16")), "its cell has another dtype"),
        (_from_state, r"return_state=True\); 'from_state' .*initial_state\)"),
    ],
    ids=["class", "hidden", "backwards", "wrapper", "dtype", "states"],
)
def test_a_warning_names_the_layers_that_were_not_converted(part, reason):
    model = model_of(part, compiled=False)
    with pytest.warns(KeptLayerWarning, match=reason):
        copy = conversion.accelerate(model)
    assert_close(copy(X), model(X))


class Subclassed(keras.Model):
    pass


@pytest.mark.parametrize("convert", [conversion.accelerate, conversion.to_keras])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Subclassed(), "functional or Sequential.*Build the model with"),
        (keras.Sequential([stock.LSTM(3)]), "built.*Give it an Input"),
        (3, "a keras.Model"),
    ],
)
def test_models_with_a_hidden_graph_are_refused(convert, model, message):
    with pytest.raises(ArgumentError, match=f"model must be {message}"):
        convert(model)


def test_keras_has_no_reset_flags():
    inputs = keras.Input((3, 3), batch_size=4), keras.Input((1,), batch_size=4, dtype="bool")
    outputs = layers.LSTM(3, stateful=True, name="a")(inputs[0], reset=inputs[1])
    with pytest.raises(ArgumentError, match=r"'a' \(LSTM\): it takes reset flags.*as_stateless"):
        conversion.to_keras(keras.Model(inputs, outputs))


@keras.saving.register_keras_serializable(package="seqkeras")
class ZoneoutOfTests(layers.LSTM):
    def __init__(self, *arguments, zoneout=0.0, implementation="auto", **options):
        super().__init__(*arguments, **options)
        self.zoneout = zoneout
        self.implementation_option = implementation

    def get_config(self):
        options = {"zoneout": self.zoneout, "implementation": self.implementation_option}
        return {**super().get_config(), **options}


ZoneoutOfTests.__module__ = "seqkeras.layers.tests"


@pytest.mark.parametrize(
    "wrap", [lambda layer: layer, stock.Bidirectional], ids=["bare", "wrapped"]
)
def test_arguments_that_keras_lacks_are_refused_or_dropped(wrap):
    layer = wrap(ZoneoutOfTests(3, name="a", zoneout=0.1))
    with pytest.raises(ArgumentError, match=r"a' \(ZoneoutOfTests\) uses zoneout=0.1, which keras"):
        conversion.to_keras(model_of(layer))
    plain = wrap(ZoneoutOfTests(3, implementation="scan", save_state=True))
    assert set(recurrent(conversion.to_keras(model_of(plain))).values()) == {False}


def test_what_still_needs_seqkeras_is_refused():
    hidden = OwnLayer("ours", name="own")
    with pytest.raises(ArgumentError, match="it is created within a layer of another class"):
        conversion.to_keras(model_of(hidden))
    dense = stock.Dense(2, activation=layers.keras_2_hard_sigmoid, name="hard")
    with pytest.raises(ArgumentError, match=r"'hard' \(Dense\): its config names a function"):
        conversion.to_keras(model_of(dense))
    timed = layers.TimeDistributed(stock.Dense(2), name="timed")
    inputs = keras.Input((None, 3))
    with pytest.raises(ArgumentError, match=r"'timed'.*the number of timesteps is unknown"):
        conversion.to_keras(keras.Model(inputs, timed(inputs)))


def test_a_file_opens_where_seqkeras_is_not_installed(tmp_path):
    wrapped = layers.TimeDistributed(keras.Sequential([stock.Reshape((6, 1)), layers.GRU(2)]))
    both = stock.Bidirectional(layers.LSTM(3, return_sequences=True, save_state=True))
    model = train(conversion.to_keras(model_of(both, wrapped, layers.RNN(stock.GRUCell(2)))))
    model.save(tmp_path / "model.keras")
    outputs = outputs_without_seqkeras(Saved(tmp_path / "model.keras", [X]))
    assert_close(outputs, [[model(X)]])


def test_an_accelerated_model_is_saved_and_loaded(tmp_path):
    model = conversion.accelerate(train(model_of(stock.Bidirectional(stock.LSTM(3)))))
    model.save(tmp_path / "model.keras")
    assert_same(model, keras.models.load_model(tmp_path / "model.keras"))


def attention(x):
    y = stock.LSTM(4, return_sequences=True)(x)
    return stock.MultiHeadAttention(2, 2)(y, y)


class Gated(stock.Layer):
    """Makes the layers within it when it is built."""

    def build(self, shape):
        self.gate = stock.Dense(shape[-1], activation="sigmoid")
        self.gate.build(shape)

    def call(self, x):
        return x * self.gate(x)


@pytest.mark.parametrize("part", [attention, Gated()], ids=["attention", "own layer"])
def test_layers_that_are_made_when_a_layer_is_built_are_copied(part):
    model = train(model_of(part, stock.GRU(3)))
    copy = conversion.accelerate(model)
    back = conversion.to_keras(copy)
    assert all(recurrent(copy).values())
    assert_same(model, copy, back)
    for each in (model, copy, back):
        train(each)
    assert_same(model, copy, back)


def dense_inside_and_outside(x):
    dense = stock.Dense(3)
    y = stock.LSTM(3, return_sequences=True)(dense(x))
    return stock.TimeDistributed(dense)(y)


def dense_outside_and_inside(x):
    dense = stock.Dense(3)
    y = stock.LSTM(3, return_sequences=True)(stock.TimeDistributed(dense)(x))
    return stock.TimeDistributed(dense)(dense(y))


def layer_inside_and_outside(x):
    layer = stock.GRU(3)
    y = stock.TimeDistributed(keras.Sequential([stock.Reshape((1, -1)), layer]))(x)
    return layer(y)


def cell_twice(x):
    cell = stock.GRUCell(3)
    return stock.RNN([cell, cell])(x)


def cell_in_two_layers(x):
    cell = stock.GRUCell(3)
    y = stock.RNN(cell, return_sequences=True)(x)
    return stock.RNN(cell)(y)


class Twice(stock.Layer):
    """Has one layer under two names."""

    def __init__(self, **options):
        super().__init__(**options)
        self.first = self.second = stock.Dense(3)

    def build(self, shape):
        self.first.build(shape)

    def call(self, x):
        return self.first(x) + self.second(x)


@pytest.mark.filterwarnings("ignore::seqkeras.errors.KeptLayerWarning")
@pytest.mark.parametrize(
    "part",
    [
        dense_inside_and_outside,
        dense_outside_and_inside,
        layer_inside_and_outside,
        cell_twice,
        cell_in_two_layers,
        Twice(),
    ],
    ids=lambda part: getattr(part, "__name__", "own layer"),
)
def test_a_layer_at_several_places_stays_one(part):
    model = train(model_of(part))
    copy = conversion.accelerate(model)
    back = conversion.to_keras(copy)
    for converted in (copy, back):
        assert len(converted.weights) == len(model.weights)
        train(converted)
    train(model)
    assert_same(model, copy, back)


@pytest.mark.parametrize("part", [cell_twice, cell_in_two_layers])
def test_a_layer_with_a_shared_cell_is_kept_with_a_warning(part):
    model = model_of(part)
    with pytest.warns(KeptLayerWarning, match="one of its cells is also used elsewhere"):
        copy = conversion.accelerate(model)
    assert not any(recurrent(copy).values())
    assert_same(model, copy)


def state_beside_a_mask(kind, **options):
    def part(x):
        masked = stock.Masking()(x)
        state = stock.Dense(3)(stock.Flatten()(x))
        layer = kind(3)
        count = 2 if isinstance(layer, stock.Bidirectional) else 1
        return layer(masked, initial_state=[state] * count, **options)

    return part


@pytest.mark.backends
@pytest.mark.parametrize(
    "kind",
    [
        lambda units: stock.GRU(units, return_sequences=True),
        lambda units: stock.Bidirectional(stock.GRU(units)),
    ],
    ids=["one way", "both ways"],
)
def test_a_mask_that_keras_drops_is_dropped_in_the_copy(kind):
    """A copy gives what the model gives; `find_traps` names such a layer."""
    x = X * (np.arange(3) < 2)[:, np.newaxis]
    model = model_of(state_beside_a_mask(kind))
    copy = conversion.accelerate(model)
    back = conversion.to_keras(copy)
    assert_close(copy(x), model(x))
    assert_close(back(x), model(x))


@pytest.mark.parametrize(
    "kind",
    [layers.GRU, lambda units: layers.Bidirectional(layers.GRU(units))],
    ids=["one way", "both ways"],
)
def test_a_mask_that_ours_keep_is_kept_in_a_model_of_keras(kind):
    x = X * (np.arange(3) < 2)[:, np.newaxis]
    model = model_of(state_beside_a_mask(kind))
    dropped = model_of(state_beside_a_mask(kind, sequences_mask=False))
    dropped.set_weights(model.get_weights())
    assert np.abs(to_numpy(model(x)) - to_numpy(dropped(x))).max() > 1e-3
    assert_close(conversion.to_keras(model)(x), model(x))
    assert_close(conversion.to_keras(dropped)(x), dropped(x))


def test_stateful_layers_without_a_faster_one_become_ours():
    inputs = keras.Input(batch_shape=(4, 3, 3))
    y = stock.RNN(OwnLSTM(2).cell.__class__(2), stateful=True, return_sequences=True)(inputs)
    y = stock.ConvLSTM1D(2, 1, stateful=True)(stock.Reshape((3, 2, 1))(y))
    model = keras.Model(inputs, y)
    copy = conversion.accelerate(model)
    assert all(recurrent(copy).values())
    for _ in range(2):
        assert_close(copy.predict_on_batch(X), model(X))
