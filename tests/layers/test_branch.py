"""One step for each of many inputs, all from the same state."""

import keras
import numpy as np
import pytest

from helpers.models import assert_close, built, randomized, to_numpy
from seqkeras import accelerate, layers, to_keras
from seqkeras.errors import ArgumentError

RANDOM = np.random.default_rng(3)
QUERIES = RANDOM.normal(size=(6, 4, 3)).astype("float32")

LAYERS = {
    "lstm": lambda: layers.LSTM(5),
    "gru": lambda: layers.GRU(5, return_sequences=True, return_state=True),
    "simple_rnn": lambda: layers.SimpleRNN(5, return_state=True),
    "no_bias": lambda: layers.GRU(5, use_bias=False),
    "lstm_without": lambda: layers.LSTM(5, use_bias=False),
    "backwards": lambda: layers.LSTM(5, go_backwards=True),
    "activations": lambda: layers.LSTM(5, activation="relu", recurrent_activation="hard_sigmoid"),
    # These run from copies of the state.
    "reset_before": lambda: layers.GRU(5, reset_after=False),
    "peephole": lambda: layers.LSTM(5, peephole=True),
    "keras": lambda: keras.layers.LSTM(5, return_state=True),
    "cell": lambda: keras.layers.RNN(keras.layers.GRUCell(5)),
    "dropout": lambda: layers.GRU(5, dropout=0.5),
}


def layer_and_state(name):
    """Return a layer with random weights, and a state for 6 rows."""
    layer = randomized(built(LAYERS[name](), QUERIES.shape))
    count = len(layer.state_size) if isinstance(layer.state_size, (list, tuple)) else 1
    return layer, [tensor(RANDOM.normal(size=(6, 5))) for _ in range(count)]


def tensor(x):
    return keras.ops.convert_to_tensor(x, "float32")


def one_by_one(layer, queries, state):
    """Return the output for each timestep by itself, from ordinary calls of the layer."""
    queries = np.tile(queries, (6 // len(queries), 1, 1))
    steps = []
    for step in range(queries.shape[1]):
        outputs = layer(queries[:, step : step + 1], initial_state=state)
        output = to_numpy(outputs[0] if isinstance(outputs, (list, tuple)) else outputs)
        steps.append(output[:, -1] if layer.return_sequences else output)
    return np.stack(steps, axis=1)


ON_BACKENDS = ("lstm", "gru", "simple_rnn", "reset_before", "keras")


@pytest.mark.parametrize("rows", [6, 2, 1])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.backends] if name in ON_BACKENDS else [])
        for name in LAYERS
    ],
)
def test_each_timestep_is_the_first_after_the_state(name, rows):
    layer, state = layer_and_state(name)
    actual = layers.branch(layer, tensor(QUERIES[:rows]), state)
    assert_close(actual, one_by_one(layer, QUERIES[:rows], state))


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("lstm", 2),
        pytest.param("gru", None, marks=pytest.mark.backends),
        ("gru", 1),
        ("cell", 1),
    ],
)
def test_files_and_copies_of_a_model_keep_it(name, rows, tmp_path):
    layer, state = layer_and_state(name)
    inputs = {f"state_{i}": keras.Input((5,), name=f"state_{i}") for i in range(len(state))}
    inputs["queries"] = keras.Input(batch_shape=(rows, 4, 3), name="queries")
    states = [inputs[f"state_{i}"] for i in range(len(state))]
    model = keras.Model(inputs, layers.branch(layer, inputs["queries"], states))
    assert model.output_shape == (None, 4, 5)
    queries = QUERIES[: rows or 6]
    batch = {f"state_{i}": part for i, part in enumerate(state)} | {"queries": tensor(queries)}
    expected = one_by_one(layer, queries, state)
    model.save(tmp_path / "model.keras")
    plain = to_keras(model)
    assert {type(part).__module__.split(".")[0] for part in plain.layers} == {"keras"}
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for copy in (loaded, plain, accelerate(model), accelerate(plain)):
        assert_close(copy(batch), expected)


def test_the_state_may_be_a_positional_argument():
    queries, state = keras.Input((4, 3)), keras.Input((5,))
    model = keras.Model([queries, state], layers.GRU(5)(queries, [state], branch=True))
    batch = [QUERIES, np.ones((6, 5), "float32")]
    assert_close(to_keras(model)(batch), model(batch))


class Tree(keras.layers.Layer):
    """A layer of the user's own, with an argument of that name."""

    def call(self, x, branch=False):
        return -x if branch else x


def test_branches_of_other_layers_do_not_change():
    x = keras.Input((4, 3))
    model = keras.Model(x, layers.LSTM(5)(Tree()(x, branch=True)))
    assert_close(to_keras(model)(QUERIES), model(QUERIES))


