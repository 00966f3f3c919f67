"""Errors of forecasts of each timestep, made one to several timesteps before, without Keras."""

from dataclasses import dataclass

import numpy as np

from seqkeras._arrays import Floats, Floats32, Integers
from seqkeras.anomaly._forecast_stream import ForecastStream
from seqkeras.anomaly._linear_forecast import LinearForecast
from seqkeras.anomaly._residuals import ErrorMeasure
from seqkeras.anomaly._row_scaler import RowScaler
from seqkeras.runtime import Program
from seqkeras.windows import GroupedArray


@dataclass(frozen=True)
class ForecastInputs:
    """What turns the rows of a series into inputs and units of a forecasting network.

    The network reads each row, and how far the linear forecast of it was off; it learns what the
    linear forecast of the next timesteps lacks.

    Attributes:
        scaler: scaling of all features.
        scored: the features that are forecast and scored.
        linear: the linear forecast of the scored features.
        unit: `(horizon, scored)`, the usual size of errors of the linear forecast; the unit of the
            outputs of the network.
    """

    scaler: RowScaler
    scored: Integers
    linear: LinearForecast
    unit: Floats

    def read(self, rows: Floats) -> tuple[Floats32, Floats]:
        """Return the inputs of the network, and the linear forecasts.

        Args:
            rows: `(n, features)` of one series.

        Returns:
            `(n, features + scored)`, and `(n, horizon, scored)`, scaled values of the next rows.
        """
        scaled = self.scaler.transform(rows)
        clipped = self.scaler.clip(scaled)
        targets = scaled[:, self.scored]
        ahead = targets[:, np.newaxis] + self.linear.predict(clipped[:, self.scored])
        surprise = np.zeros_like(targets)
        surprise[1:] = (targets[1:] - ahead[:-1, 0]) / self.unit[0]
        limit = self.scaler.limit[self.scored]
        surprise = np.clip(surprise, -limit, limit)
        return np.concatenate([clipped, surprise], axis=1).astype(np.float32), ahead

    def corrections(self, rows: Floats) -> Floats:
        """Return what the linear forecasts lack, within limits: what the network learns.

        Args:
            rows: `(n, features)` of one series.

        Returns:
            `(n - horizon, horizon * scored)`, in units.
        """
        _, ahead = self.read(rows)
        targets = self.scaler.transform(rows)[:, self.scored]
        horizon, scored = self.unit.shape
        count = len(rows) - horizon
        lacks = np.stack(
            [targets[k : k + count] - ahead[:count, k - 1] for k in range(1, horizon + 1)], axis=1
        )
        limit = self.scaler.limit[self.scored]
        return np.clip(lacks / self.unit, -limit, limit).reshape(count, horizon * scored)


@dataclass(frozen=True)
class ForecastErrors:
    """Learned scores of a forecasting network: errors of all forecasts of a timestep.

    The first timestep of a series is compared with the median of the training rows. A timestep
    after it is compared with the forecasts made before it, at most a horizon of them. Errors near
    the start of a series, where forecasts have read few rows, are divided by what such errors were
    in the training rows (`warmup`).

    Attributes:
        inputs: what the network reads.
        program: the network.
        error: from residuals to an error.
        warmup: `(lookback,)`, usual error at each position from the start of a series, as a
            multiple of the usual error later.
    """

    inputs: ForecastInputs
    program: Program
    error: ErrorMeasure
    warmup: Floats

    @property
    def features(self) -> int:
        """Return the number of features of a row."""
        return len(self.inputs.scaler.center)

    def residuals(self, rows: Floats) -> Floats:
        """Return the residuals of each row of one series, `(n, horizon * scored)`.

        NaN where a series was too short for a forecast.
        """
        x, ahead = self.inputs.read(rows)
        horizon, scored = self.inputs.unit.shape
        outputs, _ = self.program.scan(x[np.newaxis], self.program.initial_state())
        ahead = ahead + outputs[0].reshape(-1, horizon, scored) * self.inputs.unit
        targets = self.inputs.scaler.transform(rows)[:, self.inputs.scored]
        residuals = np.full((len(rows), horizon, scored), np.nan)
        residuals[0] = targets[0]
        for lead in range(1, min(horizon, len(rows) - 1) + 1):
            residuals[lead:, lead - 1] = targets[lead:] - ahead[:-lead, lead - 1]
        return residuals.reshape(len(rows), horizon * scored)

    def score(self, series: GroupedArray) -> Floats:
        """Return the error of each row, `(rows,)`."""
        parts = []
        for rows in series:
            errors = self.error.score(self.residuals(np.asarray(rows, np.float64)))
            early = min(len(errors), len(self.warmup))
            errors[:early] /= self.warmup[:early]
            parts.append(errors)
        return np.concatenate(parts)

    def expected(self, rows: Floats) -> Floats:
        """Return the forecast of each row of one series from the row before, `(n, scored)`.

        NaN for the first row, which nothing is known about.
        """
        scored = self.inputs.scored
        nearest = self.residuals(rows)[:, : len(scored)]
        expected = rows[:, scored] - nearest * self.inputs.scaler.spread[scored]
        expected[:1] = np.nan
        return np.asarray(expected)

    def stream(self) -> ForecastStream:
        """Return the same errors, one row at a time, before the first row."""
        return ForecastStream(self)
