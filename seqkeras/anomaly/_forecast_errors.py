"""Errors of forecasts of each timestep, made one to several timesteps before, without Keras."""

from dataclasses import dataclass

import numpy as np

from seqkeras._arrays import Floats
from seqkeras.anomaly._forecast_inputs import ForecastInputs
from seqkeras.anomaly._forecast_stream import ForecastStream
from seqkeras.anomaly._residuals import ErrorMeasure
from seqkeras.runtime import Program
from seqkeras.windows import GroupedArray


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
        return ForecastStream(self.inputs, self.program, self.error, self.warmup)
