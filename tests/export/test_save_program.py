"""Programs return what the models return that they were made from."""

import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers as L  # noqa: N812

import seqkeras
from helpers.arrays import random_array
from helpers.examples import covering, examples
from helpers.forecasters import flat_forecaster
from seqkeras import runtime
from seqkeras.errors import ArgumentError
from seqkeras.export import save_onnx, save_program

ROWS, STEPS = 3, 7


def randomize(model, seed=0):
    """Give a model random weights everywhere; variances stay positive."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" not in weight.name:
            value = random.normal(0, 0.5, weight.shape)
            weight.assign(np.abs(value) + 0.1 if "variance" in weight.name else value)
    return model


def functional(build, *shapes, **options):
    inputs = [keras.Input(shape, **options) for shape in shapes]
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], build(*inputs))


def sequential(*layers, shape=(None, 3)):
    return keras.Sequential([keras.Input(shape), *layers])


def exported(model, path, **options):
    save_program(randomize(model), path, **options)
    return runtime.load(path)


def outputs_of(model, *xs):
    outputs = model(xs if len(xs) > 1 else xs[0])
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.program"


def nested():
    inner = sequential(L.Masking(), L.GRU(4, return_sequences=True))
    return functional(lambda x: L.LSTM(3)(inner(x)), (None, 3))


def shared():
    layer = L.GRU(3, return_sequences=True)
    return functional(lambda x: L.Concatenate()([layer(x), layer(layer(x))]), (None, 3))


def skip(x):
    h = L.LSTM(3, return_sequences=True)(x)
    return L.LSTM(4)(L.Add()([h, x]) * 2.0 - 1.0 + L.Average()([h, x]))


def masked(x):
    m = L.Masking()(x)
    h = L.Dropout(0.3)(L.LSTM(4, return_sequences=True)(m))
    return L.GRU(2, reset_after=False)(L.Concatenate()([h, m]))


def masked_sum(x):
    m = L.Masking()(x)
    both = [L.LSTM(4, return_sequences=True)(m), L.GRU(4, return_sequences=True)(m)]
    return L.SimpleRNN(2, return_sequences=True)(L.Multiply()(both))


def cells():
    return [L.LSTMCell(3), L.GRUCell(4), L.SimpleRNNCell(2)]


#: Models whose input is `(batch, timesteps, 3)`.
MODELS = {
    "lstm": lambda: sequential(L.LSTM(5, return_sequences=True)),
    "gru": lambda: sequential(L.GRU(5)),
    "gru, reset before": lambda: sequential(L.GRU(5, reset_after=False, use_bias=False)),
    "simple_rnn": lambda: sequential(L.SimpleRNN(5, activation="relu")),
    "activations along features": lambda: sequential(
        L.LSTM(4, recurrent_activation="softmax", return_sequences=True),
        L.GRU(4, recurrent_activation="softmax", activation="log_softmax", return_sequences=True),
        L.GRU(4, recurrent_activation="softmax", reset_after=False),
    ),
    "other activations": lambda: sequential(
        L.LSTM(4, activation="softsign", recurrent_activation="hard_sigmoid")
    ),
    "cells": lambda: sequential(L.RNN(cells(), return_sequences=True)),
    "one cell": lambda: sequential(L.RNN(L.LSTMCell(4))),
    "own layers": lambda: sequential(
        seqkeras.layers.LSTM(4, return_sequences=True), seqkeras.layers.RNN(cells())
    ),
    "many_to_one": lambda: seqkeras.many_to_one(3, units=(5, 4), activation="softmax", outputs=2),
    "many_to_many": lambda: seqkeras.many_to_many(3, units=5, cell="gru", outputs=2),
    "next_step": lambda: seqkeras.next_step(3, units=5, cell="simple_rnn", dropout=0.2),
    "normalized": lambda: sequential(
        L.Normalization(mean=[1.0, 2, 3], variance=[1.0, 4, 9]),
        L.BatchNormalization(),
        L.LSTM(4, return_sequences=True),
        L.LayerNormalization(),
        L.RMSNormalization(),
        L.UnitNormalization(),
        L.Rescaling(2.0, offset=1.0),
        L.Normalization(mean=1.0, variance=4.0, invert=True),
    ),
    "layer norm without": lambda: sequential(
        L.LayerNormalization(center=False, scale=False), L.GRU(3), L.BatchNormalization(scale=False)
    ),
    "activations": lambda: sequential(
        L.GRU(4, return_sequences=True),
        L.PReLU(shared_axes=[1]),
        L.LeakyReLU(0.1),
        L.ELU(0.5),
        L.ReLU(max_value=2.0),
        L.Activation("gelu"),
        L.Softmax(),
    ),
    "identities in prediction": lambda: sequential(
        L.Dropout(0.5),
        L.GaussianNoise(1.0),
        L.SpatialDropout1D(0.5),
        L.LSTM(3, dropout=0.5, recurrent_dropout=0.5),
        L.ActivityRegularization(0.1),
    ),
    "time distributed": lambda: sequential(
        L.TimeDistributed(L.Dense(4, "tanh")),
        L.GRU(4, return_sequences=True),
        L.TimeDistributed(sequential(L.Dense(2), L.Dense(2), shape=(4,))),
    ),
    "our time distributed": lambda: sequential(
        L.GRU(4, return_sequences=True),
        seqkeras.layers.TimeDistributed(L.Dense(2)),
    ),
    "heads": lambda: functional(
        lambda x: [L.Dense(2)(h := L.LSTM(4, return_sequences=True)(x)), L.GRU(3)(h)], (None, 3)
    ),
    "named heads": lambda: functional(
        lambda x: {"last": L.LSTM(4)(x), "all": L.GRU(2, return_sequences=True)(x)}, (None, 3)
    ),
    "returned state": lambda: functional(lambda x: L.GRU(4, return_state=True)(x)[1], (None, 3)),
    "last timestep": lambda: functional(
        lambda x: L.LSTM(4, return_sequences=True)(x)[:, -1], (None, 3)
    ),
    "features apart": lambda: functional(
        lambda x: keras.ops.concatenate(
            [L.LSTM(2)(x[:, :, 1:]), L.GRU(2)(keras.ops.take(x, [2, 0], axis=-1))], axis=-1
        ),
        (None, 3),
    ),
    "operations": lambda: functional(
        lambda x: keras.ops.tanh(-L.GRU(3)(keras.ops.square(x) / np.float32([1, 2, 3]))), (None, 3)
    ),
    "integers": lambda: functional(
        lambda x: L.Dense(2)(1 - L.GRU(3)(L.LSTM(3, return_sequences=True)(x * 2))), (None, 3)
    ),
    "masked and unmasked": lambda: functional(
        lambda x: L.GRU(2)(L.Concatenate()([L.Masking()(x), L.Dense(2)(x)])), (None, 3)
    ),
    "reshaped output": lambda: sequential(L.LSTM(6), L.Reshape((3, 2)), L.Dense(2), L.Flatten()),
    "shaped at each timestep": lambda: sequential(
        L.TimeDistributed(L.Reshape((3, 1))), L.TimeDistributed(L.Flatten()), L.GRU(2)
    ),
    "skip": lambda: functional(skip, (None, 3)),
    "shared": shared,
    "nested": nested,
    "masked": lambda: functional(masked, (None, 3)),
    "masked sum": lambda: functional(masked_sum, (None, 3)),
    "masked, zeros": lambda: sequential(
        L.Masking(), L.LSTM(3, return_sequences=True, zero_output_for_mask=True)
    ),
}


def gaps(x, seed=2):
    """Set some timesteps of x to zeros, which Masking masks."""
    x[np.random.default_rng(seed).random(x.shape[:2]) < 0.3] = 0
    return x


def flat(outputs):
    return keras.tree.flatten(outputs)


def assert_last_is(expected, ys, tolerance=1e-5):
    """Compare outputs over time with those of the model, which may be of the last timestep only."""
    for actual, array in zip(flat(ys), flat(expected), strict=True):
        compared = actual if actual.shape == array.shape else actual[:, -1]
        np.testing.assert_allclose(compared, array, atol=tolerance)


#: Models that are also exported on the other backends: the rest is read in the same way.
ON_EACH_BACKEND = {
    "activations",
    "features apart",
    "gru, reset before",
    "heads",
    "masked",
    "nested",
    "normalized",
    "own layers",
    "time distributed",
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.backends if name in ON_EACH_BACKEND else ())
        for name in MODELS
    ],
)
def model_and_program(request, tmp_path_factory):
    """Make a model and its program."""
    model = MODELS[request.param]()
    return model, exported(model, tmp_path_factory.mktemp("model") / "model.program")


def test_steps_return_what_the_model_returns(model_and_program):
    model, program = model_and_program
    x = gaps(random_array(ROWS, STEPS, 3))
    state = program.initial_state(ROWS)
    for t in range(STEPS):
        y, state = program.step(x[:, t], state)
    for actual, whole in zip(flat(y), flat(outputs_of(model, x)), strict=True):
        expected = whole if whole.ndim == 2 else whole[:, -1]
        np.testing.assert_allclose(actual, expected, atol=1e-5)


@examples(3)
@given(data=st.data())
def test_every_partition_of_the_time_axis_returns_the_same(model_and_program, data):
    _, program = model_and_program
    x = gaps(random_array(ROWS, STEPS, 3))
    whole, last = program.scan(x, program.initial_state(ROWS))
    cuts = sorted(data.draw(st.sets(st.integers(1, STEPS - 1))))
    state = program.initial_state(ROWS)
    parts = []
    for part in np.split(x, cuts, axis=1):
        ys, state = program.scan(part, state)
        parts.append(ys)
    for number, expected in enumerate(flat(whole)):
        actual = np.concatenate([flat(part)[number] for part in parts], axis=1)
        np.testing.assert_array_equal(actual, expected)
    for actual, expected in zip(state, last, strict=True):
        np.testing.assert_array_equal(actual, expected)


@st.composite
def architectures(draw):
    """Draw a random stack of layers, in order."""
    kinds = st.sampled_from(["lstm", "gru", "simple_rnn", "cells", "dense", "norm", "both"])
    stack = draw(st.lists(kinds, min_size=1, max_size=4))
    widths = draw(st.lists(st.integers(1, 7), min_size=6, max_size=6))
    flags = draw(st.lists(st.booleans(), min_size=6, max_size=6))
    return stack, widths, flags


def build(stack, widths, flags):
    """Build the model of a drawn architecture; it ends in a recurrent layer and a head."""
    masks, sequences, heads, wide, *_ = flags
    x = inputs = keras.Input((None, 3), dtype="float64" if wide else "float32")
    with Policy("float64" if wide else "float32"):
        h = L.Masking()(x) if masks else x
        for kind, units in zip(stack, widths, strict=False):
            h = layer_of(kind, units)(h)
        h = L.LSTM(widths[4], return_sequences=sequences)(h)
        outputs = [L.Dense(2)(h), L.Dense(1, "sigmoid")(h)] if heads else L.Dense(widths[5])(h)
    return keras.Model(inputs, outputs)


class Policy:
    """Layers made inside the block compute in this dtype."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.name)

    def __exit__(self, *_):
        keras.config.set_dtype_policy(self.before)


