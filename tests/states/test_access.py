"""The state of a model as named arrays."""

import contextlib
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import seqkeras
from helpers.examples import examples
from seqkeras import _archive, layers
from seqkeras.errors import ArgumentError, FileFormatError, ForgottenStateWarning
from seqkeras.states import (
    as_stateful,
    as_stateless,
    get_state,
    keep_state,
    load_state,
    reset_state,
    save_state,
    set_state,
)

L = keras.layers
ROWS, FEATURES = 3, 2
X = np.random.default_rng(1).normal(size=(ROWS, 6, FEATURES)).astype("float32")


def sequential(*parts, rows=ROWS, shape=(FEATURES,), **options):
    return keras.Sequential([keras.Input(batch_shape=(rows, None, *shape)), *parts], **options)


def of_all_kinds(rows=ROWS):
    """Stacked cells in a model in a model, with layers of ours and of Keras beside it."""
    cells = [L.LSTMCell(3), L.GRUCell(2), keras.layers.SimpleRNNCell(4)]
    inner = sequential(
        layers.RNN(cells, stateful=True, return_sequences=True, name="rnn"), rows=rows, name="inner"
    )
    encoder = sequential(inner, L.Dense(FEATURES), rows=rows, name="encoder")
    x = keras.Input(batch_shape=(rows, None, FEATURES), name="inputs")
    y = layers.LSTM(3, stateful=True, return_sequences=True, name="recurrent_1")(encoder(x))
    y = layers.GRU(2, stateful=True, return_sequences=True, name="recurrent_2")(y)
    return keras.Model(x, layers.RNN(L.SimpleRNNCell(2), stateful=True, name="last")(y))


SHAPES = {
    "encoder/inner/rnn/0/h": (ROWS, 3),
    "encoder/inner/rnn/0/c": (ROWS, 3),
    "encoder/inner/rnn/1/h": (ROWS, 2),
    "encoder/inner/rnn/2/h": (ROWS, 4),
    "recurrent_1/h": (ROWS, 3),
    "recurrent_1/c": (ROWS, 3),
    "recurrent_2/h": (ROWS, 2),
    "last/h": (ROWS, 2),
}


def shapes(state):
    return {name: array.shape for name, array in state.items()}


def check_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return of_all_kinds()


@pytest.fixture
def read(model):
    """The model after it has read something."""
    reset_state(model)
    model.predict_on_batch(X)
    return model


@pytest.mark.backends
def test_each_state_has_a_name(read):
    state = get_state(read)
    assert shapes(state) == SHAPES
    assert all(np.abs(array).max() > 1e-3 for array in state.values())


def test_names_stay_through_conversions_and_files(model, tmp_path):
    again = as_stateful(as_stateless(model), ROWS, reset_input=True)
    assert shapes(get_state(again)) == SHAPES
    model.save(tmp_path / "model.keras")
    assert shapes(get_state(keras.saving.load_model(tmp_path / "model.keras"))) == SHAPES


@pytest.mark.backends
def test_a_state_that_is_put_back_gives_the_same_outputs(read):
    state = get_state(read)
    expected = read.predict_on_batch(X)
    assert np.abs(read.predict_on_batch(X) - expected).max() > 1e-4
    set_state(read, state)
    np.testing.assert_allclose(read.predict_on_batch(X), expected, atol=1e-6)
    state["last/h"][:] = 99  # a copy
    assert get_state(read)["last/h"].max() < 99


def test_h_and_c_are_those_that_the_layer_gives():
    layer = layers.LSTM(3, stateful=True, return_state=True, name="lstm")
    model = sequential(layers.GRU(2, stateful=True, return_sequences=True))
    _, h, c = layer(model(X))
    x = keras.Input(batch_shape=X.shape)
    whole = keras.Model(x, layer(x[..., :2]))
    state = get_state(whole)
    np.testing.assert_allclose(state["lstm/h"], keras.ops.convert_to_numpy(h), atol=1e-6)
    np.testing.assert_allclose(state["lstm/c"], keras.ops.convert_to_numpy(c), atol=1e-6)


class ThreeStates(L.LSTMCell):
    """An LSTM that also counts."""

    def __init__(self, units, **options):
        super().__init__(units, **options)
        self.state_size = [units, units, 1]

    def call(self, inputs, states, training=False):
        output, after = super().call(inputs, states[:2], training=training)
        return output, [*after, states[2] + 1]

    def get_initial_state(self, batch_size=None):
        count = keras.ops.full((batch_size, 1), 7.0)
        return [*super().get_initial_state(batch_size)[:2], count]


