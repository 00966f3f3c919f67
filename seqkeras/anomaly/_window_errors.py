"""Errors of reconstructed windows, for each timestep, without Keras."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from seqkeras._arrays import Array, Floats, Floats32, Integers
from seqkeras.anomaly._overlap import Overlap
from seqkeras.anomaly._principal_windows import PrincipalWindows
from seqkeras.anomaly._residuals import ErrorMeasure
from seqkeras.anomaly._row_scaler import RowScaler
from seqkeras.runtime import Program
from seqkeras.runtime._cell_steps import State
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
            that window repeats the first row, and its error is divided by what such errors were in
            the training rows (`warmup`).
        lookback: rows of a window.
        stride: rows between windows.
        warmup: `(lookback,)`, usual error at each position from the start of a series, as a
            multiple of the usual error later; only ones unless causal.
    """

    inputs: WindowInputs
    program: Program
    error: ErrorMeasure
    overlap: Overlap
    lookback: int
    stride: int
    warmup: Floats

    @property
    def features(self) -> int:
        """Return the number of features of a row."""
        return len(self.inputs.scaler.center)

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
            padded = scaled
            before = 0
            last = len(rows) - self.lookback
            starts = np.unique(np.append(np.arange(0, last + 1, self.stride), last))
        view = sliding_window_view(padded, self.lookback, axis=0)
        return np.moveaxis(view, -1, 1)[starts + before], starts

    def score(self, series: GroupedArray) -> Floats:
        """Return the error of each row, `(rows,)`."""
        return np.concatenate([self._score_one(np.asarray(rows, np.float64)) for rows in series])

    def expected(self, rows: Floats) -> Floats:
        """Return the reconstruction of the rows of one series, `(n, scored)`, in their unit.

        The mean of all windows that cover a row; in the causal setting the window that ends there.
        """
        windows, starts = self.windows(rows)
        overlap = self.overlap if self.overlap.causal else Overlap("mean")
        scored = self.inputs.scored
        rebuilt = np.empty((len(windows), self.lookback, len(scored)))
        for begin in range(0, len(windows), _CHUNK):
            part = windows[begin : begin + _CHUNK]
            rebuilt[begin : begin + _CHUNK] = part[..., scored] - self.residuals(part)
        scaled = [
            overlap.combine(rebuilt[..., feature], starts, len(rows))
            for feature in range(len(scored))
        ]
        scaler = self.inputs.scaler
        return np.stack(scaled, axis=1) * scaler.spread[scored] + scaler.center[scored]

    def stream(self) -> "WindowStream":
        """Return the errors of the causal setting, one row at a time, before the first row."""
        return WindowStream(self)

    def _score_one(self, rows: Floats) -> Floats:
        windows, starts = self.windows(rows)
        errors = np.empty((len(windows), self.lookback))
        for begin in range(0, len(windows), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            residuals = self.residuals(windows[part])
            flat = self.error.score(residuals.reshape(-1, residuals.shape[-1]))
            errors[part] = flat.reshape(residuals.shape[:2])
        combined = self.overlap.combine(errors, starts, len(rows))
        early = min(len(rows), len(self.warmup))
        combined[:early] /= self.warmup[:early]
        return combined


class WindowStream:
    """The errors of `WindowErrors.score` in the causal setting, one row at a time.

    Args:
        errors: the errors.
    """

    def __init__(self, errors: WindowErrors) -> None:
        self._errors = errors
        self._window = np.zeros((1, errors.lookback, errors.features))
        self._rows = 0

    def step(self, row: list[float]) -> float:
        """Return the error of the next row, a number for each feature."""
        errors = self._errors
        scaled = errors.inputs.scaler.transform(np.array(row))
        if self._rows:
            self._window[0, :-1] = self._window[0, 1:]
            self._window[0, -1] = scaled
        else:
            self._window[0] = scaled
        error = errors.error.score_step(errors.residuals(self._window)[0, -1])
        if self._rows < len(errors.warmup):
            error /= float(errors.warmup[self._rows])
        self._rows += 1
        return error

    def state(self) -> State:
        """Return the last rows `(1, lookback, features)`, scaled, and their number `(1, 1)`."""
        return self._window.copy(), np.array([[self._rows]])

    def restore(self, state: State) -> None:
        """Continue from a state that `state` returned."""
        window, rows = state
        self._window = window.copy()
        self._rows = int(rows[0, 0])
