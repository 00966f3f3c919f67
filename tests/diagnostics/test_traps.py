"""Every trap goes wrong here first, and is then found."""

import inspect

import keras
import numpy as np
import pytest

import seqkeras
from helpers.models import randomized, to_numpy
from seqkeras import layers
from seqkeras.diagnostics import Trap, find_traps
from seqkeras.errors import ArgumentError
from seqkeras.states import as_stateful, as_stateless, get_state, reset_state
from seqkeras.windows import StatefulBatches, Windows, WindowSpec

L = keras.layers
ROWS, FEATURES = 2, 3
X = np.random.default_rng(0).normal(size=(ROWS, 6, FEATURES)).astype("float32")
BACKEND = keras.backend.backend()


def model_of(*parts, rows=ROWS, shape=(None, FEATURES)):
    x = y = keras.Input(batch_shape=(rows, *shape))
    for part in parts:
        y = part(y)
    return keras.Model(x, y, name="model")


def stateful(kind=L.GRU, **options):
    return kind(4, **{"stateful": True, "return_sequences": True, "name": "memory", **options})


def has(model, words, layer="memory"):
    return any(trap.layer == layer and words in trap.problem for trap in find_traps(model))


def in_halves(model, x=X):
    half = x.shape[1] // 2
    parts = [model.predict_on_batch(x[:, :half]), model.predict_on_batch(x[:, half:])]
    return np.concatenate(parts, axis=1)


def differ(one, other):
    return np.abs(np.asarray(one) - np.asarray(other)).max() > 1e-3


def whole_of(model, *parts, **options):
    """What a stateless model of the same weights gives for the whole."""
    twin = model_of(*parts, **options)
    twin.set_weights(model.get_weights())
    return twin.predict_on_batch(X)


@pytest.mark.backends
def test_jax_forgets_states_of_layers_of_keras():
    stock, ours = (model_of(stateful(kind)) for kind in (L.GRU, layers.GRU))
    ours.set_weights(stock.get_weights())
    expected = whole_of(stock, L.GRU(4, return_sequences=True))
    np.testing.assert_allclose(in_halves(ours), expected, atol=1e-5)
    assert differ(in_halves(stock), expected) == (BACKEND == "jax")
    words = "On JAX its state is forgotten"
    assert has(stock, words)
    assert not has(ours, words)
    assert not has(as_stateful(stock, ROWS), words)


@pytest.mark.backends
@pytest.mark.filterwarnings("ignore::seqkeras.errors.ForgottenStateWarning")  # JAX, stock layers
def test_states_are_lost_in_files(tmp_path):
    for kind, saved in ((L.GRU, False), (layers.GRU, False), (layers.GRU, True)):
        model = model_of(stateful(kind, **({"save_state": True} if saved else {})))
        model(X)
        model.save(tmp_path / "model.keras")
        loaded = get_state(keras.saving.load_model(tmp_path / "model.keras"))["memory/h"]
        assert differ(loaded, get_state(model)["memory/h"]) != saved
        assert has(model, "Its state is not in the files") != saved


def test_one_state_serves_all_callers():
    model = model_of(stateful(layers.GRU))
    alone = in_halves(model)
    reset_state(model)
    model.predict_on_batch(X[:, :3])
    model.predict_on_batch(-X[:, :3])  # of someone else
    assert differ(model.predict_on_batch(X[:, 3:]), alone[:, 3:])
    assert has(model, "One state serves all callers", "model")


@pytest.mark.backends
def test_the_number_of_rows_is_fixed():
    for kind in (L.GRU, layers.GRU):
        model = model_of(stateful(kind))
        with pytest.raises(Exception, match=r"batch size|rows|shape"):
            model(np.concatenate([X, X[:1]]))
        assert has(model, "The number of rows is fixed at 2", "model")
    copy = as_stateful(model, 1)
    assert copy.predict_on_batch(X[:1]).shape == (1, 6, 4)


