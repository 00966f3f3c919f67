"""What all detectors share: from series to scores, labels and alarms."""

import math
import os
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
from sklearn.base import BaseEstimator

from seqkeras._arrays import Booleans, Floats, Integers, is_constant, positions
from seqkeras._checks import Description, bad_argument, bad_data, check_one_of
from seqkeras.anomaly._detection import (
    Detection,
    find_all_alarms,
    plot_detection,
    split_series,
)
from seqkeras.anomaly._detector_file import load_detector, save_detector
from seqkeras.anomaly._detector_settings import DetectorSettings, as_threshold
from seqkeras.anomaly._detector_stepper import DetectorStepper
from seqkeras.anomaly._outlier_adapter import OutlierAdapter
from seqkeras.anomaly._score_parts import score_in_parts
from seqkeras.anomaly._scorer import LearnedErrors, Scorer
from seqkeras.anomaly._series_reader import (
    PerRow,
    RowForm,
    SeriesRows,
    read_series,
    resolve_columns,
    row_times,
)
from seqkeras.anomaly._thresholds import Quantile, Threshold
from seqkeras.engines._choice import as_engine
from seqkeras.errors import DataError, NotFittedError
from seqkeras.kernels._randomness import seeded
from seqkeras.training import TrainingLog
from seqkeras.training._distribution import common_seed
from seqkeras.windows import GroupedArray

if TYPE_CHECKING:
    from seqkeras.engines import Engine
    from seqkeras.forecasting import Columns


@dataclass(frozen=True)
class TrainingSeries:
    """The checked series of a fit, and how they are used.

    Attributes:
        values: the rows of all series, `(rows, features)`.
        scored: the scored features.
        held_out: `(series,)`, rows at the end of each series that are held out from training.
    """

    values: GroupedArray
    scored: Integers
    held_out: Integers

    def train(self, series: GroupedArray) -> GroupedArray:
        """Return the rows to train on.

        Args:
            series: the series of the fit, or others with as many rows, or less by some rows at
                their end.
        """
        return series.select(0, np.maximum(series.lengths - self.held_out, 0))

    def tail(self, series: GroupedArray, context: int) -> GroupedArray | None:
        """Return the held-out rows and `context` rows before them; None if nothing is held out."""
        if not self.held_out.any():
            return None
        stop = series.lengths
        start = np.where(self.held_out > 0, stop - self.held_out - context, stop)
        return series.select(np.clip(start, 0, stop), stop)

    @property
    def is_held_out(self) -> Booleans:
        """Return whether each row is held out, `(rows,)`."""
        lengths = self.values.lengths
        return positions(lengths) >= np.repeat(lengths - self.held_out, lengths)


