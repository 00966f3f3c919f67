"""Models made stateful and back, against the models that they were made of."""

import functools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import seqkeras
from helpers.arrays import assert_arrays_close, assert_arrays_equal, random_array
from helpers.examples import examples
from helpers.models import Padding, outputs_of, randomized, to_numpy
from seqkeras import layers, to_keras
from seqkeras.errors import ArgumentError, ForgottenStateWarning
from seqkeras.export import save_program
from seqkeras.states import as_stateful, as_stateless, get_state
from seqkeras.stepwise import rollout

L = keras.layers
ROWS, LENGTH, FEATURES = 3, 8, 2


X = random_array(ROWS, LENGTH, FEATURES)
IMAGES = random_array(ROWS, LENGTH, 4, 3, FEATURES)
TOKENS = np.random.default_rng(0).integers(0, 7, (ROWS, LENGTH))


class Decay(L.Layer):
    """A cell that Keras knows nothing of: not registered, and its state is a plain number."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = self.state_size = self.output_size = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")
        self.built = True

    def call(self, inputs, states):
        output = keras.ops.tanh(inputs @ self.kernel + 0.5 * states[0])
        return output, [output]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class OwnRNN(L.RNN):
    """A recurrent layer of a user's own, which forgets half of its arguments in its config."""

    def __init__(self, units=4, stateful=False, **options):
        super().__init__(L.GRUCell(units), return_sequences=True, stateful=stateful, **options)
        self.units = units

    def get_config(self):
        return {"name": self.name, "units": self.units}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class OwnLSTM(layers.Resettable, L.LSTM):
    """A layer of a user's own that takes flags."""


def doubled(x):
    return 2.0 * keras.ops.tanh(x)


def sequential(*parts, shape=(FEATURES,), **options):
    return keras.Sequential([keras.Input((LENGTH, *shape)), *parts], **options)


def plain():
    x = keras.Input((LENGTH, FEATURES), name="series")
    y = L.LSTM(4, return_sequences=True, name="memory")(x)
    return keras.Model(x, L.Dense(2, name="head")(y), name="plain")


def nested():
    inner = keras.Input((None, 3))
    core = keras.Model(inner, L.GRU(3, return_sequences=True)(inner), name="core")
    encoder = sequential(L.Dense(3), core, L.LSTM(4, return_sequences=True), name="encoder")
    x = keras.Input((LENGTH, FEATURES))
    y = encoder(x)
    return keras.Model(x, [L.Dense(1, name="each")(y), L.SimpleRNN(3, name="last")(y)])


def several_inputs():
    x = keras.Input((LENGTH, FEATURES), name="values")
    tokens = keras.Input((LENGTH,), name="tokens", dtype="int32")
    static = keras.Input((2,), name="static")
    joined = L.Concatenate()([x, L.Embedding(7, 3)(tokens)])
    y = L.GRU(4, return_sequences=True)(joined)
    last = L.Concatenate()([L.SimpleRNN(3)(y), L.Dense(2)(static)])
    return keras.Model([x, tokens, static], {"each": L.Dense(1)(y), "last": last})


def masked():
    tokens = keras.Input((LENGTH,), dtype="int32", name="tokens")
    y = L.Embedding(7, 3, mask_zero=True)(tokens)
    y = L.LSTM(4, return_sequences=True)(y)
    return keras.Model(tokens, L.Dense(1)(L.GRU(3, return_sequences=True)(y)))


def shared():
    both = L.Dense(3, activation="tanh")
    x = keras.Input((LENGTH, FEATURES))
    y = L.LSTM(FEATURES, return_sequences=True)(both(x)[..., :2])
    return keras.Model(x, both(y) + both(x) * 2.0)


def images():
    x = keras.Input((LENGTH, 4, 3, FEATURES))
    y = L.ConvLSTM2D(2, 2, padding="same", return_sequences=True)(x)
    y = L.TimeDistributed(L.Flatten())(y)
    return keras.Model(x, L.LSTM(3, return_sequences=True)(y))


