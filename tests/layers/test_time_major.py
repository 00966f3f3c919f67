"""Recurrent layers on time-major sequences give the numbers of the same layer on batches."""

import keras
import numpy as np
import pytest

from helpers.models import assert_close, randomized, to_numpy
from seqkeras import layers, to_keras
from seqkeras.errors import ArgumentError
from seqkeras.export import save_program
from seqkeras.layers import TimeMajor
from seqkeras.stepwise import rollout

ROWS, STEPS = 2, 5
X = np.random.default_rng(0).normal(size=(ROWS, STEPS, 3)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 1]], bool)

LAYERS = {
    "lstm": lambda: layers.LSTM(4, return_sequences=True, return_state=True),
    "gru of keras": lambda: keras.layers.GRU(4, return_sequences=True),
    "both ways": lambda: layers.Bidirectional(
        layers.GRU(2, return_sequences=True, return_state=True), merge_mode=None
    ),
    "last output": lambda: layers.SimpleRNN(4, go_backwards=True),
    "cells": lambda: layers.RNN([keras.layers.GRUCell(2), keras.layers.LSTMCell(3)]),
}


def swapped(x):
    return np.ascontiguousarray(np.swapaxes(to_numpy(x), 0, 1))


@pytest.mark.backends
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_are_those_of_the_layer_with_the_axes_swapped(name):
    layer = LAYERS[name]()
    time_major = TimeMajor(layer)
    for mask in (None, MASK):
        outputs = keras.tree.flatten(layer(X, mask=mask))
        mask = None if mask is None else swapped(mask)
        ours = keras.tree.flatten(time_major(swapped(X), mask=mask))
        assert len(ours) == len(outputs)
        for actual, expected in zip(ours, outputs, strict=True):
            is_sequence = len(expected.shape) == 3
            assert_close(swapped(actual) if is_sequence else actual, expected)


def test_a_sequence_goes_on_from_states():
    layer = layers.LSTM(4, return_sequences=True, return_state=True)
    time_major = TimeMajor(layer)
    whole, *last = time_major(swapped(X))
    first, *states = time_major(swapped(X)[:2])
    rest, *end = time_major(swapped(X)[2:], initial_state=states)
    assert_close(np.concatenate([to_numpy(first), to_numpy(rest)]), whole)
    assert_close(end, last)


def model(layer):
    """A model of two layers on time-major sequences, in which timesteps of zeros do not count."""
    x = keras.Input(batch_shape=(STEPS, None, 3))
    h = layer(keras.layers.Masking()(x))
    return randomized(keras.Model(x, TimeMajor(keras.layers.GRU(2))(h)))


def test_masks_pass_on_and_models_are_saved_and_loaded(tmp_path):
    time_major = model(TimeMajor(layers.LSTM(4, return_sequences=True), name="first"))
    x = swapped(X * MASK[..., None])
    assert time_major.output_shape == (None, 2)
    hidden = keras.layers.LSTM(4, return_sequences=True)
    last = keras.layers.GRU(2)
    plain = keras.Sequential([keras.Input((STEPS, 3)), keras.layers.Masking(), hidden, last])
    plain.set_weights(time_major.get_weights())
    assert_close(time_major(x), plain(X * MASK[..., None]))
    time_major.save(tmp_path / "model.keras")
    assert_close(keras.saving.load_model(tmp_path / "model.keras")(x), time_major(x))


def test_it_learns():
    layer = TimeMajor(layers.GRU(4, return_sequences=True))
    x = keras.Input((None, 3))
    y = keras.layers.Dense(1)(keras.ops.swapaxes(layer(keras.ops.swapaxes(x, 0, 1)), 0, 1))
    trained = keras.Model(x, y)
    trained.compile(keras.optimizers.Adam(0.05), "mse")
    losses = trained.fit(X, X[..., :1], epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_what_cannot_read_time_major_sequences_says_so(tmp_path):
    x = keras.Input((STEPS, 3))
    swap = keras.ops.swapaxes
    y = swap(TimeMajor(layers.GRU(3, return_sequences=True), name="swapped")(swap(x, 0, 1)), 0, 1)
    model = keras.Model(x, y)
    with pytest.raises(ArgumentError, match=r"swap|'swapped'"):
        save_program(model, tmp_path / "p")
    with pytest.raises(ArgumentError, match="'swapped'"):
        to_keras(model)
    with pytest.raises(ArgumentError, match="swap"):
        rollout(model, X, 2)


def test_only_recurrent_layers_are_accepted():
    with pytest.raises(ArgumentError, match="layer must be a recurrent layer"):
        TimeMajor(keras.layers.Dense(2))
