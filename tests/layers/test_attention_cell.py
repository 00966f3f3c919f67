"""Cells that attend to a memory at every timestep."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from helpers.examples import examples
from helpers.models import randomized, to_numpy
from seqkeras.errors import ArgumentError
from seqkeras.layers import RNN, AttentionCell, MemoryAttention

L = keras.layers
RANDOM = np.random.default_rng(8)
ROWS, LENGTH, SOURCE = 3, 4, 5
X = RANDOM.normal(size=(ROWS, LENGTH, 2)).astype("float32")
MEMORY = RANDOM.normal(size=(ROWS, SOURCE, 4)).astype("float32")
MASK = np.array([[1] * 5, [1, 0, 1, 1, 0], [0] * 5], bool)
MECHANISMS = {
    "additive": {"units": 6},
    "dot": {},
    "general": {},
    "location": {"positions": 5},
}


def scores_of(attention, query, memory):
    """Return the scores of queries `(batch, width)` for one head, from the formulas."""
    weights = {weight.name: to_numpy(weight) for weight in attention.weights}
    if attention.mechanism == "location":
        return (query @ weights["query_kernel"])[:, : memory.shape[1]]
    if attention.mechanism == "dot":
        return np.einsum("bq,bsq->bs", query, memory)
    keys = memory @ weights["key_kernel"]
    if attention.mechanism == "general":
        return np.einsum("bq,bsq->bs", query, keys)
    hidden = np.tanh((query @ weights["query_kernel"])[:, None] + keys)
    return hidden @ weights["score_vector"][0]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_contexts_are_means_with_the_weights_of_the_formula(mechanism):
    attention = MemoryAttention(mechanism, **MECHANISMS[mechanism])
    query = RANDOM.normal(size=(ROWS, 4)).astype("float32")
    attention(query, MEMORY)
    randomized(attention)
    context, weights = attention(query, MEMORY, MASK)
    expected = np.zeros((ROWS, SOURCE))
    for row in range(ROWS - 1):
        scores = scores_of(attention, query, MEMORY)[row][MASK[row]]
        expected[row][MASK[row]] = softmax(scores)
    np.testing.assert_allclose(to_numpy(weights), expected, atol=1e-6)
    means = np.einsum("bs,bsw->bw", expected, MEMORY)
    np.testing.assert_allclose(to_numpy(context), means, atol=1e-6)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_head_reads_its_part_of_the_features_with_its_own_weights(mechanism):
    attention = MemoryAttention(mechanism, heads=2, **MECHANISMS[mechanism])
    query = RANDOM.normal(size=(ROWS, LENGTH, 4)).astype("float32")
    context, weights = attention(query, MEMORY, MASK)
    assert context.shape == (ROWS, LENGTH, 4)
    sums = to_numpy(weights).sum(-1)
    np.testing.assert_allclose(sums, np.tile([[1], [1], [0]], LENGTH), atol=1e-6)


def test_a_head_depends_on_no_feature_of_another():
    attention = MemoryAttention("dot", heads=2)
    before, after = (
        to_numpy(attention(MEMORY[:, 0] * 2, memory)[0])
        for memory in (MEMORY, MEMORY * np.array([1, 1, 0, 0], "float32"))
    )
    np.testing.assert_allclose(after[..., :2], before[..., :2], atol=1e-6)
    assert (after[..., 2:] == 0).all()
    assert (before != 0).all()


@examples(25)
@given(
    st.lists(st.integers(0, SOURCE), min_size=1, max_size=4),
    st.integers(0, 4),
    st.floats(-50, 50, width=32),
)
def test_masked_timesteps_are_as_if_they_were_not_there(lengths, more, value):
    attention = MemoryAttention("dot")
    rows = len(lengths)
    random = np.random.default_rng(rows)
    memory = random.normal(size=(rows, SOURCE + more, 3)).astype("float32")
    query = random.normal(size=(rows, 3)).astype("float32")
    mask = np.arange(SOURCE + more) < np.array(lengths)[:, None]
    memory[~mask] = value
    context, weights = map(to_numpy, attention(query, memory, mask))
    assert (weights[~mask] == 0).all()
    for row, length in enumerate(lengths):
        expected = np.zeros(3)
        if length:
            alone = memory[row, :length]
            expected = softmax(alone @ query[row]) @ alone
        np.testing.assert_allclose(context[row], expected, atol=1e-6)


@pytest.mark.backends
def test_timesteps_beyond_the_positions_get_no_weight():
    attention = MemoryAttention("location", positions=3)
    _, weights = attention(X, MEMORY)
    weights = to_numpy(weights)
    assert (weights[..., 3:] == 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)


def test_dropout_of_weights_keeps_their_mean():
    attention = MemoryAttention("dot", dropout=0.5)
    memory = np.ones((400, 6, 2), "float32")
    _, weights = attention(memory[:, 0], memory, training=True)
    weights = to_numpy(weights)
    np.testing.assert_allclose(np.unique(weights), [0, 1 / 3], atol=1e-6)
    assert weights.sum(-1).mean() == pytest.approx(1, abs=0.1)
    _, weights = attention(memory[:, 0], memory)
    np.testing.assert_allclose(to_numpy(weights), 1 / 6, atol=1e-6)


CELLS = {
    "gru, old": ([L.GRUCell(4)], {}),
    "lstm, gru, new": ([L.LSTMCell(3), L.GRUCell(4)], {"mechanism": "dot", "query": "new"}),
    "fed": ([L.LSTMCell(4)], {"mechanism": "general", "input_feeding": True, "output_units": 3}),
    "dropout": ([L.GRUCell(4, dropout=0.5), L.GRUCell(4, dropout=0.5)], {"dropout": 0.2}),
}


def layer_of(name):
    cells, options = CELLS[name]
    cell = AttentionCell([type(c).from_config(c.get_config()) for c in cells], **options)
    return RNN(cell, return_sequences=True)


def by_hand(cell, x, memory, mask):
    """Run the loop with the parts of the cell; return outputs and weights of the attention."""
    inner = cell.cell
    states = [to_numpy(state) for state in keras.tree.flatten(inner.get_initial_state(len(x)))]
    output, results = np.zeros((len(x), cell.output_size), "float32"), []
    sizes = inner.state_size
    for t in range(x.shape[1]):
        read = [x[:, t]]
        if cell.query == "old":
            context, weights = map(to_numpy, cell.attention(states[-1], memory, mask))
            read.append(context)
        if cell.input_feeding:
            read.append(output)
        packed = keras.tree.pack_sequence_as(sizes, states) if isinstance(sizes, list) else states
        h, new = inner(np.concatenate(read, -1), packed)
        states = [to_numpy(state) for state in keras.tree.flatten(new)]
        if cell.query == "new":
            context, weights = map(to_numpy, cell.attention(h, memory, mask))
        output = to_numpy(cell.readout(np.concatenate([to_numpy(h), context], -1)))
        results.append((output, weights))
    return [np.stack(steps, 1) for steps in zip(*results, strict=True)]


@pytest.mark.backends
@pytest.mark.parametrize("name", ["gru, old", "lstm, gru, new"])
def test_a_layer_of_the_cell_gives_what_the_loop_by_hand_gives(name):
    layer = layer_of(name)
    layer(X, constants=[MEMORY, MASK])
    randomized(layer)
    outputs, weights = by_hand(layer.cell, X, MEMORY, MASK)
    only = to_numpy(layer(X, constants=[MEMORY, MASK]))
    np.testing.assert_allclose(only, outputs, atol=2e-6)
    both = layer(X, constants=[MEMORY, MASK], return_attention=True)
    np.testing.assert_allclose(to_numpy(both[0]), outputs, atol=2e-6)
    np.testing.assert_allclose(to_numpy(both[1]), weights, atol=2e-6)


@pytest.mark.backends
def test_a_model_returns_states_and_weights_and_repeats_them_where_masked(tmp_path):
    x, memory = keras.Input((None, 2)), keras.Input((None, 4))
    layer = RNN(AttentionCell(L.GRUCell(4)), return_sequences=True, return_state=True)
    masked = L.Masking()(x)
    results = layer(masked, constants=[memory], return_attention=True)
    assert [result.shape[1:] for result in results] == [(None, 4), (4,), (None, None)]
    randomized(layer)
    model = keras.Model([x, memory], results)
    padded = np.concatenate([X[:, :2], np.zeros((ROWS, 2, 2), "float32")], axis=1)
    outputs, state, weights = model.predict_on_batch([padded, MEMORY])
    expected = by_hand(layer.cell, X[:, :2], MEMORY, np.ones_like(MASK))
    for actual, steps in zip((outputs, weights), expected, strict=True):
        np.testing.assert_allclose(actual, steps[:, [0, 1, 1, 1]], atol=2e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    again = loaded.predict_on_batch([padded, MEMORY])
    for actual, before in zip(again, (outputs, state, weights), strict=True):
        np.testing.assert_allclose(actual, before, atol=1e-6)


@pytest.mark.backends
def test_half_precision_is_the_same_but_for_rounding():
    policy = "mixed_float16"
    whole = RNN(AttentionCell(L.GRUCell(4)), return_sequences=True)
    cell = AttentionCell(L.GRUCell(4, dtype=policy), dtype=policy)
    half = RNN(cell, return_sequences=True, dtype=policy)
    whole(X, constants=[MEMORY, MASK])
    half(X, constants=[MEMORY, MASK])
    half.set_weights(whole.get_weights())
    results = [layer(X, constants=[MEMORY, MASK], return_attention=True) for layer in (whole, half)]
    for expected, actual in zip(*results, strict=True):
        assert keras.backend.standardize_dtype(actual.dtype) == "float16"
        actual = to_numpy(keras.ops.cast(actual, "float32"))
        np.testing.assert_allclose(actual, to_numpy(expected), atol=0.02)


def test_the_last_timestep_has_its_weights():
    layer = RNN(AttentionCell(L.GRUCell(4)))
    output, weights = layer(X, constants=[MEMORY, MASK], return_attention=True)
    outputs, all_weights = by_hand(layer.cell, X, MEMORY, MASK)
    np.testing.assert_allclose(to_numpy(output), outputs[:, -1], atol=2e-6)
    np.testing.assert_allclose(to_numpy(weights), all_weights[:, -1], atol=2e-6)


@pytest.mark.parametrize("name", ["fed", "dropout"])
def test_a_model_with_the_cell_trains_and_is_saved_and_loaded(name, tmp_path):
    x, memory, mask = keras.Input((LENGTH, 2)), keras.Input((SOURCE, 4)), keras.Input((SOURCE,))
    model = keras.Model([x, memory, mask], layer_of(name)(x, constants=[memory, mask > 0]))
    model.compile("sgd", "mse")
    inputs = [X, MEMORY, MASK.astype("float32")]
    history = model.fit(inputs, np.zeros((ROWS, LENGTH, model.output_shape[-1])), verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = model.predict_on_batch(inputs)
    np.testing.assert_allclose(loaded.predict_on_batch(inputs), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["soft"], {}, "mechanism must be one of"),
        (["dot"], {"units": 3}, "units must be omitted where mechanism='dot'"),
        (["location"], {}, "positions must be an integer"),
        (["additive"], {"heads": 0}, "heads must be"),
        (["additive"], {"query": "newest"}, "query must be one of"),
    ],
)
def test_what_cannot_work_is_refused(arguments, options, message):
    with pytest.raises(ArgumentError, match=message):
        AttentionCell(L.GRUCell(2), *arguments, **options)


def test_weights_that_a_layer_cannot_return_are_refused():
    attending, cell = AttentionCell(L.GRUCell(4)), L.GRUCell(2)
    with pytest.raises(ArgumentError, match="return_attention must be False where stateful=True"):
        RNN(attending, stateful=True)(X, constants=[MEMORY], return_attention=True)
    with pytest.raises(ArgumentError, match="return_attention must be False for the cell GRUCell"):
        RNN(cell)(X, return_attention=True)
    with pytest.raises(ArgumentError, match=r"constants must be \[memory, mask\]"):
        RNN(attending)(X, return_attention=True)


@pytest.mark.parametrize("kind", [L.RNN, RNN])
def test_a_layer_without_a_memory_is_refused(kind):
    with pytest.raises(ArgumentError, match="constants must be the memory that the cell reads"):
        kind(AttentionCell(L.GRUCell(4)))(X)


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match="'dot' only for equal widths"):
        MemoryAttention("dot")(X, MEMORY)
    with pytest.raises(ArgumentError, match="heads must be a divisor of the width"):
        MemoryAttention("additive", heads=3)(X, MEMORY)
    with pytest.raises(ArgumentError, match="cell must be"):
        AttentionCell(L.GRU(3))
