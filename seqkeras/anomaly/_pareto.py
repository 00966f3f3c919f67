"""The generalized Pareto distribution, fitted by maximum likelihood."""

import numpy as np

from seqkeras._arrays import Floats

#: Below this shape, the likelihood has no usable maximum (Smith 1985).
_LOWEST_SHAPE = -0.5


def fit_pareto(excesses: Floats) -> tuple[float, float]:
    """Return shape and scale of the generalized Pareto distribution of positive excesses.

    Grimshaw (1993) reduces the likelihood to a function of `shape / scale`. It can have several
    local maxima, so it is scanned, then refined around the highest point. The shape is at least
    -0.5, below which the likelihood is unbounded or its maximum not usable.

    Args:
        excesses: `(n,)`, positive.

    Example:
        >>> shape, scale = fit_pareto(np.random.default_rng(0).exponential(3.0, size=100_000))
        >>> abs(shape) < 0.02, abs(scale - 3) < 0.05
        (True, True)
    """
    unit = float(excesses.mean())
    values = excesses / unit
    lowest = -1 / float(values.max())
    negative = lowest * -np.expm1(-np.geomspace(1e-6, 30.0, 120))
    positive = np.geomspace(1e-6, 1e4, 160)
    ratios = np.concatenate([negative[::-1], [0.0], positive])
    for _ in range(4):
        shapes, likelihoods = _profile(values, ratios)
        best = int(np.argmax(likelihoods))
        low = ratios[max(best - 1, 0)]
        high = ratios[min(best + 1, len(ratios) - 1)]
        ratio = float(ratios[best])
        shape = float(shapes[best])
        ratios = np.concatenate([[ratio], np.linspace(low, high, 41)])
        ratios.sort()
    return shape, unit * (shape / ratio if ratio else 1.0)


def _profile(values: Floats, ratios: Floats) -> tuple[Floats, Floats]:
    """Return the best shape at each `shape / scale`, and the log-likelihood per value.

    The values have a mean of 1, so at a ratio of 0 (exponential) the scale is 1.
    """
    logarithms = np.array([np.log1p(ratio * values).mean() for ratio in ratios])
    shapes = np.maximum(logarithms, _LOWEST_SHAPE)
    small = np.abs(ratios) < 1e-9
    with np.errstate(divide="ignore", invalid="ignore"):
        likelihoods = -np.log(shapes / ratios) - (1 + 1 / shapes) * logarithms
    return np.where(small, 0.0, shapes), np.where(small, -1.0, likelihoods)
