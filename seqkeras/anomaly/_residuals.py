"""From residuals to one error for each row: how far the actual values are from the predicted."""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Floats
from seqkeras._checks import bad_data, check_flag, check_fraction
from seqkeras.anomaly._piece import Piece
from seqkeras.anomaly._score_rows import as_rows
from seqkeras.anomaly._spread import centers_and_spreads, root_mean_square

#: Standardized residuals are limited to this size before their covariance is computed.
_LIMIT = 3.0
#: Variances of standardized residuals below this are rounding.
_ROUNDING_VARIANCE = 1e-6
#: Shrinkage above which the covariance surely has an inverse in float64.
_REGULAR = 1e-3
#: Up to as many numbers, plain floats are faster than arrays.
_FEW = 16
_LOG_2_PI = math.log(2 * math.pi)


@dataclass(eq=False)
class ErrorMeasure(Piece):
    """A function from residuals `(n, features)` to errors `(n,)`; base of the four errors.

    Attributes:
        center_: `(features,)`, the median of the residuals in `fit`.
        spread_: `(features,)`, their robust standard deviation; see `scaled`.
    """

    center_: Floats = field(init=False, repr=False)
    spread_: Floats = field(init=False, repr=False)

    def fit(self, residuals: npt.ArrayLike) -> "ErrorMeasure":
        """Learn what residuals are usual.

        Args:
            residuals: `(n, features)`, actual minus predicted values, NaN where one of them is
                missing. `(n,)` counts as one feature.

        Raises:
            ArgumentError: a parameter or the shape is wrong.
            DataError: a feature has no known residual, or infinite ones.
        """
        raise NotImplementedError

    def score(self, residuals: npt.ArrayLike) -> Floats:
        """Compute the error of each row, from its known residuals.

        Args:
            residuals: `(n, features)`, with as many features as in `fit`.

        Returns:
            `(n,)`; NaN for a row whose residuals are all missing.

        Raises:
            ArgumentError: another number of features than in `fit`.
        """
        rows = as_rows("residuals", residuals, len(self.center_))
        with np.errstate(invalid="ignore", over="ignore"):
            errors = self._errors(rows)
        return np.where(np.isinf(rows).any(axis=1), np.inf, errors)

    def score_step(self, residual: Array) -> float:
        """Compute the error of a single row `(features,)`, as `score` does, without checks."""
        error = self._error(residual)
        # Missing or infinite residuals are rare in a stream, so they may take the slow way.
        return error if math.isfinite(error) else float(self.score(residual[np.newaxis])[0])

    def _error(self, residual: Array) -> float:
        """Return the error of one row without missing values, else NaN or infinity."""
        raise NotImplementedError

    def _errors(self, rows: Floats) -> Floats:
        raise NotImplementedError


@dataclass(eq=False)
class _ScaledMeasure(ErrorMeasure):
    scaled: bool = True

    def fit(self, residuals: npt.ArrayLike) -> "_ScaledMeasure":
        check_flag("scaled", self.scaled)
        rows = as_rows("residuals", residuals)
        self.center_, spread = centers_and_spreads("residuals", rows)
        self.spread_ = spread if self.scaled else np.ones_like(spread)
        return self


@dataclass(eq=False)
class L1(_ScaledMeasure):
    """The mean absolute residual of each row.

    Args:
        scaled: divide each feature by the robust standard deviation of its residuals in `fit`, so
            that a quiet feature counts as much as a loud one. A feature whose residuals did not
            vary in `fit` keeps its unit. False: all features keep their unit.

    Example:
        >>> error = L1(scaled=False).fit([[0.0, 0.0], [1.0, -1.0]])
        >>> error.score([[2.0, -4.0], [float("nan"), 3.0]])
        array([3., 3.])
    """

    def _errors(self, rows: Floats) -> Floats:
        known = ~np.isnan(rows)
        sizes = np.where(known, np.abs(rows / self.spread_), 0.0)
        counts = known.sum(axis=1)
        return np.where(counts > 0, sizes.sum(axis=1) / np.maximum(counts, 1), np.nan)

    def _error(self, residual: Array) -> float:
        if len(residual) > _FEW:
            return float(np.abs(residual / self.spread_).sum()) / len(residual)
        pairs = zip(residual.tolist(), self.spread_.tolist(), strict=True)
        return math.fsum([abs(value / spread) for value, spread in pairs]) / len(residual)


@dataclass(eq=False)
class L2(_ScaledMeasure):
    """The root mean square residual of each row.

    Args:
        scaled: as in `L1`.

    Example:
        >>> error = L2(scaled=False).fit([[0.0, 0.0], [1.0, -1.0]])
        >>> error.score([[1.0, -7.0]])
        array([5.])
    """

    def _errors(self, rows: Floats) -> Floats:
        return root_mean_square(rows / self.spread_)

    def _error(self, residual: Array) -> float:
        standard = residual / self.spread_
        return math.sqrt(float(standard @ standard) / len(residual))


