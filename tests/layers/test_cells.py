"""Cells with zoneout, peepholes and layer normalization, against the equations of their papers."""

import keras
import numpy as np
import pytest

from seqkeras import layers, states, stepwise
from seqkeras.errors import ArgumentError
from seqkeras.layers import _cells

pytestmark = pytest.mark.backends

FEATURES, UNITS, ROWS = 3, 4, 5
RANDOM = np.random.default_rng(0)
X, H, C = (RANDOM.normal(size=(ROWS, size)).astype("float32") for size in (FEATURES, UNITS, UNITS))


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def randomized(layer, shape=(None, FEATURES)):
    layer.build(shape)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(0, 0.5, one.shape) for one in layer.get_weights()])
    return layer


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normalized(x, scale):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + _cells.EPSILON) * scale


def lstm(cell, x, h, c):
    """One timestep by the equations, in double precision: the new h and c without zoneout on h."""
    weights = {one.name: array(one.value).astype("float64") for one in cell.weights}
    of_x, of_h = x @ weights["kernel"], h @ weights["recurrent_kernel"]
    if cell.normalization:
        of_x = normalized(of_x, weights["kernel_scale"])
        of_h = normalized(of_h, weights["recurrent_scale"])
    i, f, g, o = np.split(of_x + of_h + weights["bias"], 4, axis=-1)
    peephole = weights.get("peephole_kernel", np.zeros((3, UNITS)))
    i, f = i + peephole[0] * c, f + peephole[1] * c
    new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    new = cell.zoneout_c * c + (1 - cell.zoneout_c) * new
    shown = new
    if cell.normalization:
        shown = normalized(new, weights["state_scale"]) + weights["state_shift"]
    return sigmoid(o + peephole[2] * new) * np.tanh(shown), new


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"peephole": True},
        {"normalization": True},
        {"zoneout_h": 0.2, "zoneout_c": 0.3},
        {"zoneout_h": 0.2, "zoneout_c": 0.3, "peephole": True},
        {"zoneout_c": 0.3, "normalization": True},
    ],
    ids=str,
)
def test_one_timestep_is_that_of_the_papers(options):
    cell = randomized(_cells.LSTMCell(UNITS, **options))
    y, (h, c) = cell(X, [H, C])
    shown, new = lstm(cell, X.astype("float64"), H, C)
    rate = options.get("zoneout_h", 0.0)
    wanted = rate * H + (1 - rate) * shown
    np.testing.assert_allclose(array(y), wanted, atol=2e-6)
    np.testing.assert_allclose(array(h), wanted, atol=2e-6)
    np.testing.assert_allclose(array(c), new, atol=2e-6)


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "SimpleRNNCell"])
def test_without_variants_it_is_the_cell_of_keras(kind):
    ours, stock = (
        randomized(getattr(place, kind)(UNITS, dropout=0.3, recurrent_dropout=0.3, seed=2))
        for place in (_cells, keras.layers)
    )
    state = [H, C] if kind == "LSTMCell" else [H]
    for training in (False, True):
        found, wanted = (cell(X, state, training=training) for cell in (ours, stock))
        for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(wanted), strict=True):
            np.testing.assert_allclose(array(one), array(other), atol=2e-6)


@pytest.mark.parametrize("kind", ["GRUCell", "SimpleRNNCell"])
def test_zoneout_of_others_is_of_h(kind):
    plain, cell = (randomized(getattr(_cells, kind)(UNITS, zoneout_h=rate)) for rate in (0.0, 0.25))
    candidate, wanted = array(plain(X, [H])[0]), None
    wanted = 0.25 * H + 0.75 * candidate
    np.testing.assert_allclose(array(cell(X, [H])[0]), wanted, atol=2e-6)
    kept = RANDOM.random(H.shape) < 0.5
    found = cell(X, [H], training=True, kept=[keras.ops.convert_to_tensor(kept)])[0]
    np.testing.assert_allclose(array(found), np.where(kept, H, candidate), atol=2e-6)


def test_in_training_numbers_stay_or_are_new():
    cell = randomized(_cells.LSTMCell(UNITS, zoneout_h=0.5, zoneout_c=0.5))
    kept = [RANDOM.random(H.shape) < 0.5 for _ in range(2)]
    flags = [keras.ops.convert_to_tensor(one) for one in kept]
    _, (h, c) = cell(X, [H, C], training=True, kept=flags)
    cell.zoneout_h = cell.zoneout_c = 0.0
    new = lstm(cell, X, H, C)[1]
    np.testing.assert_allclose(array(c), np.where(kept[1], C, new), atol=2e-6)
    np.testing.assert_array_equal(array(h)[kept[0]], H[kept[0]])
    assert not np.isclose(array(h), H)[~kept[0]].any()


def test_a_cell_that_is_trained_by_itself_cannot_draw():
    cell = randomized(_cells.GRUCell(UNITS, zoneout_h=0.5))
    with pytest.raises(ArgumentError, match=r"zoneout_h must be 0\.0.*Only the layers of seqkeras"):
        cell(X, [H], training=True)


def test_zoneout_keeps_as_many_as_its_rate_says():
    layer = layers.LSTM(64, zoneout_h=0.3, zoneout_c=0.6, return_state=True, seed=1)
    x, state = np.ones((64, 1, 2), "float32"), [np.full((64, 64), 9.0, "float32")] * 2
    _, h, c = layer(x, initial_state=state, training=True)
    assert abs((array(h) == 9).mean() - 0.3) < 0.03
    assert abs((array(c) == 9).mean() - 0.6) < 0.03
    again = layer(x, initial_state=state, training=True)[1]
    assert (array(again) != array(h)).any()


VARIANTS = [
    (layers.LSTM, {"zoneout_h": 0.1, "zoneout_c": 0.2}),
    (layers.LSTM, {"peephole": True}),
    (layers.LSTM, {"normalization": True}),
    (layers.GRU, {"zoneout_h": 0.1}),
]


@pytest.mark.parametrize(("kind", "options"), VARIANTS, ids=str)
def test_a_variant_goes_on_from_batch_to_batch(kind, options):
    model = keras.Sequential(
        [
            keras.Input((None, FEATURES)),
            kind(UNITS, return_sequences=True, **options),
            keras.layers.Dense(FEATURES),
        ]
    )
    randomized(model.layers[0])
    x = RANDOM.normal(size=(2, 6, FEATURES)).astype("float32")
    stateful = states.as_stateful(model, 2)
    chunks = [array(stateful(x[:, :4])), array(stateful(x[:, 4:]))]
    np.testing.assert_allclose(np.concatenate(chunks, 1), array(model(x)), atol=2e-6)
    np.testing.assert_allclose(array(states.as_stateless(stateful)(x)), array(model(x)), atol=2e-6)


@pytest.mark.parametrize(("kind", "options"), VARIANTS, ids=str)
def test_a_variant_rolls_out_as_a_growing_sequence(kind, options):
    model = keras.Sequential(
        [keras.Input((None, FEATURES)), kind(UNITS, **options), keras.layers.Dense(FEATURES)]
    )
    randomized(model.layers[0])
    x = RANDOM.normal(size=(2, 3, FEATURES)).astype("float32")
    found = array(stepwise.rollout(model, x, 3))
    for step in range(3):
        y = array(model(x))
        np.testing.assert_allclose(found[:, step], y, atol=5e-6)
        x = np.concatenate([x, y[:, None]], 1)
