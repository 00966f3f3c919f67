"""Cells with zoneout, peepholes, projections and normalization, by the equations of papers."""

import re

import keras
import numpy as np
import pytest

from helpers.models import assert_close, built, randomized, to_numpy
from seqkeras import diagnostics, layers, states, stepwise
from seqkeras.errors import ArgumentError
from seqkeras.layers import _cells

FEATURES, UNITS, ROWS = 3, 4, 5
RANDOM = np.random.default_rng(0)
X, H, C = (RANDOM.normal(size=(ROWS, size)).astype("float32") for size in (FEATURES, UNITS, UNITS))


def random_cell(cell):
    return randomized(built(cell, (None, FEATURES)), seed=1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normalized(x, scale):
    mean = x.mean(-1, keepdims=True)
    variance = x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + _cells.EPSILON) * scale


def lstm(cell, x, h, c):
    """Compute one timestep by the equations, in double precision; h without zoneout."""
    weights = {weight.name: to_numpy(weight.value).astype("float64") for weight in cell.weights}
    of_x = x @ weights["kernel"]
    of_h = h @ weights["recurrent_kernel"]
    if cell.normalization:
        of_x = normalized(of_x, weights["kernel_scale"])
        of_h = normalized(of_h, weights["recurrent_scale"])
    i, f, g, o = np.split(of_x + of_h + weights["bias"], 4, axis=-1)
    peephole = weights.get("peephole_kernel", np.zeros((3, UNITS)))
    i = i + peephole[0] * c
    f = f + peephole[1] * c
    new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    new_c = cell.zoneout_c * c + (1 - cell.zoneout_c) * new_c
    scaled_c = new_c
    if cell.normalization:
        scaled_c = normalized(new_c, weights["state_scale"]) + weights["state_shift"]
    return sigmoid(o + peephole[2] * new_c) * np.tanh(scaled_c), new_c


@pytest.mark.backends
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
    cell = random_cell(_cells.LSTMCell(UNITS, **options))
    y, (h, c) = cell(X, [H, C])
    new_h, new_c = lstm(cell, X.astype("float64"), H, C)
    rate = options.get("zoneout_h", 0.0)
    expected = rate * H + (1 - rate) * new_h
    assert_close([y, h, c], [expected, expected, new_c])


@pytest.mark.backends
@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "SimpleRNNCell"])
def test_without_variants_it_is_the_cell_of_keras(kind):
    ours, stock = (
        random_cell(getattr(place, kind)(UNITS, dropout=0.3, recurrent_dropout=0.3, seed=2))
        for place in (_cells, keras.layers)
    )
    state = [H, C] if kind == "LSTMCell" else [H]
    for training in (False, True):
        assert_close(ours(X, state, training=training), stock(X, state, training=training))


@pytest.mark.parametrize("kind", ["GRUCell", "SimpleRNNCell"])
def test_other_cells_have_zoneout_of_h(kind):
    plain = random_cell(getattr(_cells, kind)(UNITS))
    cell = random_cell(getattr(_cells, kind)(UNITS, zoneout_h=0.25))
    candidate = to_numpy(plain(X, [H])[0])
    assert_close(cell(X, [H])[0], 0.25 * H + 0.75 * candidate)
    keeps_h = RANDOM.random(H.shape) < 0.5
    h = cell(X, [H], training=True, kept=[keras.ops.convert_to_tensor(keeps_h)])[0]
    assert_close(h, np.where(keeps_h, H, candidate))


@pytest.mark.backends
def test_in_training_each_number_is_old_or_new():
    cell = random_cell(_cells.LSTMCell(UNITS, zoneout_h=0.5, zoneout_c=0.5))
    keeps_h = RANDOM.random(H.shape) < 0.5
    keeps_c = RANDOM.random(H.shape) < 0.5
    flags = [keras.ops.convert_to_tensor(keeps) for keeps in (keeps_h, keeps_c)]
    _, (h, c) = cell(X, [H, C], training=True, kept=flags)
    cell.zoneout_h = cell.zoneout_c = 0.0
    _, new_c = lstm(cell, X, H, C)
    assert_close(c, np.where(keeps_c, C, new_c))
    np.testing.assert_array_equal(to_numpy(h)[keeps_h], H[keeps_h])
    assert not np.isclose(to_numpy(h), H)[~keeps_h].any()


@pytest.mark.parametrize(
    ("kind", "name"), [(_cells.GRUCell, "zoneout_h"), (_cells.LSTMCell, "zoneout_c")]
)
def test_a_cell_that_is_trained_by_itself_cannot_draw(kind, name):
    cell = random_cell(kind(UNITS, **{name: 0.5}))
    with pytest.raises(ArgumentError, match=rf"{name} must be 0\.0.*Only these layers draw"):
        cell(X, [H] * len(keras.tree.flatten(cell.state_size)), training=True)


