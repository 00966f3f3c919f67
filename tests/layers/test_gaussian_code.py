"""Draws of a code, and their divergence from the standard normal distribution."""

import keras
import numpy as np
import pytest

from helpers.models import to_numpy
from seqkeras import layers, to_keras
from seqkeras.errors import ArgumentError

RANDOM = np.random.default_rng(3)
MEAN = RANDOM.normal(size=(4, 2)).astype("float32")
LOG_VARIANCE = RANDOM.normal(size=(4, 2)).astype("float32")
SEQUENCE = RANDOM.normal(size=(4, 5, 1)).astype("float32")


def inputs(sequence=SEQUENCE):
    return [keras.ops.convert_to_tensor(x) for x in (MEAN, LOG_VARIANCE, sequence)]


def divergence_by_integration(mean, log_variance):
    """The integral of p log(p / q) over a fine grid, with q the standard normal density."""
    grid = np.linspace(-30, 30, 200_001)
    variance = np.exp(log_variance)
    log_p = -((grid - mean) ** 2) / (2 * variance) - log_variance / 2
    log_q = -(grid**2) / 2
    p = np.exp(log_p) / np.sqrt(2 * np.pi)
    return np.sum(p * (log_p - log_q)) * (grid[1] - grid[0])


@pytest.mark.backends
def test_outside_training_the_code_is_the_mean_and_the_loss_the_divergence():
    layer = layers.GaussianCode(kl_weight=0.5)
    np.testing.assert_array_equal(to_numpy(layer(inputs(), training=False)), MEAN)
    pairs = zip(MEAN.ravel().astype(float), LOG_VARIANCE.ravel().astype(float), strict=True)
    rows = sum(divergence_by_integration(*pair) for pair in pairs) / len(MEAN)
    assert float(layer.losses[0]) == pytest.approx(0.5 * rows, rel=1e-5)


@pytest.mark.backends
def test_draws_have_the_mean_and_the_variance():
    layer = layers.GaussianCode(seed=1)
    rows = [np.repeat(x, 5000, axis=0) for x in (MEAN[:1], LOG_VARIANCE[:1], SEQUENCE[:1])]
    draws = to_numpy(layer(rows, training=True))
    standard = (draws - MEAN[0]) / np.exp(LOG_VARIANCE[0] / 2)
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(standard.var(axis=0), 1, atol=0.1)
    assert np.abs(to_numpy(layer(rows, training=True)) - draws).max() > 0.1
    again = layers.GaussianCode(seed=1)
    np.testing.assert_array_equal(to_numpy(again(rows, training=True)), draws)


def test_rows_that_are_masked_do_not_count():
    layer = layers.GaussianCode(kl_weight=1.0)
    layer([x[:2] for x in inputs()])
    expected = float(layer.losses[0])
    sequence = SEQUENCE.copy()
    sequence[2:] = 0
    sequence[0, :3] = 0
    mean, log_variance, _ = inputs()
    code = layer([mean, log_variance, keras.layers.Masking()(sequence)])
    assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-6)
    assert getattr(code, "_keras_mask", None) is None
    layer([mean, log_variance, keras.layers.Masking()(np.zeros_like(sequence))])
    assert float(layer.losses[0]) == 0


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), True, "0.1", None])
def test_a_weight_that_is_no_number_is_refused(value):
    with pytest.raises(ArgumentError, match="kl_weight must be a finite number >= 0"):
        layers.GaussianCode(kl_weight=value)


def test_to_keras_refuses_it_by_name():
    x = keras.Input((5, 1))
    end = keras.layers.GRU(2)(x)
    model = keras.Model(x, layers.GaussianCode(name="draw")([end, end, x]))
    with pytest.raises(ArgumentError, match=r"'draw' \(GaussianCode\) has no counterpart"):
        to_keras(model)