def words_of_sentences():
    x = keras.Input((LENGTH, 2, 6 * FEATURES))
    y = L.TimeDistributed(L.Bidirectional(L.LSTM(2)))(x)
    return keras.Model(x, L.GRU(3, return_sequences=True)(y))


def with_what_is_not_registered():
    return sequential(
        L.Lambda(lambda x: x * np.float32(2)),
        L.RNN(Decay(4), return_sequences=True),
        L.LSTM(3, activation=doubled, return_sequences=True),
        L.Dense(1, activation=doubled),
    )


def normalized():
    layer = L.Normalization()
    layer.adapt(5 + 3 * X)
    model = sequential(layer, L.BatchNormalization(), L.LSTM(3, return_sequences=True))
    model.layers[1].moving_mean.assign([0.5, -0.5])
    return model


# What makes a model, and what it reads.
MODELS = {
    "functional": (plain, X),
    "sequential": (lambda: sequential(L.GRU(4, return_sequences=True), L.SimpleRNN(3)), X),
    "nested": (nested, X),
    "several inputs": (several_inputs, [X, TOKENS, X[:, 0]]),
    "masked": (masked, TOKENS),
    "shared": (shared, X),
    "stacked cells": (
        lambda: sequential(L.RNN([L.LSTMCell(3), L.GRUCell(2)], return_sequences=True)),
        X,
    ),
    "images": (images, IMAGES),
    "words of sentences": (words_of_sentences, IMAGES.reshape(ROWS, LENGTH, 2, -1)),
    "what is not registered": (with_what_is_not_registered, X),
    "normalized": (normalized, X),
    "own class with flags": (lambda: sequential(OwnLSTM(3, return_sequences=True)), X),
    "many_to_one": (lambda: seqkeras.many_to_one(FEATURES, units=(4, 3)), X),
    "many_to_many": (lambda: seqkeras.many_to_many(FEATURES, cell="gru"), X),
    "next_step": (lambda: seqkeras.next_step(FEATURES, cell=[L.LSTMCell(3), "gru"]), X),
}
ON_EVERY_BACKEND = ("nested", "several inputs", "images")
every_model = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.backends] if kind in ON_EVERY_BACKEND else [])
        for kind in MODELS
    ],
)


def in_time(values, start, end):
    """A chunk of what is read over time; what is not is read whole in each chunk."""
    if isinstance(values, list):
        return [in_time(one, start, end) for one in values]
    return values[:, start:end] if values.shape[1] == LENGTH else values


def read(model, values, cuts, flags=None):
    """Outputs of chunks put together; of what has no time, that of the last chunk."""
    outputs, ends = [], [*sorted(set(cuts) - {0, LENGTH}), LENGTH]
    for start, end in zip([0, *ends], ends, strict=False):
        chunk = in_time(values, start, end)
        if flags is not None:
            names = [name for name in model.input if name != "reset"]
            listed = chunk if isinstance(chunk, list) else [chunk]
            chunk = {**dict(zip(names, listed, strict=True)), "reset": flags[:, start:end]}
        outputs.append(outputs_of(model, chunk))
    return [
        np.concatenate(parts, axis=1) if parts[0].ndim > 2 else parts[-1]
        for parts in zip(*outputs, strict=True)
    ]


def check_equal(actual, expected):
    assert len(actual) == len(expected)
    assert_arrays_close(actual, expected)


@functools.cache
def shared_model(kind):
    """A model that tests only read."""
    return MODELS[kind][0]()


@every_model
def test_chunks_read_statefully_give_what_the_whole_gives(kind):
    model, values = shared_model(kind), MODELS[kind][1]
    before = [np.copy(weight) for weight in model.get_weights()]
    expected = outputs_of(model, values)

    stateful = as_stateful(model, ROWS)
    check_equal(read(stateful, values, [2, 3]), expected)
    flagged = as_stateful(model, ROWS, reset_input=True)
    flags = np.zeros((ROWS, LENGTH), bool)
    flags[:, 0] = True
    for _ in range(2):  # flags clear what the first round left
        check_equal(read(flagged, values, [3], flags), expected)

    for copy in (stateful, flagged, as_stateless(stateful), as_stateless(flagged)):
        assert_arrays_equal(copy.get_weights(), before)
        mine = {id(weight) for weight in copy.variables}
        assert not mine & {id(weight) for weight in model.variables}
    check_equal(outputs_of(as_stateless(stateful), values), expected)
    check_equal(outputs_of(model, values), expected)


