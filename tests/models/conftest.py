"""Helpers for tests of models."""

import keras
import numpy as np
import pytest


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

    def call(model, seed=0, scale=0.4):
        random = np.random.default_rng(seed)
        model.set_weights([random.normal(0, scale, w.shape) for w in model.get_weights()])
        return model

    return call
