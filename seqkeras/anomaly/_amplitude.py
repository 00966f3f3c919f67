"""Amplitude fusion: how far the series is from its usual level, added to a learned score."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Floats
from seqkeras._checks import check_flag, check_probability
from seqkeras.anomaly._piece import Piece
from seqkeras.anomaly._score_rows import as_rows, as_scores
from seqkeras.anomaly._smoothing import centered_means, check_odd, decaying_means
from seqkeras.anomaly._spread import centers_and_spreads, root_mean_square, score_scale

#: Shares of deviation and local mean shift in the amplitude, those of the paper.
_SHARES = (2 / 3, 1 / 3)


@dataclass(eq=False)
class AmplitudeFusion(Piece):
    """Add two scores of amplitude to a learned score (PAI, arXiv 2606.08935).

    Learned scores often miss anomalies of amplitude, because networks read scaled windows. The two
    scores are the deviation of a value from the median of the training series, in robust standard
    deviations, and the same of the mean of the values around it (local mean shift). Of several
    features, it is the root mean square.

    Each of the three scores is standardized by its median and upper spread in `fit`, the distance
    from the median to the quantile 0.95: each passes 1 as often as the others, so none drowns, and
    unlike ranks they keep growing beyond the largest training score. The result is
    `(1 - weight) * learned + weight * (2 * deviation + shift) / 3`, with the paper's proportions
    for `weight=0.5`.

    Args:
        weight: share of the amplitude, from 0 (only the learned score) to 1, default 0.5.
        window: timesteps of the local mean, an odd number, default 65 as in the paper.
        causal: read no values after a timestep: the local mean is an exponentially weighted mean of
            past values that are as old, on average, as those of a window. False: the mean of a
            window centered on the timestep.

    Attributes:
        center_: `(features,)`, the median of the training series.
        spread_: `(features,)`, its robust standard deviation. 1 for a constant feature.
        levels_: `(3,)`, medians of learned score, deviation and shift in `fit`.
        scales_: `(3,)`, their upper spreads.

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
    levels_: Floats = field(init=False, repr=False)
    scales_: Floats = field(init=False, repr=False)

    def fit(self, x: npt.ArrayLike, learned: npt.ArrayLike) -> "AmplitudeFusion":
        """Learn usual amplitudes and scores.

        Args:
            x: the training series, `(n, features)` or `(n,)`, NaN where missing.
            learned: learned scores of the same timesteps, `(n,)`, NaN where there is none.

        Raises:
            ArgumentError: a parameter is wrong, or shapes differ.
            DataError: no known values, or infinite ones.
        """
        check_probability("weight", self.weight)
        check_flag("causal", self.causal)
        check_odd("window", self.window)
        rows = as_rows("x", x)
        scores = as_scores("learned", learned, len(rows))
        self.center_, self.spread_ = centers_and_spreads("x", rows)
        deviation, shift = self._amplitudes(rows)
        parts = [("learned", scores), ("x", deviation), ("x", shift)]
        scales = np.array([score_scale(name, part) for name, part in parts])
        self.levels_, self.scales_ = scales[:, 0], scales[:, 1]
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
        return np.asarray(self._fused(scores, *self._amplitudes(rows)))

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
        standard = (x - self.center_) / self.spread_
        finite = np.isfinite(standard)
        features = len(standard)
        sums = state * self._decay
        sums[:features] += np.where(finite, standard, 0.0)
        sums[features:] += finite
        weights = sums[features:]
        means = np.where(finite, sums[:features] / np.where(finite, weights, 1.0), standard)
        deviation, shift = root_mean_square(np.stack([standard, means]))
        return float(self._fused(learned, deviation, shift)), sums

    @property
    def _decay(self) -> float:
        # Past values are (window - 1) / 2 timesteps old, on average.
        return (self.window - 1) / (self.window + 1)

    def _amplitudes(self, rows: Floats) -> tuple[Floats, Floats]:
        standard = (rows - self.center_) / self.spread_
        if self.causal:
            means = decaying_means(standard, self._decay)
        else:
            means = centered_means(standard, self.window)
            means = np.where(np.isfinite(standard), means, standard)
        return root_mean_square(standard), root_mean_square(means)

    def _fused(self, learned: Array | float, deviation: Array, shift: Array) -> Array:
        part, point, local = (
            (value - level) / scale
            for value, level, scale in zip(
                (learned, deviation, shift), self.levels_, self.scales_, strict=True
            )
        )
        amplitude = _SHARES[0] * point + _SHARES[1] * local
        return np.asarray((1 - self.weight) * part + self.weight * amplitude)
