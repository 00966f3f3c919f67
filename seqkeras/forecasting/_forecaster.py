"""The forecaster: from a frame to a trained network and back to a frame."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from seqkeras._checks import (
    bad_argument,
    check_fraction,
    check_integer,
    check_one_of,
    check_positive,
)
from seqkeras.errors import NotFittedError
from seqkeras.forecasting import _plots
from seqkeras.forecasting.evaluation import _backtest
from seqkeras.forecasting.fitted import _saving, _tracking, _updates
from seqkeras.forecasting.fitted._intervals import KINDS, ConformalIntervals, check_levels
from seqkeras.forecasting.fitted._stepper import ForecastStepper
from seqkeras.forecasting.fitting._feedback import check_teacher_forcing
from seqkeras.forecasting.fitting._fit import Fitted, Fitting
from seqkeras.forecasting.frames._columns import Columns
from seqkeras.forecasting.frames._future import read_future
from seqkeras.forecasting.frames._panel import Panel, embedding_frame
from seqkeras.forecasting.frames._reading import read_alike, read_panel
from seqkeras.forecasting.inspection import _components, _importance
from seqkeras.forecasting.networks._build import Builder, predict_batches
from seqkeras.forecasting.networks._embedding import last_state
from seqkeras.forecasting.networks._ensemble import check_models, members_of
from seqkeras.forecasting.networks._inputs import Inputs
from seqkeras.forecasting.networks._predict import (
    Forecasts,
    Outlook,
    check_counts,
    look_ahead,
    resolve_head,
    sample_paths,
    scaler_for,
)
from seqkeras.likelihoods import Likelihood
from seqkeras.training._early_stopping import TrainingLog
from seqkeras.windows import StandardScaler

if TYPE_CHECKING:
    import pandas as pd

    from seqkeras.forecasting.evaluation._backtest import Backtest
    from seqkeras.forecasting.inspection._components import Components
    from seqkeras.forecasting.inspection._importance import Importance

Floats = npt.NDArray[np.float64]


class Forecaster(BaseEstimator):
    """Forecasts of one series or many, from a pandas frame, with prediction intervals.

    `fit` scales each series by its own mean and deviation, holds out the last rows of each,
    trains on windows of the rest until the held-out windows are forecast best, measures there how
    wide the intervals must be, and then goes on from the best weights with the whole history, half
    as long, at rates that fall. One network serves all series.

    Args:
        horizon: timesteps to forecast.
        lookback: timesteps that a forecast reads. None: three seasons, or at least twice the
            horizon, as far as half of the series are long enough for it.
        model: `"multi_output"`: the whole horizon at once. `"recursive"`: one step, fed back as
            the next input. `"encoder_decoder"`: a second stack runs over the horizon.
            `"segment_rnn"`: a segment of the series in each step, for long windows. Or a builder,
            called as `model(1, lookback=..., horizon=...)`, or an uncompiled `keras.Model`, which
            is copied and starts from fresh weights: these map `(batch, lookback, 1)` to
            `(batch, steps)`; if steps are fewer than the horizon, they are fed back too. With
            covariates or missing values they read more, and with a head they answer more, as the
            named networks do. A list of these, such as `["segment_rnn"] * 3`, is an ensemble: a
            network of each, trained one after the other with seeds of their own, whose answers are
            averaged.
        head: what the network learns of the future beside the point: `"quantiles"`, `"gaussian"`,
            `"student_t"`, `"negative_binomial"` for counts, or a head of `seqkeras.likelihoods`.
            None: nothing, intervals are then of one width for all series, each in its own scale,
            until newer rows change it (see `intervals`).
        teacher_forcing: of networks whose answers are fed back, the probability that training
            feeds the true value in their place. 1, the default, trains them one step ahead; 0
            over the whole horizon on their own answers, which costs about that many times as much;
            `"scheduled"` goes from 1 to 0 over the first ten epochs (scheduled sampling, Bengio
            et al. 2015, arXiv 1506.03099). With a head it must be 1.
        levels: nominal coverage of the intervals in percent; `()` for none.
        intervals: how wide they are. `"split"`: as the errors on the held-out rows of all series
            say. `"per_series"`: as those of each series say, where it has enough of them.
            `"adaptive"`: as those of all, and after each horizon of newer rows wider or narrower
            for the series, so that in the long run as much is inside as was promised.
        season_length: timesteps of one season, or None: what the frequency suggests (12 for
            months, 7 for days, 24 for hours ...), 1 if the lookback is shorter.
        units: of the recurrent layers of the named strategies (default 64); a tuple is a stack.
        cell: of the named strategies (default `"gru"`): `"lstm"`, `"gru"`, `"simple_rnn"`.
        normalization: how the named strategies read each window (default `"last"`, and
            `"mean_scale"` for counts): relative to its newest value (`"last"`), its mean size
            (`"mean_scale"`), its mean and deviation (`"revin"`), or as it is (`"none"`).
        epochs: at most; one is a hundred training steps, or fewer where that is all windows.
        patience: epochs without a better forecast of the held-out windows before training stops.
        batch_size: windows in a training step. None: a hundredth of the windows, from 32 to 1024.
        learning_rate: of Adam at first. It falls to a third each time that a third of the patience
            has passed without a better forecast; with `validation=0` it stays.
        validation: share of each series that is held out at its end, at least one horizon and
            enough for the intervals. 0: nothing is held out, all epochs are run, and `levels`
            must be `()`.
        short_series: `"raise"` an error for series that are too short, or have no target among
            their last rows, or `"skip"` them with a warning that counts them.
        seed: of weights and shuffles, below 2**32; None is different each time. The global
            generator of Keras is seeded with it; Python's and NumPy's are given back as found.
        progress: draw a bar while training, on a terminal.

    Attributes:
        model_: the trained `keras.Model`, on scaled values.
        horizon_: timesteps to forecast, as fitted.
        lookback_: timesteps that a forecast reads.
        season_length_: timesteps of one season, as used.
        log_: losses and the number of epochs, a `TrainingLog`; of an ensemble that of the first
            network.
        logs_: those of all networks.
        head_: the head, or None.
        intervals_: the radii of the intervals, in scaled units; with a head in units of the
            distance from its median to its 10 % and 90 % quantiles. Its `factor` says by how much
            they are multiplied for each series and level.
        scaler_: mean and deviation of each series.
        inputs_: how covariates are scaled, and whether targets may be missing.
        panel_: the last rows of each series, with their covariates.

    Example:
        >>> from seqkeras.forecasting import load_air_passengers
        >>> df = load_air_passengers()
        >>> forecaster = Forecaster(horizon=12, epochs=2, seed=0).fit(df)
        >>> forecaster.predict().columns.tolist()
        ['ds', 'yhat', 'yhat-lo-80', 'yhat-hi-80', 'yhat-lo-95', 'yhat-hi-95']
    """

    model_: keras.Model
    horizon_: int
    lookback_: int
    season_length_: int
    logs_: tuple[TrainingLog, ...]
    head_: Likelihood | None
    intervals_: ConformalIntervals | None
    scaler_: StandardScaler
    inputs_: Inputs
    panel_: Panel

    def __init__(
        self,
        horizon: int,
        *,
        lookback: int | None = None,
        model: str | Builder | keras.Model | Sequence[Any] = "multi_output",
        head: str | Likelihood | None = None,
        teacher_forcing: float | str = 1.0,
        levels: tuple[float, ...] = (80, 95),
        intervals: str = "adaptive",
        season_length: int | None = None,
        units: int | tuple[int, ...] | None = None,
        cell: str | None = None,
        normalization: str | None = None,
        epochs: int = 300,
        patience: int = 25,
        batch_size: int | None = None,
        learning_rate: float = 3e-3,
        validation: float = 0.2,
        short_series: str = "raise",
        seed: int | None = None,
        progress: bool = True,
    ) -> None:
        self.horizon = horizon
        self.lookback = lookback
        self.model = model
        self.head = head
        self.teacher_forcing = teacher_forcing
        self.levels = levels
        self.intervals = intervals
        self.season_length = season_length
        self.units = units
        self.cell = cell
        self.normalization = normalization
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation = validation
        self.short_series = short_series
        self.seed = seed
        self.progress = progress

    def fit(
        self,
        df: "pd.DataFrame | pd.Series",
        y: None = None,
        *,
        id_col: str = "unique_id",
        time_col: str = "ds",
        target_col: str = "y",
        freq: str | int | None = None,
        past_covariates: Sequence[str] = (),
        future_covariates: Sequence[str] = (),
        static_covariates: Sequence[str] = (),
        calendar: str | Sequence[str] | None = None,
        missing: str = "mask",
        fill: str = "raise",
    ) -> Self:
        """Trains a fresh network on the series of a frame.

        Args:
            df: one row for each series and time stamp, in order of time within each series. Or a
                wide frame, whose index are the stamps and each column is a series; a Series over
                its stamps; a frame or Series with ids and stamps as two levels of the index. A
                frame of polars is a long one, and answered by one.
            y: not used, for the target is a column; the pipelines of scikit-learn pass it.
            id_col: column that tells the series apart. A frame without it is one series.
            time_col: column of time stamps, periods or integers, regular within each series.
            target_col: column of what is forecast.
            freq: frequency of the stamps, such as `"MS"`; None reads it from them.
            past_covariates: columns that are known up to the last row.
            future_covariates: columns that are known over the horizon too; `predict` needs them.
            static_covariates: columns that do not change within a series.
            calendar: what stamps say by themselves: `"auto"` for what suits the frequency, or
                names among `"time_of_day"`, `"day_of_week"`, `"day_of_month"`, `"day_of_year"`,
                `"month"`, and `"holidays:DE"`, `"holidays:DE-BY"`: the holidays of a country or a
                part of it, as the package `holidays` has them. None for nothing.
            missing: targets that are NaN: `"mask"` tells the network which they are and leaves
                them out of scaling, loss and intervals; `"raise"` refuses them.
            fill: stamps that are missing between others: `"raise"`, or `"mask"` for targets that
                are missing, or `"interpolate"` for targets on a straight line.

        Raises:
            ArgumentError: a parameter or a column cannot be used; nothing is trained then.
            DataError: the frame cannot be used (empty, gaps, too short, a covariate without a
                value), or training diverged. The forecaster stays as it was.
            MissingDependencyError: holidays are asked for, and that package is not installed.
        """
        self._check_parameters()
        _check_no_target(y)
        panel = read_panel(
            df,
            Columns(
                id=id_col,
                time=time_col,
                target=target_col,
                freq=freq,
                past=past_covariates,
                future=future_covariates,
                static=static_covariates,
                calendar=calendar,
                missing=missing,
                fill=fill,
                short_series=self.short_series,
            ),
        )
        return self._take(Fitting.of(self, panel).run())

    @property
    def log_(self) -> TrainingLog:
        """The `TrainingLog` of the first network, which mostly is the only one."""
        return self.logs_[0]

    def _take(self, fitted: Fitted) -> Self:
        """Takes over what a fit has found, or a file has kept."""
        for name, found in vars(fitted).items():
            setattr(self, f"{name}_", found)
        return self

    def predict(
        self,
        *,
        horizon: int | None = None,
        future: "pd.DataFrame | None" = None,
        df: "pd.DataFrame | pd.Series | None" = None,
        fill: str = "raise",
    ) -> "pd.DataFrame":
        """Forecasts what comes after the last row of each series.

        Args:
            horizon: timesteps to forecast, at most the horizon of the forecaster, which is the
                default. Without intervals (`levels=()`) it may be longer: forecasts are fed back.
            future: values of the future covariates, with a row for each series and stamp of the
                horizon: `future_frame()` with its columns filled in. Further rows and columns are
                not looked at.
            df: series to forecast instead of those of `fit`, known to it or not, with a lookback
                of rows each at least. They are read as `fit` read its frame, and each is scaled by
                its own rows. The forecaster does not change.
            fill: for `df`, as in `fit`.

        Returns:
            A frame in the form that the frame of `fit`, or `df`, had. A long one has the columns of
            ids and stamps as they were given, `yhat`, and `yhat-lo-80`, `yhat-hi-80`, ... for each
            level. A wide one has stamps in the index, and such columns for each series:
            `forecast["yhat"]` has the form of what was given. For a Series, and for ids and stamps
            in the index, these are in the index.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: a horizon beyond what the intervals were measured for, or `future` does
                not have what is needed.
            DataError: `future` or `df` lacks rows or values; the error says which.
        """
        panel, forecasts = self._forecast(horizon, future, df, fill)
        return panel.shaped_forecast(forecasts)

    def sample(
        self,
        count: int = 100,
        *,
        seed: int | None = None,
        horizon: int | None = None,
        future: "pd.DataFrame | None" = None,
    ) -> "pd.DataFrame":
        """Draws futures of each series, from what the head says.

        With `model="recursive"` each step is drawn after those before it, so that a future hangs
        together; all futures of all series run side by side. A network that answers the whole
        horizon at once draws each step by itself.

        Args:
            count: futures of each series.
            seed: of the draws; None is different each time.
            horizon: timesteps; default: those of the forecaster.
            future: as for `predict`.

        Returns:
            A long frame with the columns of ids and stamps, and `path-1` to `path-<count>`.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: the forecaster has no head, or an argument cannot be used.

        Example:
            >>> from seqkeras.forecasting import load_air_passengers
            >>> forecaster = Forecaster(6, head="gaussian", epochs=1, seed=0)
            >>> paths = forecaster.fit(load_air_passengers()).sample(3, seed=0)
            >>> paths.columns.tolist(), len(paths)
            (['ds', 'path-1', 'path-2', 'path-3'], 6)
        """
        self._check_fitted()
        if self.head_ is None:
            fix = "Give the forecaster a head, such as head='quantiles', and fit again."
            raise bad_argument("head", None, "what futures are drawn from", fix)
        steps = self._steps(horizon)
        self._check_horizon(steps)
        newest = self._newest
        ahead = read_future(newest, future, steps)
        context = self.inputs_.context(newest, self.scaler_, ahead)
        count = check_integer("count", count)
        drawn = sample_paths(self.model_, self.head_, context, steps, count, seed=seed)
        paths = (self.scaler_.inverse_transform(one) for one in drawn)
        named = {f"path-{number}": one for number, one in enumerate(paths, start=1)}
        taken = {self.panel_.columns.id, self.panel_.columns.time} & set(named)
        if taken:
            fix = "Rename the column, and fit again."
            raise bad_argument("id_col, time_col", taken.pop(), "not the name of a path", fix)
        frame = self.panel_.forecast_frame(named)
        return self.panel_.shape.native(frame, self.panel_.columns.time)

    def future_frame(
        self, *, horizon: int | None = None, df: "pd.DataFrame | pd.Series | None" = None
    ) -> "pd.DataFrame":
        """The ids and stamps that `predict` forecasts, to be filled in with future covariates.

        Args:
            horizon: timesteps; default: those of the forecaster.
            df: as for `predict`.

        Returns:
            A frame of ids and stamps, series after series.

        Raises:
            NotFittedError: `fit` was not called.
        """
        self._check_fitted()
        steps = self._steps(horizon)
        return (self.panel_ if df is None else self._other(df, "raise")[0]).future_frame(steps)

    def _forecast(
        self, horizon: int | None, future: Any, df: Any = None, fill: str = "raise"
    ) -> tuple[Panel, Forecasts]:
        """The series, and what is forecast for them."""
        asked = self._asked(horizon, future, df, fill)
        panel, outlook = asked[0], self._look(*asked)
        if self.intervals_ is None:
            return panel, self._answers(outlook)
        known = self.panel_.ids.get_indexer(panel.ids)
        if panel.columns.id != self.panel_.columns.id:
            known[:] = -1  # a series without an id has the number 0, which others may be called
        factor = np.where(known[:, np.newaxis] < 0, 1.0, self.intervals_.factor[known])
        return panel, self._answers(outlook, factor)

    def _asked(
        self, horizon: int | None, future: Any, df: Any, fill: str
    ) -> tuple[Panel, StandardScaler, Floats, int]:
        """What `_look` takes."""
        self._check_fitted()
        steps = self._steps(horizon)
        self._check_horizon(steps)
        panel, scaler = (self._newest, self.scaler_) if df is None else self._other(df, fill)
        return panel, scaler, read_future(panel, future, steps), steps

    @property
    def _newest(self) -> Panel:
        """The rows that a forecast reads."""
        return self.panel_.tail(self.lookback_)

    def _look(self, panel: Panel, scaler: StandardScaler, ahead: Floats, steps: int) -> Outlook:
        """What the network sees behind series of one lookback each, in their units.

        Args:
            panel: the series.
            scaler: of them.
            ahead: `(series, steps, features)`, what is known of the steps, not scaled.
            steps: timesteps to forecast.
        """
        context = self.inputs_.context(panel, scaler, ahead)
        return look_ahead(self.model_, self.head_, context, steps).unscaled(scaler)

    def _answers(self, outlook: Outlook, factor: Floats | None = None) -> Forecasts:
        """Forecasts `(series, steps)` by name.

        Args:
            outlook: of each series.
            factor: `(series, levels)`, how many times as wide its intervals are.
        """
        forecasts = {"yhat": outlook.point}
        if self.intervals_ is None or factor is None:
            return forecasts
        least = 0.0 if self.head_ is not None and self.head_.counts else -np.inf
        widths = self.intervals_.widths(factor, outlook.point.shape[1])
        for number, level in enumerate(self.intervals_.levels):
            low = outlook.point - widths[:, number] * outlook.below
            forecasts[f"yhat-lo-{level:g}"] = np.maximum(low, least)
            forecasts[f"yhat-hi-{level:g}"] = outlook.point + widths[:, number] * outlook.above
        return forecasts

    def _steps(self, horizon: int | None) -> int:
        """Timesteps that are asked for."""
        return self.horizon_ if horizon is None else check_integer("horizon", horizon)

    def _check_horizon(self, steps: int) -> None:
        if steps > self.horizon_ and self.intervals_ is not None:
            fix = "Intervals were measured that far; fit with a longer horizon, or with levels=()."
            raise bad_argument("horizon", steps, f"at most {self.horizon_}", fix)
        if steps > self.horizon_ and self.panel_.covariates.past:
            fix = "Beyond it, past_covariates would have to be known. Fit with a longer horizon."
            raise bad_argument("horizon", steps, f"at most {self.horizon_}", fix)

    def _other(self, df: Any, fill: str) -> tuple[Panel, StandardScaler]:
        """The last rows of other series, and a scaler of all their rows."""
        panel = read_alike(df, self.panel_, missing="mask", fill=fill)
        panel = panel.long_enough(
            self.lookback_, why=f"lookback {self.lookback_}", short_series="raise"
        ).with_recent(self.lookback_, short_series="raise")
        check_counts(panel, self.head_)
        return panel.tail(self.lookback_), scaler_for(panel.values, self.head_)

    def backtest(
        self,
        df: "pd.DataFrame",
        *,
        windows: int = 1,
        step: int | None = None,
        gap: int = 0,
        refit: bool | int = False,
        n_jobs: int | None = None,
        **columns: Any,
    ) -> "Backtest":
        """Forecasts the last rows of each series from rolling origins, and scores that.

        Copies are fitted; this forecaster is not changed. Each fit starts from fresh weights and
        sees only the rows up to its cutoff, scalers and intervals included. All origins that share
        a fit are forecast in one pass.

        Args:
            df: as for `fit`.
            windows: origins of each series. The last forecast ends with the series.
            step: rows from one origin to the next. None: the horizon without the gap, so that
                each row is scored once.
            gap: rows after each cutoff that are forecast, but left out, below the horizon.
            refit: False fits once, on the rows before the first origin. True fits at every origin,
                a number n at every n-th; those between read newer rows with the weights before.
            n_jobs: fits at the same time, as in joblib; whatever backend of processes is active
                there distributes them. None is 1.
            **columns: id_col, time_col, target_col, freq and the rest, as for `fit`. Covariates of
                the horizon are those of the frame.

        Returns:
            A `Backtest`: `frame`, `scores`, `by_series`.

        Raises:
            ArgumentError: an argument cannot be used; nothing is trained then.
            DataError: as `fit`, or a series ends before the first cutoff.

        Example:
            >>> from seqkeras.forecasting import load_air_passengers
            >>> found = Forecaster(12, epochs=1, seed=0).backtest(load_air_passengers(), windows=3)
            >>> found.frame.columns[:4].tolist(), len(found.frame)
            (['cutoff', 'ds', 'y', 'yhat'], 36)
            >>> found.scores.index.tolist()
            ['seqkeras', 'seasonal naive', 'naive']
        """
        return _backtest.backtest(
            self,
            df,
            windows=windows,
            step=step,
            gap=gap,
            refit=refit,
            n_jobs=n_jobs,
            columns=columns,
        )

    def insample(self, df: "pd.DataFrame", *, step: int | None = None) -> "pd.DataFrame":
        """Forecasts rows that `fit` saw, from origins among them, in one pass.

        Each forecast reads the rows before its origin, as `predict` would have there; the weights,
        the scaler and the intervals have seen what came. So it shows how the network fits, and not
        how well it forecasts: that is `backtest`.

        Args:
            df: rows of `fit` or `update`, in the columns of `fit`; only the newest are kept by the
                forecaster itself.
            step: rows from one origin to the next. None: the horizon, so that the newest rows are
                forecast once each.

        Returns:
            A long frame as `Backtest.frame`.

        Raises:
            NotFittedError: `fit` was not called.
            DataError: rows of other series, or later ones than the forecaster has seen; a series
                shorter than a lookback and a horizon.
        """
        self._check_fitted()
        return _backtest.insample(self, df, step)

    def update(self, rows: "pd.DataFrame") -> Self:
        """Feeds new observations, without training: `predict` starts behind them.

        Weights and scaler stay. With `intervals="adaptive"` those of a series become wider or
        narrower with each horizon of rows that has come, however many rows come at once.

        Args:
            rows: in the columns of `fit`; each series goes on exactly where it ended. Series
                without new rows stay where they are.

        Raises:
            NotFittedError: `fit` was not called.
            DataError: rows of a series that was not fitted, or that do not go on where it ended.
                The forecaster stays as it was.

        Example:
            >>> from seqkeras.forecasting import load_air_passengers
            >>> df = load_air_passengers()
            >>> forecaster = Forecaster(6, epochs=1, seed=0).fit(df.iloc[:-1])
            >>> str(forecaster.update(df.iloc[-1:]).predict().ds[0].date())
            '1961-01-01'
        """
        self._check_fitted()
        panel, rows_behind = _updates.continued(self, rows), 0
        if self.intervals_ is not None and self.intervals_.follows:
            self.intervals_ = _tracking.after_rows(self, self.intervals_, panel)
            rows_behind = self.horizon_
        self.panel_ = panel.tail(self.lookback_ + rows_behind)
        return self

    def stepper(self, *, implementation: str = "auto") -> "ForecastStepper":
        """The series as they stand, to be fed one observation at a time, without a frame.

        It says what `update` and `predict` would, many times faster, and its state can be taken out
        and put back. The forecaster itself is not changed.

        Args:
            implementation: what runs the network: `"program"`, NumPy and compiled kernels without
                Keras (for up to 32 series at once; more are left to Keras); `"keras"`; or `"auto"`,
                the first where the network can be exported and there are compiled kernels.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: `"program"` is asked for, and the network cannot be exported.
        """
        self._check_fitted()
        return ForecastStepper(self, implementation)

    def score(self, df: "pd.DataFrame", y: None = None) -> float:
        """Minus the mean absolute error on rows that follow the history, for scikit-learn.

        The rows are forecast horizon by horizon, each after those before it have come, in one
        pass; a mean over series. The forecaster is not changed.

        Args:
            df: as for `update`.
            y: not used; scikit-learn passes it.

        Raises:
            NotFittedError, DataError: as `update`.
        """
        self._check_fitted()
        _check_no_target(y)
        return _updates.score(self, df)

    def encode(self, df: "pd.DataFrame | None" = None) -> "pd.DataFrame":
        """The last state of the recurrent layers, for each series: an embedding.

        Args:
            df: rows of known series in the columns of `fit`, at least a lookback of each, which
                are encoded up to their last. None: the newest rows that the forecaster has seen.

        Returns:
            A frame `(series, units)`, the ids as its index.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: the network has no recurrent layer.
            DataError: a series that is not known, or shorter than the lookback.
        """
        self._check_fitted()
        panel, scaler = self._newest, self.scaler_
        if df is not None:
            found, series = _updates.read_known(self, df)
            rows = self.lookback_
            panel = found.long_enough(rows, why=f"lookback {rows}", short_series="raise").tail(rows)
            scaler = self.scaler_.take(series)
        # What is known of the horizon is not asked for: it is taken to stay as it is.
        newest = panel.values.lengths - 1
        ahead = panel.ahead(np.arange(len(panel.ids)), newest, self.model_.output_shape[1])
        context = self.inputs_.context(panel, scaler, ahead)
        return embedding_frame(panel, predict_batches(last_state(self.model_), context))

    def components(
        self,
        *,
        horizon: int | None = None,
        future: "pd.DataFrame | None" = None,
        df: "pd.DataFrame | pd.Series | None" = None,
        fill: str = "raise",
    ) -> "Components":
        """What adds up to the forecast: the season, the series alone, and each covariate.

        The network forecasts with every covariate at 0, where a number has its mean over the rows
        of `fit`, a column of words none of them, a category what was never seen and the calendar
        the middle of its circle. Then the covariates are told to it one after the other, in the
        order past, future, static, calendar, and each is given what the forecast changes by. So
        the columns add up to `yhat`. Where covariates work together, the order matters: what they
        say together goes to the later one. It is what the network makes of them, and not what
        causes what.

        Args:
            horizon, future, df, fill: as for `predict`.

        Returns:
            A `Components`: `frame`, `plot()`.

        Raises:
            NotFittedError, ArgumentError, DataError: as `predict`; or a covariate has the name of
                a component.

        Example:
            >>> from seqkeras.forecasting import load_air_passengers
            >>> forecaster = Forecaster(6, epochs=1, seed=0)
            >>> fitted = forecaster.fit(load_air_passengers(), calendar="auto")
            >>> fitted.components().frame.columns.tolist()
            ['ds', 'yhat', 'seasonal naive', 'network', 'calendar_month']
        """
        return _components.components(self, *self._asked(horizon, future, df, fill))

    def explain(
        self,
        df: "pd.DataFrame",
        *,
        lags: int = 24,
        windows: int = 500,
        repeats: int = 5,
        seed: int | None = 0,
    ) -> "Importance":
        """How much worse forecasts of these rows get when a part of what is read is mixed up.

        Permutation importance (Breiman 2001; Fisher, Rudin & Dominici 2019, arXiv 1801.01489):
        windows of the rows are forecast as they are, and again with one part of each, such as a
        covariate, taken from another window. What the network does not use has importance 0. The
        forecaster is not changed.

        Rows that `fit` has not seen tell what helps there; rows that it has seen, what it has
        learned to use. Where features go together, each can stand in for the other: both may seem
        unimportant, and windows with one of them permuted may be such as never occur.

        Args:
            df: rows of known series in the columns of `fit`, a lookback and a horizon of each at
                least.
            lags: parts that the lookback of the target is cut into, at most.
            windows: at most so many are drawn from the rows, at random.
            repeats: permutations of each part.
            seed: of what is drawn; None is different each time.

        Returns:
            An `Importance`: `frame`, `error`, `plot()`.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: an argument cannot be used.
            DataError: a series that is not known or too short, or fewer than two windows.

        Example:
            >>> from seqkeras.forecasting import load_air_passengers
            >>> df = load_air_passengers()
            >>> forecaster = Forecaster(6, lookback=12, epochs=1, seed=0).fit(df)
            >>> forecaster.explain(df, lags=4).frame[["feature", "lag"]].values.tolist()
            [['y', 'all'], ['y', '1-3'], ['y', '4-6'], ['y', '7-9'], ['y', '10-12']]
        """
        self._check_fitted()
        return _importance.importance(
            self, df, lags=lags, windows=windows, repeats=repeats, seed=seed
        )

    def plot(
        self,
        df: "pd.DataFrame | pd.Series | None" = None,
        *,
        series: Any = None,
        future: "pd.DataFrame | None" = None,
        title: str = "",
    ) -> Any:
        """Draws the forecast after the history, with its intervals.

        Args:
            df: rows to draw beside it, in the columns of `fit`; those later than the history are
                drawn as what came. None: the rows that the forecast reads.
            series: id of the series to draw, or a list of ids; None: the first four.
            future: as for `predict`.
            title: above the picture.

        Returns:
            A `matplotlib.figure.Figure`; `figure.savefig("forecast.png")` keeps it.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: no series of that id.
            MissingDependencyError: matplotlib is not installed.
        """
        self._check_fitted()
        columns = self.panel_.columns
        levels = () if self.intervals_ is None else self.intervals_.levels
        panel = self._newest.take(self.panel_.numbers(series))
        whole, forecasts = self._forecast(None, future)
        history = panel.history_frame() if df is None else panel.long_frame(df)
        parts = panel.split([history, whole.forecast_frame(forecasts)])
        return _plots.draw(parts, columns.time, columns.target, levels, title=title)

    def save(self, path: str | Path) -> None:
        """Writes the fitted forecaster into one file, without pickle.

        The file is a zip: a JSON header, arrays, and the network as `.keras`. A file that is
        already there is replaced at once when the new one is complete.

        Raises:
            NotFittedError: `fit` was not called.
        """
        self._check_fitted()
        _saving.save(self, path)

    @classmethod
    def load(cls, path: str | Path, *, custom_objects: dict[str, Any] | None = None) -> Self:
        """Reads a forecaster that `save` wrote.

        A forecaster that was given a builder comes back with its network as `model`, alone or in
        its place in a list, so that it can be fitted again.

        Args:
            path: the file.
            custom_objects: classes of your own that the network uses, by name, as in
                `keras.saving.load_model`.

        Raises:
            FileFormatError: the file is damaged, not a forecaster, or from a later version.
        """
        return _saving.load(cls, path, custom_objects=custom_objects)

    def _check_parameters(self) -> None:
        for name in ("horizon", "epochs", "patience"):
            check_integer(name, getattr(self, name))
        for name in ("lookback", "season_length", "batch_size"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name))
        check_positive("learning_rate", self.learning_rate)
        check_fraction("validation", self.validation)
        check_one_of("intervals", self.intervals, KINDS)
        check_one_of("short_series", self.short_series, ("raise", "skip"))
        check_models(self.model)
        named = any(isinstance(one, str) for one in members_of(self.model))
        got = self.units, self.cell, self.normalization
        if not named and got != (None, None, None):
            fix = "They are of the named strategies; a builder or a model brings its own."
            raise bad_argument("units, cell, normalization", got, "left away here", fix)
        if self.seed is not None and check_integer("seed", self.seed, minimum=0) >= 2**32:
            raise bad_argument("seed", self.seed, "an integer from 0 to 2**32 - 1")
        resolve_head(self.head)
        check_teacher_forcing(self.teacher_forcing)
        check_levels(self.levels)
        if len(self.levels) and not self.validation:
            fix = "Intervals are measured on held-out rows. Use levels=() for none."
            raise bad_argument("validation", self.validation, "above 0 where levels are given", fix)

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise NotFittedError("This Forecaster is not fitted. Call fit(df) first.")


def _check_no_target(y: Any) -> None:
    if y is not None:
        fix = "The target is a column of df; name it with target_col."
        raise bad_argument("y", type(y).__name__, "left away", fix)
