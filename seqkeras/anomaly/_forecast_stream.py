"""Errors of forecasts, one row at a time."""

import math
from collections import deque

import numpy as np

from seqkeras._arrays import Floats
from seqkeras.anomaly._forecast_inputs import ForecastInputs
from seqkeras.anomaly._residuals import ErrorMeasure
from seqkeras.runtime import Program
from seqkeras.runtime._cell_steps import State


class ForecastStream:
    """The errors of `ForecastErrors.score`, one row at a time.

    Most numbers are plain floats: for a few of them, NumPy takes several times as long.

    Args:
        inputs, program, error, warmup: as for `ForecastErrors`.
    """

    def __init__(
        self, inputs: ForecastInputs, program: Program, error: ErrorMeasure, warmup: Floats
    ) -> None:
        scaler = inputs.scaler
        self._measure = error
        self._program = program
        self._warmup = warmup.tolist()
        arrays = scaler.center, scaler.spread, scaler.limit
        self._scaling = list(zip(*(array.tolist() for array in arrays), strict=True))
        self._scored = inputs.scored.tolist()
        self._unit = inputs.unit.ravel()
        # Unit and limit of the error of the linear forecast of the next row.
        limits = scaler.limit[inputs.scored]
        self._nearest = list(zip(inputs.unit[0].tolist(), limits.tolist(), strict=True))
        self._weights = inputs.linear.weights
        self._bias = inputs.linear.bias
        self._lookback = inputs.linear.lookback
        self._horizon, self._size = inputs.unit.shape
        self._x = np.zeros((1, len(self._scaling) + self._size), np.float32)
        self._start()

    def _start(self) -> None:
        lookback = self._lookback
        width = self._horizon * self._size
        # The last rows of each scored feature, in the middle of an array that is filled to its end
        # before they move back to its start; so they always lie side by side.
        self._past = np.zeros((self._size, 2 * lookback))
        self._end = lookback
        # The forecasts that were made at the last rows, the newest first, each by lead and feature.
        self._ahead = deque([math.nan] * width for _ in range(self._horizon))
        for lead, ahead in enumerate(self._ahead):
            # The forecast of the first row is the median, whatever the lead.
            ahead[lead * self._size : (lead + 1) * self._size] = [0.0] * self._size
        # The linear forecast of the next row.
        self._expected = [0.0] * self._size
        self._network: State = self._program.initial_state()
        self._rows = 0

    def step(self, row: list[float]) -> float:
        """Return the error of the next row, a number for each feature."""
        scaled = []
        clipped = []
        for value, (center, spread, limit) in zip(row, self._scaling, strict=True):
            number = (value - center) / spread
            scaled.append(number)
            clipped.append(min(max(number, -limit), limit))
        targets = [scaled[feature] for feature in self._scored]
        if self._size == 1:
            target = targets[0]
            residuals = [target - ahead[lead] for lead, ahead in enumerate(self._ahead)]
        else:
            residuals = [
                target - forecast
                for lead, ahead in enumerate(self._ahead)
                for target, forecast in zip(targets, ahead[lead * self._size :], strict=False)
            ]
        error = self._measure.score_step(np.array(residuals))
        if self._rows < len(self._warmup):
            error /= self._warmup[self._rows]
        self._remember([clipped[feature] for feature in self._scored])
        self._look_ahead(clipped, targets)
        self._rows += 1
        return error

    def state(self) -> State:
        """Return the state: arrays with one row.

        Returns:
            The last rows within limits `(1, scored, lookback)`; the forecasts made at the last rows
            `(1, horizon, horizon * scored)`, the newest first; the linear forecast of the next row
            `(1, scored)`; the number of rows `(1, 1)`; the state of the network.
        """
        past = self._past[:, self._end - self._lookback : self._end]
        return (
            past[np.newaxis].copy(),
            np.array([list(self._ahead)]),
            np.array([self._expected]),
            np.array([[self._rows]]),
            *(array.copy() for array in self._network),
        )

    def restore(self, state: State) -> None:
        """Continue from a state that `state` returned."""
        past, ahead, expected, rows, *network = state
        self._end = self._lookback
        self._past[:, : self._end] = past[0]
        self._ahead = deque(ahead[0].tolist())
        self._expected = expected[0].tolist()
        self._rows = int(rows[0, 0])
        self._network = tuple(array.copy() for array in network)

    def _remember(self, clipped: list[float]) -> None:
        lookback = self._lookback
        if not self._rows:
            self._past[:, : self._end] = np.array(clipped)[:, np.newaxis]
            return
        if self._end == 2 * lookback:
            self._past[:, :lookback] = self._past[:, lookback:]
            self._end = lookback
        if self._size == 1:
            self._past[0, self._end] = clipped[0]
        else:
            self._past[:, self._end] = clipped
        self._end += 1

    def _linear(self, targets: list[float]) -> Floats:
        """Return the linear forecasts of the next rows, by lead and feature."""
        past = self._past[:, self._end - self._lookback : self._end]
        if self._size == 1:
            changes = past[0].dot(self._weights[0])
            changes += self._bias[0]
            changes += targets[0]
            return changes
        changes = np.matmul(past[:, np.newaxis], self._weights)[:, 0] + self._bias
        return (changes + np.array(targets)[:, np.newaxis]).T.ravel()

    def _look_ahead(self, clipped: list[float], targets: list[float]) -> None:
        """Forecast the next rows."""
        surprises = [0.0] * self._size
        if self._rows:
            for number, (unit, limit) in enumerate(self._nearest):
                surprise = (targets[number] - self._expected[number]) / unit
                surprises[number] = min(max(surprise, -limit), limit)
        self._x[0] = clipped + surprises
        outputs, self._network = self._program.step(self._x, self._network, out=self._network)
        linear = self._linear(targets)
        self._expected = linear[: self._size].tolist()
        self._ahead.pop()
        self._ahead.appendleft((linear + outputs[0] * self._unit).tolist())