@pytest.mark.parametrize(
    "name", ["lstm", pytest.param("gru", marks=pytest.mark.backends), "simple_rnn"]
)
def test_training_goes_as_with_copies(name):
    """Compare the weights of two models after three steps; one runs from copies of the state."""
    layer, state = layer_and_state(name)
    inputs = [keras.Input(batch_shape=(1, 4, 3)), *(keras.Input((5,)) for _ in state)]
    states = [keras.layers.Rescaling(2.0)(state_input) for state_input in inputs[1:]]
    queries = keras.layers.EinsumDense("rtf,fg->rtg", (4, 3))(inputs[0])
    direct = keras.Model(inputs, layers.branch(layer, queries, states))
    copies = to_keras(direct)
    batch = [QUERIES[:1], *(to_numpy(part) for part in state)]
    target = RANDOM.normal(size=(6, 4, 5)).astype("float32")
    for model, eagerly in ((direct, False), (copies, keras.backend.backend() == "tensorflow")):
        model.compile(keras.optimizers.SGD(0.5), "mse", jit_compile=False, run_eagerly=eagerly)
        for _ in range(3):
            model.train_on_batch(batch, target)
    assert_close(direct.get_weights(), copies.get_weights(), tolerance=1e-5)


@pytest.mark.backends
@pytest.mark.parametrize("name", ["gru", "reset_before"])
def test_no_rows_give_no_rows(name):
    layer, state = layer_and_state(name)
    outputs = layers.branch(layer, tensor(QUERIES[:0]), [part[:0] for part in state])
    assert tuple(outputs.shape) == (0, 4, 5)


@pytest.mark.backends
def test_half_precision_stays_half_precision():
    layer = layers.GRU(5, dtype="mixed_bfloat16")
    state = [keras.ops.zeros((6, 5))]
    assert keras.backend.standardize_dtype(layer(QUERIES, state, branch=True).dtype) == "bfloat16"


def test_dropout_is_drawn_for_each_step_by_itself():
    """Equal queries have equal outputs only outside of training."""
    layer = layers.GRU(32, dropout=0.5)
    queries = keras.ops.ones((1, 2, 8))
    state = [keras.ops.ones((1, 32))]
    inputs = [keras.Input(batch_shape=(1, 2, 8)), keras.Input(batch_shape=(1, 32))]
    model = keras.Model(inputs, layers.branch(layer, inputs[0], inputs[1:]))
    first, second = to_numpy(model([queries, *state]))[0]
    np.testing.assert_array_equal(first, second)
    first, second = to_numpy(model([queries, *state], training=True))[0]
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        ("lstm", {"initial_state": None}, "initial_state must be a list of 2 arrays"),
        ("lstm", {"mask": np.ones((6, 4), bool)}, "mask must be omitted where branch=True"),
        ("lstm", {"reset": np.ones((6, 4), bool)}, "reset must be omitted where branch=True"),
        ("reset_before", {}, "Here GRUCell is not an LSTM, a GRU with reset_after=True"),
        ("peephole", {}, "Here it has peephole"),
    ],
    ids=["no state", "mask", "reset", "another cell", "a variant"],
)
def test_what_a_layer_cannot_do_in_its_call_is_refused(layer, options, message):
    layer, state = layer_and_state(layer)
    with pytest.raises(ArgumentError, match=message):
        layer(QUERIES, **{"initial_state": state, "branch": True, **options})


@pytest.mark.parametrize("name", ["lstm", "keras"])
@pytest.mark.parametrize(
    ("queries", "take", "message"),
    [
        (QUERIES, lambda h, c: [h], "initial_state must be a list of 2 arrays"),
        (QUERIES, lambda h, c: h, "initial_state must be a list of 2 arrays"),
        (QUERIES[:4], lambda h, c: [h, c], "queries must be an array whose number of rows divides"),
        (QUERIES[..., :2], lambda h, c: [h, c], "queries must be an array with 3 features"),
        (QUERIES[:, 0], lambda h, c: [h, c], r"queries must be \(rows, timesteps, features\)"),
    ],
    ids=["one array", "no list", "rows", "features", "no timesteps"],
)
def test_what_is_not_a_branch_is_refused(name, queries, take, message):
    layer, state = layer_and_state(name)
    with pytest.raises(ArgumentError, match=message):
        layers.branch(layer, queries, take(*state))


@pytest.mark.parametrize("kind", [layers.GRU, keras.layers.GRU])
def test_stateful_layers_are_refused(kind):
    layer = kind(5, stateful=True)
    with pytest.raises(ArgumentError, match="layer must be a layer that is not stateful"):
        layers.branch(layer, QUERIES, [np.zeros((6, 5))])
    assert layer.states is None