@pytest.mark.parametrize("kind", MODELS)
def test_layers_keep_their_names_and_lose_their_states(kind):
    model = shared_model(kind)
    stateful = as_stateful(model, ROWS)
    back = as_stateless(stateful)
    for copy in (stateful, back):
        assert copy.name == model.name
        assert [layer.name for layer in copy._flatten_layers() if layer.weights] == [
            layer.name for layer in model._flatten_layers() if layer.weights
        ]
    assert {tensor.shape[0] for tensor in stateful.inputs} == {ROWS}
    assert {tensor.shape[0] for tensor in back.inputs} == {None}
    for before, one in zip(model._flatten_layers(), back._flatten_layers(), strict=False):
        if isinstance(one, L.RNN):
            assert not one.stateful
            assert isinstance(one, type(before))


@pytest.mark.parametrize("inner", ["functional", "many_to_one"])
def test_as_stateless_undoes_as_stateful(inner):
    model = MODELS[inner][0]()
    back = as_stateless(as_stateful(model, ROWS, reset_input=True))
    assert back.input_shape == (None, None, FEATURES)
    assert "seqkeras" not in str(to_keras(back).get_config())


# -- random architectures ------------------------------------------------------------------------

CELLS = {
    "lstm": lambda units: L.LSTM(units, return_sequences=True),
    "gru": lambda units: L.GRU(units, return_sequences=True, reset_after=False),
    "simple": lambda units: L.SimpleRNN(units, return_sequences=True),
    "cell": lambda units: L.RNN(L.GRUCell(units), return_sequences=True),
    "cells": lambda units: L.RNN([L.LSTMCell(2), L.LSTMCell(units)], return_sequences=True),
}
parts = st.lists(
    st.tuples(st.sampled_from(sorted(CELLS)), st.integers(1, 4), st.booleans()),
    min_size=1,
    max_size=3,
)


def random_model(layout, form):
    """Recurrent layers on one another, some with a way around them, in one of three wrappings."""
    made = []
    for cell, units, dense in layout:
        made += [CELLS[cell](units), *([L.Dense(3, activation="tanh")] if dense else [])]
    if form == "sequential":
        return sequential(*made)
    if form == "nested":
        return sequential(sequential(*made[:1]), *made[1:])
    x = y = keras.Input((LENGTH, FEATURES))
    for layer in made:
        y = L.Concatenate()([layer(y), x])
    return keras.Model(x, y)


@examples(4)
@given(
    layout=parts,
    form=st.sampled_from(["sequential", "nested", "skipping"]),
    cuts=st.sets(st.integers(1, LENGTH - 1)),
    reset=st.booleans(),
)
def test_any_model_gives_the_same_over_any_partition_of_the_time(layout, form, cuts, reset):
    model = randomized(random_model(layout, form))
    stateful = as_stateful(model, ROWS, reset_input=reset)
    flags = np.zeros((ROWS, LENGTH), bool) if reset else None
    check_equal(read(stateful, X, cuts, flags), outputs_of(model, X))


# -- masks ---------------------------------------------------------------------------------------


class Leaky(L.Layer):
    """A cell whose output is not its state."""

    state_size = 2
    output_size = 3

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 2), name="kernel")
        self.out = self.add_weight(shape=(2, 3), name="out")

    def call(self, inputs, states):
        state = 0.5 * states[0] + inputs @ self.kernel
        return keras.ops.tanh(state @ self.out), [state]


