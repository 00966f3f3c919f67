"""Sequences and masks from their end to their start."""

import keras
import numpy as np

from helpers.models import outputs_of, to_numpy
from seqkeras import layers, to_keras


def test_values_and_mask_are_reversed_together():
    x = np.array([[[1.0], [2.0], [0.0]], [[0.0], [3.0], [4.0]]], "float32")
    y = layers.ReverseTime()(keras.layers.Masking()(x))
    np.testing.assert_array_equal(to_numpy(y), x[:, ::-1])
    np.testing.assert_array_equal(to_numpy(y._keras_mask), x[:, ::-1, 0] != 0)


def test_to_keras_reverses_with_an_operation():
    x = keras.Input((None, 2))
    model = keras.Model(x, keras.layers.GRU(3)(layers.ReverseTime()(x)))
    values = np.random.default_rng(0).normal(size=(2, 4, 2)).astype("float32")
    np.testing.assert_allclose(
        outputs_of(to_keras(model), values), outputs_of(model, values), atol=1e-6
    )