@pytest.mark.backends
def test_zoneout_keeps_the_fraction_of_its_rate():
    layer = layers.LSTM(64, zoneout_h=0.3, zoneout_c=0.6, return_state=True, seed=1)
    x = np.ones((64, 1, 2), "float32")
    state = [np.full((64, 64), 9.0, "float32")] * 2
    _, h, c = layer(x, initial_state=state, training=True)
    assert abs((to_numpy(h) == 9).mean() - 0.3) < 0.03
    assert abs((to_numpy(c) == 9).mean() - 0.6) < 0.03
    again = layer(x, initial_state=state, training=True)[1]
    assert (to_numpy(again) != to_numpy(h)).any()


PROJECTED = {"num_proj": 2, "cell_clip": 0.3, "proj_clip": 0.1}


@pytest.mark.backends
def test_a_projection_and_clips_are_those_of_tensorflow_1():
    cell = random_cell(_cells.LSTMCell(UNITS, **PROJECTED))
    weights = {weight.name: to_numpy(weight.value).astype("float64") for weight in cell.weights}
    assert {name: array.shape for name, array in weights.items()} == {
        "kernel": (FEATURES, 4 * UNITS),
        "recurrent_kernel": (2, 4 * UNITS),
        "bias": (4 * UNITS,),
        "projection_kernel": (UNITS, 2),
    }
    h, c = H[:, :2], C * 0.2
    gates = X @ weights["kernel"] + h @ weights["recurrent_kernel"] + weights["bias"]
    i, f, g, o = np.split(gates, 4, axis=-1)
    unclipped = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    new_c = np.clip(unclipped, -0.3, 0.3)
    projected = (sigmoid(o) * np.tanh(new_c)) @ weights["projection_kernel"]
    new_h = np.clip(projected, -0.1, 0.1)
    assert (new_c != unclipped).any()
    assert (new_h != projected).any()
    y, state = cell(X, [h, c])
    assert_close([y, *state], [new_h, new_h, new_c])


def test_a_projected_layer_has_states_of_two_widths_and_says_why_it_runs_on_the_loop(tmp_path):
    x = keras.Input((None, FEATURES))
    y, h, c = layers.LSTM(UNITS, return_sequences=True, return_state=True, **PROJECTED)(x)
    assert (y.shape, h.shape, c.shape) == ((None, None, 2), (None, 2), (None, UNITS))
    model = keras.Model(x, y)
    assert "fused: it does not support projection" in str(diagnostics.explain(model))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    values = RANDOM.normal(size=(2, 4, FEATURES)).astype("float32")
    assert_close(loaded(values), model(values))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_proj": 0}, "num_proj must be an integer >= 1. Got: num_proj=0."),
        ({"num_proj": 2, "zoneout_h": 0.1}, "num_proj must be omitted with zoneout."),
        ({"proj_clip": 1.0}, "proj_clip must be omitted without num_proj."),
        ({"cell_clip": -1.0}, "cell_clip must be a finite number > 0. Got: cell_clip=-1.0."),
    ],
    ids=str,
)
def test_a_projection_or_clip_that_cannot_work_is_refused(options, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        layers.LSTM(UNITS, **options)


VARIANTS = [
    (layers.LSTM, {"zoneout_h": 0.1, "zoneout_c": 0.2}),
    (layers.LSTM, {"peephole": True}),
    (layers.LSTM, {"normalization": True}),
    (layers.LSTM, {"num_proj": 3, "cell_clip": 0.5}),
    (layers.GRU, {"zoneout_h": 0.1}),
]


# One variant is enough for the other backends.
ON_BACKENDS = [pytest.param(*VARIANTS[0], marks=pytest.mark.backends), *VARIANTS[1:]]


@pytest.mark.parametrize(("kind", "options"), ON_BACKENDS, ids=str)
def test_a_variant_continues_from_batch_to_batch(kind, options):
    model = keras.Sequential(
        [
            keras.Input((None, FEATURES)),
            kind(UNITS, return_sequences=True, **options),
            keras.layers.Dense(FEATURES),
        ]
    )
    random_cell(model.layers[0])
    x = RANDOM.normal(size=(2, 6, FEATURES)).astype("float32")
    stateful = states.as_stateful(model, 2)
    chunks = [to_numpy(stateful(x[:, :4])), to_numpy(stateful(x[:, 4:]))]
    assert_close(np.concatenate(chunks, 1), model(x))
    assert_close(states.as_stateless(stateful)(x), model(x))


@pytest.mark.parametrize(("kind", "options"), ON_BACKENDS, ids=str)
def test_a_variant_rolls_out_as_a_growing_sequence(kind, options):
    model = keras.Sequential(
        [keras.Input((None, FEATURES)), kind(UNITS, **options), keras.layers.Dense(FEATURES)]
    )
    random_cell(model.layers[0])
    x = RANDOM.normal(size=(2, 3, FEATURES)).astype("float32")
    outputs = to_numpy(stepwise.rollout(model, x, 3))
    for step in range(3):
        y = to_numpy(model(x))
        np.testing.assert_allclose(outputs[:, step], y, atol=5e-6)
        x = np.concatenate([x, y[:, None]], 1)