MASKED = {
    "lstm": lambda **options: [layers.LSTM(3, **options)],
    "lstm, scan": lambda **options: [layers.LSTM(3, implementation="scan", **options)],
    "gru": lambda **options: [L.GRU(3, **options)],
    "simple_rnn": lambda **options: [L.SimpleRNN(3, **options)],
    "unrolled": lambda **options: [layers.GRU(3, unroll=True, **options)],
    "zoneout": lambda **options: [layers.GRU(3, zoneout_h=0.2, **options)],
    "two layers": lambda **options: [L.GRU(2, return_sequences=True), L.LSTM(3, **options)],
    "cells": lambda **options: [L.RNN([L.LSTMCell(2), L.GRUCell(3)], **options)],
    "own cell": lambda **options: [layers.RNN(Leaky(), **options)],
    "own cell on another": lambda **options: [layers.RNN([L.LSTMCell(2), Leaky()], **options)],
    "zeros": lambda **options: [L.LSTM(3, zero_output_for_mask=True, **options)],
    "images": lambda **options: [layers.ConvLSTM1D(2, 2, padding="same", **options)],
}
MASKED_PARTS = [0, 2, 4, 6]


def masked_sequences(kind):
    """Return sequences with chunks that begin masked, and one that is masked as a whole."""
    shape = (2, MASKED_PARTS[-1], 4, FEATURES) if kind == "images" else (2, MASKED_PARTS[-1], 2)
    used = np.array([[1, 0, 0, 0, 0, 1], [0, 1, 0, 1, 1, 1]])
    return random_array(*shape) * used.reshape(*used.shape, *[1] * (len(shape) - 2))


def marked(*case):
    return pytest.param(*case, marks=pytest.mark.backends)


def masked_model(kind, timesteps, **options):
    """Return a model with random weights that skips timesteps of zeros."""
    stack, shape = MASKED[kind](**options), masked_sequences(kind).shape[2:]
    mask = L.Masking() if len(shape) == 1 else Padding()
    return randomized(keras.Sequential([keras.Input((timesteps, *shape)), mask, *stack]))


@pytest.mark.parametrize(
    ("kind", "sequences"),
    [
        *(
            marked(kind, True) if kind in ("lstm", "lstm, scan") else (kind, True)
            for kind in MASKED
        ),
        ("lstm", False),
        ("cells", False),
        marked("own cell", False),
    ],
)
def test_a_chunk_that_begins_masked_shows_the_output_before_it(kind, sequences):
    x = masked_sequences(kind).astype("float32")
    timesteps = 2 if kind == "unrolled" else None
    model = masked_model(kind, timesteps, return_sequences=sequences)
    flagged = as_stateful(model, 2, reset_input=True)
    plain = as_stateful(model, 2)
    if timesteps:  # the loop of a stateless copy can have another length
        looped = masked_model("gru", None, return_sequences=sequences)
        looped.set_weights(model.get_weights())
        model = looped
    all_outputs = to_numpy(model(x)) if sequences else None
    widths = [None, 1, 2]
    for start, end, width in zip(MASKED_PARTS, MASKED_PARTS[1:], widths, strict=False):
        chunk = x[:, start:end]
        expected = all_outputs[:, start:end] if sequences else to_numpy(model(x[:, :end]))
        reset = np.zeros((2, width), bool) if width else None
        flagged_output = flagged({"sequence": chunk, "reset": reset})
        for actual in (plain(chunk), flagged_output):
            assert_arrays_close([to_numpy(actual)], [expected])


@pytest.mark.parametrize("kind", [marked("lstm"), "lstm, scan", "cells", "own cell", "images"])
def test_a_row_that_is_cleared_has_no_output_before_it(kind):
    x = masked_sequences(kind).astype("float32")
    model = masked_model(kind, None, return_sequences=True)
    expected = np.stack([to_numpy(model(x[:1, 2:]))[0], to_numpy(model(x[1:]))[0, 2:]])
    assert not expected[0][:2].any()
    stateful = as_stateful(model, 2, reset_input=True)
    for width in (1, 2):
        stateful({"sequence": x[:, :2], "reset": np.full((2, 1), True)})
        flags = np.array([[True, False], [False, False]])[:, :width]
        outputs = to_numpy(stateful({"sequence": x[:, 2:], "reset": flags}))
        assert_arrays_close([outputs], [expected])


