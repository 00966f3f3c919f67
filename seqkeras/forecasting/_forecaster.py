"""The forecaster: from a frame to a trained network and back to a frame."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import keras
from sklearn.base import BaseEstimator

from seqkeras._checks import bad_argument, check_flag, check_one_of
from seqkeras.engines import Engine
from seqkeras.engines._choice import as_engine
from seqkeras.errors import ArgumentError, NotFittedError
from seqkeras.forecasting import _plots
from seqkeras.forecasting._interactive_plot import draw_interactive
from seqkeras.forecasting._settings import (
    Intervals,
    Network,
    Settings,
    Training,
    as_intervals,
    as_network,
    as_training,
)
from seqkeras.forecasting.fitted import _saving, _updates
from seqkeras.forecasting.fitted._fitted import Fitted
from seqkeras.forecasting.fitted._intervals import ConformalIntervals
from seqkeras.forecasting.fitted._partial_forecasts import RunInParts
from seqkeras.forecasting.fitted._stepper import ForecastStepper
from seqkeras.forecasting.fitted._streams import (
    check_output,
    forecast_frames,
    joined,
    write_frames,
)
from seqkeras.forecasting.fitting._fit import Fitting
from seqkeras.forecasting.frames._columns import Columns, as_columns
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._parquet import (
    check_no_scratch,
    check_omitted,
    check_scratch,
    is_parquet,
)
from seqkeras.forecasting.frames._parquet_panel import read_parquet
from seqkeras.forecasting.frames._reading import read_panel
from seqkeras.forecasting.networks._build import Builder
from seqkeras.forecasting.networks._inputs import NetworkInputs
from seqkeras.forecasting.networks._mixture import Mixture
from seqkeras.likelihoods import Likelihood
from seqkeras.training import TrainingLog
from seqkeras.training._backup import check_file, claimed
from seqkeras.training._distribution import is_first
from seqkeras.training._early_stopping import Interrupted
from seqkeras.windows import StandardScaler

if TYPE_CHECKING:
    import pandas as pd

#: Functions that turn the short form of a parameter into the object with its options.
_OBJECTS = {"network": as_network, "intervals": as_intervals, "training": as_training}


class Forecaster(BaseEstimator):
    """Forecasts of one series or many, from a pandas frame, with prediction intervals.

    `fit` scales each series by its own mean and standard deviation, holds out its last rows, and
    trains on windows of the rest until forecasts of the held-out windows stop improving. It
    calibrates the intervals on the held-out rows. Then it continues from the best weights with the
    whole history, for half as many epochs, at falling learning rates. One network serves all
    series.

    Args:
        horizon: timesteps to forecast.
        lookback: timesteps that a forecast reads. None: three seasons and at least twice the
            horizon, or less if more than half of the series would be too short for that.
        season_length: timesteps of one season. None: the usual season of the frequency (12 for
            months, 7 for days, 24 for hours ...), or 1 if the lookback is shorter than that or the
            series do not repeat after a season.
        network: a `Network`; or only its architecture: a name such as `"segment_rnn"`, a builder, a
            `keras.Model`, or a list of these for an ensemble. Default `"multi_output"`.
        likelihood: distribution that the network learns: `"quantiles"`, `"gaussian"`,
            `"student_t"`, `"negative_binomial"` for counts, or one of `seqkeras.likelihoods`. None,
            the default: point forecasts only; the widths of intervals then depend on the errors of
            earlier forecasts, but not on the window that is forecast from.
        intervals: an `Intervals`, or only its levels in percent; `()` for no intervals. None, the
            default: `Intervals((80, 95))`.
        training: a `Training`. None, the default: `Training()`.
        seed: seed of weights and shuffles, below 2**32; None for different ones each time. `fit`
            seeds Keras' global generator, and restores the random state of Python and NumPy.

    Attributes:
        fitted_: the result of `fit`; the attributes below are parts of it.
        model_: the trained `keras.Model`, on scaled values.
        horizon_: timesteps to forecast, as fitted.
        lookback_: timesteps that a forecast reads.
        season_length_: timesteps of one season, as used.
        log_: losses and the best epoch, a `TrainingLog`; for an ensemble, that of the first
            network.
        logs_: the logs of all networks.
        mixture_: errors of the network and of the linear expert on the held-out rows, and the share
            of the expert in the forecasts; None without an expert.
        likelihood_: the likelihood, or None.
        intervals_: the radii of the intervals, in scaled units; with a likelihood in units of the
            distance from its median to its 10 % and 90 % quantiles. Its `factor` multiplies the
            radii for each series and level.
        scaler_: mean and standard deviation of each series. Its `constant_` marks series that never
            change from one season to the next, whose forecasts are exact.
        inputs_: how covariates are scaled, and whether targets may be missing.
        panel_: the last rows of each series, with their covariates. Those of a series that is
            shorter than a lookback begin with rows without targets, from before its first one.

    Example:
        >>> from seqkeras.forecasting import Training, load_air_passengers
        >>> df = load_air_passengers()
        >>> forecaster = Forecaster(horizon=12, training=Training(epochs=1), seed=0).fit(df)
        >>> forecaster.predict().columns.tolist()
        ['ds', 'yhat', 'yhat-lo-80', 'yhat-hi-80', 'yhat-lo-95', 'yhat-hi-95']
    """

    fitted_: Fitted

    def __init__(
        self,
        horizon: int,
        *,
        lookback: int | None = None,
        season_length: int | None = None,
        network: str | Builder | keras.Model | Sequence[Any] | Network = "multi_output",
        likelihood: str | Likelihood | None = None,
        intervals: Intervals | tuple[float, ...] | None = None,
        training: Training | None = None,
        seed: int | None = None,
    ) -> None:
        self.horizon = horizon
        self.lookback = lookback
        self.season_length = season_length
        self.network = network
        self.likelihood = likelihood
        self.intervals = intervals
        self.training = training
        self.seed = seed

    def set_params(self, **params: Any) -> Self:
        """Set parameters, such as `lookback=12` or `training__epochs=3`.

        A parameter in its default or short form is replaced by the object when an option of it is
        set: `set_params(network__units=32)` works with `network="segment_rnn"`.

        Raises:
            ArgumentError: a parameter does not exist.
        """
        known = self.get_params()
        for name in params:
            check_one_of("parameter", name, known)
        for name, as_object in _OBJECTS.items():
            options = [key for key in params if key.startswith(f"{name}__")]
            if options:
                # A copy, as the object may be shared with other forecasters.
                params[name] = copy(as_object(params.get(name, getattr(self, name))))
        return super().set_params(**params)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; with `deep` also the options of their objects.

        Parameters in their default or short form have options too: `training__epochs` is 300 if
        `training` is None.
        """
        params: dict[str, Any] = super().get_params(deep=False)
        if not deep:
            return params
        for name, as_object in _OBJECTS.items():
            try:
                options = as_object(params[name]).get_params(deep=False)
            except ArgumentError:  # an invalid value has no options
                continue
            params |= {f"{name}__{option}": value for option, value in options.items()}
        return params

    def settings(self) -> Settings:
        """Check the parameters, and return them with their defaults filled in.

        Raises:
            ArgumentError: a parameter is invalid.
        """
        return Settings.parse(**self.get_params(deep=False))

    def fit(
        self,
        df: "pd.DataFrame | pd.Series | str | os.PathLike[str]",
        y: None = None,
        *,
        columns: Columns | None = None,
        backup: str | os.PathLike[str] | None = None,
        scratch: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Train a network on the series of a frame.

        Ctrl-C after the first epoch keeps the best weights so far: the intervals are calibrated
        with them, the forecaster is fitted, and then `KeyboardInterrupt` is raised.

        Args:
            df: a long frame, with one row for each series and timestamp, in order of time within
                each series. Or a wide frame, with timestamps as its index and a series in each
                column; a Series with timestamps as its index; a frame or Series with ids and
                timestamps as two levels of the index. A polars frame must be long, and its forecast
                is a polars frame. Or the path of a parquet file or of a folder of them, or a
                `pyarrow.dataset.Dataset`, with the columns of a long frame and the rows of each
                series one after the other; they may be larger than memory.
            y: not used, as the target is a column; scikit-learn's pipelines pass it.
            columns: the names of the columns and how they are read. Default `Columns()`:
                `unique_id`, `ds` and `y`.
            backup: file that is written after each epoch; later stages of the fit add files of this
                name with a number. All are removed at the end. If they exist, the fit resumes from
                them: after a process was killed or interrupted, call `fit` again with the same
                arguments, and the weights become those of an uninterrupted fit. Default: none.
            scratch: folder for temporary files, if `df` are parquet files: arrays that may be
                larger than memory. They need about 35 bytes for each row, and 30 for each of its
                past, future and calendar features, and are gone after the fit, also if it fails or
                is killed. Default: the system's folder of temporary files; choose one on a disk if
                that is in memory.

        Raises:
            ArgumentError: a parameter or a column cannot be used, or the backup belongs to another
                fit or is in use; nothing is trained then.
            FileFormatError: the backup or a parquet file is damaged.
            OSError: the disk of `scratch` is full.
            DataError: the frame cannot be used (empty, gaps, too short, a covariate without a
                value), or training diverged. The forecaster stays as it was.
            MissingDependencyError: the calendar includes holidays, and the package `holidays` is
                not installed.

        Warns:
            ShortSeriesWarning: series are too short to train on, but are forecast.
            LostChangesWarning: a series changes by less, relative to its level, than float32 can
                represent, and counts as constant.
        """
        settings = self.settings()
        _check_no_target(y)
        columns = as_columns(columns)
        file = check_file("backup", backup)
        if is_parquet(df):
            panel = read_parquet(df, columns, check_scratch(scratch))
        else:
            check_no_scratch(scratch)
            panel = read_panel(df, columns)
        fitting = Fitting.of(settings, panel, columns.short_series)
        writes = is_first(settings.training.distributed)
        try:
            with claimed(file) if file is not None and writes else nullcontext():
                self.fitted_ = fitting.run(file)
        except Interrupted as interrupt:
            self.fitted_ = interrupt.result
            raise KeyboardInterrupt from None
        return self

    @overload
    def predict(
        self,
        df: "pd.DataFrame | pd.Series | str | os.PathLike[str] | None" = None,
        *,
        horizon: int | None = None,
        future: "pd.DataFrame | str | os.PathLike[str] | None" = None,
        fill: str = "raise",
        engine: str | Engine | None = None,
        folder: str | os.PathLike[str] | None = None,
        output: None = None,
    ) -> "pd.DataFrame": ...

    @overload
    def predict(
        self,
        df: "pd.DataFrame | pd.Series | str | os.PathLike[str] | None" = None,
        *,
        horizon: int | None = None,
        future: "pd.DataFrame | str | os.PathLike[str] | None" = None,
        fill: str = "raise",
        engine: str | Engine | None = None,
        folder: str | os.PathLike[str] | None = None,
        output: str | os.PathLike[str],
    ) -> Path: ...

    def predict(
        self,
        df: "pd.DataFrame | pd.Series | str | os.PathLike[str] | None" = None,
        *,
        horizon: int | None = None,
        future: "pd.DataFrame | str | os.PathLike[str] | None" = None,
        fill: str = "raise",
        engine: str | Engine | None = None,
        folder: str | os.PathLike[str] | None = None,
        output: str | os.PathLike[str] | None = None,
    ) -> "pd.DataFrame | Path":
        """Forecast the timesteps after the last row of each series.

        Args:
            df: series to forecast instead of those of `fit`, whether or not `fit` has seen them,
                of any length. They are read as `fit` read its frame, and each is scaled by its own
                rows. The forecaster does not change. Or parquet files, as for `fit`.
            horizon: timesteps to forecast; default: the horizon of the forecaster. Without
                intervals and past covariates it may be longer: forecasts are then fed back.
            future: values of the future covariates, with a row for each series and timestamp of the
                horizon: `future_frame()` with its columns filled in. Further rows and columns are
                ignored. Or parquet files, with the rows of each series one after the other; they
                are read once if the series have the order of `df`.
            fill: what to do about gaps in `df`, as in `Columns`.
            engine: where the network runs, in parts of some thousand series: `"joblib"`, `"ray"`,
                `"dask"`, `"spark"`, or an object of `seqkeras.engines`. None: here.
            folder: folder in which the forecasts of each part are stored as soon as they are ready.
                If the call is interrupted or killed, the same call does only what is missing.
                None: nothing is stored.
            output: parquet file to write the forecasts to, as a long table, part by part. A file
                that is already there is replaced only by a complete one. None: they are returned.

        Returns:
            A frame in the form of `df`, or else of the frame of `fit`. A long frame has the columns
            of ids and timestamps, `yhat`, and `yhat-lo-80`, `yhat-hi-80`, ... for each level. A
            wide frame has timestamps in the index, and the other columns for each series, so that
            `forecast["yhat"]` has the form of the frame of `fit`. If ids or timestamps were in the
            index, they are in the index of the forecast. For parquet files it is a long frame; with
            `output`, the path of the file.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: the horizon is longer than the forecaster can forecast, or `future` lacks
                a column.
            DataError: `future` or `df` lacks rows or values; the error says which.
            WorkerError: a worker process ended. What was ready is in the folder.

        Warns:
            FarValueWarning: a covariate is far outside the values that `fit` saw, and is replaced
                by a nearer value.
        """
        fitted = self.check_fitted()
        if output is not None or is_parquet(df) or is_parquet(future):
            check_omitted("engine", engine)
            check_omitted("folder", folder)
            path = check_output(output, df, future) if output is not None else None
            frames = forecast_frames(fitted, df, horizon=horizon, future=future, fill=fill)
            return write_frames(frames, path) if path is not None else joined(frames)
        run = None
        if engine is not None or folder is not None:
            run = RunInParts(fitted, as_engine(engine), folder)
        request = fitted.request(horizon, future, df, fill)
        return request.panel.shaped_forecast(fitted.forecast(request, run))

    def sample(
        self,
        count: int = 100,
        *,
        seed: int | None = None,
        horizon: int | None = None,
        future: "pd.DataFrame | None" = None,
    ) -> "pd.DataFrame":
        """Draw paths of each series from the likelihood.

        With `network="recursive"` each step is drawn given the steps before it, so a path is
        coherent over time; all paths of all series are computed side by side. With a network that
        returns the whole horizon at once, each step is drawn independently.

        Args:
            count: paths of each series.
            seed: seed of the draws; None for different paths each time.
            horizon: timesteps to forecast; default: the horizon of the forecaster.
            future: as for `predict`.

        Returns:
            A long frame with the columns of ids and timestamps, and `path-1` to `path-<count>`.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: the forecaster has no likelihood, or an argument cannot be used.

        Example:
            >>> from seqkeras.forecasting import Training, load_air_passengers
            >>> forecaster = Forecaster(6, likelihood="gaussian", training=Training(epochs=1))
            >>> paths = forecaster.fit(load_air_passengers()).sample(3, seed=0)
            >>> paths.columns.tolist(), len(paths)
            (['ds', 'path-1', 'path-2', 'path-3'], 6)
        """
        return self.check_fitted().sample(count, seed=seed, horizon=horizon, future=future)

    def future_frame(
        self, *, horizon: int | None = None, df: "pd.DataFrame | pd.Series | None" = None
    ) -> "pd.DataFrame":
        """Return the ids and timestamps of a forecast, to be filled in with future covariates.

        Args:
            horizon: timesteps to forecast; default: the horizon of the forecaster.
            df: as for `predict`.

        Returns:
            A frame of ids and timestamps, series after series.

        Raises:
            NotFittedError: `fit` was not called.
        """
        fitted = self.check_fitted()
        panel = fitted.read_any_series(df, "raise")[0] if df is not None else fitted.panel
        return panel.future_frame(fitted.steps(horizon))

    def update(self, rows: "pd.DataFrame") -> Self:
        """Add new observations without training; `predict` then starts after them.

        Weights and scaler stay. Adaptive intervals of a series become wider or narrower with each
        horizon of rows, however many rows are added at once.

        Args:
            rows: new rows, in the columns of `fit`; each series continues exactly where it ended.
                Series without new rows do not change.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: a column is missing.
            DataError: a series was not fitted, or its rows do not continue where it ended. The
                forecaster stays as it was.

        Example:
            >>> from seqkeras.forecasting import Training, load_air_passengers
            >>> df = load_air_passengers()
            >>> forecaster = Forecaster(6, training=Training(epochs=1), seed=0).fit(df.iloc[:-1])
            >>> str(forecaster.update(df.iloc[-1:]).predict().ds[0].date())
            '1961-01-01'
        """
        self.fitted_ = _updates.update(self.check_fitted(), rows)
        return self

    def stepper(self, *, implementation: str = "auto") -> ForecastStepper:
        """Return a stepper that reads one observation at a time, without a frame.

        It starts from the newest rows of the series, and forecasts as `update` and `predict` do,
        but many times faster. Its state can be saved and restored. The forecaster does not change.

        Args:
            implementation: how the network runs. `"program"`: in NumPy and the native library,
                without Keras, for up to 32 series at once, and in Keras for more. `"keras"`: in
                Keras. `"auto"`, the default: as a program if the network can be exported and the
                native library can run it, otherwise in Keras.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: `implementation` is `"program"`, and the network cannot be exported.
        """
        return ForecastStepper(self.check_fitted(), implementation)

    def score(self, df: "pd.DataFrame", y: None = None) -> float:
        """Return minus the mean absolute error on rows that follow the history, for scikit-learn.

        The rows are forecast horizon by horizon, each horizon from the rows before it; the result
        is the mean over series. The forecaster does not change.

        Args:
            df: as for `update`.
            y: not used; scikit-learn passes it.

        Raises:
            NotFittedError, ArgumentError, DataError: as `update`.
        """
        _check_no_target(y)
        return _updates.score(self.check_fitted(), df)

    def encode(self, df: "pd.DataFrame | None" = None) -> "pd.DataFrame":
        """Return an embedding of each series: the last output of the last recurrent layer.

        In an encoder-decoder network it is that of the encoder. The embeddings by the networks of
        an ensemble are concatenated.

        Args:
            df: rows of fitted series in the columns of `fit`, at least a lookback of each; the last
                lookback is encoded. None: the newest rows that the forecaster has seen.

        Returns:
            A frame `(series, units)`, with the ids as its index.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: the network has no recurrent layer.
            DataError: a series was not fitted, or is shorter than the lookback.
        """
        return self.check_fitted().encode(df)

    def plot(
        self,
        df: "pd.DataFrame | pd.Series | None" = None,
        *,
        series: Any = None,
        future: "pd.DataFrame | None" = None,
        title: str = "",
        interactive: bool = False,
    ) -> Any:
        """Plot the forecast after the history, with its intervals.

        Args:
            df: rows to plot with the forecast, in the columns of `fit`; rows after the history are
                plotted as actual values. None: the rows that the forecast reads.
            series: id of the series to plot, or a list of ids; None: the first four.
            future: as for `predict`.
            title: title of the figure, default none.
            interactive: whether to plot with Plotly: one can zoom, and read values under the
                pointer. Default False.

        Returns:
            A `matplotlib.figure.Figure`; `figure.savefig("forecast.png")` saves it. If
            `interactive`, a `plotly.graph_objects.Figure`; `figure.write_html("forecast.html")`
            saves it.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: no series has that id, or `interactive` is not a flag.
            MissingDependencyError: matplotlib, or Plotly, is not installed.
        """
        draw = draw_interactive if check_flag("interactive", interactive) else _plots.draw
        fitted = self.check_fitted()
        columns = fitted.panel.columns
        panel = fitted.newest.take(fitted.panel.numbers(series))
        request = fitted.request(None, future)
        forecast = request.panel.forecast_frame(fitted.forecast(request))
        history = panel.long_frame(df) if df is not None else panel.history_frame()
        levels = fitted.intervals.levels if fitted.intervals is not None else ()
        parts = panel.split([history, forecast])
        return draw(parts, columns.time, columns.target, levels, title=title)

    def save(self, path: str | Path) -> None:
        """Write the fitted forecaster into one file, without pickle.

        The file holds a JSON header, arrays, and the network as `.keras`. A file that is already
        there is replaced only by a complete one.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: a parameter that was set after the fit cannot be used, or a parameter or
                an id is an object that cannot be saved.
        """
        fitted = self.check_fitted()
        self.settings()
        _saving.save(path, self.get_params(deep=False), fitted)

    @classmethod
    def load(cls, path: str | Path, *, custom_objects: dict[str, Any] | None = None) -> Self:
        """Read a forecaster that `save` wrote.

        If the network was given as a builder or a model, the loaded forecaster has the trained
        network in its place, so that it can be fitted again.

        Args:
            path: the file.
            custom_objects: classes of your own that the network uses, by name, as in
                `keras.saving.load_model`.

        Raises:
            FileFormatError: the file is damaged, not a forecaster, or from a later version.
        """
        params, fitted = _saving.load(path, custom_objects=custom_objects)
        forecaster = cls(**params)
        forecaster.fitted_ = fitted
        return forecaster

    def check_fitted(self) -> Fitted:
        """Return the result of `fit`.

        Raises:
            NotFittedError: `fit` was not called.
        """
        if not hasattr(self, "fitted_"):
            raise NotFittedError("This Forecaster is not fitted. Call fit(df) first.")
        return self.fitted_

    @property
    def model_(self) -> keras.Model:
        """Return the trained network."""
        return self._part("model")

    @property
    def horizon_(self) -> int:
        """Return the horizon, as fitted."""
        return self._part("horizon")

    @property
    def lookback_(self) -> int:
        """Return the lookback, as fitted."""
        return self._part("lookback")

    @property
    def season_length_(self) -> int:
        """Return the season length, as fitted."""
        return self._part("season_length")

    @property
    def log_(self) -> TrainingLog:
        """Return the training log of the first network."""
        return self._part("logs")[0]

    @property
    def mixture_(self) -> Mixture | None:
        """Return how the linear expert was mixed with the network, or None without one."""
        return self._part("mixture")

    @property
    def logs_(self) -> tuple[TrainingLog, ...]:
        """Return the training logs of all networks."""
        return self._part("logs")

    @property
    def likelihood_(self) -> Likelihood | None:
        """Return the likelihood, as fitted."""
        return self._part("likelihood")

    @property
    def intervals_(self) -> ConformalIntervals | None:
        """Return the intervals, as calibrated."""
        return self._part("intervals")

    @property
    def scaler_(self) -> StandardScaler:
        """Return the scaler of the targets."""
        return self._part("scaler")

    @property
    def inputs_(self) -> NetworkInputs:
        """Return the `NetworkInputs`, which turn series into inputs of the network."""
        return self._part("inputs")

    @property
    def panel_(self) -> Panel:
        """Return the last rows of each series."""
        return self._part("panel")

    def _part(self, name: str) -> Any:
        # AttributeError, so that `hasattr(forecaster, "model_")` tells whether it was fitted.
        if not hasattr(self, "fitted_"):
            raise AttributeError(f"{name}_ does not exist before fit(df) is called")
        return getattr(self.fitted_, name)


def _check_no_target(y: Any) -> None:
    if isinstance(y, Columns):
        raise bad_argument("y", y, "omitted", "Pass the columns by name: columns=Columns(...).")
    if y is not None:
        fix = "The target is a column of df; name it with columns=Columns(target=...)."
        raise bad_argument("y", type(y).__name__, "omitted", fix)


def check_is_forecaster(forecaster: Any) -> None:
    """Check that the forecaster to evaluate or inspect is a `Forecaster`.

    Raises:
        ArgumentError: it has another type, such as a Keras model.
    """
    if not isinstance(forecaster, Forecaster):
        fix = "To forecast with a Keras model, use Forecaster(horizon, network=model)."
        raise bad_argument("forecaster", forecaster, "a seqkeras.forecasting.Forecaster", fix)
