"""Series and settings of the tests of detectors."""

import hypothesis
import numpy as np

from seqkeras.forecasting import Training

#: A training that takes about a second.
QUICK = {"units": 4, "seed": 0, "training": Training(epochs=1, progress=False)}
SPIKE = 300
#: Whether to run all of scikit-learn's checks, each of which trains, or only the essential ones.
ALL_CHECKS = hypothesis.settings.get_current_profile_name() == "long"


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