# -- inputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (plain, [(4, None, FEATURES)]),
        (several_inputs, [(4, None, FEATURES), (4, None), (4, 2)]),
        # These need to know the number of timesteps.
        (lambda: sequential(L.LSTM(3, unroll=True)), [(4, LENGTH, FEATURES)]),
        (lambda: seqkeras.one_to_many(FEATURES, steps=3), [(4, FEATURES)]),
    ],
)
def test_inputs_take_any_number_of_timesteps_where_the_layers_do(make, shapes):
    assert [tensor.shape for tensor in as_stateful(make(), 4).inputs] == shapes


def test_a_reset_input_is_that_of_the_builders():
    ours = as_stateful(seqkeras.many_to_one(FEATURES, units=3), 4, reset_input=True)
    theirs = seqkeras.many_to_one(FEATURES, units=3, stateful=True, reset_input=True, batch_size=4)
    for name in ("sequence", "reset"):
        one, other = ours.input[name], theirs.input[name]
        assert (one.shape, one.dtype, one.name) == (other.shape, other.dtype, other.name)
    one, other = (model.get_layer("reset").optional for model in (ours, theirs))
    assert one is other is True
    answer = ours({"sequence": random_array(4, 1, FEATURES), "reset": None})
    assert answer.shape == (4, 1)
    several = as_stateful(several_inputs(), 4, reset_input=True)
    assert set(several.input) == {"values", "tokens", "static", "reset"}


def test_a_stateful_model_gets_another_batch_size_and_keeps_its_reset_input():
    model = seqkeras.many_to_many(FEATURES, units=3, stateful=True, reset_input=True, batch_size=2)
    model.predict_on_batch({"sequence": X[:2], "reset": np.zeros((2, 1), bool)})
    copy = as_stateful(model, ROWS)
    assert copy.input["sequence"].shape == (ROWS, None, FEATURES)
    assert not any(state.any() for state in get_state(copy).values())
    flags = np.random.default_rng(0).random((ROWS, LENGTH)) < 0.3
    flags[:, 0] = True
    actual = read(copy, X, [4], flags)
    again = read(as_stateful(as_stateless(model), ROWS, reset_input=True), X, [1, 7], flags)
    check_equal(actual, again)


def test_what_a_model_was_compiled_with_stays_with_it():
    model = plain()
    model.compile("adam", lambda y, output: keras.ops.mean(output))
    assert not as_stateful(model, 2).compiled
    assert not as_stateless(model).compiled


def test_frozen_layers_dtypes_and_own_classes_stay():
    class OwnModel(keras.Model):
        pass

    x = keras.Input((LENGTH, FEATURES))
    frozen = L.LSTM(3, trainable=False, dtype="mixed_float16", return_sequences=True)
    model = OwnModel(x, L.Dense(1)(frozen(x)))
    copy = as_stateful(model, ROWS)
    assert isinstance(copy, OwnModel)
    assert [len(one.trainable_weights) for one in (model, copy)] == [2, 2]
    assert copy.layers[1].compute_dtype == "float16"
    model.trainable = False
    assert not as_stateless(copy).layers[1].trainable
    assert not as_stateful(model, ROWS).trainable_weights


def test_a_layer_that_forgets_its_arguments_is_still_made_stateful():
    model = sequential(OwnRNN(3))
    if keras.backend.backend() == "jax":
        pytest.skip("its state is forgotten there")
    check_equal(read(as_stateful(model, ROWS), X, [3]), outputs_of(model, X))