def layer_of(kind, units):
    if kind == "cells":
        return L.RNN([L.GRUCell(units), L.LSTMCell(units)], return_sequences=True)
    if kind == "both":
        return lambda h: L.Concatenate()([h, L.GRU(units, return_sequences=True)(h)])
    plain = {"dense": lambda: L.Dense(units, "relu"), "norm": L.LayerNormalization}
    recurrent = {"lstm": L.LSTM, "gru": L.GRU, "simple_rnn": L.SimpleRNN}
    return plain[kind]() if kind in plain else recurrent[kind](units, return_sequences=True)


@examples(6)
@given(architecture=architectures(), rows=st.integers(1, 4), steps=st.integers(1, 6))
def test_any_model_after_a_step_of_training(architecture, rows, steps, tmp_path_factory):
    model = build(*architecture)
    x = gaps(random_array(rows, steps, 3))
    targets = keras.tree.map_structure(np.zeros_like, outputs_of(model, x))
    model.compile("sgd", "mse", run_eagerly=True)
    model.train_on_batch(x, targets)
    path = tmp_path_factory.mktemp("any") / "model.program"
    save_program(model, path)
    program = runtime.load(path)
    expected = model.predict_on_batch(x)
    ys, _ = program.scan(x, program.initial_state(rows))
    assert_last_is(expected, ys)


