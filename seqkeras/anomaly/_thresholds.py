"""Thresholds: from scores to alarms, fitted apart from the detector."""

import math
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Booleans, Floats
from seqkeras._checks import Description, bad_argument, bad_data, check_positive
from seqkeras.anomaly._pareto import fit_pareto
from seqkeras.anomaly._piece import Piece
from seqkeras.anomaly._score_rows import as_flags, as_scores, check_finite
from seqkeras.anomaly._spread import NORMAL_MAD


@dataclass(eq=False)
class Threshold(Piece):
    """A rule that flags scores above a value; base of all thresholds.

    Attributes:
        value_: scores above this value are flagged.
        missing_: scores that were missing (NaN) in `fit`.
    """

    value_: float = field(init=False, repr=False)
    missing_: int = field(init=False, repr=False)

    def fit(self, scores: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> Self:
        """Learn the value from scores.

        Args:
            scores: `(n,)`, high where anomalous. Missing scores (NaN) are left out and counted.
            labels: `(n,)`, 1 or True for anomalies. Rules about normal scores leave these out; see
                each threshold. None: nothing is known about the scores.

        Raises:
            ArgumentError: a parameter is wrong, or shapes differ.
            DataError: no known scores, too few, or infinite ones.
        """
        self._check()
        values = as_scores("scores", scores)
        flags = None if labels is None else as_flags("labels", labels, len(values))
        check_finite("scores", values)
        known = ~np.isnan(values)
        if not known.any():
            raise bad_data("scores", f"no known score in {len(values)} rows", "have known scores")
        self.value_ = self._value(values[known], None if flags is None else flags[known])
        self.missing_ = int(len(values) - known.sum())
        return self

    def values(self, scores: npt.ArrayLike) -> Floats:
        """Return the value that each of the scores `(n,)` is compared with, `(n,)`."""
        return np.full(len(as_scores("scores", scores)), self.value_)

    def predict(self, scores: npt.ArrayLike) -> Booleans:
        """Flag scores `(n,)` above the value; missing scores (NaN) are never flagged."""
        values = as_scores("scores", scores)
        return np.asarray(values > self.values(values))

    def initial_state(self) -> Floats:
        """Return the state before the first score: one number, the value."""
        return np.array([self.value_])

    def step(self, score: float, state: Array) -> tuple[bool, Floats]:
        """Flag one score: `(score, state)` to `(flag, state)`, as `predict` does in order."""
        return bool(score > state[0]), state

    def _check(self) -> None:
        """Check the parameters."""

    def _value(self, scores: Floats, labels: Booleans | None) -> float:
        raise NotImplementedError


def _normal(scores: Floats, labels: Booleans | None) -> Floats:
    """Return the scores that are not labeled as anomalies."""
    normal = scores if labels is None else scores[~labels]
    if not normal.size:
        raise bad_data("labels", "all known scores labeled as anomalies", "leave normal scores")
    return normal


def _check_share(name: str, value: Any, fix: str = "") -> float:
    real = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not real or not 0 < float(value) < 1:
        raise bad_argument(name, value, "a number between 0 and 1, both excluded", fix)
    return float(value)


@dataclass(eq=False)
class Quantile(Threshold):
    """Flag a share of the scores in `fit`, as pyod does.

    Args:
        contamination: share of scores to flag, between 0 and 1, default 0.1. Labels are ignored.

    Example:
        >>> Quantile(contamination=0.25).fit([0.0, 1.0, 2.0, 9.0]).predict([3.0, 4.0])
        array([False,  True])
    """

    contamination: float = 0.1

    def _check(self) -> None:
        fix = "Use KSigma, MAD or Conformal where the share of anomalies is not known."
        _check_share("contamination", self.contamination, fix)

    def _value(self, scores: Floats, labels: Booleans | None) -> float:
        return float(np.quantile(scores, 1 - self.contamination))


@dataclass(eq=False)
class KSigma(Threshold):
    """Flag scores more than `k` standard deviations above the mean.

    Anomalies in `fit` move both; see `MAD`. Labeled anomalies are left out.

    Args:
        k: number of standard deviations, default 3.

    Example:
        >>> KSigma(k=1).fit([1.0, 3.0]).value_
        3.0
    """

    k: float = 3.0

    def _check(self) -> None:
        check_positive("k", self.k)

    def _value(self, scores: Floats, labels: Booleans | None) -> float:
        normal = _normal(scores, labels)
        return float(normal.mean() + self.k * normal.std())


@dataclass(eq=False)
class MAD(Threshold):
    """Flag scores far above the median, in robust standard deviations.

    The deviation is 1.4826 times the median absolute deviation, which anomalies in `fit` hardly
    move. Labeled anomalies are left out.

    Args:
        k: number of robust standard deviations, default 3.5 (Iglewicz & Hoaglin 1993).

    Example:
        >>> MAD(k=2).fit([1.0, 2.0, 3.0, 900.0]).value_ < 6
        True
    """

    k: float = 3.5

    def _check(self) -> None:
        check_positive("k", self.k)

    def _value(self, scores: Floats, labels: Booleans | None) -> float:
        normal = _normal(scores, labels)
        median = np.median(normal)
        return float(median + self.k * NORMAL_MAD * np.median(np.abs(normal - median)))


@dataclass(eq=False)
class PeaksOverThreshold(Threshold):
    """Flag scores so high that a normal one exceeds them with a small probability.

    Excesses over a high quantile follow a generalized Pareto distribution, fitted by maximum
    likelihood, so the value can lie far beyond the largest score in `fit` (Siffer et al. 2017,
    "Anomaly detection in streams with extreme value theory"). Labeled anomalies are left out; other
    anomalies in `fit` make the tail heavier and the value higher.

    Args:
        risk: probability that a normal score is flagged, default 0.001.
        level: the quantile above which scores are peaks, default 0.98; `risk` must be below
            `1 - level`.

    Attributes:
        shape_: shape of the distribution; above 0, its tail is heavier than an exponential one.
        scale_: its scale, in the unit of the scores.

    Example:
        >>> scores = np.random.default_rng(0).exponential(size=20_000)
        >>> threshold = PeaksOverThreshold(risk=1e-4).fit(scores)
        >>> abs(threshold.value_ - math.log(1e4)) < 0.8  # the quantile of the distribution
        True
    """

    risk: float = 0.001
    level: float = 0.98
    shape_: float = field(init=False, repr=False)
    scale_: float = field(init=False, repr=False)

    def _check(self) -> None:
        level = _check_share("level", self.level)
        if _check_share("risk", self.risk) >= 1 - level:
            fix = "Use a lower level, or Quantile, which needs no tail."
            raise bad_argument("risk", self.risk, f"below 1 - level, {1 - level:.6g}", fix)

    def _value(self, scores: Floats, labels: Booleans | None) -> float:
        normal = _normal(scores, labels)
        start = float(np.quantile(normal, self.level))
        excesses = normal[normal > start] - start
        if len(excesses) < 10:
            actual = f"{len(excesses)} of {len(normal)} scores above the quantile {self.level}"
            fix = "Fit on more scores, use a lower level, or MAD."
            raise bad_data("scores", actual, "have at least 10 peaks", fix)
        self.shape_, self.scale_ = fit_pareto(excesses)
        ratio = self.risk * len(normal) / len(excesses)
        if abs(self.shape_) < 1e-9:
            return start - self.scale_ * math.log(ratio)
        return start + self.scale_ * math.expm1(-self.shape_ * math.log(ratio)) / self.shape_


@dataclass(eq=False)
class Conformal(Threshold):
    """Keep a promised rate of false alarms, also on a series whose scores drift.

    The first value is the split conformal quantile of the scores in `fit`: if later scores were
    exchangeable with these, a normal one would exceed it with at most the promised probability
    (Vovk et al. 2005). Scores of a series are not: they drift, and the rate on the next rows can be
    several times the promised one, or a small part of it. So the value follows the series: it falls
    a little after each score, and rises after each flag, in proportions at which it rests only when
    the promised share is flagged (Gibbs & Candes 2021, arXiv 2106.00170; quantile tracking of
    Angelopoulos et al. 2023, arXiv 2307.16895). `predict` therefore reads scores in order of time,
    and starts from the state after `fit`; a stream uses `step`.

    The price: flags raise the value also if they are true, so that of a long anomaly only the
    beginning is flagged. Use `adapt=0` where anomalies are long and normal scores do not drift.

    Args:
        false_alarm_rate: promised share of normal scores to flag, between 0 and 1, default 0.01.
        adapt: how fast the value follows, in units of the spread of the highest scores in `fit` for
            each flag, default 0.5. 0: the value stays.

    Attributes:
        scale_: the spread of the highest scores: from the quantile that twice the promised share
            exceeds to the one that half of it exceeds.

    Example:
        >>> scores = np.random.default_rng(0).exponential(size=4000)
        >>> threshold = Conformal(false_alarm_rate=0.05).fit(scores[:2000])
        >>> drifted = scores[2000:] * 3
        >>> bool(Conformal(0.05, adapt=0).fit(scores[:2000]).predict(drifted).mean() > 0.3)
        True
        >>> bool(threshold.predict(drifted).mean() < 0.055)
        True
    """

    false_alarm_rate: float = 0.01
    adapt: float = 0.5
    scale_: float = field(init=False, repr=False)

    def values(self, scores: npt.ArrayLike) -> Floats:
        """Return the value that each of the scores `(n,)`, in order of time, is compared with."""
        numbers = as_scores("scores", scores)
        values = np.full(len(numbers), self.value_)
        if not self.adapt:
            return values
        value = float(self.value_)
        fall, rise = self._changes
        for row, score in enumerate(numbers.tolist()):
            values[row] = value
            value += rise if score > value else fall if score == score else 0.0
        return values

    def step(self, score: float, state: Array) -> tuple[bool, Floats]:
        """Flag one score: `(score, state)` to `(flag, state)`, as `predict` does in order."""
        value = float(state[0])
        fall, rise = self._changes
        flag = score > value
        return bool(flag), np.array([value + (rise if flag else fall if score == score else 0.0)])

    @property
    def _changes(self) -> tuple[float, float]:
        """Change of the value after a score that is not flagged, and after one that is."""
        size = self.adapt * self.scale_
        return -size * self.false_alarm_rate, size * (1 - self.false_alarm_rate)

    def _check(self) -> None:
        _check_share("false_alarm_rate", self.false_alarm_rate)
        if self.adapt != 0:
            check_positive("adapt", self.adapt, fix="0 keeps the value as it is.")

    def _value(self, scores: Floats, labels: Booleans | None) -> float:
        normal = np.sort(_normal(scores, labels))
        rate = self.false_alarm_rate
        # The tolerance undoes rounding, as of 0.9 * 10.
        rank = math.ceil((len(normal) + 1) * (1 - rate) - 1e-9)
        if rank > len(normal):
            actual = f"{len(normal)} scores for a false_alarm_rate of {rate}"
            fix = f"Fit on at least {math.ceil(1 / rate - 1 - 1e-9)}, or promise a higher rate."
            raise bad_data("scores", actual, "be enough for the promised rate", fix)
        low, high = np.quantile(normal, [max(0.0, 1 - 2 * rate), 1 - rate / 2])
        self.scale_ = float(high - low) or float(normal[-1] - normal[0]) or 1.0
        return float(normal[rank - 1])


@dataclass(eq=False)
class FBeta(Threshold):
    """Flag scores above the value that has the best F-beta score on labeled scores.

    Args:
        beta: weight of recall relative to precision, default 1.

    Attributes:
        fbeta_: the F-beta score on the scores in `fit`.

    Example:
        >>> threshold = FBeta().fit([0.0, 1.0, 2.0, 3.0], labels=[0, 0, 1, 1])
        >>> threshold.value_, threshold.fbeta_
        (1.5, 1.0)
    """

    beta: float = 1.0
    fbeta_: float = field(init=False, repr=False)

    def _check(self) -> None:
        check_positive("beta", self.beta)

    def _value(self, scores: Floats, labels: Booleans | None) -> float:
        if labels is None:
            fix = "Without labels, use Conformal, MAD or PeaksOverThreshold."
            raise bad_argument("labels", None, "given to FBeta, (n,)", fix)
        if not labels.any():
            actual = Description(f"no anomaly among {len(labels)} known scores")
            raise bad_argument("labels", actual, "1 for at least one known score")
        # Candidates flag the highest scores, equal ones together.
        values, group = np.unique(scores, return_inverse=True)
        hits = np.bincount(group, labels)[::-1].cumsum()[::-1]
        flagged = np.bincount(group)[::-1].cumsum()[::-1]
        squared = self.beta**2
        fbeta = (1 + squared) * hits / (squared * labels.sum() + flagged)
        # Of equal ones, the one with the fewest flags.
        lowest = len(values) - 1 - int(np.argmax(fbeta[::-1]))
        self.fbeta_ = float(fbeta[lowest])
        return _between(values, lowest)


def _between(values: Floats, lowest: int) -> float:
    """Return a number below `values[lowest]` and not below the value before."""
    if lowest == 0:
        return float(np.nextafter(values[0], -np.inf))
    below = values[lowest - 1]
    middle = below + (values[lowest] - below) / 2
    return float(middle if middle < values[lowest] else below)
