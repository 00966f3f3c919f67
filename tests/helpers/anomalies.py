"""Series and settings of the tests of detectors."""

import contextlib
import functools

import hypothesis
import keras
import numpy as np
import pytest

from seqkeras.forecasting import Training

#: A training that takes about a second.
QUICK = {"units": 4, "seed": 0, "training": Training(epochs=1, progress=False)}
SPIKE = 300
#: Whether to run all of scikit-learn's checks, each of which trains, or only the essential ones.
ALL_CHECKS = hypothesis.settings.get_current_profile_name() == "long"


@contextlib.contextmanager
def training_eagerly():
    """Train without compiling, which takes longer than the few small steps of most tests."""
    eager = functools.partialmethod(keras.Model.compile, run_eagerly=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "compile", eager)
        yield


def wave(rows=400, spike=SPIKE):
    x = np.sin(np.arange(rows) / 5) + 0.1 * np.random.default_rng(0).normal(size=rows)
    if spike is not None:
        x[spike] += 4
    return x


def waves(rows=400):
    """Return a series to score, and two of context: a ramp with wild values, and a constant."""
    ramp = np.linspace(0, 1, rows)
    ramp[rows // 2] = 1000
    return np.stack([wave(rows), ramp, np.ones(rows)], axis=1)
