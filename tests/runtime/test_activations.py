"""Tests of the activations against those of Keras."""

import keras
import numpy as np
import pytest

from seqkeras.runtime._activations import ACTIVATIONS, activation

X = np.concatenate([np.linspace(-8, 8, 101), [-1, -0.5, 0, 0.5, 1, 6, -100, 100]])
X = np.resize(X, (11, 10)).astype("float32")

OPTIONS = [
    ("relu", {"negative_slope": 0.1, "max_value": 3.0, "threshold": 0.0}),
    ("relu", {"negative_slope": 0.1, "max_value": None, "threshold": 0.7}),
    ("relu", {"negative_slope": 0.0, "max_value": 2.0, "threshold": -0.5}),
    ("leaky_relu", {"negative_slope": 0.3}),
    ("elu", {"alpha": 0.3}),
    ("celu", {"alpha": 2.0}),
    ("gelu", {"approximate": True}),
    ("hard_shrink", {"threshold": 1.5}),
    ("soft_shrink", {"threshold": 1.5}),
    ("squareplus", {"b": 1}),
    ("threshold", {"threshold": 0.5, "default_value": -2.0}),
]


def keras_names():
    module = keras.activations
    # Functions that are not activations, and aliases.
    skipped = {"deserialize", "serialize", "get", "hard_swish", "swish"}
    return {name for name in dir(module) if name[0] != "_" and name not in skipped}


def test_every_activation_of_keras_is_known():
    unknown = keras_names() - ACTIVATIONS.keys()
    assert not {name for name in unknown if callable(getattr(keras.activations, name))}


@pytest.mark.parametrize("name", sorted(ACTIVATIONS.keys() - {"threshold"}))
def test_each_agrees_with_keras(name):
    expected = keras.ops.convert_to_numpy(getattr(keras.activations, name)(X))
    with np.errstate(over="ignore"):  # exp overflows in Keras as well
        actual = activation(name)(X)
    assert actual.dtype == X.dtype
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_options_agree_with_keras(name, options):
    expected = keras.ops.convert_to_numpy(getattr(keras.activations, name)(X, **options))
    actual = activation(name, options)(X)
    assert actual.dtype == X.dtype
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "softmax", "log_sigmoid", "silu"])
def test_large_numbers_do_not_overflow(name):
    with np.errstate(all="raise", under="ignore"):
        actual = activation(name)(np.array([[-1e30, 1e30, 0.0]], "float32"))
    assert np.isfinite(actual).all()