@pytest.mark.parametrize(("kind", "fails"), [(L.GRU, True), (layers.GRU, False)])
def test_export_of_one_row_needs_a_signature_on_tensorflow(kind, fails, tmp_path):
    if BACKEND != "tensorflow":
        pytest.skip("of TensorFlow")
    model = model_of(stateful(kind), rows=1)
    if fails:
        with pytest.raises(ValueError, match="shape_invariants"):
            model.export(tmp_path / "a", verbose=False)
    else:
        model.export(tmp_path / "a", verbose=False)
    signature = [keras.InputSpec(shape=(1, None, FEATURES), dtype="float32")]
    model.export(tmp_path / "b", verbose=False, input_signature=signature)
    served = L.TFSMLayer(tmp_path / "b", call_endpoint="serve")
    assert differ(served(X[:1]), served(X[:1]))  # one hidden state
    assert has(model, "on TensorFlow with one row", "model") == fails
    assert has(model, "model.export fails without an input_signature", "model")


@pytest.mark.backends
@pytest.mark.parametrize("kind", [L.GRU, layers.GRU])
def test_export_needs_a_signature_on_jax(kind, tmp_path):
    if BACKEND != "jax":
        pytest.skip("of JAX")
    model = model_of(stateful(kind))
    with pytest.raises(ValueError, match="batch size"):
        model.export(tmp_path / "a", verbose=False)
    signature = [keras.InputSpec(shape=(ROWS, None, FEATURES), dtype="float32")]
    model.export(tmp_path / "b", verbose=False, input_signature=signature)


def test_some_layers_are_stateful_and_others_are_not():
    model = model_of(stateful(layers.GRU), L.LSTM(3, return_sequences=True, name="other"))
    expected = whole_of(model, L.GRU(4, return_sequences=True), L.LSTM(3, return_sequences=True))
    assert differ(in_halves(model), expected)
    words = "It begins each batch from zeros, while"
    assert has(model, words, "other")
    both = as_stateful(model, ROWS)
    np.testing.assert_allclose(in_halves(both), expected, atol=1e-5)
    assert not has(both, words, "other")


def test_the_backward_direction_cannot_go_on():
    inner = stateful()
    model = model_of(L.Bidirectional(inner, name="both"))
    expected = whole_of(model, L.Bidirectional(L.GRU(4, return_sequences=True)))
    actual = in_halves(model)
    assert differ(actual[..., 4:], expected[..., 4:])
    reset_state(model)
    assert differ(model.predict_on_batch(X[:, 3:])[..., 4:], actual[:, 3:, 4:])
    assert has(model, "Its backward direction begins each batch", "both")
    assert has(model, "It reads each batch backwards", "both/backward_memory")
    assert not has(model, "It reads each batch backwards", "both/forward_memory")


def test_a_layer_that_reads_backwards_cannot_go_on():
    options = {"go_backwards": True, "return_sequences": False}
    model = model_of(stateful(layers.GRU, **options))
    expected = whole_of(model, L.GRU(4, go_backwards=True))
    model.predict_on_batch(X[:, :3])
    assert differ(model.predict_on_batch(X[:, 3:]), expected)
    assert has(model, "It reads each batch backwards")


def test_a_given_initial_state_is_all_that_counts():
    x, start = (keras.Input(batch_shape=shape) for shape in ((ROWS, None, FEATURES), (ROWS, 4)))
    model = keras.Model([x, start], stateful()(x, initial_state=start))
    zeros = np.zeros((ROWS, 4), "float32")
    first = model.predict_on_batch([X, zeros])
    np.testing.assert_array_equal(model.predict_on_batch([X, zeros]), first)
    assert has(model, "It gets an initial_state at each call")


def test_a_shared_layer_carries_its_state_between_its_calls():
    layer = stateful(layers.GRU)
    x, y = (keras.Input(batch_shape=(ROWS, None, FEATURES)) for _ in range(2))
    model = keras.Model([x, y], [layer(x), layer(y)])
    first, second = model.predict_on_batch([X, X])
    assert differ(first, second)
    words = "It is called more than once"
    assert has(model, words)
    assert not has(keras.Model(x, layer(x)), words)  # calls of another model do not count