@pytest.mark.backends
def test_jax_forgets_the_state_of_a_class_of_ones_own_and_a_warning_says_so():
    model = sequential(OwnRNN(3))
    if keras.backend.backend() != "jax":
        as_stateful(model, ROWS)
        return
    with pytest.warns(ForgottenStateWarning, match=r"On JAX, .* Derive its class from seqkeras"):
        copy = as_stateful(model, ROWS)
    assert np.abs(read(copy, X, [3])[0] - outputs_of(model, X)[0]).max() > 1e-3


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["functional", "images", marked("nested")])
def test_states_survive_a_file_where_asked(kind, tmp_path):
    model, values = shared_model(kind), MODELS[kind][1]
    expected = outputs_of(model, values)
    for saved in (True, False):
        stateful = as_stateful(model, ROWS, save_state=saved)
        first = in_time(values, 0, 3)
        outputs_of(stateful, first)
        stateful.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        state = get_state(loaded)
        assert state.keys() == get_state(stateful).keys()
        assert any(one.any() for one in state.values()) is saved
        if saved:
            rest = outputs_of(loaded, in_time(values, 3, LENGTH))
            ends = [one[:, 3:] if one.ndim > 2 else one for one in expected]
            check_equal(rest, ends)


# -- refusals ------------------------------------------------------------------------------------


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.memory = L.LSTM(3)

    def call(self, x):
        return self.memory(x)


class Composite(L.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.memory = L.LSTM(3, name="hidden")

    def call(self, x):
        return self.memory(x)


class Centered(L.Layer):
    """Subtracts the mean over time."""

    def call(self, x):
        return x - keras.ops.mean(x, axis=1, keepdims=True)


class Places(L.Layer):
    """Adds a weight for each timestep."""

    def build(self, shape):
        self.places = self.add_weight(shape=shape[1:], initializer="random_normal")

    def call(self, x):
        return x + self.places


class Unmade(L.Layer):
    def __init__(self, needed, **options):
        super().__init__(**options)

    def get_config(self):
        return {"name": self.name}

    def call(self, x):
        return x


def given_a_state():
    x = keras.Input((LENGTH, FEATURES))
    _, h, c = L.LSTM(3, return_state=True, name="first")(x)
    return keras.Model(x, L.LSTM(3, name="second")(x, initial_state=[h, c]))


def called_twice(layer):
    x, y = keras.Input((LENGTH, FEATURES)), keras.Input((LENGTH, FEATURES))
    return keras.Model([x, y], L.Add()([layer(x), layer(y)]))


def of_eight_rows():
    x = keras.Input(batch_shape=(8, LENGTH, FEATURES))
    y = L.LSTM(3, return_sequences=True)(x)
    return keras.Model(x, y + np.ones((8, LENGTH, 3), "float32"))


def subclass_inside():
    model = Subclassed()
    x = keras.Input((LENGTH, FEATURES))
    return keras.Model(x, model(x))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Subclassed, r"model must be functional or Sequential. Got: model='Subclassed'. The call"),
        (lambda: L.LSTM(3), r"model must be a keras.Model. Got: model='LSTM'"),
        (
            lambda: keras.Sequential([L.LSTM(3)], name="bare"),
            r"model must be built. Got: model='bare'. Give it an Input as its first layer",
        ),
        (lambda: sequential(L.Dense(1), name="m"), r"with recurrent layers. Got: model='m'"),
        (
            lambda: sequential(L.TimeDistributed(L.LSTM(2)), shape=(4, 3)),
            r"has no recurrent layer that runs over the time axis",
        ),
        (
            lambda: sequential(L.Bidirectional(L.LSTM(3), name="both")),
            r"Layer 'both' \(Bidirectional\): its backward direction starts at the end",
        ),
        (
            lambda: sequential(sequential(L.GRU(2, go_backwards=True, name="back"))),
            r"Layer 'back' \(GRU\): go_backwards=True starts at the end of a sequence",
        ),
        (given_a_state, r"Layer 'second' \(LSTM\): each call gets its state from other"),
        (
            lambda: sequential(Centered(name="mine"), L.LSTM(3)),
            r"Tried out: in chunks of timesteps it returns other values .* one of 'mine'",
        ),
        (
            lambda: sequential(Places(name="mine"), L.LSTM(3)),
            rf"Tried out: it can only read {LENGTH} timesteps at once.* one of 'mine'",
        ),
        (
            lambda: sequential(L.Lambda(lambda x: x[:, 1:], name="mine"), L.LSTM(3)),
            r"Layer 'mine' \(Lambda\): it changes the number of timesteps",
        ),
        (
            lambda: called_twice(L.LSTM(3, name="twice")),
            r"without shared recurrent layers. .* Layer 'twice' \(LSTM\): it is called more than",
        ),
        (
            lambda: called_twice(sequential(L.LSTM(3), name="within")),
            r"Layer 'within' \(Sequential\): it is called more than once",
        ),
        (
            lambda: sequential(Composite(name="mine")),
            r"Layer 'mine' \(Composite\): it decides how 'hidden' \(LSTM\) inside it",
        ),
        (subclass_inside, r"\(Subclassed\): its own call\(\) decides how 'lstm"),
        (
            lambda: sequential(Unmade(1, name="u"), L.LSTM(3)),
            r"Layer 'u' \(Unmade\): it cannot be recreated from its config",
        ),
        (of_eight_rows, r"one that can be called with batch_size=3. .* layer 'add"),
    ],
)
def test_what_cannot_be_stateful_is_refused(make, words):
    with pytest.raises(ArgumentError, match=words):
        as_stateful(make(), 3)