def test_states_of_other_cells_are_numbered_and_cleared_to_their_own_beginning():
    model = sequential(layers.RNN(ThreeStates(2), stateful=True, name="own"))
    model.predict_on_batch(X)
    assert list(get_state(model)) == ["own/0", "own/1", "own/2", "own/output"]
    assert get_state(model)["own/2"][:, 0].tolist() == [13, 13, 13]
    reset_state(model, rows=1)
    assert get_state(model)["own/2"][:, 0].tolist() == [13, 7, 13]
    model.predict_on_batch(X)
    reset_state(model)
    assert get_state(model)["own/2"][:, 0].tolist() == [7, 7, 7]


def test_convolutions_of_keras_have_h_and_c_too():
    conv = L.ConvLSTM1D(2, 2, padding="same", stateful=True, name="conv")
    model = sequential(conv, shape=(4, FEATURES))
    assert shapes(get_state(model)) == {"conv/h": (ROWS, 4, 2), "conv/c": (ROWS, 4, 2)}
    set_state(model, {name: np.ones((ROWS, 4, 2)) for name in ("conv/h", "conv/c")})
    reset_state(model, rows=[True, False, True])
    assert get_state(model)["conv/c"][:, 0, 0].tolist() == [0, 1, 0]


@pytest.mark.backends
def test_layers_of_keras_work_as_well():
    inner = L.LSTM(3, stateful=True, return_sequences=True, name="inner")
    model = sequential(L.Bidirectional(inner, name="both"), L.GRU(2, stateful=True, name="gru"))
    model(X)
    forgotten = pytest.warns(ForgottenStateWarning, match="both/forward_inner.*as_stateful")
    with forgotten if keras.backend.backend() == "jax" else contextlib.nullcontext():
        state = get_state(model)
    names = ["both/forward_inner/h", "both/forward_inner/c"]
    names += ["both/backward_inner/h", "both/backward_inner/c", "gru/h"]
    assert list(state) == names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ForgottenStateWarning)
        reset_state(model)
        assert not any(array.any() for array in get_state(model).values())
        set_state(model, state)
        check_equal(get_state(model), state)


def test_layers_of_one_name_are_told_apart():
    class Pair(L.Layer):
        def __init__(self):
            super().__init__(name="pair")
            self.first = layers.GRU(2, stateful=True, return_sequences=True, name="gru")
            self.second = layers.GRU(1, stateful=True, name="gru")

        def build(self, shape):
            self.first.build(shape)
            self.second.build((*shape[:-1], 2))

        def call(self, x):
            return self.second(self.first(x))

    model = sequential(Pair())
    assert shapes(get_state(model)) == {"pair/gru/h": (ROWS, 2), "pair/gru_2/h": (ROWS, 1)}


@examples(7)
@given(flags=st.lists(st.booleans(), min_size=ROWS, max_size=ROWS), mask=st.booleans())
def test_the_rows_that_are_named_are_cleared_and_no_others(model, flags, mask):
    full = {name: np.ones(shape, "float32") for name, shape in SHAPES.items()}
    set_state(model, full)
    reset_state(model, rows=flags if mask else np.flatnonzero(flags))
    for array in get_state(model).values():
        np.testing.assert_array_equal(array.any(axis=1), ~np.array(flags))


@pytest.mark.parametrize("rows", [3, -1, [0, 3], [True], [[0]], 1.0, "all", [True] * 4])
def test_rows_that_are_not_there_are_refused(model, rows):
    with pytest.raises(ArgumentError, match="rows must be integers from 0 to 2, or 3 booleans"):
        reset_state(model, rows=rows)


def test_no_rows_are_no_rows(read):
    before = get_state(read)
    reset_state(read, rows=[])
    check_equal(get_state(read), before)


