"""Tables of scores: forecasts from many origins against actual values, by series and overall."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._arrays import Array, Booleans, Floats, Integers
from seqkeras.scoring._terms import crps_terms, interval_terms, percentages, pinball


@dataclass(frozen=True)
class MethodForecast:
    """The forecasts of one method at each step after each origin.

    Attributes:
        yhat: point forecasts `(origins, steps)`, which are also scored as medians.
        intervals: lower and upper bounds, shaped as `yhat`, by level in percent.
    """

    yhat: Floats
    intervals: dict[float, tuple[Floats, Floats]] = field(default_factory=dict)

    def rounded_to(self, values: Floats, rounding: Floats) -> "MethodForecast":
        """Return the forecasts, set to `values` where they only differ from them by rounding.

        Args:
            values: actual values, shaped as `yhat`.
            rounding: `(origins, 1)`, the largest difference that counts as rounding.
        """

        def rounded(numbers: Floats) -> Floats:
            return np.where(np.abs(numbers - values) <= rounding, values, numbers)

        intervals = {
            level: (rounded(low), rounded(high)) for level, (low, high) in self.intervals.items()
        }
        return replace(self, yhat=rounded(self.yhat), intervals=intervals)

    def take(self, origins: Booleans) -> "MethodForecast":
        """Return the forecasts from the origins where a mask is True."""
        intervals = {
            level: (lo[origins], hi[origins]) for level, (lo, hi) in self.intervals.items()
        }
        return MethodForecast(self.yhat[origins], intervals)

    def named(self) -> dict[str, Floats]:
        """Return the forecasts by the names of their columns."""
        named = {"yhat": self.yhat}
        for level, (low, high) in self.intervals.items():
            named |= {f"yhat-lo-{level:g}": low, f"yhat-hi-{level:g}": high}
        return named

    def quantiles(self) -> tuple[Floats, Floats]:
        """Return quantiles `(origins, steps, probabilities)`, and the ascending probabilities."""
        quantiles = {0.5: self.yhat}
        for level, (low, high) in self.intervals.items():
            tail = (1 - level / 100) / 2
            quantiles |= {tail: low, 1 - tail: high}
        probabilities = sorted(quantiles)
        stacked = np.stack([quantiles[share] for share in probabilities], axis=-1)
        return stacked, np.array(probabilities)


@dataclass(frozen=True)
class Actuals:
    """The actual values, and what else scores by series need.

    Attributes:
        series: `(origins,)`, the position in `ids` of the series of each origin.
        values: `(origins, steps)`; NaN where the value is missing, which is not scored.
        ids: `(series,)`, ids of the series, each with one origin or more.
        scales: `(series,)`, the divisor of MASE; NaN for series without a MASE.
        rounding: `(series,)`, the largest error that counts as rounding.
    """

    series: Integers
    values: Floats
    ids: pd.Index
    scales: Floats
    rounding: Floats

    def by_series(self, method: MethodForecast) -> pd.DataFrame:
        """Return one row for each series, one column for each score."""
        method = self._rounded(method)
        error = self.values - method.yhat
        quantiles, probabilities = method.quantiles()
        absolute = self._mean(np.abs(error))
        scores = {
            "MAE": absolute,
            "RMSE": self._mean(error**2) ** 0.5,
            "sMAPE": self._mean(percentages(self.values, method.yhat)),
            "MASE": absolute / self.scales,
            "WQL": _ratio(self._mean(self._losses(method)), self._mean(np.abs(self.values))),
            "CRPS": self._mean(crps_terms(self.values, quantiles, probabilities)),
        }
        for level, (low, high) in method.intervals.items():
            inside = (low <= self.values) & (self.values <= high)
            width = interval_terms(self.values, low, high, level)
            scores[f"in {level:g} %"] = 100 * self._mean(inside)
            scores[f"MSIS {level:g} %"] = self._mean(width) / self.scales
        return pd.DataFrame(scores, index=self.ids)

    def totals(self, method: MethodForecast) -> Floats:
        """Return two sums over all known values: of the losses of WQL, and of the sizes."""
        known = ~np.isnan(self.values)
        losses = self._losses(self._rounded(method))[known]
        return np.array([losses.sum(), np.abs(self.values[known]).sum()])

    def _rounded(self, method: MethodForecast) -> MethodForecast:
        return method.rounded_to(self.values, self.rounding[self.series][:, np.newaxis])

    def _losses(self, method: MethodForecast) -> Floats:
        """Return twice the pinball loss of each value, the mean over the probabilities."""
        quantiles, probabilities = method.quantiles()
        return 2 * pinball(self.values[..., np.newaxis], quantiles, probabilities).mean(axis=-1)

    def _mean(self, terms: Array) -> Floats:
        """Return the mean of `(origins, steps)` over all known values of each series."""
        known = ~np.isnan(self.values)
        sums = np.bincount(self.series, np.where(known, terms, 0).sum(axis=1))
        return np.asarray(_ratio(sums, np.bincount(self.series, known.sum(axis=1))))


class ScoreTables:
    """Scores of forecasts of some series after the others."""

    def __init__(self) -> None:
        self._parts: dict[str, list[pd.DataFrame]] = {}
        self._totals: dict[str, Floats] = {}

    def add(self, actuals: Actuals, methods: dict[str, MethodForecast]) -> None:
        """Score the forecasts of each method for some series."""
        for name, method in methods.items():
            self._parts.setdefault(name, []).append(actuals.by_series(method))
            self._totals[name] = self._totals.get(name, 0) + actuals.totals(method)

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return overall scores, a row for each method, and the scores of each series and method.

        Overall scores are means over the series; WQL is computed over all values at once.
        """
        by_series = {name: pd.concat(parts) for name, parts in self._parts.items()}
        overall = {
            name: {**part.mean(), "WQL": _ratio(*self._totals[name])}
            for name, part in by_series.items()
        }
        columns = list(dict.fromkeys(name for part in by_series.values() for name in part.columns))
        return pd.DataFrame(overall).T[columns], pd.concat(by_series, names=["method"])[columns]


def tables(
    actuals: Actuals, methods: dict[str, MethodForecast]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of forecasts of all series, as `ScoreTables.tables`."""
    scores = ScoreTables()
    scores.add(actuals, methods)
    return scores.tables()


def _ratio(numerator: Any, denominator: Any) -> Any:
    """Divide, with NaN where the denominator is not above 0."""
    return numerator / np.where(denominator > 0, denominator, np.nan)
