"""Tables of scores: forecasts of many origins beside what came, by series and overall."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras.scoring._terms import crps_terms, interval_terms, percentages, pinball

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Guess:
    """What a method says of each step after each origin.

    Attributes:
        yhat: `(origins, steps)`; it stands for the median.
        intervals: for each level in percent the lower and the upper borders, shaped as `yhat`.
    """

    yhat: Floats
    intervals: dict[float, tuple[Floats, Floats]] = field(default_factory=dict)

    def quantiles(self) -> tuple[Floats, Floats]:
        """`(origins, steps, probabilities)`, and the probabilities, rising."""
        parts = {0.5: self.yhat}
        for level, (low, high) in self.intervals.items():
            tail = (1 - level / 100) / 2
            parts |= {tail: low, 1 - tail: high}
        shares = sorted(parts)
        return np.stack([parts[share] for share in shares], axis=-1), np.array(shares)


@dataclass(frozen=True)
class Truth:
    """What came, and what it takes to score by series.

    Attributes:
        series: `(origins,)`, the place of the series of each origin in `ids`.
        actual: `(origins, steps)`, NaN where no value came, which is not scored.
        ids: `(series,)`, each with one origin or more.
        scales: `(series,)`, what MASE divides by; NaN for none.
    """

    series: npt.NDArray[np.int64]
    actual: Floats
    ids: pd.Index
    scales: Floats

    def by_series(self, guess: Guess) -> pd.DataFrame:
        """One row for each series, one column for each score."""
        error = self.actual - guess.yhat
        quantiles, shares = guess.quantiles()
        absolute = self._mean(np.abs(error))
        scores = {
            "MAE": absolute,
            "RMSE": self._mean(error**2) ** 0.5,
            "sMAPE": self._mean(percentages(self.actual, guess.yhat)),
            "MASE": absolute / self.scales,
            "WQL": _ratio(self._mean(self._losses(guess)), self._mean(np.abs(self.actual))),
            "CRPS": self._mean(crps_terms(self.actual, quantiles, shares)),
        }
        for level, (low, high) in guess.intervals.items():
            inside = (low <= self.actual) & (self.actual <= high)
            width = interval_terms(self.actual, low, high, level)
            scores[f"in {level:g} %"] = 100 * self._mean(inside)
            scores[f"MSIS {level:g} %"] = self._mean(width) / self.scales
        return pd.DataFrame(scores, index=self.ids)

    def overall(self, guess: Guess, scores: pd.DataFrame) -> pd.Series:
        """The mean over series of each score; WQL over all values at once."""
        means = scores.mean()
        came = ~np.isnan(self.actual)
        losses = self._losses(guess)[came]
        means["WQL"] = _ratio(losses.sum(), np.abs(self.actual[came]).sum())
        return means

    def _losses(self, guess: Guess) -> Floats:
        """Twice the pinball loss of each value, as a mean over the probabilities."""
        quantiles, shares = guess.quantiles()
        return 2 * pinball(self.actual[..., np.newaxis], quantiles, shares).mean(axis=-1)

    def _mean(self, terms: npt.NDArray[Any]) -> Floats:
        """The mean of `(origins, steps)` over all values of each series that came."""
        came = ~np.isnan(self.actual)
        sums = np.bincount(self.series, np.where(came, terms, 0).sum(axis=1))
        return np.asarray(_ratio(sums, np.bincount(self.series, came.sum(axis=1))))


def tables(truth: Truth, guesses: dict[str, Guess]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Overall scores, one row for each method; and those of each series and method."""
    parts = {method: truth.by_series(guess) for method, guess in guesses.items()}
    overall = {method: truth.overall(guess, parts[method]) for method, guess in guesses.items()}
    columns = parts[next(iter(parts))].columns
    return pd.DataFrame(overall).T[columns], pd.concat(parts, names=["method"])[columns]


def _ratio(top: Any, bottom: Any) -> Any:
    """NaN where there is nothing to divide by."""
    return top / np.where(bottom > 0, bottom, np.nan)
