"""Masks on their way through our layers, whatever Keras does with those of its own."""

import inspect
import warnings

import keras
import numpy as np
import pytest

from helpers.arrays import random_array
from helpers.examples import covering
from helpers.models import Padding, assert_close, to_numpy
from seqkeras import layers
from seqkeras.layers import recurrent_layer

LENGTHS = (5, 3, 1)
X = random_array(len(LENGTHS), 5, 3)


VERSIONS = ("as it is", "3.16")


@pytest.fixture
def keras_version(request, monkeypatch):
    """Keras as it is, or with the flags that 3.16 sets in its own layers."""
    if request.param == "3.16":
        for kind in (keras.layers.RNN, keras.layers.Bidirectional, keras.layers.TimeDistributed):
            monkeypatch.setattr(kind, "__init__", _without_masks(kind.__init__))
    return request.param


def _without_masks(stock_init):
    def init(self, *arguments, **options):
        stock_init(self, *arguments, **options)
        self.supports_masking = False

    init.__signature__ = inspect.signature(stock_init)  # Keras reads it
    return init


def padded(x):
    """Return `x` with zeros after the end of each row."""
    used = np.arange(x.shape[1]) < np.array(LENGTHS)[:, None]
    return x * used.reshape(*used.shape, *[1] * (x.ndim - 2))


L = layers
STACKS = {
    "lstm": lambda: [L.LSTM(4, return_sequences=True), L.LSTM(3)],
    "gru": lambda: [L.GRU(4, return_sequences=True), L.GRU(3)],
    "simple_rnn": lambda: [L.SimpleRNN(4, return_sequences=True), L.SimpleRNN(3)],
    "variant": lambda: [L.LSTM(4, return_sequences=True, peephole=True), L.LSTM(3)],
    "cells": lambda: [
        L.RNN(keras.layers.GRUCell(4), return_sequences=True),
        L.RNN([keras.layers.LSTMCell(3), keras.layers.GRUCell(2)]),
    ],
    "cells of builders": lambda: [
        recurrent_layer(keras.layers.GRUCell(4), units=1, return_sequences=True),
        recurrent_layer(keras.layers.GRUCell(4), units=1),
    ],
    "both directions": lambda: [
        L.Bidirectional(L.GRU(4, return_sequences=True)),
        L.Bidirectional(L.LSTM(3, return_sequences=True, unroll=True)),
        L.LSTM(2),
    ],
    "each timestep": lambda: [
        L.LSTM(4, return_sequences=True),
        L.TimeDistributed(keras.layers.Dense(3)),
        L.LSTM(2),
    ],
}


#: In the quick profile, each stack with one version, and each version with half of the stacks.
STACKS_AND_VERSIONS = covering(
    [(stack, VERSIONS[(n + k) % 2]) for n, stack in enumerate(STACKS) for k in range(2)], 2
)


