"""A linear forecast of the next timesteps, in closed form: what a network then corrects."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from seqkeras._arrays import Floats
from seqkeras.windows import GroupedArray

#: Largest number of rows that the coefficients are fitted on, evenly spaced.
_MOST_ROWS = 20_000
#: Ridge penalties to choose from, per row.
_PENALTIES = (1e-4, 1e-2, 1.0, 100.0)
#: Rounds of reweighting, and the size of a residual, in spreads, from which its weight falls.
_ROUNDS = 2
_USUAL = 2.0
#: Rows in a chunk, to limit memory.
_CHUNK = 8192


@dataclass(frozen=True)
class LinearForecast:
    """Forecasts of each feature from its own last rows, relative to the newest row.

    Coefficients are fitted by ridge regression, with weights that fall for large residuals (Huber),
    so anomalies among the training rows count little. Before the first row of a series, the first
    row is read in place of older ones.

    Attributes:
        weights: `(features, lookback, horizon)`.
        bias: `(features, horizon)`.
    """

    weights: Floats
    bias: Floats

    @classmethod
    def fit(
        cls, train: GroupedArray, held_out: GroupedArray | None, *, lookback: int, horizon: int
    ) -> "LinearForecast":
        """Fit the coefficients.

        Args:
            train: scaled rows `(rows, features)` within their limits.
            held_out: series whose rows after the first `lookback` choose the ridge penalty. None:
                the training rows choose it.
            lookback: rows that a forecast reads.
            horizon: rows to forecast.
        """
        features = train.values.shape[1]
        fits = [_fit_feature(train, held_out, n, lookback, horizon) for n in range(features)]
        return cls(np.stack([fit[:-1] for fit in fits]), np.stack([fit[-1] for fit in fits]))

    @classmethod
    def nothing(cls, features: int, *, lookback: int, horizon: int) -> "LinearForecast":
        """Return the forecast that repeats the newest row."""
        return cls(np.zeros((features, lookback, horizon)), np.zeros((features, horizon)))

    @property
    def lookback(self) -> int:
        """Return the rows that a forecast reads."""
        return self.weights.shape[1]

    def predict(self, rows: Floats) -> Floats:
        """Forecast from each row of a series, as a change from that row.

        Args:
            rows: `(n, features)`, scaled, within their limits.

        Returns:
            `(n, horizon, features)`.
        """
        changes = np.empty((len(rows), self.bias.shape[1], rows.shape[1]))
        for feature, (weights, bias) in enumerate(zip(self.weights, self.bias, strict=True)):
            pasts = pasts_of(rows[:, feature], self.lookback)
            for begin in range(0, len(rows), _CHUNK):
                part = slice(begin, begin + _CHUNK)
                changes[part, :, feature] = pasts[part] @ weights + bias
        return changes


def pasts_of(values: Floats, lookback: int) -> Floats:
    """Return the last `lookback` values up to each value, the newest last, `(n, lookback)`.

    The first value stands for those before it. The result is a view.
    """
    padded = np.concatenate([np.repeat(values[:1], lookback - 1), values])
    return sliding_window_view(padded, lookback)


def _fit_feature(
    train: GroupedArray, held_out: GroupedArray | None, feature: int, lookback: int, horizon: int
) -> Floats:
    """Return coefficients `(lookback + 1, horizon)`, the last row is the bias."""
    x, y = _examples(train, feature, lookback, horizon)
    judged = (x, y) if held_out is None else _examples(held_out, feature, lookback, horizon)
    weights = np.ones(len(x))
    gram, moments = _moments(x, y, weights)
    errors = []
    for penalty in _PENALTIES:
        solved = _solve(gram, moments, penalty * len(x))
        errors.append(np.abs(judged[0] @ solved - judged[1]).mean())
    penalty = _PENALTIES[int(np.argmin(errors))]
    solved = _solve(gram, moments, penalty * len(x))
    for _ in range(_ROUNDS):
        sizes = np.abs(x @ solved - y).mean(axis=1)
        usual = _USUAL * max(float(np.median(sizes)), np.finfo(np.float64).tiny)
        weights = np.minimum(1.0, usual / np.maximum(sizes, usual))
        solved = _solve(*_moments(x, y, weights), penalty * len(x))
    return solved


def _examples(
    series: GroupedArray, feature: int, lookback: int, horizon: int
) -> tuple[Floats, Floats]:
    """Return past values and a 1, `(n, lookback + 1)`, and the changes after, `(n, horizon)`."""
    pasts = []
    changes = []
    total = max(int(np.maximum(series.lengths - lookback - horizon + 1, 0).sum()), 1)
    stride = -(-total // _MOST_ROWS)
    for rows in series:
        values = np.asarray(rows, np.float64)[:, feature]
        if len(values) < lookback + horizon:
            continue
        whole = sliding_window_view(values, lookback + horizon)[::stride]
        pasts.append(whole[:, :lookback])
        changes.append(whole[:, lookback:] - whole[:, lookback - 1 : lookback])
    past = np.concatenate(pasts)
    return np.concatenate([past, np.ones((len(past), 1))], axis=1), np.concatenate(changes)


def _moments(x: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    weighted = x * weights[:, np.newaxis]
    return weighted.T @ x, weighted.T @ y


def _solve(gram: Floats, moments: Floats, penalty: float) -> Floats:
    regular = gram + np.diag(np.r_[np.full(len(gram) - 1, penalty), 1e-9 * penalty])
    return np.asarray(np.linalg.lstsq(regular, moments, rcond=None)[0])