class Detector(BaseEstimator):
    """Base of the detectors; see `ForecastDetector` and `AutoencoderDetector`."""

    scored: Any
    clean: bool
    seed: int | None

    #: What plots call the values that the network expects.
    _expected_name: str

    scorer_: Scorer
    model_: keras.Model
    log_: TrainingLog
    rule_: Threshold
    n_features_in_: int

    def fit(self, X: Any, y: None = None, *, columns: "Columns | None" = None) -> Self:  # noqa: N803
        """Learn what is usual in one series or several.

        All arguments and values are checked before training.

        Args:
            X: one series, `(timesteps,)` or `(timesteps, features)`; a pandas frame or Series with
                numeric columns, whose timestamps (column or index) rise without gaps; or a panel:
                a list of arrays, a `GroupedArray`, `(series, timesteps, features)`, or a long frame
                with a column of ids. Without missing values.
            y: not used; scikit-learn passes it.
            columns: names of the columns of ids and timestamps of a frame, such as
                `Columns(id="machine", time="when")`. Default: `unique_id` and `ds`, if the frame
                has them.

        Raises:
            ArgumentError: a parameter is invalid.
            DataError: a value is missing, infinite or not a number; a series is too short; all
                scored features are constant; timestamps have gaps; or training diverged.
        """
        del y
        settings = self.settings()
        rows = read_series(X, columns)
        series = self._training_series(rows, settings)
        _calibration_rows(settings.threshold, series.is_held_out)  # raises before training
        with seeded(common_seed(self.seed, settings.training.distributed)) as seed:
            errors, model, log = self._learn(series, settings, seed)
        scorer, scores = Scorer.fit(
            errors,
            series.scored,
            series.values,
            smoothing=settings.smoothing,
            fusion=settings.fusion,
        )
        self.scorer_ = scorer
        self.model_ = model
        self.log_ = log
        self.n_features_in_ = series.values.values.shape[1]
        self._form = rows.form
        self._columns = columns
        self._is_causal = settings.causal
        self._scores = scores
        self._is_held_out = series.is_held_out
        self.rule_ = self._fit_rule(settings.threshold)
        return self

    def decision_function(
        self,
        X: Any,  # noqa: N803
        *,
        engine: "str | Engine | None" = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> PerRow:
        """Compute the score of each timestep; higher is more anomalous.

        Args:
            X: as for `fit`, with the same features.
            engine: where the scores are computed, in parts of whole series: `"joblib"`, `"ray"`,
                `"dask"`, `"spark"`, or an object of `seqkeras.engines`. None: here.
            folder: folder in which the scores of each part are stored as soon as they are ready. If
                the call is interrupted or killed, the same call does only what is missing. None:
                nothing is stored.

        Returns:
            `(timesteps,)` for one series; for a frame, a score for each of its rows in their order;
            for a panel of arrays, a list of arrays.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: the features are not those of `fit`.
            DataError: as for `fit`.
            WorkerError: a worker process ended. What was ready is in the folder.
        """
        rows, scores = self._score(X, engine, folder)
        return rows.form.restore(scores)

    def predict(
        self,
        X: Any,  # noqa: N803
        *,
        engine: "str | Engine | None" = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> PerRow:
        """Flag each timestep: 1 where its score is above the threshold, otherwise 0.

        Args:
            X: as for `decision_function`.
            engine, folder: as for `decision_function`.
        """
        rows, scores = self._score(X, engine, folder)
        return rows.form.restore(self._flags(scores, rows.form))

    def predict_proba(self, X: Any, *, method: str = "linear") -> PerRow:  # noqa: N803
        """Turn scores into numbers from 0 to 1, as pyod does.

        They rank timesteps as the scores do; they are no frequencies.

        Args:
            X: as for `decision_function`.
            method: `"linear"`: 0 for the lowest score of the training series, 1 for the highest.
                `"unify"`: the error function of standardized scores (Kriegel et al. 2011,
                "Interpreting and unifying outlier scores").

        Returns:
            `(timesteps, 2)`: for "usual" and "anomalous", which add up to 1.
        """
        check_one_of("method", method, ("linear", "unify"))
        rows, scores = self._score(X)
        share = _share(scores, self._scores, method)
        return rows.form.restore(np.stack([1 - share, share], axis=1))

    def intervals(
        self,
        X: Any = None,  # noqa: N803
        *,
        merge: int = 0,
        severity: str = "max",
        engine: "str | Engine | None" = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Return the intervals of flagged timesteps, with their severity.

        Args:
            X: as for `decision_function`. None: the series of `fit`.
            merge: intervals with fewer timesteps than this between them become one, default 0.
            severity: `"max"` or `"mean"` of scores minus threshold over the flagged timesteps.
            engine, folder: as for `decision_function`.

        Returns:
            A list of `Alarm` for one series; for a panel, a list of such lists, and for a long
            frame a dict of them by id. Positions are counted from the start of each series.

        Raises:
            NotFittedError, ArgumentError, DataError: as `decision_function`.
        """
        form, scores = self._training_or(X, engine, folder)
        limits = self._limits(scores, form)
        return form.by_series(find_all_alarms(form, scores, limits, merge=merge, severity=severity))

    def expected(self, X: Any) -> PerRow:  # noqa: N803
        """Compute what the network expects each timestep to be, in the units of the series.

        Compare its values with the series to see why a timestep is flagged. `ForecastDetector`
        returns forecasts made one timestep before; the first one is NaN. `AutoencoderDetector`
        returns reconstructions: the mean of all windows that cover a timestep, or with
        `causal=True` the end of the window that ends there.

        Args:
            X: as for `decision_function`.

        Returns:
            `(timesteps, scored)`, the scored features; for a panel of arrays, a list of these.
        """
        rows = self._read(X)
        return rows.form.restore(self._expected(rows))

    def plot(
        self,
        X: Any,  # noqa: N803
        *,
        series: Any = None,
        features: Any = None,
        expected: bool = True,
        merge: int = 0,
        title: str = "",
    ) -> Any:
        """Plot series with the flagged intervals, and below them scores and threshold.

        Up to four features are drawn as lines, each with what the network expects; more as a heat
        map, in which each feature is scaled by its median and spread.

        Args:
            X: as for `decision_function`.
            series: id of the series to plot, or its number in a list, or several of them. None: the
                first four.
            features: names or positions of the features to plot. None: all, the scored ones first.
            expected: whether to plot what the network expects.
            merge: as for `intervals`.
            title: title of the figure, default none.

        Returns:
            A `matplotlib.figure.Figure`; `figure.savefig("alarms.png")` saves it.

        Raises:
            NotFittedError, ArgumentError, DataError: as `decision_function`.
            MissingDependencyError: matplotlib is not installed.
        """
        return self._plot(
            self._detect(X),
            times=row_times(X, self._columns),
            expected=expected,
            series=series,
            features=features,
            merge=merge,
            title=title,
        )

    def refit_threshold(
        self,
        threshold: Threshold | None = None,
        X: Any = None,  # noqa: N803
        *,
        labels: Any = None,
    ) -> Self:
        """Fit another threshold; scores do not change.

        Args:
            threshold: the threshold, such as `KSigma(3.0)` or `FBeta()`. None: that of the
                parameters.
            X: series whose scores it is fitted on. None: those of `fit`; of these, without labels,
                all thresholds but `Quantile` read only the held-out rows, if there are enough of
                them: training has lowered the scores of the others.
            labels: for each timestep 1 if it is anomalous, in the form of `X`. None: unknown.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: the threshold needs labels, or their lengths are not those of the series.
        """
        self.check_fitted()
        rule = as_threshold(threshold, self.settings().threshold)
        if X is None and labels is None:
            self.rule_ = self._fit_rule(rule)
            return self
        form, scores = self._training_or(X)
        flat = form.flatten("labels", labels) if labels is not None else None
        self.rule_ = rule.fit(scores, flat)
        return self

    def set_threshold(self, threshold: float) -> Self:
        """Flag scores above a number of your own; scores do not change.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: the threshold is not a finite number.
        """
        self.check_fitted()
        is_number = isinstance(threshold, int | float | np.number) and math.isfinite(threshold)
        if not is_number or isinstance(threshold, bool):
            raise bad_argument("threshold", threshold, "a finite number")
        rule = Threshold()
        rule.value_ = float(threshold)
        rule.missing_ = 0
        self.rule_ = rule
        return self

    def stepper(self) -> DetectorStepper:
        """Return a stepper that reads one row of a series at a time, from its first row on.

        It gives the scores of `decision_function`, one after the other, many times faster than
        calls of that. The detector does not change.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: scores depend on later rows.
        """
        self.check_fitted()
        if not self._is_causal:
            fix = "Create the detector with causal=True, and fit it again."
            raise bad_argument("causal", False, "True for a stepper", fix)
        return DetectorStepper(self.scorer_, self.rule_, self._form.names)

    def as_sklearn(self) -> OutlierAdapter:
        """Return the detector in the conventions of scikit-learn: -1 for anomalies, 1 for others.

        If the detector is fitted, so is the result. Its `fit` leaves this detector as it is.
        """
        adapter = OutlierAdapter(self)
        if hasattr(self, "scorer_"):
            adapter.detector_ = self
            adapter.offset_ = -self.threshold_
            adapter.n_features_in_ = self.n_features_in_
        return adapter

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted detector into one file, without pickle.

        The file holds a JSON header, arrays, and the network as `.keras`. A file that is already
        there is replaced only by a complete one. To run it without Keras, save `stepper()` instead.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: a parameter or an id is an object that cannot be saved.
        """
        self.check_fitted()
        save_detector(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a detector that `save` wrote; `Detector.load` reads one of any class.

        Raises:
            FileFormatError: the file is damaged, of another class, or from a later version.
        """
        members = [cls, *cls.__subclasses__()]
        return load_detector(path, {member.__name__: member for member in members})

    def settings(self) -> DetectorSettings:
        """Check the parameters, and return them with their defaults filled in.

        Raises:
            ArgumentError: a parameter is invalid.
        """
        return DetectorSettings.parse(self.get_params(deep=False))

    def check_fitted(self) -> None:
        """Check that `fit` was called.

        Raises:
            NotFittedError: it was not.
        """
        if not hasattr(self, "scorer_"):
            raise NotFittedError(f"This {type(self).__name__} is not fitted. Call fit(X) first.")

    @property
    def decision_scores_(self) -> PerRow:
        """Return the score of each timestep of the series of `fit`."""
        return self._fitted_part("_form").restore(self._scores)

    @property
    def threshold_(self) -> float:
        """Return the value above which a score is flagged; for `Conformal` that after `fit`."""
        return float(self._fitted_part("rule_").value_)

    @property
    def labels_(self) -> PerRow:
        """Return the flag of each timestep of the series of `fit`, 0 or 1."""
        form = self._fitted_part("_form")
        return form.restore(self._flags(self._scores, form))

    def _learn(
        self, series: TrainingSeries, settings: DetectorSettings, seed: int
    ) -> tuple[LearnedErrors, keras.Model, TrainingLog]:
        """Train a network, and return the errors that it gives."""
        raise NotImplementedError

    def _rows_needed(self, settings: DetectorSettings) -> int:
        """Return the rows that a series needs to be trained on."""
        raise NotImplementedError

    def _training_series(self, rows: SeriesRows, settings: DetectorSettings) -> TrainingSeries:
        values = rows.values
        features = values.values.shape[1]
        scored = np.array(resolve_columns("scored", self.scored, rows.form.names, features))
        lowest = values.values.min(axis=0)
        highest = values.values.max(axis=0)
        if is_constant(lowest, highest)[scored].all():
            fix = "There is nothing to learn from; any change would be an anomaly."
            actual = "only constant ones"
            raise bad_data("The scored features", actual, "change in at least one row", fix)
        needed = self._rows_needed(settings)
        if values.lengths.max() < needed:
            fix = "Use a smaller lookback, or longer series."
            actual = f"at most {values.lengths.max()} rows"
            raise bad_data("At least one series", actual, f"have {needed} rows", fix)
        held_out = np.ceil(settings.training.validation * values.lengths).astype(np.int64)
        # A series that would be too short to train on holds out nothing.
        held_out[values.lengths - held_out < needed] = 0
        return TrainingSeries(values, scored, held_out)

    def _detect(self, x: Any) -> Detection:
        rows, scores = self._score(x)
        return Detection(rows, scores, self._limits(scores, rows.form))

    def _limits(self, scores: Floats, form: RowForm) -> Floats:
        """Return the value that the score of each row is compared with."""
        limits = [self.rule_.values(part) for part in split_series(scores, form)]
        return np.concatenate(limits)

    def _training_or(
        self,
        x: Any,
        engine: "str | Engine | None" = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> tuple[RowForm, Floats]:
        """Return form and scores of series, or of those of `fit` if `x` is None."""
        self.check_fitted()
        if x is None:
            return self._form, self._scores
        rows, scores = self._score(x, engine, folder)
        return rows.form, scores

    def _plot(self, detection: Detection, *, expected: bool = True, **options: Any) -> Any:
        values = (self._expected_name, self._expected(detection.rows)) if expected else None
        return plot_detection(detection, self.scorer_.scored, expected=values, **options)

    def _expected(self, rows: SeriesRows) -> Floats:
        errors = self.scorer_.errors
        return np.concatenate(
            [errors.expected(np.asarray(part, np.float64)) for part in rows.values]
        )

    def _score(
        self,
        x: Any,
        engine: "str | Engine | None" = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> tuple[SeriesRows, Floats]:
        if engine is None and folder is None:
            rows = self._read(x)
            return rows, self.scorer_.scores(rows.values)
        runner = as_engine(engine)
        rows = self._read(x)
        return rows, score_in_parts(self.scorer_, self.rule_, rows.values, runner, folder)

    def _read(self, x: Any) -> SeriesRows:
        self.check_fitted()
        rows = read_series(x, self._columns, self._form.names if hasattr(x, "columns") else None)
        features = rows.values.values.shape[1]
        if features != self.n_features_in_:
            actual = Description(f"{features} features")
            raise bad_argument("X", actual, f"series of {self.n_features_in_} features, as in fit")
        self._check_scorable(rows.values)
        return rows

    def _check_scorable(self, series: GroupedArray) -> None:
        """Raise if series are too short to be scored."""

    def _flags(self, scores: Floats, form: RowForm) -> Integers:
        flags = [self.rule_.predict(part) for part in split_series(scores, form)]
        return np.concatenate(flags).astype(np.int64)

    def _fit_rule(self, rule: Threshold) -> Threshold:
        """Fit a threshold to scores of the training series."""
        return rule.fit(self._scores[_calibration_rows(rule, self._is_held_out)])

    def _fitted_part(self, name: str) -> Any:
        # AttributeError, so that `hasattr(detector, "labels_")` tells whether it was fitted.
        if not hasattr(self, "scorer_"):
            raise AttributeError("it does not exist before fit(X) is called")
        return getattr(self, name)


def _calibration_rows(rule: Threshold, is_held_out: Booleans) -> Booleans:
    """Return the rows whose scores a threshold is fitted on.

    Training has lowered the scores of the rows that it read, so these are the held-out rows where
    there are enough of them. The share that `Quantile` promises is one of all rows.

    Raises:
        ArgumentError, DataError: the threshold cannot be fitted on as many scores.
    """
    every = np.ones_like(is_held_out)
    if not isinstance(rule, Quantile) and is_held_out.any():
        try:
            deepcopy(rule).fit(np.arange(float(is_held_out.sum())))
        except DataError:  # too few
            pass
        else:
            return is_held_out
    deepcopy(rule).fit(np.arange(float(len(every))))
    return every


def _share(scores: Floats, training: Floats, method: str) -> Floats:
    if method == "linear":
        lowest = training.min()
        highest = training.max()
        return np.clip((scores - lowest) / max(highest - lowest, np.finfo(float).tiny), 0, 1)
    standard = (scores - training.mean()) / max(training.std(), np.finfo(float).tiny)
    return np.array([max(0.0, math.erf(score / math.sqrt(2))) for score in standard.tolist()])
