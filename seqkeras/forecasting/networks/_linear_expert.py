"""The linear expert: exponential smoothing and ridge regression, fitted in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import keras
import numpy as np

from seqkeras._arrays import Array, Floats, evenly_spaced
from seqkeras.forecasting.networks._inputs import pairs
from seqkeras.forecasting.networks._predict import as_dict
from seqkeras.forecasting.networks._shares import shares
from seqkeras.forecasting.networks._simple_forecasts import SimpleForecasts, seasonal_naive
from seqkeras.forecasting.networks._simple_mean import SimpleMean
from seqkeras.models._window import NetworkSizes, WindowColumns, make_inputs
from seqkeras.training._early_stopping import Judged
from seqkeras.windows import Windows

#: Penalties of the ridge regression, relative to the mean variance of a row of the window.
PENALTIES = 10.0 ** np.arange(-3, 5)
#: Parts of the windows that are left out in turn to judge a penalty.
_FOLDS = 5
#: Largest number of windows that the regression reads, evenly spaced.
_MOST_WINDOWS = 20_000
#: Largest number of rows before the newest that the regression reads: it takes their cube in time.
_MOST_LAGS = 512
#: Largest number of products to judge one candidate, which limits the windows it is judged on.
_MOST_PRODUCTS = 5e8


@dataclass(frozen=True, eq=False)
class LinearExpert:
    """A forecast of the whole horizon from the target of a window.

    It is the sum of a mean of simple forecasts, times its share, and of a forecast that is linear
    in the window.

    Attributes:
        simple: the mean of simple forecasts, each of which is linear in the window.
        simple_share: share of this mean, from 0 to 1.
        weights: `(lookback, horizon)`; those of each step of the horizon sum to the other share.
    """

    simple: SimpleMean
    simple_share: float
    weights: Floats

    @classmethod
    def fit(cls, windows: Windows, season_length: int) -> "LinearExpert":
        """Fit the expert to training windows, except for those with a missing target.

        Args:
            windows: windows of series in order, scaled.
            season_length: timesteps of one season.
        """
        parts = list(pairs(Judged(windows, _MOST_WINDOWS)))
        x = np.concatenate([_target(x) for x, _ in parts])
        y = np.concatenate([y for _, y in parts])
        known = np.isfinite(y).all(axis=1)
        return cls.of(x[known], y[known], season_length)

    @classmethod
    def of(cls, x: Array, y: Array, season_length: int) -> "LinearExpert":
        """Fit the expert to windows.

        It is a mean of up to three candidates: the mean of simple forecasts; and this mean and the
        seasonal naive forecast, each corrected by a ridge regression on the window, which learns
        its errors. The share of a candidate falls with its mean absolute error on the windows. That
        of a regression is measured by cross-validation: a fifth of the windows is forecast by the
        others, except for those that overlap it. A regression that makes the error no smaller is
        omitted.

        Args:
            x: `(windows, lookback)`, in order of time.
            y: `(windows, horizon)`, without missing values. Without any window, the result is the
                seasonal naive forecast.
            season_length: timesteps of one season.
        """
        lookback, horizon = x.shape[1], y.shape[1]
        simple = SimpleForecasts.of(lookback, horizon, season_length)
        naive = seasonal_naive(np.eye(lookback), horizon, season_length)
        if not len(x):
            return cls(SimpleMean(simple, np.ones(len(simple)), 0.0), 0.0, naive)
        judged = evenly_spaced(len(x), max(1, int(_MOST_PRODUCTS / (lookback * horizon))))
        mean = SimpleMean.fit(simple, x[judged], y[judged])
        starts = [mean.predict(x), x @ naive.astype(x.dtype)]
        errors = [float(np.abs(y[judged] - start[judged]).mean()) for start in starts]
        regressions = _Ridge(x, [y - start for start in starts], judged).best()
        corrected = [
            error if error < start_error else np.inf
            for start_error, (error, _) in zip(errors, regressions, strict=True)
        ]
        of_mean, of_naive = (weights for _, weights in regressions)
        parts = shares([errors[0], *corrected])
        return cls(mean, parts[0] + parts[1], parts[1] * of_mean + parts[2] * (naive + of_naive))

    @property
    def output_shape(self) -> tuple[None, int]:
        """Return the shape of the output, `(None, horizon)`."""
        return None, self.weights.shape[1]

    def forecast(self, target: Array) -> Array:
        """Return the forecasts of windows `(batch, lookback)`, `(batch, horizon)`."""
        linear = target @ self.weights.astype(target.dtype)
        return linear + self.simple_share * self.simple.predict(target)

    def predict_on_batch(self, x: Any) -> Array:
        """Return the forecasts of windows, network inputs of any form, `(batch, horizon)`."""
        return self.forecast(_target(x))

    def model(self, sizes: NetworkSizes) -> keras.Model:
        """Return the expert as a model from `(batch, lookback, features)`.

        It reads the target relative to its newest value, so that float32 is enough at any level.
        """
        inputs = keras.Input((sizes.lookback, sizes.features), name="inputs")
        target = inputs[:, :, WindowColumns.TARGET]
        last = target[:, -1:]
        relative = target - last
        dtype = keras.config.floatx()  # mixed precision must not round the forecast
        dense = keras.layers.Dense(sizes.horizon, use_bias=False, dtype=dtype, name="weights")
        added = dense(relative) + self.simple.build(relative, self.simple_share)
        dense.set_weights([self.weights])
        # In the other order, Keras on TensorFlow takes `last` for a bias if the batch has as many
        # rows as the horizon has steps, and adds it along the wrong axis.
        return keras.Model(inputs, last + added, name="linear_expert")

    def network(self, sizes: NetworkSizes) -> keras.Model:
        """Return the expert as a network that has all inputs, although it reads the target only."""
        inputs = make_inputs(sizes)
        output = self.model(sizes)(inputs["inputs"])
        return keras.Model(inputs if len(inputs) > 1 else inputs["inputs"], output)


def _target(x: Any) -> Array:
    return np.asarray(as_dict(x)["inputs"])[..., WindowColumns.TARGET]


class _Ridge:
    """Ridge regressions of several targets on the same windows, relative to their newest value.

    They read the newest `_MOST_LAGS` rows before that value; older rows have the weight 0.

    Args:
        x: `(windows, lookback)`.
        targets: of each regression, `(windows, horizon)`.
        judged: numbers of the windows on which a penalty is judged.
    """

    def __init__(self, x: Array, targets: Sequence[Array], judged: Array) -> None:
        self._lookback = x.shape[1]
        self._older = max(0, self._lookback - 1 - _MOST_LAGS)
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
        the weights are 0.
        """
        errors = self._errors() if self._x.size else None
        if errors is None:
            return [(np.inf, np.zeros((self._lookback, self._horizon)))] * self._count
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