# What sees more than the timesteps so far, before the recurrent layer or after it.
NOT_CONTINUED = {
    "causal convolution": (lambda: [L.Conv1D(2, 2, padding="causal"), MEMORY()], "several timeste"),
    "same convolution": (lambda: [L.Conv1D(2, 3, padding="same"), MEMORY()], "several timesteps"),
    "softmax over time": (lambda: [L.Softmax(axis=1), MEMORY()], "along the time axis"),
    "weights for each timestep": (lambda: [L.PReLU(), MEMORY()], "weights for each timestep"),
    "pooling": (lambda: [MEMORY(), L.GlobalAveragePooling1D()], "pools over timesteps"),
    "group normalization": (lambda: [L.GroupNormalization(1), MEMORY()], "normalizes over times"),
    "flatten": (lambda: [MEMORY(), L.Flatten(), L.Dense(1)], "moves or removes the time axis"),
    "permute": (lambda: [MEMORY(), L.Permute((2, 1))], "moves or removes the time axis"),
    "padding": (lambda: [L.ZeroPadding1D(1), MEMORY()], "changes the number of timesteps"),
    "backwards": (lambda: [L.GRU(2, go_backwards=True)], "starts at the end of a sequence"),
    "both ways": (lambda: [L.Bidirectional(MEMORY())], "starts at the end of a sequence"),
    "within a model": (lambda: [sequential(L.Softmax(axis=1), MEMORY())], "along the time axis"),
}


def MEMORY():  # noqa: N802
    return L.LSTM(3, return_sequences=True)


def attention():
    x = keras.Input((LENGTH, FEATURES))
    return keras.Model(x, MEMORY()(L.Attention()([x, x])))


def joined_with_its_end():
    x = keras.Input((LENGTH, FEATURES))
    y, h = L.GRU(3, return_sequences=True, return_state=True)(x)
    return keras.Model(x, y + h[:, None])


def not_continued(kind):
    makers = {"attention": attention, "joined with its end": joined_with_its_end}
    if kind in makers:
        return makers[kind](), {"attention": "all timesteps at once"}.get(kind, "it joins a seq")
    parts, words = NOT_CONTINUED[kind]
    return sequential(*parts()), words


@pytest.mark.parametrize("kind", [*NOT_CONTINUED, "attention", "joined with its end"])
def test_what_cannot_be_continued_is_refused_alike_everywhere(kind, tmp_path):
    model, words = not_continued(kind)
    for use in (
        lambda: as_stateful(model, ROWS),
        lambda: rollout(model, X, 2),
        lambda: save_program(model, tmp_path / "p"),
    ):
        with pytest.raises(ArgumentError, match=words):
            use()


