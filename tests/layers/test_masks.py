"""Masks on their way through our layers, whatever Keras does with those of its own."""

import inspect
import warnings

import keras
import numpy as np
import pytest

from helpers.models import random_array, to_numpy
from seqkeras import layers
from seqkeras.layers import recurrent_layer

LENGTHS = (5, 3, 1)
X = random_array(len(LENGTHS), 5, 3)


@pytest.fixture(params=["as it is", "3.16"])
def keras_version(request, monkeypatch):
    """Keras as it is, and with the flags that 3.16 sets in its own layers."""
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


@keras.saving.register_keras_serializable("seqkeras_tests")
class Padding(keras.layers.Layer):
    """A layer that masks timesteps of zeros, also those of images."""

    def compute_mask(self, inputs, previous_mask):
        return keras.ops.any(inputs != 0, axis=tuple(range(2, len(inputs.shape))))

    def call(self, inputs):
        return inputs


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


@pytest.mark.backends
@pytest.mark.parametrize("stack", STACKS)
def test_a_padded_row_gives_what_it_gives_without_padding(stack, keras_version, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*mask")
        model = keras.Sequential([keras.Input((None, 3)), Padding(), *STACKS[stack]()])
        model.save(tmp_path / "model.keras")
        for same_model in (model, keras.saving.load_model(tmp_path / "model.keras")):
            check_rows(same_model, X)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="Keras misplaces masks of images")
def test_a_padded_video_gives_what_it_gives_without_padding(keras_version):
    first = L.ConvLSTM1D(2, 2, padding="same", return_sequences=True)
    model = keras.Sequential([keras.Input((None, 4, 3)), Padding(), first, L.ConvLSTM1D(2, 2)])
    check_rows(model, random_array(len(LENGTHS), 5, 4, 3))


def check_rows(model, x):
    outputs = to_numpy(model(padded(x)))
    for row, length in enumerate(LENGTHS):
        expected = to_numpy(model(x[row : row + 1, :length]))[0]
        np.testing.assert_allclose(outputs[row], expected, atol=1e-6)


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
        (lambda: L.TimeDistributed(keras.layers.Dense(2)), "mask"),
    ],
)
def test_a_mask_stays_with_the_timesteps_and_ends_at_a_last_output(layer, expected):
    assert layer().compute_mask(X, "mask") == expected