def test_what_is_distributed_over_time_goes_on_from_timestep_to_timestep():
    inner = stateful(return_sequences=False)
    model = model_of(L.TimeDistributed(inner, name="each"), shape=(3, 6, FEATURES))
    outputs = model.predict_on_batch(np.stack([X] * 3, axis=1))
    assert differ(outputs[:, 0], outputs[:, 1])
    words = "The state of its layer continues from one timestep"
    assert has(model, words, "each")
    stateless = L.TimeDistributed(L.GRU(4), name="each")
    model = model_of(stateless, stateful(layers.GRU), shape=(3, 6, FEATURES))
    assert not has(model, words, "each")
    assert not has(model, "while other layers of the model continue", "each/gru")


@pytest.mark.backends
def test_time_distributed_takes_rows_for_timesteps():
    def lengths(kind):
        model = model_of(kind(L.Dense(2), name="each"))
        return model, [model.predict_on_batch(X[:, :end]).shape[1] for end in (3, 4, 5)]

    model, actual = lengths(L.TimeDistributed)
    wrong = BACKEND == "tensorflow" and "arange(input_shape[0])" in source_of(L.TimeDistributed)
    assert actual == ([3, 2, 2] if wrong else [3, 4, 5])
    words = "Called with different numbers of timesteps, it is wrong"
    assert has(model, words, "each")
    model, actual = lengths(layers.TimeDistributed)
    assert actual == [3, 4, 5]
    assert not has(model, words, "each")
    fixed = model_of(L.TimeDistributed(L.Dense(2), name="each"), shape=(6, FEATURES))
    assert not has(fixed, words, "each")


def source_of(layer):
    return inspect.getsource(layer.call)


@pytest.mark.parametrize(
    "make",
    [
        lambda: L.Conv1D(3, 2, padding="causal", name="wide"),
        lambda: L.AveragePooling1D(2, strides=1, padding="same", name="wide"),
    ],
)
def test_layers_that_see_several_timesteps_miss_those_before_a_batch(make):
    model = model_of(make(), stateful(layers.GRU))
    assert differ(in_halves(model), whole_of(model, make(), L.GRU(4, return_sequences=True)))
    assert has(model, "It does not see one timestep at a time", "wide")
    narrow = model_of(L.Dense(3, name="wide"), L.LayerNormalization(), stateful(layers.GRU))
    assert not has(narrow, "It does not see one timestep at a time", "wide")


def test_what_pools_over_a_batch_does_not_see_the_one_before():
    model = model_of(stateful(layers.GRU), L.GlobalAveragePooling1D(name="pool"))
    whole = whole_of(model, L.GRU(4, return_sequences=True), L.GlobalAveragePooling1D())
    model.predict_on_batch(X[:, :3])
    assert differ(model.predict_on_batch(X[:, 3:]), whole)
    assert has(model, "It cannot be continued from batch to batch: it pools over timesteps", "pool")


@pytest.mark.parametrize("kind", [L.TimeDistributed, layers.TimeDistributed])
def test_time_distributed_loses_the_activity_regularizer_of_its_layer(kind):
    dense = L.Dense(2, activity_regularizer="l2")
    model, plain = model_of(kind(dense, name="each")), model_of(dense)
    words = "The activity_regularizer of its layer is lost"
    for other, losses in ((model, 0), (plain, 1)):
        other(X)
        assert len(other.losses) == losses
        assert has(other, words, "each") == (losses == 0)
    mended = model_of(kind(L.Dense(2), name="each"), L.ActivityRegularization(l2=0.01))
    mended(X)
    assert len(mended.losses) == 1
    assert not has(mended, words, "each")


# -- a model and what it reads -------------------------------------------------------------------

WAVE = np.sin(np.arange(40.0))
CONTINUES = "The state of a row continues from another window"


def many_to_one(rows=2, loss="mse", **options):
    model = seqkeras.many_to_one(1, units=3, stateful=True, batch_size=rows, **options)
    model.compile(keras.optimizers.SGD(0.0), loss, run_eagerly=True)
    return randomized(model, scale=1.0)  # large weights: what is read shows in the outputs


def problems(model, data):
    return [trap.problem for trap in find_traps(model, data)]