def without(state, name):
    return {one: array for one, array in state.items() if one != name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda state: without(state, "last/h"),
            r"Missing: \['last/h'\]",
        ),
        (
            lambda state: {**without(state, "last/h"), "lst/h": 1, "b": 2},
            r"Missing: \['last/h'\]. Unknown: \['lst/h', 'b'\]. Did you mean 'last/h'\?",
        ),
        (
            lambda state: {**state, "last/h": np.zeros((4, 2))},
            r"state\['last/h'\] must be of shape \(3, 2\). Got: .*\(4, 2\). Its first number is",
        ),
        (
            lambda state: {**state, "last/h": np.zeros((3, 5))},
            r"state\['last/h'\] must be of shape \(3, 2\). Got: state\['last/h'\]=\(3, 5\)\.$",
        ),
        (
            lambda state: {**state, "last/h": [["a", "b"]] * 3},
            r"state\['last/h'\] must be an array of numbers. Got: state\['last/h'\]=dtype",
        ),
        (
            lambda state: {**state, "last/h": np.ma.masked_array(state["last/h"], mask=True)},
            r"state\['last/h'\] must be an array without a mask. Got: a masked array",
        ),
        (lambda state: list(state.values()), "state must be a dict of arrays by name. Got: .*list"),
    ],
)
def test_a_state_of_another_model_is_refused_and_nothing_is_written(read, change, words):
    before = get_state(read)
    wrong = change({name: array + 1 for name, array in before.items()})
    with pytest.raises(ArgumentError, match=words):
        set_state(read, wrong)
    check_equal(get_state(read), before)


def unbuilt():
    return keras.Sequential([L.LSTM(3, stateful=True, name="lstm")])


@pytest.mark.parametrize("use", [get_state, reset_state, lambda model: set_state(model, {})])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: L.LSTM(3), "model must be a keras.Model. Got: model='LSTM'"),
        (lambda: seqkeras.next_step(2, name="m"), "model must be stateful. .*'m'. .*as_stateful"),
        (unbuilt, "model must be built. .* Layer 'lstm' has no state yet"),
    ],
)
def test_a_model_without_states_is_refused(use, make, words):
    with pytest.raises(ArgumentError, match=words):
        use(make())


# -- files ---------------------------------------------------------------------------------------


def test_a_file_brings_a_state_back(read, tmp_path):
    state = get_state(read)
    save_state(read, tmp_path / "a.state")
    reset_state(read)
    load_state(read, tmp_path / "a.state")
    check_equal(get_state(read), state)
    archive = _archive.read_archive(tmp_path / "a.state", kind="seqkeras.State", version=1)
    assert archive.header == {"model": read.name}


def test_a_file_of_another_model_or_kind_is_refused(read, tmp_path):
    save_state(of_all_kinds(rows=2), tmp_path / "a.state")
    before = get_state(read)
    with pytest.raises(ArgumentError, match=r"must be of shape \(3, 3\). Got: .*\(2, 3\)"):
        load_state(read, tmp_path / "a.state")
    check_equal(get_state(read), before)
    (tmp_path / "b.state").write_bytes((tmp_path / "a.state").read_bytes()[:-3])
    with pytest.raises(FileFormatError, match=r"b\.state is not a seqkeras\.State file"):
        load_state(read, tmp_path / "b.state")
    with pytest.raises(ArgumentError, match="path must be a file in a folder that exists"):
        save_state(read, tmp_path / "no" / "a.state")


# -- keeping -------------------------------------------------------------------------------------


@pytest.mark.backends
def test_a_state_is_kept_through_an_evaluation():
    model = seqkeras.many_to_one(
        FEATURES, units=4, stateful=True, reset_input=True, batch_size=ROWS
    )
    model.compile("sgd", "mse")
    flags, y = np.zeros((ROWS, 1), bool), np.ones((ROWS, 1))
    model.fit({"sequence": X, "reset": flags}, y, batch_size=ROWS, shuffle=False, verbose=0)
    state = get_state(model)
    with keep_state(model) as kept:
        model.evaluate({"sequence": X, "reset": ~flags}, y, batch_size=ROWS, verbose=0)
        assert np.abs(get_state(model)["recurrent_1/h"] - kept["recurrent_1/h"]).max() > 1e-4
    check_equal(get_state(model), state)


def reset_and_stop(model):
    with keep_state(model):
        reset_state(model)
        raise RuntimeError("stopped")


def test_a_state_is_put_back_after_an_error(read):
    state = get_state(read)
    with pytest.raises(RuntimeError, match="stopped"):
        reset_and_stop(read)
    check_equal(get_state(read), state)


def test_half_precision_comes_as_numpy_knows_it():
    layer = layers.GRU(2, stateful=True, name="gru", dtype="bfloat16", recurrent_initializer="ones")
    model = sequential(layer)
    model.predict_on_batch(X)
    state = get_state(model)
    assert state["gru/h"].dtype == "float32"
    set_state(model, state)
    check_equal(get_state(model), state)


def test_numbers_that_the_state_cannot_hold_are_refused():
    model = seqkeras.next_step(1, units=2, cell="gru", stateful=True, batch_size=1)
    with pytest.raises(ArgumentError, match=r"numbers that float32 can hold"):
        set_state(model, {"recurrent_1/h": [[1e300, 0.0]]})