@dataclass(eq=False)
class Mahalanobis(ErrorMeasure):
    """The distance from usual residuals, in which correlated features count only once.

    It is the square root of the Mahalanobis distance squared per known feature, so that it is 1 on
    average over usual rows, for any number of features (Malhotra et al. 2016, arXiv 1607.00148, use
    the distance squared).

    The covariance is that of standardized residuals (minus median, divided by the robust standard
    deviation of the feature), each limited to 3, so that anomalies among the training rows hardly
    change it. A feature whose residuals did not vary in `fit` keeps its unit and is uncorrelated.

    Args:
        shrinkage: how far the correlations are shrunk towards 0, in [0, 1), default 0.05. It keeps
            the covariance invertible. With 0, directions without any variance do not count
            (pseudoinverse).

    Attributes:
        covariance_: `(features, features)`, of the standardized residuals.
        whitening_: `(features, directions)`, which maps standardized residuals to uncorrelated ones
            of unit variance.
        log_determinant_: logarithm of the determinant of the covariance of the residuals.

    Example:
        >>> residuals = np.random.default_rng(0).normal(size=(1000, 1)) * [1.0, 2.0]
        >>> error = Mahalanobis().fit(residuals)
        >>> error.score([[0.0, 0.0], [1.0, 2.0], [1.0, -2.0]]).round(1)
        array([0.1, 0.8, 4.6])
    """

    shrinkage: float = 0.05
    covariance_: Floats = field(init=False, repr=False)
    whitening_: Floats = field(init=False, repr=False)
    log_determinant_: float = field(init=False, repr=False)

    def fit(self, residuals: npt.ArrayLike) -> "Mahalanobis":
        shrinkage = check_fraction("shrinkage", self.shrinkage)
        rows = as_rows("residuals", residuals)
        center, spread = centers_and_spreads("residuals", rows)
        whole = rows[~np.isnan(rows).any(axis=1)]
        if len(whole) < 2:
            actual = f"{len(whole)} of {len(rows)} rows"
            fix = "Fit on more rows, or use L2, which needs no covariance."
            raise bad_data("At least 2 rows of residuals", actual, "have no missing value", fix)
        standard = np.clip((whole - center) / spread, -_LIMIT, _LIMIT)
        covariance = np.atleast_2d(np.cov(standard, rowvar=False))
        variances = np.diag(covariance).copy()
        # A feature that never changed, except by rounding, has the variance that its spread of 1
        # stands for.
        still = variances < _ROUNDING_VARIANCE
        variances[still] = 1.0
        covariance[still] = covariance[:, still] = 0.0
        covariance *= 1 - shrinkage
        np.fill_diagonal(covariance, variances)
        self.center_ = center
        self.spread_ = spread
        self.covariance_ = covariance
        self.whitening_, determinant = _whitening(covariance, shrinkage > _REGULAR)
        self.log_determinant_ = determinant + 2 * float(np.log(spread).sum())
        return self

    def _errors(self, rows: Floats) -> Floats:
        distances, counts, _ = self._distances(rows)
        return np.sqrt(distances / counts)

    def _error(self, residual: Array) -> float:
        white = ((residual - self.center_) / self.spread_) @ self.whitening_
        return math.sqrt(float(white @ white) / len(residual))

    def _distances(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Return squared distance, known features and log determinant of each row.

        Rows are grouped by which features are known; each group has its own part of the covariance.
        """
        standard = (rows - self.center_) / self.spread_
        known = ~np.isnan(standard)
        counts = known.sum(axis=1)
        distances = np.full(len(rows), np.nan)
        determinants = np.zeros(len(rows))
        is_regular = self.shrinkage > _REGULAR
        patterns, group = np.unique(known, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            if pattern.any():
                members = np.flatnonzero(group.ravel() == number)
                part = self.covariance_[np.ix_(pattern, pattern)]
                whitening, determinant = _whitening(part, is_regular)
                white = standard[np.ix_(members, np.flatnonzero(pattern))] @ whitening
                distances[members] = (white**2).sum(axis=1)
                determinants[members] = determinant + 2 * np.log(self.spread_[pattern]).sum()
        return distances, np.maximum(counts, 1).astype(np.float64), determinants


@dataclass(eq=False)
class GaussianNLL(Mahalanobis):
    """The negative log-likelihood of residuals under a normal distribution, in nats per feature.

    Its mean and covariance are those of `Mahalanobis`, so it ranks complete rows in the same order.
    What differs are sums over rows: nats add up, so means over windows weigh large residuals more.
    Unlike the other errors it can be negative.

    Args:
        shrinkage: as in `Mahalanobis`.

    Example:
        >>> residuals = np.random.default_rng(0).normal(size=1000)
        >>> GaussianNLL().fit(residuals).score([0.0, 3.0]).round(1)
        array([0.9, 5.9])
    """

    def _errors(self, rows: Floats) -> Floats:
        distances, counts, determinants = self._distances(rows)
        return (distances + determinants) / counts / 2 + _LOG_2_PI / 2

    def _error(self, residual: Array) -> float:
        white = ((residual - self.center_) / self.spread_) @ self.whitening_
        total = float(white @ white) + self.log_determinant_
        return (total / len(residual) + _LOG_2_PI) / 2


def _whitening(covariance: Floats, is_regular: bool) -> tuple[Floats, float]:
    """Return W with W W' the inverse of a covariance, and the logarithm of its determinant.

    Args:
        covariance: `(features, features)`.
        is_regular: it has an inverse. Otherwise, W W' is the pseudoinverse, and the determinant
            that of the directions with variance.
    """
    if is_regular:  # many times faster
        factor = np.linalg.cholesky(covariance)
        return np.linalg.inv(factor).T, 2 * float(np.log(np.diag(factor)).sum())
    values, vectors = np.linalg.eigh(covariance)
    positive = values > values[-1] * len(values) * np.finfo(np.float64).eps
    variances = values[positive]
    return vectors[:, positive] / np.sqrt(variances), float(np.log(variances).sum())
