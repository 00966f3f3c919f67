"""The result of a fit: a trained network, and everything else that a forecast needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from seqkeras._arrays import Floats, Integers
from seqkeras._checks import bad_argument, bad_data, check_integer
from seqkeras.forecasting.fitted._intervals import ConformalIntervals
from seqkeras.forecasting.fitted._origins import Origins
from seqkeras.forecasting.frames._future import read_future
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._reading import read_alike
from seqkeras.forecasting.networks._embedding import last_state
from seqkeras.forecasting.networks._inputs import NetworkInputs, check_counts
from seqkeras.forecasting.networks._mixture import Mixture
from seqkeras.forecasting.networks._predict import (
    Forecasts,
    NetworkForecast,
    look_ahead,
    predict_batches,
    sample_paths,
)
from seqkeras.forecasting.networks._units import Units, scaler_for, scaler_of_windows
from seqkeras.likelihoods import Likelihood
from seqkeras.training import TrainingLog
from seqkeras.windows import StandardScaler

#: Origins that are forecast at once: each holds a copy of its lookback.
ORIGINS_AT_ONCE = 2**16


@dataclass(frozen=True, eq=False)
class Request:
    """What to forecast.

    Attributes:
        panel: the series, with a lookback of rows each.
        scaler: scaler of the targets.
        ahead: the future covariates, not scaled, `(series, steps, features)`.
        steps: timesteps to forecast.
    """

    panel: Panel
    scaler: StandardScaler
    ahead: Floats
    steps: int

    def take(self, series: range) -> "Request":
        """Return the request for some of the series."""
        numbers = np.array(series)
        panel = self.panel.take(numbers)
        return Request(panel, self.scaler.take(numbers), self.ahead[numbers], self.steps)

    def units(self, season_length: int) -> Units:
        """Return the units of the series."""
        windows = self.panel.values.values.reshape(len(self.panel.ids), -1)
        return Units.of(self.scaler, windows, season_length=season_length, steps=self.steps)


@dataclass(frozen=True, eq=False)
class Fitted:
    """The immutable result of `Forecaster.fit`.

    Attributes:
        model: the trained network, on scaled values.
        horizon: timesteps to forecast.
        lookback: timesteps that a forecast reads.
        season_length: timesteps of one season.
        logs: the training of each network.
        mixture: how the linear expert was mixed with the network, or None without one.
        likelihood: distribution that the network learned, or None.
        intervals: widths of the intervals, or None.
        scaler: mean and standard deviation of each series.
        inputs: how series become inputs of the network.
        panel: the last rows of each series, with their covariates.
        short_series: what to do about series that are too short, as in `Columns`.
    """

    model: keras.Model
    horizon: int
    lookback: int
    season_length: int
    logs: tuple[TrainingLog, ...]
    mixture: Mixture | None
    likelihood: Likelihood | None
    intervals: ConformalIntervals | None
    scaler: StandardScaler
    inputs: NetworkInputs
    panel: Panel
    short_series: str

    @property
    def newest(self) -> Panel:
        """Return the rows that the next forecast reads."""
        return self.panel.newest(self.lookback)

    @property
    def if_short(self) -> str:
        """Return what to do about series without a whole window: `"raise"` or `"skip"`."""
        return "raise" if self.short_series == "raise" else "skip"

    def read_fitted_series(self, df: Any) -> tuple[Panel, Integers]:
        """Read rows of series that were fitted.

        Returns:
            The rows, and the index of each of their series among the fitted ones.

        Raises:
            ArgumentError: a column is missing.
            DataError: as `Forecaster.fit`, or a series was not fitted.
        """
        missing = "mask" if self.inputs.masked else "unlearned"
        panel = read_alike(df, self.panel, missing=missing, fill="raise", whole=False)
        check_counts(panel, self.likelihood)
        fitted_id = self.panel.columns.id
        if panel.columns.id != fitted_id:
            expected = f"have its ids in the column {fitted_id!r}, as in fit"
            if fitted_id is None:
                expected = "be one series without ids, as in fit"
            raise bad_data("df", f"id={panel.columns.id!r}", expected)
        numbers = self.panel.ids.get_indexer(panel.ids)
        unknown = np.flatnonzero(numbers < 0)
        if len(unknown):
            got = f"{panel.label(unknown[0])} ({len(unknown)} unknown ids in all)"
            expected = f"hold only series that were fitted ({len(self.panel.ids)} in all)"
            raise bad_data("df", got, expected, "Remove their rows, or fit again with them.")
        return panel, numbers.astype(np.int64)

    def read_any_series(self, df: Any, fill: str) -> tuple[Panel, StandardScaler]:
        """Read any series, and scale each by its own rows.

        Returns:
            The last lookback of each series, and a scaler fitted to all their rows.

        Raises:
            ArgumentError: a column is missing.
            DataError: as `Forecaster.fit`, or a series is shorter than a lookback, and short series
                are not padded.
        """
        panel = read_alike(df, self.panel, missing="mask", fill=fill)
        self._check_lengths(panel)
        panel = panel.with_recent(self.lookback, short_series="raise")
        check_counts(panel, self.likelihood)
        scaler = scaler_for(panel.values, self.likelihood, self.season_length)
        return panel.newest(self.lookback), scaler

    def steps(self, horizon: int | None) -> int:
        """Return the number of timesteps to forecast; default: the fitted horizon."""
        return check_integer("horizon", horizon) if horizon is not None else self.horizon

    def request(
        self, horizon: int | None, future: Any, df: Any = None, fill: str = "raise"
    ) -> Request:
        """Check the arguments of `Forecaster.predict`, and return them as a request.

        Raises:
            ArgumentError: the horizon is invalid or too long, or `future` or `df` lacks a column or
                has the wrong type.
            DataError: `future` or `df` lacks rows or values.
        """
        steps = self.checked_steps(horizon)
        panel, scaler = (
            self.read_any_series(df, fill) if df is not None else (self.newest, self.scaler)
        )
        return Request(panel, scaler, read_future(panel, future, steps), steps)

    def run(self, request: Request) -> NetworkForecast:
        """Run the network, and return its forecasts in the units of the series."""
        units = request.units(self.season_length)
        context = self.inputs.context(request.panel, units.scaler, request.ahead)
        forecast = look_ahead(self.model, self.likelihood, context, request.steps)
        return forecast.unscaled(units)

    def run_at(self, panel: Panel, origins: Origins) -> NetworkForecast:
        """Run the network at any rows of fitted series.

        Args:
            panel: the series, each with a lookback of rows before its origins.
            origins: where the forecasts begin.
        """
        panel = panel.with_categories_of(self.panel.covariates)
        numbers = self.panel.ids.get_indexer(panel.ids)
        parts = (
            origins[first : first + ORIGINS_AT_ONCE]
            for first in range(0, max(1, len(origins)), ORIGINS_AT_ONCE)
        )
        return NetworkForecast.concatenate(
            self.run(
                Request(
                    panel.before(part.series, part.rows, self.lookback),
                    self.scaler.take(numbers[part.series]),
                    panel.ahead(part.series, part.rows, self.horizon),
                    self.horizon,
                )
            )
            for part in parts
        )

    def with_intervals(self, forecast: NetworkForecast, factor: Floats | None = None) -> Forecasts:
        """Add intervals to point forecasts.

        Args:
            forecast: the point forecasts, one row for each series.
            factor: factors of the interval widths, `(series, levels)`. None: no intervals.

        Returns:
            Arrays `(series, steps)` by the names of their columns.
        """
        forecasts = {"yhat": forecast.point}
        if self.intervals is None or factor is None:
            return forecasts
        least = 0.0 if self.likelihood is not None and self.likelihood.counts else -np.inf
        widths = self.intervals.widths(factor, forecast.point.shape[1])
        for number, level in enumerate(self.intervals.levels):
            low = forecast.point - widths[:, number] * forecast.below
            high = forecast.point + widths[:, number] * forecast.above
            forecasts[f"yhat-lo-{level:g}"] = np.maximum(low, least)
            forecasts[f"yhat-hi-{level:g}"] = high
        return forecasts

    def forecast(
        self, request: Request, run: Callable[[Request], NetworkForecast] | None = None
    ) -> Forecasts:
        """Forecast a request, with intervals of their current widths.

        Series that were not fitted have a factor of 1.

        Args:
            request: what to forecast.
            run: another way to run the network than `Fitted.run`.
        """
        forecast = (run or self.run)(request)
        if self.intervals is None:
            return self.with_intervals(forecast)
        numbers = self.panel.ids.get_indexer(request.panel.ids)
        if request.panel.columns.id != self.panel.columns.id:
            # Without an id column a series has the placeholder 0, which may be an id elsewhere.
            numbers[:] = -1
        is_unknown = numbers[:, np.newaxis] < 0
        return self.with_intervals(
            forecast, np.where(is_unknown, 1.0, self.intervals.factor[numbers])
        )

    def sample(
        self, count: int, *, seed: int | None, horizon: int | None, future: Any
    ) -> pd.DataFrame:
        """Draw paths of each series; see `Forecaster.sample`."""
        if self.likelihood is None:
            fix = "Give the forecaster one, such as likelihood='quantiles', and fit again."
            raise bad_argument("likelihood", None, "a distribution to draw from", fix)
        count = check_integer("count", count)
        request = self.request(horizon, future)
        units = request.units(self.season_length)
        context = self.inputs.context(request.panel, units.scaler, request.ahead)
        scaled = sample_paths(self.model, self.likelihood, context, request.steps, count, seed=seed)
        paths = {
            f"path-{number}": units.restore(path) for number, path in enumerate(scaled, start=1)
        }
        columns = self.panel.columns
        taken = {columns.id, columns.time} & set(paths)
        if taken:
            fix = "Rename the column, and fit again."
            expected = "names other than path-1, path-2, ..., the columns of the sampled paths"
            raise bad_argument("Columns(id=..., time=...)", taken.pop(), expected, fix)
        return self.panel.shape.native(self.panel.forecast_frame(paths), columns.time)

    def encode(self, df: Any = None) -> pd.DataFrame:
        """Return the last state of the recurrent layers; see `Forecaster.encode`."""
        panel = self.newest
        scaler = self.scaler
        if df is not None:
            fitted_series, numbers = self.read_fitted_series(df)
            self._check_lengths(fitted_series)
            panel = fitted_series.newest(self.lookback)
            scaler = self.scaler.take(numbers)
        # The last covariates are repeated over the horizon, so that no future ones are needed.
        last_rows = panel.values.lengths - 1
        ahead = panel.ahead(np.arange(len(panel.ids)), last_rows, self.model.output_shape[1])
        windows = panel.values.values.reshape(len(panel.ids), -1)
        scaler = scaler_of_windows(scaler, windows, self.season_length)
        context = self.inputs.context(panel, scaler, ahead)
        return pd.DataFrame(predict_batches(last_state(self.model), context), index=panel.ids)

    def _check_lengths(self, panel: Panel) -> None:
        """Check that the series have a lookback of rows, unless short ones are padded.

        Raises:
            DataError: a series is shorter.
        """
        if self.short_series != "pad":
            panel.long_enough(self.lookback, why=f"lookback {self.lookback}", short_series="raise")

    def checked_steps(self, horizon: int | None) -> int:
        """Return the number of timesteps to forecast; default: the fitted horizon.

        Raises:
            ArgumentError: they are more than the forecaster can forecast.
        """
        steps = self.steps(horizon)
        if steps <= self.horizon:
            return steps
        expected = f"at most {self.horizon}"
        if self.intervals is not None:
            fix = (
                "Intervals are calibrated only that far; fit a longer horizon, or use intervals=()."
            )
            raise bad_argument("horizon", steps, expected, fix)
        if self.panel.covariates.past:
            fix = "Beyond it, past covariates would have to be known. Fit a longer horizon."
            raise bad_argument("horizon", steps, expected, fix)
        return steps
