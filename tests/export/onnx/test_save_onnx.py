"""ONNX files return what the models return that they were made from."""

import sys

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers as L  # noqa: N812

import seqkeras
from helpers.arrays import random_array
from helpers.examples import examples
from seqkeras import runtime
from seqkeras.errors import ArgumentError, MissingDependencyError, SeqkerasError
from seqkeras.runtime._activations import ACTIVATIONS

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

from seqkeras.export import save_onnx  # noqa: E402
from seqkeras.export.onnx._nodes import NODES  # noqa: E402
from seqkeras.export.onnx._recurrent_nodes import OPERATORS  # noqa: E402

FORMS = ["step", "sequence"]
ROWS, STEPS = 3, 6


def gaps(x):
    """Set some timesteps of x to zeros, which Masking masks."""
    x[np.random.default_rng(2).random(x.shape[:2]) < 0.3] = 0
    return x


def randomize(model):
    """Give a model random weights everywhere; variances stay positive."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if "seed" not in weight.name:
            value = random.normal(0, 0.5, weight.shape)
            weight.assign(np.abs(value) + 0.1 if "variance" in weight.name else value)
    return model


def sequential(*layers, shape=(None, 3), **options):
    return keras.Sequential([keras.Input(shape, **options), *layers])


def functional(build, *shapes, **options):
    inputs = [keras.Input(shape, **options) for shape in shapes]
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], build(*inputs))


def exported(model, path, **options):
    save_onnx(model, path, **options)
    return runtime.load_onnx(path)


def outputs_of(model, *xs):
    outputs = model(xs if len(xs) > 1 else xs[0])
    return [keras.ops.convert_to_numpy(output) for output in flat(outputs)]


def flat(outputs):
    return keras.tree.flatten(outputs)


def operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def masked(x):
    m = L.Masking()(x)
    h = L.Dropout(0.3)(L.LSTM(4, return_sequences=True)(m))
    return L.GRU(2, reset_after=False, zero_output_for_mask=True)(L.Concatenate()([h, m]))


def merged(x):
    h = L.LSTM(3, return_sequences=True)(x)
    merges = (L.Maximum(), L.Minimum(), L.Subtract(), L.Multiply())
    parts = [merge([h, x]) for merge in merges]
    return L.SimpleRNN(4)(L.Add()(parts) * 2.0 - 1.0 + L.Average()([h, x]))


def last_states():
    return functional(
        lambda x: L.Concatenate()(
            L.Bidirectional(L.LSTM(3, return_state=True))(L.Masking()(x))
            + L.GRU(2, return_sequences=True, return_state=True)(x)[1:]
        ),
        (None, 3),
    )


def operations(x):
    h = L.GRU(4, return_sequences=True)(x[:, :, ::-1])
    taken = keras.ops.take(h, [2, 0], axis=-1) / np.float32([2, 3])
    last = L.LSTM(2)(keras.ops.concatenate([taken, keras.ops.abs(h[..., 1:2])], axis=-1))
    return keras.ops.sqrt(keras.ops.square(last) + 1.0) - keras.ops.exp(-last)


def shared(x):
    layer = L.GRU(3, return_sequences=True)
    return L.Concatenate()([layer(x), layer(layer(x))])


#: Models whose input is `(batch, timesteps, 3)`.
MODELS = {
    "lstm": lambda: sequential(L.LSTM(5, return_sequences=True)),
    "lstm without a bias": lambda: sequential(L.LSTM(5, use_bias=False)),
    "gru": lambda: sequential(L.GRU(5)),
    "gru, reset before": lambda: sequential(L.GRU(5, reset_after=False)),
    "gru without biases": lambda: sequential(
        L.GRU(5, use_bias=False, return_sequences=True), L.GRU(2, use_bias=False, reset_after=False)
    ),
    "simple_rnn": lambda: sequential(L.SimpleRNN(5, activation="relu")),
    "activations of operators": lambda: sequential(
        L.LSTM(4, "sigmoid", "tanh", return_sequences=True), L.GRU(3, "relu", "sigmoid")
    ),
    "other activations": lambda: sequential(
        L.LSTM(4, activation="softsign", recurrent_activation="hard_sigmoid")
    ),
    "cells": lambda: sequential(L.RNN([L.LSTMCell(3), L.GRUCell(4)], return_sequences=True)),
    "own layers": lambda: sequential(
        seqkeras.layers.LSTM(4, return_sequences=True), seqkeras.layers.GRU(2)
    ),
    "many_to_one": lambda: seqkeras.many_to_one(3, units=(5, 4), activation="softmax", outputs=2),
    "next_step": lambda: seqkeras.next_step(3, units=5, cell="simple_rnn", dropout=0.2),
    "stateful": lambda: seqkeras.many_to_many(3, units=5, stateful=True, batch_size=ROWS),
    "normalized": lambda: sequential(
        L.Normalization(mean=[1.0, 2, 3], variance=[1.0, 4, 9]),
        L.BatchNormalization(),
        L.LSTM(4, return_sequences=True),
        L.LayerNormalization(),
        L.RMSNormalization(),
        L.UnitNormalization(),
        L.Rescaling(2.0, offset=1.0),
        L.LayerNormalization(center=False, scale=False),
    ),
    "activation layers": lambda: sequential(
        L.GRU(4, return_sequences=True),
        L.PReLU(shared_axes=[1]),
        L.LeakyReLU(0.1),
        L.ELU(0.5),
        L.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.1),
        L.Softmax(),
    ),
    "heads": lambda: functional(
        lambda x: [L.Dense(2)(h := L.LSTM(4, return_sequences=True)(x)), L.GRU(3)(h)], (None, 3)
    ),
    "named heads": lambda: functional(
        lambda x: {"last": L.LSTM(4)(x), "all": L.GRU(2, return_sequences=True)(x)}, (None, 3)
    ),
    "reshaped": lambda: sequential(
        L.LSTM(6, return_sequences=True), L.TimeDistributed(L.Reshape((3, 2))), L.Dense(2)
    ),
    "merged": lambda: functional(merged, (None, 3)),
    "operations": lambda: functional(operations, (None, 3)),
    "shared": lambda: functional(shared, (None, 3)),
    "masked": lambda: functional(masked, (None, 3)),
    "float64": lambda: sequential(
        *(L.LSTM(4, return_sequences=True, dtype="float64"), L.Dense(2, "mish", dtype="float64")),
        dtype="float64",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_file_returns_what_the_model_returns(name, tmp_path):
    model = randomize(MODELS[name]())
    x = gaps(random_array(ROWS, STEPS, 3))
    stateless = seqkeras.states.as_stateless(model) if name == "stateful" else model
    outputs = outputs_of(stateless, x)
    for form in FORMS:
        program = exported(model, tmp_path / f"{form}.onnx", form=form)
        ys, _ = program.scan(x, program.initial_state(ROWS))
        for actual, expected in zip(flat(ys), outputs, strict=True):
            compared = actual if actual.shape == expected.shape else actual[:, -1]
            np.testing.assert_allclose(compared, expected, atol=1e-5, err_msg=form)


@pytest.mark.parametrize(
    "name", ["gru, reset before", "masked", "many_to_one", "both ways", "states"]
)
def test_a_window_returns_what_the_model_returns_for_the_newest_rows(name, tmp_path):
    both = lambda: sequential(  # noqa: E731
        *(
            L.Masking(),
            L.Bidirectional(L.LSTM(4, return_sequences=True)),
            L.GRU(3, go_backwards=True),
        )
    )
    model = randomize({**MODELS, "both ways": both, "states": last_states}[name]())
    x = gaps(random_array(ROWS, STEPS, 3))
    windows = [x[:, t - 3 : t + 1] for t in range(3, STEPS)]
    (outputs,) = outputs_of(model, np.concatenate(windows))
    expected = np.stack(np.split(outputs, STEPS - 3), axis=1)
    for form in FORMS:
        program = exported(model, tmp_path / f"{form}.onnx", form=form, window=4)
        ys, state = program.scan(x, program.initial_state(ROWS))
        assert np.isnan(ys[:, :3]).all()
        np.testing.assert_allclose(ys[:, 3:], expected, atol=1e-5, err_msg=form)
        np.testing.assert_array_equal(state[0], x[:, -4:])
        assert state[-1].tolist() == [4] * ROWS


@st.composite
def architectures(draw):
    """Draw a random stack: cells with units and activations, masks, heads, a window."""
    kinds = st.sampled_from(["lstm", "gru", "gru before", "simple_rnn", "dense", "norm"])
    names = st.sampled_from(["tanh", "sigmoid", "relu", "softsign", "elu"])
    layer = st.tuples(kinds, st.integers(1, 7), names)
    return {
        "layers": draw(st.lists(layer, min_size=1, max_size=3)),
        "masked": draw(st.booleans()),
        "sequences": draw(st.booleans()),
        "heads": draw(st.integers(1, 2)),
        "window": draw(st.sampled_from([None, None, 1, 4])),
        "form": draw(st.sampled_from(FORMS)),
    }


def layer_of(kind, units, activation):
    options = {"return_sequences": True, "activation": activation}
    layers = {
        "dense": lambda: L.Dense(units, activation),
        "gru": lambda: L.GRU(units, **options),
        "gru before": lambda: L.GRU(units, reset_after=False, **options),
        "lstm": lambda: L.LSTM(units, **options),
        "norm": L.LayerNormalization,
        "simple_rnn": lambda: L.SimpleRNN(units, **options),
    }
    return layers[kind]()


@examples(4)
@given(plan=architectures(), rows=st.integers(1, 4), steps=st.integers(4, 9), data=st.data())
def test_any_model_in_any_parts_returns_what_predict_returns(
    plan, rows, steps, data, tmp_path_factory
):
    x = inputs = keras.Input((None, 3))
    h = L.Masking()(x) if plan["masked"] else x
    for layer in plan["layers"]:
        h = layer_of(*layer)(h)
    h = L.GRU(3, return_sequences=plan["sequences"])(h)
    model = randomize(keras.Model(inputs, [L.Dense(2)(h) for _ in range(plan["heads"])]))
    window = plan["window"]
    path = tmp_path_factory.mktemp("any") / "model.onnx"
    program = exported(model, path, form=plan["form"], window=window)
    x = gaps(random_array(rows, steps, 3))
    cuts = sorted(data.draw(st.sets(st.integers(1, steps - 1))))
    state = program.initial_state(rows)
    parts = []
    for part in np.split(x, cuts, axis=1):
        ys, state = program.scan(part, state)
        parts.append(flat(ys))
    read = x if window is None else x[:, -window:]
    expected = flat(model.predict_on_batch(read))
    for actual, array in zip(zip(*parts, strict=True), expected, strict=True):
        whole = np.concatenate(actual, axis=1)
        compared = whole if whole.shape == array.shape and window is None else whole[:, -1]
        np.testing.assert_allclose(compared, array, atol=1e-5 * max(1, np.abs(array).max()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_activation_of_keras(dtype, path):
    excluded = {"glu", "threshold"}
    if dtype == "float64":
        excluded.add("gelu")  # ONNX Runtime has Erf in float32 only
    names = sorted(ACTIVATIONS.keys() - excluded)
    x = keras.Input((None, 4), dtype=dtype)
    h = L.SimpleRNN(4, return_sequences=True, dtype=dtype)(x)
    heads = [L.Activation(name, dtype=dtype)(3 * h) for name in names]
    model = randomize(keras.Model(x, heads))
    program = exported(model, path)
    xs = random_array(ROWS, STEPS, 4)
    ys, _ = program.scan(xs, program.initial_state(ROWS))
    for name, actual, expected in zip(names, ys, outputs_of(model, xs), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5, err_msg=name)


class TestInputs:
    """Several inputs, tokens, scalers, and inputs that do not change over time."""

    @pytest.mark.parametrize("form", FORMS)
    def test_tokens_and_their_mask(self, form, path):
        embedded = L.Embedding(7, 3, mask_zero=True)
        model = randomize(sequential(embedded, L.LSTM(4), L.Dense(7, "softmax"), shape=(None,)))
        program = exported(model, path, form=form)
        ids = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 1, 0]])
        ys, state = program.scan(ids, program.initial_state(2))
        np.testing.assert_allclose(ys[:, -1], outputs_of(model, ids)[0], atol=1e-5)
        for wrong in (-1, 7):
            with pytest.raises(seqkeras.errors.DataError, match="must hold ids of 0 to 6"):
                program.step([wrong, 1], state)

    @pytest.mark.parametrize("form", FORMS)
    def test_a_static_input_next_to_a_window(self, form, path):
        def build(x, static):
            joined = L.Concatenate()([x, L.RepeatVector(3)(L.Dense(2)(static))])
            return L.Concatenate()([L.LSTM(4)(joined), L.Dense(2)(static)])

        model = randomize(functional(build, (3, 2), (5,)))
        program = exported(model, path, form=form, window=3)
        assert [port.each_step for port in program.inputs] == [True, False]
        x = random_array(ROWS, STEPS, 2)
        static = random_array(ROWS, 5)
        ys, _ = program.scan([x, static], program.initial_state(ROWS))
        np.testing.assert_allclose(ys[:, -1], outputs_of(model, x[:, -3:], static)[0], atol=1e-5)

    @pytest.mark.parametrize("form", FORMS)
    def test_an_output_of_a_static_input_next_to_another(self, form, path):
        model = randomize(
            functional(lambda x, static: [L.GRU(3)(x), L.Dense(2)(static)], (None, 2), (5,))
        )
        program = exported(model, path, form=form)
        x = random_array(ROWS, STEPS, 2)
        static = random_array(ROWS, 5)
        (ys, zs), _ = program.scan([x, static], program.initial_state(ROWS))
        for actual, expected in zip((ys, zs), outputs_of(model, x, static), strict=True):
            np.testing.assert_allclose(actual[:, -1], expected, atol=1e-5)

    def test_one_to_many_steps_only_its_state(self, path):
        model = randomize(seqkeras.one_to_many(3, steps=6, units=4))
        program = exported(model, path)
        x = random_array(ROWS, 3)
        state = program.initial_state(ROWS)
        ys = []
        for _ in range(6):
            y, state = program.step(x, state)
            ys.append(y)
        np.testing.assert_allclose(np.stack(ys, axis=1), outputs_of(model, x)[0], atol=1e-5)
        with pytest.raises(ArgumentError, match=r"form must be 'step'.*No input of this model"):
            save_onnx(model, path, form="sequence")

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("window", [None, 4])
    def test_raw_numbers_in_and_out(self, form, window, path):
        model = randomize(seqkeras.many_to_one(3, units=4))
        center = np.array([1e4, -5.0, 0.1])
        scale = np.array([3.0, 2.0, 1e-3])
        program = exported(
            model,
            path,
            form=form,
            window=window,
            features=["a", "b", "c"],
            scaler=(center, scale),
            target_scaler=(1e6, 2.0),
        )
        x = random_array(ROWS, STEPS, 3).astype("float64")
        ys, _ = program.scan(x * scale + center, program.initial_state(ROWS))
        (expected,) = outputs_of(model, x[:, -window:] if window else x)
        expected = expected.astype("float64")
        assert ys.dtype == np.float64
        assert program.inputs[0].features == ("a", "b", "c")
        np.testing.assert_allclose(ys[:, -1], expected * 2.0 + 1e6, rtol=0, atol=1e-4)


class TestFile:
    """The contents of the file."""

    def test_names_are_those_of_the_model_and_its_states(self, path):
        save_onnx(seqkeras.many_to_one(3, units=4), path)
        graph = onnx.load(path).graph
        inputs = [value.name for value in graph.input]
        outputs = [value.name for value in graph.output]
        assert inputs == ["sequence", "recurrent_1/h", "recurrent_1/c"]
        assert outputs == ["head", "recurrent_1/h/new", "recurrent_1/c/new"]

    @pytest.mark.parametrize("form", FORMS)
    def test_operators_are_standard_and_the_version_is_stated(self, form, path):
        save_onnx(MODELS["masked"](), path, form=form)
        model = onnx.load(path)
        assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
        assert model.ir_version == 8
        onnx.checker.check_model(model, full_check=True)

    @pytest.mark.parametrize("cell", OPERATORS)
    def test_over_time_the_operator_of_the_cell_is_used_if_it_can_be(self, cell, path):
        layers = {
            "lstm": L.LSTM(3),
            "gru": L.GRU(3, reset_after=False),
            "gru_reset_after": L.GRU(3),
        }
        save_onnx(sequential(layers[cell]), path, form="sequence")
        assert OPERATORS[cell][0] in operators(path)
        assert "Scan" not in operators(path)
        save_onnx(sequential(L.Masking(), layers[cell]), path, form="sequence")
        assert "Scan" in operators(path)

    def test_every_layer_of_a_program_has_a_form(self):
        from seqkeras.runtime._layers import LAYERS

        assert NODES.keys() == LAYERS.keys()

    def test_an_output_with_the_name_of_an_input_gets_another(self, path):
        x = keras.Input((None, 2), name="value")
        model = keras.Model({"value": x}, {"value": L.GRU(2)(x)})
        program = exported(model, path)
        y, _ = program.step({"value": random_array(1, 2)}, program.initial_state())
        assert list(y) == ["value"]
        assert onnx.load(path).graph.output[0].name == "value/output"


class TestRefusals:
    """Models that cannot be written, and the file that stays at the path."""

    @pytest.mark.parametrize(
        ("model", "options", "message"),
        [
            (
                lambda: sequential(L.Bidirectional(L.LSTM(2), name="two")),
                {},
                "layer 'two'.*backward",
            ),
            (
                lambda: sequential(L.Conv1D(2, 2, name="conv"), L.GRU(2)),
                {},
                "'conv': it reads several",
            ),
            (lambda: sequential(L.LSTM(2)), {"form": "steps"}, "form must be one of 'step'"),
            (lambda: sequential(L.LSTM(2)), {"window": 0}, "window must be an integer >= 1"),
            (lambda: sequential(L.LSTM(2)), {"features": ["a"]}, "3 different names"),
            (lambda: sequential(L.Dense(2)), {}, "a model with a recurrent layer"),
        ],
    )
    def test_an_argument_that_does_not_fit(self, model, options, message, path):
        with pytest.raises(ArgumentError, match=message):
            save_onnx(model(), path, **options)
        assert not list(path.parent.iterdir())

    def test_a_folder_that_does_not_exist(self, path):
        with pytest.raises(ArgumentError, match="path must be a file in a folder that exists"):
            save_onnx(sequential(L.GRU(2)), path.parent / "none" / "model.onnx")

    def test_an_operator_that_onnx_runtime_lacks_is_named_with_the_layer(self, path):
        model = sequential(
            L.GRU(2, dtype="float64"), L.Dense(2, "gelu", name="bend", dtype="float64")
        )
        with pytest.raises(ArgumentError, match=r"does not run.*bend/Erf.*save_program"):
            save_onnx(model, path)
        assert not list(path.parent.iterdir())

    def test_an_operator_that_onnx_lacks_is_named_with_the_layer(self, path, monkeypatch):
        monkeypatch.setitem(NODES, "dense", lambda g, op, x: g.op("Bend", x))
        with pytest.raises(ArgumentError, match=r"(?s)that ONNX can represent.*head/Bend"):
            save_onnx(seqkeras.many_to_one(3, units=2), path)
        assert not list(path.parent.iterdir())

    def test_weights_that_one_file_cannot_hold(self, path, monkeypatch):
        monkeypatch.setattr("seqkeras.export.onnx._model_file.MAX_BYTES", 100)
        with pytest.raises(ArgumentError, match=r"below 2 GiB.*save_program"):
            save_onnx(sequential(L.GRU(4)), path)

    def test_a_graph_that_returns_other_numbers_is_not_written(self, path, monkeypatch):
        save_onnx(sequential(L.GRU(2), L.Dense(1)), path)
        before = path.read_bytes()
        monkeypatch.setitem(NODES, "dense", lambda g, op, x: g.op("ReduceMax", x, axes=[-1]))
        with pytest.raises(SeqkerasError, match=r"does not return what the model returns.*Nothing"):
            save_onnx(sequential(L.GRU(2), L.Dense(1)), path)
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
    def test_a_missing_package_names_the_install_command(self, package, path, monkeypatch):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingDependencyError, match=r'pip install "seqkeras\[onnx\]"'):
            save_onnx(sequential(L.GRU(2)), path)
