"""Errors of reconstructed windows, for each timestep, without Keras."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from seqkeras._arrays import Array, Floats, Floats32, Integers
from seqkeras.anomaly._forecast_errors import StreamState
from seqkeras.anomaly._overlap import Overlap
from seqkeras.anomaly._principal_windows import PrincipalWindows
from seqkeras.anomaly._residuals import ErrorMeasure
from seqkeras.anomaly._row_scaler import RowScaler
from seqkeras.runtime import Program
from seqkeras.windows import GroupedArray

#: Windows that are reconstructed at a time.
_CHUNK = 1024


@dataclass(frozen=True)
class WindowInputs:
    """What turns windows into inputs and units of an autoencoder.

    The autoencoder reads what the principal components leave of the scored features, and the other
    features; it reconstructs the former.

    Attributes:
        scaler: scaling of all features.
        scored: the features that are reconstructed and scored.
        context: the other features.
        principal: the principal components of the scored features.
        unit: `(scored,)`, usual size of what they leave; the unit of the network.
    """

    scaler: RowScaler
    scored: Integers
    context: Integers
    principal: PrincipalWindows
    unit: Floats

    def read(self, windows: Floats) -> tuple[Floats32, Floats]:
        """Return the inputs of the network, and the linear reconstruction.

        Args:
            windows: `(n, lookback, features)`, scaled, without limits.

        Returns:
            `(n, lookback, features)`, the scored features first, and `(n, lookback, scored)`.
        """
        clipped = self.scaler.clip(windows)
        targets = clipped[..., self.scored]
        linear = self.principal.reconstruct(targets)
        limit = self.scaler.limit[self.scored]
        left = np.clip((targets - linear) / self.unit, -limit, limit)
        x = np.concatenate([left, clipped[..., self.context]], axis=-1)
        return x.astype(np.float32), linear


@dataclass(frozen=True)
class WindowErrors:
    """Learned scores of an autoencoder: errors of all windows that cover a timestep.

    Attributes:
        inputs: what the network reads.
        program: the network, for windows of the lookback.
        error: from residuals to an error.
        overlap: from the errors of overlapping windows to one. With `"last"` each timestep has the
            error at the end of the window that ends there; before the first timestep of a series,
            that window repeats the first row.
        lookback: rows of a window.
        stride: rows between windows.
    """

    inputs: WindowInputs
    program: Program
    error: ErrorMeasure
    overlap: Overlap
    lookback: int
    stride: int

    def residuals(self, windows: Floats) -> Floats:
        """Return actual minus reconstructed values, `(n, lookback, scored)`.

        Args:
            windows: `(n, lookback, features)`, scaled, without limits.
        """
        x, linear = self.inputs.read(windows)
        state = self.program.initial_state(len(x))
        # The program reads one timestep per step: its state is set as if it had read all but one.
        rows, count = state
        rows[:, 1:] = x[:, :-1]
        count[:] = self.lookback
        outputs, _ = self.program.step(x[:, -1], state)
        rebuilt = linear + outputs[..., : linear.shape[-1]] * self.inputs.unit
        return np.asarray(windows[..., self.inputs.scored] - rebuilt)

    def windows(self, rows: Floats) -> tuple[Array, Integers]:
        """Return the windows of a series as a view, scaled, and where each begins."""
        scaled = self.inputs.scaler.transform(rows)
        if self.overlap.causal:
            before = self.lookback - 1
            padded = np.concatenate([np.repeat(scaled[:1], before, axis=0), scaled])
            starts = np.arange(-before, len(rows) - before)
        else:
            padded, before = scaled, 0
            last = len(rows) - self.lookback
            starts = np.unique(np.append(np.arange(0, last + 1, self.stride), last))
        view = sliding_window_view(padded, self.lookback, axis=0)
        return np.moveaxis(view, -1, 1)[starts + before], starts

    def score(self, series: GroupedArray) -> Floats:
        """Return the error of each row, `(rows,)`."""
        return np.concatenate([self._score_one(np.asarray(rows, np.float64)) for rows in series])

    def initial_state(self) -> StreamState:
        """Return the state before the first row: the last rows scaled, and the number of rows."""
        features = len(self.inputs.scaler.center)
        return np.zeros((1, self.lookback, features)), np.zeros((1, 1), np.int64)

    def step(self, row: Floats, state: StreamState) -> tuple[float, StreamState]:
        """Return the error of the next row `(features,)`, and the state after it."""
        window, count = state
        scaled = self.inputs.scaler.transform(row)[np.newaxis, np.newaxis]
        if count[0, 0]:
            window = np.concatenate([window[:, 1:], scaled], axis=1)
        else:
            window = np.repeat(scaled, self.lookback, axis=1)
        return self.error.score_step(self.residuals(window)[0, -1]), (window, count + 1)

    def _score_one(self, rows: Floats) -> Floats:
        windows, starts = self.windows(rows)
        errors = np.empty((len(windows), self.lookback))
        for begin in range(0, len(windows), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            residuals = self.residuals(windows[part])
            flat = self.error.score(residuals.reshape(-1, residuals.shape[-1]))
            errors[part] = flat.reshape(residuals.shape[:2])
        return self.overlap.combine(errors, starts, len(rows))