@pytest.mark.parametrize(
    ("kind", "module", "options"),
    covering(
        list(
            itertools.product(
                ["LSTM", "GRU", "SimpleRNN"],
                [L, seqkeras.layers],
                [{}, {"window": 4}, {"scaler": (2.0, 3.0), "target_scaler": (1.0, 5.0)}],
            )
        ),
        every=4,
    ),
    ids=str,
)
def test_a_policy_of_double_precision_rounds_inputs_as_the_model_does(kind, module, options, path):
    with Policy("float64"):
        model = sequential(getattr(module, kind)(4), L.Dense(2))
    program = exported(model, path, **options)
    assert program.inputs[0].dtype == ("float64" if "scaler" in options else "float32")
    x = np.random.default_rng(3).normal(size=(2, 4, 3))
    center, scale = options.get("scaler", (0.0, 1.0))
    expected = model.predict_on_batch((x - center) / scale)
    center, scale = options.get("target_scaler", (0.0, 1.0))
    ys, _ = program.scan(x, program.initial_state(2))
    np.testing.assert_allclose(ys[:, -1], expected * scale + center, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize("module", [L, seqkeras.layers])
def test_a_policy_of_double_precision_is_exported_to_onnx(kind, module, path):
    with Policy("float64"):
        model = sequential(getattr(module, kind)(4), L.Dense(2))
    save_onnx(model, path)  # it compares what is written with the model
    assert path.exists()


@pytest.mark.parametrize("save", [save_program, save_onnx])
@pytest.mark.parametrize("window", [2**18 + 1, 2**24, 10**8, 2**61, 2**63, 10**30])
def test_a_window_that_no_program_can_have_is_refused(save, window, path):
    with pytest.raises(ArgumentError, match=rf"window must be small enough .*window={window}"):
        save(sequential(L.GRU(4)), path, window=window)
    assert not path.exists()


class TestInputs:
    """Several inputs, tokens, and inputs that do not change over time."""

    def test_tokens_and_their_mask(self, path):
        model = functional(
            lambda x: L.Dense(7, "softmax")(
                L.LSTM(4, return_sequences=True)(L.Embedding(7, 3, mask_zero=True)(x))
            ),
            (None,),
        )
        program = exported(model, path)
        assert program.inputs[0].dtype == np.int32
        ids = np.random.default_rng(0).integers(0, 7, (ROWS, STEPS))
        ys, _ = program.scan(ids, program.initial_state(ROWS))
        assert_last_is(outputs_of(model, ids), ys)

    def test_a_static_covariate_is_passed_at_each_step(self, path):
        sequence = keras.Input((STEPS, 3), name="values")
        static = keras.Input((2,), name="shop")
        both = L.Concatenate()([sequence, L.RepeatVector(STEPS)(static)])
        h = L.GRU(4)(both)
        model = keras.Model(
            {"values": sequence, "shop": static}, L.Dense(1)(L.Concatenate()([h, static]))
        )
        program = exported(model, path)
        assert [port.each_step for port in program.inputs] == [False, True]
        xs = {"values": random_array(ROWS, STEPS, 3), "shop": random_array(ROWS, 2)}
        ys, _ = program.scan(xs, program.initial_state(ROWS))
        assert_last_is(outputs_of(model, xs), ys)

    def test_one_to_many_steps_with_the_same_input(self, path):
        model = seqkeras.one_to_many(3, steps=5, outputs=2, units=4)
        program = exported(model, path)
        x = random_array(ROWS, 3)
        state = program.initial_state(ROWS)
        expected = outputs_of(model, x)
        for t in range(5):
            y, state = program.step(x, state)
            np.testing.assert_allclose(y, expected[:, t], atol=1e-5)

    def test_one_number_at_each_timestep(self, path):
        model = functional(lambda x: L.GRU(3)(x[..., None]), (None,))
        program = exported(model, path)
        x = random_array(ROWS, STEPS)
        ys, _ = program.scan(x, program.initial_state(ROWS))
        assert_last_is(outputs_of(model, x), ys)

    @pytest.mark.parametrize(
        ("save", "load"), [(save_program, runtime.load), (save_onnx, runtime.load_onnx)]
    )
    def test_missing_values_are_filled_in_and_masked(self, save, load, path):
        def build(x):
            missing = keras.ops.isnan(x)
            some = keras.ops.logical_not(keras.ops.all(missing, axis=-1))
            return L.GRU(4)(keras.ops.where(missing, 0.5, x), mask=some)

        model = randomize(functional(build, (None, 2)))
        save(model, path)
        program = load(path, nan="propagate")
        x = random_array(ROWS, STEPS, 2)
        x[:, 2, 0] = x[1:, 4] = np.nan
        ys, _ = program.scan(x, program.initial_state(ROWS))
        assert_last_is(outputs_of(model, x), ys)

    def test_a_mask_that_is_an_input(self, path):
        x = keras.Input((None, 3), name="x")
        mask = keras.Input((None,), dtype="bool", name="mask")
        model = keras.Model([x, mask], L.LSTM(4, return_sequences=True)(x, mask=mask))
        program = exported(model, path)
        xs = [random_array(ROWS, STEPS, 3), np.random.default_rng(0).random((ROWS, STEPS)) < 0.5]
        ys, _ = program.scan(xs, program.initial_state(ROWS))
        assert_last_is(outputs_of(model, *xs), ys)

    def test_a_stateful_model_is_exported_without_its_state(self, path):
        model = randomize(seqkeras.next_step(3, units=4, stateful=True, batch_size=2))
        twin = seqkeras.next_step(3, units=4)
        twin.set_weights(model.get_weights())
        x = random_array(2, STEPS, 3)
        model(x)
        save_program(model, path)
        program = runtime.load(path)
        ys, _ = program.scan(x, program.initial_state(2))
        np.testing.assert_allclose(ys, outputs_of(twin, x), atol=1e-5)


class TestWindow:
    """Programs that read the newest rows again at each step."""

    @pytest.mark.parametrize(
        "make",
        [
            lambda: seqkeras.many_to_one(3, units=4),
            lambda: seqkeras.many_to_one(3, units=4, bidirectional=True, cell="gru"),
            lambda: seqkeras.many_to_many(3, units=4, bidirectional=True),
            lambda: seqkeras.autoencoder(3, timesteps=5, units=4),
            lambda: sequential(L.Masking(), seqkeras.autoencoder(3, units=4, bidirectional=True)),
            lambda: sequential(
                L.Masking(),
                seqkeras.autoencoder(
                    3, units=(4, 3), cell=["gru", "lstm"], decoder="conditional", reverse=True
                ),
            ),
            lambda: seqkeras.autoencoder(
                3, timesteps=5, cell=L.SimpleRNNCell(4), decoder="conditional", variational=True
            ),
            lambda: seqkeras.multi_output(3, lookback=5, horizon=2, units=4, season_length=2),
            lambda: sequential(L.Masking(), L.Bidirectional(L.LSTM(3), merge_mode="sum")),
            lambda: sequential(L.LSTM(3, go_backwards=True, return_sequences=True), L.GRU(2)),
            lambda: sequential(L.RNN(cells(), return_sequences=True), L.Dense(2)),
            lambda: sequential(L.TimeDistributed(L.Dense(2)), L.GRU(2)),
            lambda: functional(
                lambda x: L.GRU(2, return_sequences=True, return_state=True)(x)[1], (5, 3)
            ),
            lambda: functional(
                lambda x: L.Dense(2)(
                    L.LSTM(3, return_state=True, zero_output_for_mask=True)(L.Masking()(x))[2]
                ),
                (5, 3),
            ),
            lambda: functional(
                lambda x: L.Concatenate()(L.Bidirectional(L.GRU(2, return_state=True))(x)), (5, 3)
            ),
        ],
    )
    def test_each_output_is_that_of_the_newest_rows(self, make, path):
        model = make()
        program = exported(model, path, window=5)
        x = gaps(random_array(ROWS, STEPS, 3))
        ys, _ = program.scan(x, program.initial_state(ROWS))
        assert np.isnan(ys[:, :4]).all()
        windows = [x[:, t - 4 : t + 1] for t in range(4, STEPS)]
        expected = np.split(outputs_of(model, np.concatenate(windows)), STEPS - 4)
        np.testing.assert_allclose(ys[:, 4:], np.stack(expected, axis=1), atol=1e-5)

    def test_each_row_has_outputs_once_its_own_window_is_full(self, path):
        program = exported(seqkeras.many_to_one(3, units=4), path, window=3)
        old = program.initial_state(1)
        new = program.initial_state(1)
        for t in range(2):
            _, old = program.step(np.full((1, 3), t), old)
        both = tuple(np.concatenate(pair) for pair in zip(old, new, strict=True))
        y, _ = program.step(np.ones((2, 3)), both)
        assert np.isnan(y[:, 0]).tolist() == [False, True]

    @pytest.mark.usefixtures("eagerly")
    def test_the_network_of_a_forecaster(self, path):
        df = seqkeras.forecasting.load_air_passengers()
        options = {"lookback": 12, "units": 4, "epochs": 1, "levels": (), "validation": 0}
        forecaster = flat_forecaster(horizon=3, **options).fit(df)
        save_program(forecaster.model_, path, window=12)
        program = runtime.load(path)
        x = random_array(ROWS, 12, 1)
        ys, _ = program.scan(x, program.initial_state(ROWS))
        np.testing.assert_allclose(ys[:, -1], outputs_of(forecaster.model_, x), atol=1e-5)

    def test_a_window_that_the_model_does_not_read_is_refused(self, path):
        with pytest.raises(ArgumentError, match=r"window must be 5. Got: window=4"):
            save_program(seqkeras.autoencoder(3, timesteps=5, units=4), path, window=4)
        with pytest.raises(ArgumentError, match=r"window must be an integer >= 1"):
            save_program(seqkeras.many_to_one(3, units=4), path, window=0)


class Doubled(L.LSTM):
    """A custom layer."""


class OwnCell(L.LSTMCell):
    """A custom cell."""


def encoder_decoder():
    x = keras.Input((None, 3))
    y = keras.Input((None, 3))
    _, *state = L.LSTM(4, return_state=True)(x)
    return keras.Model([x, y], L.LSTM(4)(y, initial_state=state))


def quantized(model):
    model.quantize("int8")
    return model


REFUSED = {
    "both ways": (
        lambda: sequential(L.Bidirectional(L.LSTM(3), name="two")),
        r"layer 'two': its backward direction starts at the end .*window=",
    ),
    "backwards": (
        lambda: sequential(L.GRU(3, go_backwards=True, name="back")),
        r"layer 'back': go_backwards=True starts at the end",
    ),
    "convolution": (
        lambda: sequential(L.Conv1D(2, 3, padding="causal", name="conv"), L.GRU(2)),
        r"layer 'conv': it reads several timesteps at once",
    ),
    "attention": (
        lambda: functional(lambda x: L.GRU(2)(L.Attention(name="look")([x, x])), (9, 3)),
        r"layer 'look': it looks at all timesteps at once",
    ),
    "pooling": (
        lambda: sequential(L.GRU(3, return_sequences=True), L.GlobalMaxPooling1D(name="pool")),
        r"layer 'pool': it pools over timesteps",
    ),
    "lambda": (
        lambda: sequential(L.GRU(3), L.Lambda(lambda x: x, name="odd")),
        r"layer 'odd': Lambda is not supported",
    ),
    "repeat": (
        lambda: seqkeras.autoencoder(3, timesteps=5, units=4),
        r"layer 'repeat': it repeats a value known only after",
    ),
    "flatten": (
        lambda: sequential(L.GRU(3, return_sequences=True), L.Flatten(name="flat"), shape=(5, 3)),
        r"layer 'flat': it moves or removes the time axis",
    ),
    "time axis": (
        lambda: sequential(L.LayerNormalization(axis=1, name="across"), L.GRU(2), shape=(5, 3)),
        r"layer 'across': it works along the time axis",
    ),
    "past timestep": (
        lambda: functional(lambda x: L.GRU(3, return_sequences=True)(x)[:, 0], (5, 3)),
        r"it cuts pieces out of the batch or out of the timesteps",
    ),
    "two times": (
        lambda: functional(lambda x: L.Multiply(name="mix")([L.GRU(3)(x), x]), (3, 3)),
        r"layer 'mix': it joins a sequence with a value known only after",
    ),
    "custom layer": (
        lambda: sequential(Doubled(3, name="mine")),
        r"layer 'mine': Doubled is not supported",
    ),
    "custom cell": (
        lambda: sequential(L.RNN(OwnCell(3), name="mine")),
        r"layer 'mine': its cell OwnCell is not supported",
    ),
    "custom activation": (
        lambda: sequential(L.GRU(3, activation=lambda x: x, name="mine")),
        r"layer 'mine': its activation '<lambda>' is not one of Keras",
    ),
    "initial state": (
        encoder_decoder,
        r"each call gets its state from other layers \(initial_state\)",
    ),
    "returned state": (
        lambda: functional(lambda x: L.LSTM(3, return_state=True, name="all")(x), (4, 3)),
        r"layer 'all': its state is an output of the model",
    ),
    "other state": (
        lambda: functional(
            lambda x: L.Dense(2, name="c")(L.LSTM(3, return_state=True)(x)[2]), (4, 3)
        ),
        r"layer 'c': it reads the state of a recurrent layer",
    ),
    "zero output and state": (
        lambda: functional(
            lambda x: L.Dense(2)(
                L.LSTM(3, return_state=True, zero_output_for_mask=True)(L.Masking()(x))[1]
            ),
            (None, 3),
        ),
        r"it reads the state of a recurrent layer",
    ),
    "custom function": (
        lambda: sequential(L.GRU(3), L.Dense(2, keras.ops.gelu, name="mine")),
        r"layer 'mine': its activation 'gelu' is not one of Keras",
    ),
    "quantized": (
        lambda: quantized(sequential(L.Dense(2, name="narrow"), L.GRU(2))),
        r"layer 'narrow': its weights are quantized",
    ),
    "no recurrence": (
        lambda: sequential(L.Dense(3)),
        r"model must be a model with a recurrent layer",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_cannot_be_stepped_is_named_with_the_reason(name, path):
    make, message = REFUSED[name]
    with pytest.raises(ArgumentError, match=message):
        save_program(make(), path)
    assert not path.exists()


def test_a_model_without_a_graph_is_refused(path):
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ArgumentError, match=r"model must be functional or Sequential"):
        save_program(Own(), path)
    with pytest.raises(ArgumentError, match=r"model must be a keras.Model"):
        save_program("model.keras", path)


class TestScalers:
    """Raw numbers in and out."""

    def test_raw_numbers_far_from_zero_keep_their_digits(self, path):
        preprocessing = pytest.importorskip("sklearn.preprocessing")
        raw = np.random.default_rng(0).normal(1e6, 0.5, (STEPS, 3))
        scaler = preprocessing.StandardScaler().fit(raw)
        model = seqkeras.many_to_one(3, units=4)
        program = exported(model, path, scaler=scaler, target_scaler=(1e6, 0.5))
        ys, _ = program.scan(raw[None], program.initial_state(1))
        scaled = scaler.transform(raw)[None].astype("float32")
        expected = outputs_of(model, scaled).astype("float64") * 0.5 + 1e6
        assert ys.dtype == np.float64
        np.testing.assert_allclose(ys[:, -1], expected, rtol=0, atol=1e-5)

    def test_each_of_several_inputs_has_its_own(self, path):
        model = functional(lambda a, b: L.GRU(3)(L.Concatenate()([a, b])), (None, 2), (None, 1))
        first, second = (
            layer.name for layer in model.layers if isinstance(layer, keras.layers.InputLayer)
        )
        program = exported(model, path, scaler={first: ([1.0, 2.0], [3.0, 4.0])})
        a = random_array(ROWS, STEPS, 2)
        b = random_array(ROWS, STEPS, 1)
        ys, _ = program.scan({first: a, second: b}, program.initial_state(ROWS))
        scaled = (a - np.float32([1, 2])) / np.float32([3, 4])
        np.testing.assert_allclose(ys[:, -1], outputs_of(model, scaled, b), atol=1e-5)
        with pytest.raises(ArgumentError, match="scaler must be a dict with names of"):
            save_program(model, path, scaler=(0.0, 1.0))
        with pytest.raises(ArgumentError, match="scaler must be a dict with names of"):
            save_program(model, path, scaler={"none": (0.0, 1.0)})


class TestFile:
    """The contents of the file."""

    def test_a_normalization_that_was_adapted_on_rows(self, path):
        normalization = L.Normalization()
        normalization.adapt(random_array(50, 3) * 5 + 2)
        program = exported(model := sequential(normalization, L.GRU(2)), path)
        x = random_array(ROWS, STEPS, 3)
        ys, _ = program.scan(x, program.initial_state(ROWS))
        np.testing.assert_allclose(ys[:, -1], outputs_of(model, x), atol=1e-5)

    def test_a_model_that_saves_its_state_is_exported(self, path):
        plain = randomize(seqkeras.next_step(3, units=4))
        save_program(seqkeras.states.as_stateful(plain, 2, save_state=True), path)
        program = runtime.load(path)
        x = random_array(2, STEPS, 3)
        ys, _ = program.scan(x, program.initial_state(2))
        np.testing.assert_allclose(ys, outputs_of(plain, x), atol=1e-5)

    def test_names_of_features_are_stored(self, path):
        program = exported(seqkeras.many_to_one(2, units=3), path, features=["flow", "pressure"])
        assert program.inputs[0].features == ("flow", "pressure")
        with pytest.raises(ArgumentError, match="features must be a list of names"):
            save_program(seqkeras.many_to_one(2, units=3), path, features="ab")
        for wrong in (["flow"], ["flow", "flow"]):
            with pytest.raises(ArgumentError, match="features must be 2 different names"):
                save_program(seqkeras.many_to_one(2, units=3), path, features=wrong)

    def test_half_precision_halves_the_file_and_rounds_the_weights(self, tmp_path):
        model = randomize(seqkeras.many_to_one(3, units=64))
        sizes = []
        outputs = []
        for storage in ("float32", "float16"):
            file = tmp_path / storage
            save_program(model, file, storage=storage)
            program = runtime.load(file)
            sizes.append(file.stat().st_size)
            outputs.append(program.scan(random_array(1, 20, 3), program.initial_state())[0])
        assert sizes[1] < 0.6 * sizes[0]
        assert not np.array_equal(*outputs)
        np.testing.assert_allclose(*outputs, atol=2e-2)

    def test_weights_that_half_precision_cannot_hold_are_refused(self, path):
        model = seqkeras.many_to_one(3, units=4)
        model.set_weights([weight * 1e7 for weight in model.get_weights()])
        with pytest.raises(ArgumentError, match=r"storage must be 'float32' for this model"):
            save_program(model, path, storage="float16")

    def test_mixed_precision_is_computed_in_float32(self, path):
        with Policy("mixed_bfloat16"):
            model = randomize(seqkeras.many_to_one(3, units=4))
        save_program(model, path)
        program = runtime.load(path)
        x = random_array(ROWS, STEPS, 3)
        ys, _ = program.scan(x, program.initial_state(ROWS))
        assert ys.dtype == np.float32
        expected = keras.ops.convert_to_numpy(keras.ops.cast(model(x), "float32"))
        np.testing.assert_allclose(ys[:, -1], expected, atol=0.1)

    def test_the_model_is_not_changed(self, path):
        model = randomize(seqkeras.next_step(3, units=4, stateful=True, batch_size=2))
        before = [np.array(variable) for variable in model.variables]
        save_program(model, path)
        for value, variable in zip(before, model.variables, strict=True):
            np.testing.assert_array_equal(variable, value)

    def test_a_file_is_replaced_only_by_a_complete_one(self, path):
        exported(seqkeras.many_to_one(3, units=4), path)
        before = path.read_bytes()
        with pytest.raises(ArgumentError):
            save_program(seqkeras.autoencoder(3, timesteps=5, units=4), path)
        assert path.read_bytes() == before

    def test_the_same_model_makes_the_same_file(self, tmp_path):
        model = seqkeras.many_to_one(3, units=4)
        save_program(model, tmp_path / "a")
        save_program(model, tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_ten_thousand_steps_do_not_drift_from_the_model(path):
    model = sequential(
        L.LSTM(16, return_sequences=True), L.GRU(16, return_sequences=True), L.Dense(1)
    )
    save_program(model, path)
    program = runtime.load(path)
    x = random_array(1, 10_000, 3)
    ys, _ = program.scan(x, program.initial_state())
    np.testing.assert_allclose(ys, model.predict(x, verbose=0), atol=1e-5)


def test_a_state_continues_in_another_process(path, tmp_path):
    program = exported(MODELS["many_to_one"](), path)
    x = random_array(1, STEPS, 3)
    whole, last = program.scan(x, program.initial_state())
    _, state = program.scan(x[:, :4], program.initial_state())
    (tmp_path / "state").write_bytes(program.pack_state(state))
    np.save(tmp_path / "rest.npy", x[:, 4:])
    script = f"""
import sys
import numpy as np
from seqkeras import runtime
program = runtime.load({str(path)!r})
state = program.unpack_state(open({str(tmp_path / "state")!r}, "rb").read())
ys, state = program.scan(np.load({str(tmp_path / "rest.npy")!r}), state)
np.save({str(tmp_path / "ys.npy")!r}, ys)
open({str(tmp_path / "last")!r}, "wb").write(program.pack_state(state))
assert not {{"keras", "tensorflow", "jax", "torch", "pandas"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "ys.npy"), whole[:, 4:])
    unpacked = program.unpack_state((tmp_path / "last").read_bytes())
    for actual, expected in zip(unpacked, last, strict=True):
        np.testing.assert_array_equal(actual, expected)
