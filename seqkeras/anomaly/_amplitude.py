"""Amplitude fusion: how far the series is from its usual level, added to a learned score."""

import math
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Floats
from seqkeras._checks import check_flag, check_probability
from seqkeras.anomaly._piece import Piece
from seqkeras.anomaly._score_rows import as_rows, as_scores
from seqkeras.anomaly._smoothing import centered_means, check_odd, decaying_means
from seqkeras.anomaly._spread import centers_and_spreads, root_mean_square
from seqkeras.anomaly._surprise import fit_surprise, surprise_of, surprises

#: Shares of deviation and local mean shift in the amplitude, those of the paper.
_SHARES = (2 / 3, 1 / 3)
_Numbers = TypeVar("_Numbers", float, Floats)


@dataclass(eq=False)
class AmplitudeFusion(Piece):
    """Add two scores of amplitude to a learned score (PAI, arXiv 2606.08935).

    Learned scores often miss anomalies of amplitude, because networks read scaled windows. The two
    scores are the deviation of a value from the median of the training series, in robust standard
    deviations, and the same of the mean of the values around it (local mean shift). Of several
    features, each is the root mean square.

    None of the three scores drowns the others: each becomes its surprise, minus the logarithm of
    the share of timesteps in `fit` whose score was higher, continued beyond the largest one by an
    exponential tail. (The paper divides by standard deviations, which depend on the heaviest
    tails.) The result is `(1 - weight) * learned + weight * (2 * deviation + shift) / 3`, in nats,
    which for `weight=0.5` has the proportions of the paper.

    Args:
        weight: share of the amplitude, from 0 (only the learned score) to 1, default 0.5.
        window: timesteps of the local mean, an odd number, default 65 as in the paper.
        causal: read no values after a timestep: the local mean is an exponentially weighted mean of
            past values that are as old, on average, as those of a window. False: the mean of a
            window centered on the timestep.

    Attributes:
        center_: `(features,)`, the median of the training series.
        spread_: `(features,)`, its robust standard deviation. 1 for a constant feature.
        surprise_: `(3, 5)`, for learned score, deviation and shift: their minimum, their quantiles
            0.5, 0.9 and 0.98, and the mean excess over the last.

    Example:
        >>> x = np.sin(np.arange(200.0))
        >>> learned = np.random.default_rng(0).uniform(size=200)
        >>> fusion = AmplitudeFusion(window=5).fit(x, learned)
        >>> x[100:] += 8.0
        >>> fused = fusion.fuse(x, learned)
        >>> bool(fused[100:].min() > fused[:95].max())
        True
    """

    weight: float = 0.5
    window: int = 65
    causal: bool = False
    center_: Floats = field(init=False, repr=False)
    spread_: Floats = field(init=False, repr=False)
    surprise_: Floats = field(init=False, repr=False)

    def fit(self, x: npt.ArrayLike, learned: npt.ArrayLike) -> "AmplitudeFusion":
        """Learn usual amplitudes and scores.

        Args:
            x: the training series, `(n, features)` or `(n,)`, in order of time, NaN where missing.
            learned: learned scores of the same timesteps, `(n,)`, NaN where missing.

        Raises:
            ArgumentError: a parameter is wrong, or shapes differ.
            DataError: a feature or the score has no known values, or infinite ones.
        """
        check_probability("weight", self.weight)
        check_flag("causal", self.causal)
        check_odd("window", self.window)
        rows = as_rows("x", x)
        scores = as_scores("learned", learned, len(rows))
        center, spread = centers_and_spreads("x", rows)
        learned_surprise = fit_surprise("learned", scores)
        self.center_ = center
        self.spread_ = spread
        amplitudes = [fit_surprise("x", scores) for scores in self._amplitudes(rows)]
        self.surprise_ = np.stack([learned_surprise, *amplitudes])
        return self

    def fuse(self, x: npt.ArrayLike, learned: npt.ArrayLike) -> Floats:
        """Compute fused scores.

        Args:
            x: the series, `(n, features)` or `(n,)`, in order of time.
            learned: learned scores of the same timesteps, `(n,)`.

        Returns:
            `(n,)`; NaN where the learned score or all features are missing.

        Raises:
            ArgumentError: other features than in `fit`, or shapes differ.
        """
        rows = as_rows("x", x, len(self.center_))
        scores = as_scores("learned", learned, len(rows))
        deviation, shift = self._amplitudes(rows)
        parts = zip((scores, deviation, shift), self.surprise_, strict=True)
        first, second, third = (surprises(part, fitted) for part, fitted in parts)
        return self._sum(first, second, third)

    def initial_state(self) -> Floats:
        """Return the state before the first timestep, `(2 * features,)`: weighted sums, weights."""
        return np.zeros(2 * len(self.center_))

    def step(self, x: Array, learned: float, state: Array) -> tuple[float, Floats]:
        """Fuse the score of one timestep, as `fuse` of the causal setting does, without checks.

        Args:
            x: `(features,)`.
            learned: its learned score.
            state: the state after the timestep before.

        Returns:
            The fused score and the next state.
        """
        # Plain floats, which are faster than arrays of a few features.
        features = len(x)
        decay = self._decay
        sums = [value * decay for value in state.tolist()]
        squares = 0.0
        square_means = 0.0
        known = 0
        usual = zip(x.tolist(), self.center_.tolist(), self.spread_.tolist(), strict=True)
        for number, (value, center, spread) in enumerate(usual):
            mean = standard = (value - center) / spread
            if math.isfinite(standard):
                sums[number] += standard
                sums[features + number] += 1.0
                mean = sums[number] / sums[features + number]
            if not math.isnan(standard):
                squares += standard * standard
                square_means += mean * mean
                known += 1
        deviation = math.sqrt(squares / known) if known else math.nan
        shift = math.sqrt(square_means / known) if known else math.nan
        parts = zip((learned, deviation, shift), self.surprise_.tolist(), strict=True)
        first, second, third = (surprise_of(part, fitted) for part, fitted in parts)
        return self._sum(first, second, third), np.array(sums)

    @property
    def _decay(self) -> float:
        # Past values are (window - 1) / 2 timesteps old, on average.
        return (self.window - 1) / (self.window + 1)

    def _amplitudes(self, rows: Floats) -> tuple[Floats, Floats]:
        standard = (rows - self.center_) / self.spread_
        if self.causal:
            means = decaying_means(standard, self._decay)
        else:
            around = centered_means(standard, self.window)
            means = np.where(np.isfinite(standard), around, standard)
        return root_mean_square(standard), root_mean_square(means)

    def _sum(self, learned: _Numbers, deviation: _Numbers, shift: _Numbers) -> _Numbers:
        amplitude = _SHARES[0] * deviation + _SHARES[1] * shift
        return (1 - self.weight) * learned + self.weight * amplitude
