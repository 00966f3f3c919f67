"""One step for each of many inputs, all from the same state."""

import keras
import numpy as np
import pytest

from seqkeras import layers, to_keras
from seqkeras.errors import ArgumentError

RANDOM = np.random.default_rng(3)
QUERIES = RANDOM.normal(size=(6, 4, 3)).astype("float32")

LAYERS = {
    "lstm": lambda: layers.LSTM(5),
    "gru": lambda: layers.GRU(5, return_sequences=True, return_state=True),
    "simple_rnn": lambda: layers.SimpleRNN(5, return_state=True),
    "no_bias": lambda: layers.GRU(5, use_bias=False),
    "activations": lambda: layers.LSTM(5, activation="relu", recurrent_activation="hard_sigmoid"),
    # These read copies of the state.
    "reset_before": lambda: layers.GRU(5, reset_after=False),
    "peephole": lambda: layers.LSTM(5, peephole=True),
    "keras": lambda: keras.layers.LSTM(5, return_state=True),
    "cell": lambda: keras.layers.RNN(keras.layers.GRUCell(5)),
}
DIRECT = ("lstm", "gru", "simple_rnn", "no_bias", "activations")


def built(name):
    """A layer of random weights, and a state for 6 rows."""
    layer = LAYERS[name]()
    layer.build(QUERIES.shape)
    layer.set_weights([RANDOM.normal(0, 0.5, one.shape) for one in layer.get_weights()])
    count = len(layer.get_initial_state(1))
    return layer, [RANDOM.normal(size=(6, 5)).astype("float32") for _ in range(count)]


def one_by_one(layer, queries, state):
    """What the layer gives for each timestep alone, by its ordinary call."""
    queries = np.tile(queries, (6 // len(queries), 1, 1))
    steps = []
    for step in range(queries.shape[1]):
        answer = layer(queries[:, step : step + 1], initial_state=state)
        answer = array(answer[0] if isinstance(answer, (list, tuple)) else answer)
        steps.append(answer[:, -1] if layer.return_sequences else answer)
    return np.stack(steps, axis=1)


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.backends
@pytest.mark.parametrize("rows", [6, 2, 1])
@pytest.mark.parametrize("name", LAYERS)
def test_each_timestep_is_the_first_after_the_state(name, rows):
    layer, state = built(name)
    given = [keras.ops.convert_to_tensor(one) for one in (QUERIES[:rows], *state)]
    found = layers.branch(layer, given[0], given[1:])
    expected = one_by_one(layer, QUERIES[:rows], state)
    np.testing.assert_allclose(array(found), expected, atol=2e-6)


@pytest.mark.backends
@pytest.mark.parametrize("rows", [None, 2, 1])
@pytest.mark.parametrize("name", ["lstm", "gru", "cell"])
def test_in_a_model_it_is_kept_by_its_file_and_by_copies(name, rows, tmp_path):
    layer, state = built(name)
    inputs = {f"state_{i}": keras.Input((5,), name=f"state_{i}") for i in range(len(state))}
    inputs["queries"] = keras.Input(batch_shape=(rows, 4, 3), name="queries")
    states = [one for key, one in inputs.items() if key != "queries"]
    model = keras.Model(inputs, layers.branch(layer, inputs["queries"], states))
    assert model.output_shape == (None, 4, 5)
    queries = QUERIES[: rows or 6]
    given = {f"state_{i}": one for i, one in enumerate(state)} | {"queries": queries}
    expected = one_by_one(layer, queries, state)
    model.save(tmp_path / "model.keras")
    plain = to_keras(model)
    assert {type(one).__module__.split(".")[0] for one in plain.layers} == {"keras"}
    for copy in (keras.saving.load_model(tmp_path / "model.keras"), plain):
        np.testing.assert_allclose(array(copy(given)), expected, atol=2e-6)


@pytest.mark.backends
def test_in_half_precision_it_stays_there():
    layer = layers.GRU(5, dtype="mixed_bfloat16")
    state = [keras.ops.zeros((6, 5))]
    assert keras.backend.standardize_dtype(layer(QUERIES, state, branch=True).dtype) == "bfloat16"


def test_dropout_is_drawn_for_each_step_by_itself():
    """Copies of a query are answered alike outside of training alone."""
    layer = layers.GRU(32, dropout=0.5)
    queries = keras.ops.ones((1, 2, 8))
    state = [keras.ops.ones((1, 32))]
    inputs = [keras.Input(batch_shape=(1, 2, 8)), keras.Input(batch_shape=(1, 32))]
    model = keras.Model(inputs, layers.branch(layer, inputs[0], inputs[1:]))
    first, second = array(model([queries, *state]))[0]
    np.testing.assert_array_equal(first, second)
    first, second = array(model([queries, *state], training=True))[0]
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        ("lstm", {"initial_state": None}, "initial_state must be given where branch=True"),
        ("lstm", {"mask": np.ones((6, 4), bool)}, "mask must be left away where branch=True"),
        ("lstm", {"reset": np.ones((6, 4), bool)}, "reset must be left away where branch=True"),
        ("reset_before", {}, "Here GRUCell is none of LSTM, GRU with reset_after"),
        ("peephole", {}, "Here it has peephole"),
    ],
    ids=["no state", "mask", "reset", "another cell", "a variant"],
)
def test_what_cannot_work_is_refused(layer, options, message):
    layer, state = built(layer)
    with pytest.raises(ArgumentError, match=message):
        layer(QUERIES, **{"initial_state": state, "branch": True, **options})