@pytest.mark.parametrize(
    ("stack", "keras_version"),
    [
        pytest.param(
            *pair,
            marks=[pytest.mark.backends] if pair[0] in ("simple_rnn", "both directions") else [],
        )
        for pair in STACKS_AND_VERSIONS
    ],
    indirect=["keras_version"],
)
def test_a_padded_row_gives_what_it_gives_without_padding(stack, keras_version, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*mask")
        model = keras.Sequential([keras.Input((None, 3)), Padding(), *STACKS[stack]()])
        model.save(tmp_path / "model.keras")
        for same_model in (model, keras.saving.load_model(tmp_path / "model.keras")):
            check_rows(same_model, X)


@pytest.mark.parametrize("keras_version", VERSIONS, indirect=True)
def test_a_padded_video_gives_what_it_gives_without_padding(keras_version):
    first = L.ConvLSTM1D(2, 2, padding="same", return_sequences=True)
    model = keras.Sequential([keras.Input((None, 4, 3)), Padding(), first, L.ConvLSTM1D(2, 2)])
    check_rows(model, random_array(len(LENGTHS), 5, 4, 3))


def check_rows(model, x):
    outputs = to_numpy(model(padded(x)))
    for row, length in enumerate(LENGTHS):
        expected = to_numpy(model(x[row : row + 1, :length]))[0]
        np.testing.assert_allclose(outputs[row], expected, atol=1e-6)


def states_of(layer, rows):
    inner = getattr(layer, "forward_layer", layer)
    states = inner.get_initial_state(rows)
    return [*states, *states] if inner is not layer else states


def on_backends(kinds, *names):
    """Return all kinds as parameters, those of these names also for the other backends."""
    marks = [pytest.mark.backends]
    return [pytest.param(kind, marks=marks if kind in names else []) for kind in kinds]


BESIDE_STATES = {
    "lstm": lambda **options: L.LSTM(4, **options),
    "gru": lambda **options: L.GRU(4, **options),
    "simple_rnn": lambda **options: L.SimpleRNN(4, **options),
    "cell": lambda **options: L.RNN(keras.layers.GRUCell(4), **options),
    "both directions": lambda **options: L.Bidirectional(L.GRU(4, **options)),
    "both directions of Keras": lambda **options: L.Bidirectional(keras.layers.GRU(4, **options)),
    "images": lambda **options: L.ConvLSTM1D(2, 2, padding="same", **options),
}


@pytest.mark.parametrize("kind", on_backends(BESIDE_STATES, "lstm", "both directions", "images"))
def test_a_mask_counts_next_to_an_initial_state(kind):
    """The state of a new sequence changes nothing, and so the mask counts as it does without."""
    layer = BESIDE_STATES[kind](return_sequences=True)
    shape = (4, 3) if kind == "images" else (3,)
    x = padded(random_array(len(LENGTHS), 5, *shape))
    inputs = keras.Input((5, *shape))
    masked = Padding()(inputs)
    expected = keras.Model(inputs, layer(masked))
    states = states_of(layer, 1)
    symbols = [keras.Input(state.shape[1:]) for state in states]
    model = keras.Model([inputs, *symbols], layer(masked, initial_state=symbols))
    zeros = [np.zeros((len(x), *state.shape[1:]), "float32") for state in states]
    assert_close(model([x, *zeros]), expected(x))
    assert model.output._keras_mask is not None
    assert_close(layer(Padding()(x), initial_state=zeros), expected(x))


@pytest.mark.parametrize("width", [1, 5])
@pytest.mark.parametrize(
    "kind", on_backends(["lstm", "gru", "simple_rnn", "cell", "images"], "lstm", "images")
)
def test_a_mask_counts_next_to_flags(kind, width):
    shape = (4, 3) if kind == "images" else (3,)
    x = padded(random_array(len(LENGTHS), 5, *shape))
    layer = BESIDE_STATES[kind](return_sequences=True, stateful=True)
    flags = np.zeros((len(x), width), bool)
    outputs = to_numpy(layer(Padding()(x), reset=keras.ops.convert_to_tensor(flags)))
    twin = BESIDE_STATES[kind](return_sequences=True)
    twin.build(x.shape)
    twin.set_weights(layer.get_weights())
    np.testing.assert_allclose(outputs, to_numpy(twin(Padding()(x))), atol=1e-6)


@pytest.mark.parametrize("implementation", ["auto", "scan"])
@pytest.mark.parametrize("kind", on_backends([L.LSTM, L.GRU, L.SimpleRNN], L.GRU))
def test_a_call_that_goes_on_from_a_state_shows_its_output_until_a_timestep_counts(
    kind, implementation
):
    options = {"return_sequences": True, "return_state": True}
    layer = kind(4, implementation=implementation, **options)
    x = X * np.array([1, 1, 0, 0, 1], "float32")[:, None]
    whole, *_ = layer(Padding()(x))
    _, *state = layer(Padding()(x[:, :2]))
    rest, *_ = layer(Padding()(x[:, 2:]), initial_state=state)
    assert_close(rest, to_numpy(whole)[:, 2:])


@pytest.mark.parametrize("kind", ["lstm", "both directions"])
def test_the_mask_that_is_passed_goes_before_that_of_the_sequences(kind):
    layer = BESIDE_STATES[kind](return_sequences=True)
    masked = Padding()(padded(X))
    states = states_of(layer, len(X))
    everything = keras.ops.ones(X.shape[:2], "bool")
    passed = layer(masked, initial_state=states, mask=everything)
    expected = to_numpy(layer(padded(X)))
    np.testing.assert_allclose(to_numpy(passed), expected, atol=1e-6)
    ignored = layer(masked, initial_state=states, sequences_mask=False)
    np.testing.assert_allclose(to_numpy(ignored), expected, atol=1e-6)


@pytest.mark.parametrize("implementation", ["auto", "scan"])
@pytest.mark.parametrize("kind", on_backends([L.LSTM, L.GRU, L.SimpleRNN], L.GRU))
def test_a_mask_of_one_row_counts_for_all_rows(kind, implementation):
    layer = kind(4, return_sequences=True, implementation=implementation)
    mask = np.array([[True, False, True, True, False]])
    expected = to_numpy(layer(X, mask=keras.ops.convert_to_tensor(np.repeat(mask, len(X), 0))))
    assert_close(layer(X, mask=keras.ops.convert_to_tensor(mask)), expected)


@pytest.mark.parametrize(
    ("kind", "eagerly"),
    [pytest.param(L.LSTM, False, marks=pytest.mark.backends), (L.GRU, True), (L.SimpleRNN, True)],
)
def test_zoneout_trains_with_a_mask_on_the_loop(kind, eagerly):
    layers_ = [Padding(), kind(4, zoneout_h=0.1, implementation="scan")]
    model = keras.Sequential([keras.Input((None, 3)), *layers_])
    model.compile("sgd", "mse", run_eagerly=eagerly)
    assert np.isfinite(model.train_on_batch(padded(X), np.zeros((len(X), 4))))


def test_the_layers_of_keras_3_16_lose_the_mask(monkeypatch):
    monkeypatch.setattr(keras.layers.RNN, "__init__", _without_masks(keras.layers.RNN.__init__))
    first = keras.layers.LSTM(4, return_sequences=True)
    model = keras.Sequential([keras.Input((None, 3)), Padding()])
    with pytest.warns(UserWarning, match="destroy the mask"):
        model.add(first)
    model.add(keras.layers.LSTM(3))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_rows(model, X)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (lambda: L.LSTM(4), None),
        (lambda: L.LSTM(4, return_sequences=True), "mask"),
        (lambda: L.GRU(4, return_state=True), [None, None]),
        (lambda: L.LSTM(4, return_sequences=True, return_state=True), ["mask", None, None]),
        (lambda: L.Bidirectional(L.GRU(4)), None),
        (lambda: L.Bidirectional(L.GRU(4, return_sequences=True)), "mask"),
        (
            lambda: L.Bidirectional(L.GRU(4, return_sequences=True), merge_mode=None),
            ("mask", "mask"),
        ),
    ],
)
def test_a_mask_stays_with_the_timesteps_and_ends_at_a_last_output(layer, expected):
    assert layer().compute_mask(X, "mask") == expected