def test_the_last_timestep_and_axes_of_images_can_be_continued():
    x = keras.Input((LENGTH, 4, 3, FEATURES))
    y = L.Conv3D(2, (1, 3, 3), padding="same")(x)
    y = L.MaxPooling3D((1, 2, 2), padding="same")(L.ConvLSTM2D(2, 1, return_sequences=True)(y))
    last = L.Lambda(lambda y: y[:, -1], output_shape=(2, 2, 2))(y)
    model = keras.Model(x, [y, y[:, -1], last])
    check_equal(read(as_stateful(model, ROWS), IMAGES, [1, 6])[:1], outputs_of(model, IMAGES)[:1])
    stateful = as_stateful(model, ROWS)
    parts = [outputs_of(stateful, IMAGES[:, start:end]) for start, end in ((0, 5), (5, 8))]
    check_equal(parts[1][1:], outputs_of(model, IMAGES)[1:])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"batch_size": None}, "batch_size must be an integer >= 1"),
        ({"reset_input": 1}, "reset_input must be True or False"),
        ({"save_state": 1}, "save_state must be True or False"),
    ],
)
def test_wrong_arguments_are_refused(options, words):
    with pytest.raises(ArgumentError, match=words):
        as_stateful(plain(), **{"batch_size": 1, **options})


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("reset_input", r"reset_input must be False for layer 'mine' \(OwnRNN\), which takes no"),
        ("save_state", r"save_state must be False for layer 'mine' \(OwnRNN\), which cannot save"),
    ],
)
def test_a_class_of_ones_own_is_not_asked_for_what_it_cannot_do(option, words):
    with pytest.raises(ArgumentError, match=words):
        as_stateful(sequential(OwnRNN(3, name="mine")), 2, **{option: True})


def test_what_reads_backwards_is_made_stateless_all_the_same():
    inner = L.LSTM(2, stateful=True, return_sequences=True)
    x = keras.Input(batch_shape=(ROWS, LENGTH, FEATURES))
    y = L.GRU(3, stateful=True, go_backwards=True)(L.Bidirectional(inner)(x))
    model = keras.Model(x, y)
    copy = as_stateless(model)
    first = outputs_of(copy, X)
    check_equal(outputs_of(copy, X), first)
    check_equal(outputs_of(model, X), first)
    assert np.abs(outputs_of(model, X)[0] - first[0]).max() > 1e-3
    assert outputs_of(copy, X[:1])[0].shape == (1, 3)


def test_a_model_that_saves_its_state_is_converted_without_it():
    model = as_stateful(seqkeras.many_to_one(2, units=3), 2, save_state=True)
    model(np.ones((2, 4, 2), "float32"))
    for copy in (
        as_stateless(model),
        as_stateful(model, 5),
        as_stateful(model, 2, save_state=True),
    ):
        assert_arrays_equal(copy.get_weights(), model.get_weights())
    assert not any(state.any() for state in get_state(copy).values())


def test_a_cell_that_is_used_twice_stays_one():
    cell = L.GRUCell(FEATURES)
    model = randomized(sequential(L.RNN([cell, cell], return_sequences=True)))
    stateful = as_stateful(model, ROWS)
    assert len(stateful.weights) == len(model.weights) == 3
    check_equal(read(stateful, X, [3]), outputs_of(model, X))


def test_a_recurrent_layer_at_several_places_is_refused_by_name():
    layer = L.GRU(2, name="both")
    x = keras.Input((LENGTH, FEATURES))
    y = L.TimeDistributed(keras.Sequential([L.Reshape((1, FEATURES)), layer]))(x)
    model = keras.Model(x, layer(y))
    with pytest.raises(ArgumentError, match=r"'both' .*it is used in several places"):
        as_stateful(model, ROWS)


class Forgetful(L.Layer):
    """Its config omits how many layers it has."""

    def __init__(self, count=1, **options):
        super().__init__(**options)
        self.parts = [L.Dense(2) for _ in range(count)]

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x

    def get_config(self):
        return super().get_config()


@pytest.mark.parametrize("convert", [lambda model: as_stateful(model, ROWS), seqkeras.accelerate])
def test_a_copy_with_other_layers_within_it_is_refused_in_words(convert):
    model = sequential(Forgetful(3, name="forgetful"), L.GRU(2))
    words = r"'forgetful' \(Forgetful\) has 3 layers within it, and its copy 1; its config must"
    with pytest.raises(ArgumentError, match=words):
        convert(model)