@pytest.mark.parametrize(
    ("rows", "stride", "shuffle", "reason"),
    [
        (1, 8, True, "shuffled"),
        (2, 8, False, "the rows of a batch are windows that follow each other"),
        (1, 4, False, "overlap"),
        (1, 12, False, "gap"),
    ],
)
def test_windows_do_not_continue_each_other(rows, stride, shuffle, reason):
    spec = WindowSpec(8, stride=stride)
    windows = Windows(WAVE, spec, batch_size=rows, shuffle=shuffle, seed=1)
    model = many_to_one(rows)
    assert differ(*second_outputs(model, windows))
    assert any(CONTINUES in problem and reason in problem for problem in problems(model, windows))


def second_outputs(model, windows):
    """Return the output for the second batch, and that for the 16 values up to its end."""
    twin = as_stateless(model)
    outputs = [model.predict_on_batch(windows[batch][0])[0] for batch in range(2)]
    second = windows[1][0][:1]
    end = int(np.flatnonzero(np.isclose(WAVE, second[0, -1, 0], atol=1e-6))[0])
    whole = twin.predict_on_batch(WAVE[None, max(0, end - 15) : end + 1, None])[0]
    return outputs[1], whole


def test_windows_that_continue_each_other_are_without_a_trap():
    windows = Windows(WAVE, WindowSpec(8, stride=8), batch_size=1)
    model = many_to_one(1)
    assert not differ(*second_outputs(model, windows))
    assert not any(CONTINUES in problem for problem in problems(model, windows))


@pytest.mark.parametrize("rows", [1, 2])
def test_stateful_batches_continue_each_other(rows):
    model = many_to_one(rows)
    batches = StatefulBatches(WAVE, batch_size=rows, bptt_steps=8, target_rows="last")
    assert not any(CONTINUES in problem for problem in problems(model, batches))


def test_validation_moves_the_state_of_the_training():
    words = "In fit, validation_data moves the state that training continues from."
    batches = StatefulBatches(
        WAVE, batch_size=2, bptt_steps=5, target_rows="last", reset_input=False
    )
    model = many_to_one()
    others = StatefulBatches(
        -WAVE, batch_size=2, bptt_steps=5, target_rows="last", reset_input=False
    )
    states = []
    for validation in (None, others):
        reset_state(model)
        model.fit(batches, shuffle=False, validation_data=validation, verbose=0)
        states.append(get_state(model)["recurrent_1/h"])
    assert differ(*states)
    assert words in problems(model, batches)
    assert words not in problems(as_stateless(model), batches)


def test_targets_that_keras_broadcasts():
    model = many_to_one()
    model(np.zeros((2, 8, 1)))
    wrong = Windows(WAVE, WindowSpec(8), target_rows="next", batch_size=2)
    loss = model.test_on_batch(*wrong[0])
    assert np.isfinite(loss)  # nonsense, without a word
    words = "It has targets (2, 8, 1) for outputs (2, 1): Keras broadcasts them."
    assert words in problems(model, wrong)
    assert words not in problems(model, Windows(WAVE, WindowSpec(8), batch_size=2))
    with pytest.raises(ArgumentError, match="data must be Windows, StatefulBatches or a tuple"):
        find_traps(model, WAVE)


@pytest.mark.filterwarnings("ignore:Layer 'lost' :UserWarning")
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x: keras.ops.multiply(x, 2.0), "multiply"),
        (lambda x: L.Reshape((6, FEATURES), name="lost")(x), "lost"),
        (lambda x: L.Lambda(lambda x: x * 2.0, name="lost")(x), "lost"),
    ],
)
def test_masks_are_lost_on_their_way(make, name):
    def read(part, masking=True):
        x = keras.Input((6, FEATURES))
        y = L.Masking()(x) if masking else x
        return keras.Model(x, L.GRU(4, name="memory")(L.Activation("linear")(part(y))))

    model, right, without = read(make), read(L.Rescaling(2.0)), read(make, masking=False)
    padded = X * (np.arange(6) < 3)[:, np.newaxis]
    for other in (right, without):
        other.set_weights(model.get_weights())
    actual = to_numpy(model(padded))
    np.testing.assert_allclose(actual, to_numpy(without(padded)), atol=1e-6)
    if name == "multiply":
        assert differ(actual, to_numpy(right(padded)))
    (trap,) = find_traps(model)
    assert trap.layer.startswith(name)
    assert trap.problem == "A mask ends here: 'memory' reads padding as data."
    assert find_traps(right) == find_traps(without) == []


