"""Helpers for tests of models."""

import functools

import keras
import numpy as np
import pytest

from helpers.models import randomized


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def outputs():
    """`outputs(model, x)`: the outputs as a NumPy array; a stateful model reads on."""

    def call(model, x, **options):
        x = np.asarray(x, dtype="float32")
        if isinstance(getattr(model, "input", None), dict):
            x = {"sequence": x, "reset": None}
        return keras.ops.convert_to_numpy(model(x, **options))

    return call


@pytest.fixture(scope="session")
def randomize():
    """`randomize(model)`: the model with random weights everywhere.

    Fresh models have zeros in biases and in some kernels, behind which a wrong path hides.
    """

    return functools.partial(randomized, scale=0.4)
