"""The linear expert: a forecast that is linear in the window, fitted in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import keras
import numpy as np

from seqkeras._arrays import Array, Floats, evenly_spaced
from seqkeras.forecasting.networks._inputs import pairs
from seqkeras.forecasting.networks._predict import as_dict
from seqkeras.forecasting.networks._simple_forecasts import simple_forecasts
from seqkeras.models._window import NetworkSizes, WindowColumns, make_inputs
from seqkeras.training._early_stopping import Judged
from seqkeras.windows import Windows

#: Penalties of the ridge regression, relative to the mean variance of a row of the window.
PENALTIES = 10.0 ** np.arange(-3, 5)
#: A share is proportional to `error ** -power`: that of a simple forecast, and of a candidate.
SIMPLE_POWER = 4
POWER = 8
#: Parts of the windows that are left out in turn to judge a penalty.
_FOLDS = 5
#: Largest number of windows that the regression reads, evenly spaced.
_MOST_WINDOWS = 20_000
#: Largest number of rows before the newest that the regression reads: it takes their cube in time.
_MOST_LAGS = 512
#: Largest number of products to judge one candidate, which limits the windows it is judged on.
_MOST_PRODUCTS = 5e8
#: Smallest error, so that a forecast without any error has a finite share.
_LEAST_ERROR = 1e-9


@dataclass(frozen=True, eq=False)
class LinearExpert:
    """A forecast of the whole horizon that is linear in the target of a window.

    Attributes:
        weights: `(lookback, horizon)`; the weights of each step of the horizon sum to 1.
    """

    weights: Floats

    @classmethod
    def fit(cls, windows: Windows, season_length: int) -> "LinearExpert":
        """Fit the weights to training windows, except for those with a missing target.

        Args:
            windows: windows of series in order, scaled.
            season_length: timesteps of one season.
        """
        parts = list(pairs(Judged(windows, _MOST_WINDOWS)))
        x = np.concatenate([_target(x) for x, _ in parts])
        y = np.concatenate([y for _, y in parts])
        known = np.isfinite(y).all(axis=1)
        return cls(linear_weights(x[known], y[known], season_length))

    @property
    def output_shape(self) -> tuple[None, int]:
        """Return the shape of the output, `(None, horizon)`."""
        return None, self.weights.shape[1]

    def predict_on_batch(self, x: Any) -> Floats:
        """Return the forecasts of windows, network inputs of any form, `(batch, horizon)`."""
        return _target(x) @ self.weights

    def model(self, sizes: NetworkSizes) -> keras.Model:
        """Return the expert as a model from `(batch, lookback, features)`.

        It reads the target relative to its newest value, so that float32 is enough at any level.
        """
        inputs = keras.Input((sizes.lookback, sizes.features), name="inputs")
        target = inputs[:, :, WindowColumns.TARGET]
        last = target[:, -1:]
        dtype = keras.config.floatx()  # mixed precision must not round the forecast
        dense = keras.layers.Dense(sizes.horizon, use_bias=False, dtype=dtype, name="weights")
        # In the other order, Keras on TensorFlow takes `last` for a bias if the batch has as many
        # rows as the horizon has steps, and adds it along the wrong axis.
        model = keras.Model(inputs, last + dense(target - last), name="linear_expert")
        dense.set_weights([self.weights])
        return model

    def network(self, sizes: NetworkSizes) -> keras.Model:
        """Return the expert as a network that has all inputs, although it reads the target only."""
        inputs = make_inputs(sizes)
        output = self.model(sizes)(inputs["inputs"])
        return keras.Model(inputs if len(inputs) > 1 else inputs["inputs"], output)


def _target(x: Any) -> Array:
    return np.asarray(as_dict(x)["inputs"])[..., WindowColumns.TARGET]


def linear_weights(x: Array, y: Array, season_length: int) -> Floats:
    """Return the weights of a linear forecast that is fitted to windows.

    It is a mean of four candidates: the seasonal naive forecast; a mean of all simple forecasts
    (see `simple_forecasts`); and each of these two corrected by a ridge regression on the window,
    which learns its errors. The share of a candidate falls with its mean absolute error on the
    windows. That of a regression is measured by cross-validation: a fifth of the windows is
    forecast by the others, except for those that overlap it. A regression that makes the error no
    smaller is omitted.

    Args:
        x: `(windows, lookback)`, in order of time.
        y: `(windows, horizon)`, without missing values. Without any window, the result is the
            seasonal naive forecast.
        season_length: timesteps of one season.

    Returns:
        `(lookback, horizon)`; the weights of each step of the horizon sum to 1.
    """
    simple = simple_forecasts(x.shape[1], y.shape[1], season_length)
    if not len(x):
        return simple[0]
    most_judged = max(1, int(_MOST_PRODUCTS / (x.shape[1] * y.shape[1])))
    judged = evenly_spaced(len(x), most_judged)

    def error(weights: Floats) -> float:
        return float(np.abs(y[judged] - x[judged] @ weights.astype(x.dtype)).mean())

    mean = _combined(list(simple), [error(weights) for weights in simple], SIMPLE_POWER)
    candidates = [simple[0], mean]
    errors = [error(weights) for weights in candidates]
    regressions = _Ridge(x, [y - x @ start for start in candidates], judged).best()
    for start, start_error, (ridge_error, weights) in zip(
        candidates[:2], errors[:2], regressions, strict=True
    ):
        if ridge_error < start_error:
            candidates.append(start + weights)
            errors.append(ridge_error)
    return _combined(candidates, errors, POWER)


def shares(errors: Any, power: float = POWER) -> Floats:
    """Return the share of each forecast in a mean, which falls with its error; they sum to 1."""
    errors = np.maximum(errors, _LEAST_ERROR)
    weights = (errors.min() / errors) ** power
    return weights / weights.sum()


def _combined(candidates: list[Floats], errors: list[float], power: float) -> Floats:
    return np.tensordot(shares(errors, power), np.stack(candidates), axes=1)


class _Ridge:
    """Ridge regressions of several targets on the same windows, relative to their newest value.

    They read the newest `_MOST_LAGS` rows before that value; older rows have the weight 0.

    Args:
        x: `(windows, lookback)`.
        targets: of each regression, `(windows, horizon)`.
        judged: numbers of the windows on which a penalty is judged.
    """

    def __init__(self, x: Array, targets: Sequence[Array], judged: Array) -> None:
        self._older = max(0, x.shape[1] - 1 - _MOST_LAGS)
        self._x = (x - x[:, -1:])[:, self._older : -1].astype(np.float64)
        self._y = np.concatenate(targets, axis=1).astype(np.float64)
        self._count = len(targets)
        self._horizon = targets[0].shape[1]
        self._judged = judged
        self._gram = self._x.T @ self._x
        self._products = self._x.T @ self._y

    def best(self) -> list[tuple[float, Floats]]:
        """Return, for each target, the cross-validated error of the best penalty, and the weights.

        The weights are fitted to all windows. If no error can be measured, it is infinite, and
        there are no weights.
        """
        errors = self._errors() if self._x.size else None
        if errors is None:
            return [(np.inf, np.empty(0))] * self._count
        best = errors.argmin(axis=0)
        solutions = [self._by_target(weights) for weights in self._solutions(slice(0, 0))]
        chosen = [solutions[penalty][:, target] for target, penalty in enumerate(best)]
        older = np.zeros((self._older, self._horizon))
        # The newest value has the weight that makes all weights sum to 0.
        complete = [np.vstack([older, weights, -weights.sum(axis=0)]) for weights in chosen]
        return list(zip(errors.min(axis=0).tolist(), complete, strict=True))

    def _errors(self) -> Floats | None:
        """Return the errors of windows left out, `(penalties, targets)`; None without any."""
        total = np.zeros((len(PENALTIES), self._count))
        count = 0
        for first, last in pairwise(np.linspace(0, len(self._x), _FOLDS + 1).astype(int)):
            inside = self._judged[(self._judged >= first) & (self._judged < last)]
            left_out = slice(max(0, first - self._horizon), last + self._horizon)
            others = left_out.start + max(0, len(self._x) - left_out.stop)
            if not others or not len(inside):
                continue
            x, y = self._x[inside], self._y[inside]
            errors = [np.abs(y - x @ weights) for weights in self._solutions(left_out)]
            total += [self._by_target(error).sum(axis=(0, 2)) for error in errors]
            count += len(inside) * self._horizon
        return total / count if count else None

    def _by_target(self, columns: Floats) -> Floats:
        return columns.reshape(-1, self._count, self._horizon)

    def _solutions(self, left_out: slice) -> list[Floats]:
        """Return the weights for each penalty, fitted without some of the windows."""
        x, y = self._x[left_out], self._y[left_out]
        variances, vectors = np.linalg.eigh(self._gram - x.T @ x)
        products = vectors.T @ (self._products - x.T @ y)
        variances = np.maximum(variances, 0)
        mean = variances.mean() or 1.0
        return [
            vectors @ (products / (variances + penalty * mean)[:, np.newaxis])
            for penalty in PENALTIES
        ]