def test_a_mask_ends_where_a_sequence_becomes_a_vector():
    x = keras.Input((6, FEATURES))
    y = L.GRU(4, name="encoder")(L.Masking()(x))
    y = L.GRU(4, name="decoder", return_sequences=True)(L.RepeatVector(6)(y))
    model = keras.Model(x, y)
    assert getattr(model.output, "_keras_mask", None) is None
    (trap,) = find_traps(model)
    assert isinstance(trap, Trap)
    assert trap[:2] == ("encoder", "A mask ends here: 'decoder' reads padding as data.")
    # As the message says: a mask of one's own.
    y = L.RepeatVector(6)(L.GRU(4)(L.Masking()(x)))
    mask = keras.ops.any(keras.ops.not_equal(x, 0.0), axis=-1)
    assert find_traps(keras.Model(x, L.GRU(4)(y, mask=mask))) == []


@pytest.mark.backends
def test_masks_over_images_are_wrong_on_jax():
    images = np.random.default_rng(0).normal(size=(3, 4, 3, 3, 1)).astype("float32")
    x = keras.Input((4, 3, 3, 1))
    mask = L.Lambda(lambda x: x[:, :, 0, 0, 0] > 0, name="mask")(x)
    layer = L.ConvLSTM2D(2, 2, padding="same", name="memory")
    model, plain = keras.Model(x, layer(x, mask=mask)), keras.Model(x, layer(x))
    used = images[:1][:, images[0, :, 0, 0, 0] > 0]
    expected = layer(used)
    try:
        wrong = differ(model.predict_on_batch(images)[:1], keras.ops.convert_to_numpy(expected))
    except Exception:
        wrong = True
    assert wrong == (BACKEND == "jax")
    words = "On JAX its mask is applied to the wrong axes"
    assert has(model, words)
    assert not has(plain, words)
    assert not has(as_stateful(model, 3), words)


def test_stateless_models_of_the_builders_are_without_traps():
    for build in (seqkeras.many_to_one, seqkeras.many_to_many, seqkeras.next_step):
        assert find_traps(build(FEATURES, units=(4, 4))) == []
    assert find_traps(seqkeras.many_to_one(FEATURES, bidirectional=True)) == []


def test_stateful_models_of_ours_have_those_that_no_layer_can_help():
    model = seqkeras.many_to_one(FEATURES, stateful=True, batch_size=4)
    assert {trap.layer for trap in find_traps(model)} == {"many_to_one", "recurrent_1"}
    assert len(find_traps(model)) == 4
    assert len(find_traps(as_stateful(model, 4, save_state=True))) == 3


def test_layers_are_named_with_what_they_lie_in():
    inner = keras.Sequential(
        [keras.Input(batch_shape=(ROWS, None, FEATURES)), stateful()], name="encoder"
    )
    assert has(model_of(inner), "On JAX its state is forgotten", "encoder/memory")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.memory = stateful()

    def call(self, x):
        return self.memory(x)


def test_layers_of_a_subclass_are_looked_at():
    model = Subclassed()
    assert has(model, "On JAX its state is forgotten")
    model(X)
    assert has(model, "The number of rows is fixed at 2", model.name)


def test_what_is_no_model_is_refused():
    with pytest.raises(ArgumentError, match=r"model must be a keras.Model. Got: model='GRU'"):
        find_traps(L.GRU(2))


@pytest.mark.backends
@pytest.mark.parametrize(
    ("wrap", "wrap_ours"),
    [(lambda layer: layer, lambda layer: layer), (L.Bidirectional, layers.Bidirectional)],
    ids=["one way", "both ways"],
)
def test_keras_drops_a_mask_next_to_an_initial_state(wrap, wrap_ours):
    def model_with(layer, is_passed=False):
        x, state = keras.Input((6, FEATURES)), keras.Input((4,))
        states = [state] * (1 if layer.name == "memory" else 2)
        masked = L.Masking()(x)
        arguments = {"mask": masked._keras_mask} if is_passed else {}
        return keras.Model([x, state], layer(masked, initial_state=states, **arguments))

    layer = wrap(L.GRU(4, name="memory"))
    our_layer = wrap_ours(layers.GRU(4, name="memory"))
    model = model_with(layer)
    ours = model_with(our_layer)
    passed = model_with(wrap(L.GRU(4, name="memory")), is_passed=True)
    for other in (ours, passed):
        other.set_weights(model.get_weights())
    batch = [X * (np.arange(6) < 3)[:, np.newaxis], np.zeros((len(X), 4), "float32")]
    right = passed.predict_on_batch(batch)
    words = "It drops the mask of its input"
    assert differ(model.predict_on_batch(batch), right)
    assert has(model, words, layer.name)
    assert not has(passed, words, layer.name)
    np.testing.assert_allclose(ours.predict_on_batch(batch), right, atol=1e-6)
    assert not has(ours, words, our_layer.name)


@pytest.mark.backends
def test_a_batch_that_begins_masked_shows_zeros_in_keras():
    stock = model_of(L.Masking(), stateful())
    ours = as_stateful(model_of(L.Masking(), L.GRU(4, return_sequences=True, name="memory")), ROWS)
    words = "outputs of a batch that begins with masked"
    assert has(stock, words)
    assert not has(ours, words)
    ours.set_weights(stock.get_weights())
    x = X * (np.arange(6) < 3)[:, np.newaxis]
    halves = [in_halves(model, x) for model in (stock, ours)]
    np.testing.assert_allclose(halves[1][:, 3:], halves[1][:, 2:3].repeat(3, 1), atol=1e-6)
    if BACKEND != "jax":
        assert not halves[0][:, 3:].any()


def test_a_simple_rnn_of_keras_drops_its_activity_regularizer():
    def model_with(kind, **options):
        return model_of(kind(4, name="memory", **options))

    words = "Its activity_regularizer is dropped"
    stock = model_with(L.SimpleRNN, activity_regularizer="l2")
    ours = model_with(layers.SimpleRNN, activity_regularizer="l2")
    stock(X)
    ours(X)
    assert (len(stock.losses), len(ours.losses)) == (0, 1)
    assert has(stock, words)
    assert not has(ours, words)
    assert not has(model_with(L.SimpleRNN), words)
    assert not has(model_with(L.GRU, activity_regularizer="l2"), words)


def test_fit_shuffles_the_rows_of_arrays():
    x, y = WAVE[:16].reshape(2, 8, 1), np.zeros((2, 1), "float32")
    assert any(CONTINUES in problem for problem in problems(many_to_one(), (x, y)))
    assert not any(
        CONTINUES in problem for problem in problems(as_stateless(many_to_one()), (x, y))
    )


def test_arrays_with_targets_that_keras_broadcasts():
    model = many_to_one()
    x = np.zeros((4, 8, 1), "float32")
    model.compile(loss="mse")
    assert any("Keras broadcasts" in problem for problem in problems(model, (x, np.zeros((4, 8)))))
    fitting = problems(model, (x, np.zeros((4, 1))))
    assert not any("Keras broadcasts" in problem for problem in fitting)


def test_missing_values_of_arrays():
    model = as_stateless(many_to_one())
    x, y = np.zeros((4, 8, 1)), np.zeros((4, 1))
    assert not problems(model, (x, y))
    x[1, 2], y[:2] = np.nan, np.inf
    inputs, targets = problems(model, (x, y))
    assert "inputs have 1 values that are NaN or infinite" in inputs
    assert "targets have 2 values" in targets


def test_ids_outside_the_vocabulary():
    ids = keras.Input((None,), dtype="int32", name="ids")
    model = keras.Model(ids, keras.layers.GRU(2)(keras.layers.Embedding(5, 3)(ids)))
    assert not problems(model, (np.array([[0, 4]]),))
    [problem] = problems(model, ({"ids": np.array([[0, 5]])},))
    assert "embeds 5 ids, and its inputs have ids from 0 to 5" in problem


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ArgumentError, match="data must be arrays of the same length"):
        find_traps(many_to_one(), (np.zeros((4, 8, 1)), np.zeros((3, 1))))
