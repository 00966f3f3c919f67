"""From the rows of series to scores, all at once or one row at a time, without Keras."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from seqkeras._arrays import Floats, Integers
from seqkeras.anomaly._amplitude import AmplitudeFusion
from seqkeras.anomaly._forecast_errors import StreamState
from seqkeras.windows import GroupedArray


class LearnedErrors(Protocol):
    """Errors of a network for each row: of a forecast, or of a reconstruction."""

    def score(self, series: GroupedArray) -> Floats:
        """Return the error of each row, `(rows,)`."""

    def initial_state(self) -> StreamState:
        """Return the state before the first row."""

    def step(self, row: Floats, state: StreamState) -> tuple[float, StreamState]:
        """Return the error of the next row `(features,)`, and the state after it."""


@dataclass(frozen=True)
class Scorer:
    """Scores of a fitted detector: errors of its network, smoothed, fused with the amplitude.

    Attributes:
        errors: errors of the network.
        scored: the scored features.
        smoothing: smoothing of the errors; None: none.
        fusion: fusion with the amplitude of the scored features; None: none.
    """

    errors: LearnedErrors
    scored: Integers
    smoothing: Any
    fusion: AmplitudeFusion | None

    @classmethod
    def fit(
        cls,
        errors: LearnedErrors,
        scored: Integers,
        series: GroupedArray,
        *,
        smoothing: Any,
        fusion: AmplitudeFusion | None,
    ) -> "tuple[Scorer, Floats]":
        """Fit the fusion to the training series; return the scorer, and their scores."""
        scorer = cls(errors, scored, smoothing, fusion)
        learned = scorer._learned(series)
        if fusion is not None:
            fusion.fit(series.values[:, scored], learned)
        return scorer, scorer._fused(series, learned)

    def scores(self, series: GroupedArray) -> Floats:
        """Return the score of each row, `(rows,)`."""
        return self._fused(series, self._learned(series))

    def initial_state(self) -> StreamState:
        """Return the state before the first row; the state of smoothing and fusion comes last."""
        parts = [part.initial_state()[np.newaxis] for part in self._stateful_parts()]
        return (*self.errors.initial_state(), *parts)

    def step(self, row: Floats, state: StreamState) -> tuple[float, StreamState]:
        """Return the score of the next row `(features,)`, and the state after it."""
        parts = len(list(self._stateful_parts()))
        split = len(state) - parts
        score, errors = self.errors.step(row, state[:split])
        states = list(state[split:])
        if self.smoothing is not None:
            score, new = self.smoothing.step(score, states[0][0])
            states[0] = new[np.newaxis]
        if self.fusion is not None:
            score, new = self.fusion.step(row[self.scored], score, states[-1][0])
            states[-1] = new[np.newaxis]
        return score, (*errors, *states)

    def _stateful_parts(self) -> Any:
        return (part for part in (self.smoothing, self.fusion) if part is not None)

    def _learned(self, series: GroupedArray) -> Floats:
        errors = self.errors.score(series)
        if self.smoothing is None:
            return errors
        parts = GroupedArray(errors, series.indptr)
        return np.concatenate([self.smoothing.smooth(part) for part in parts])

    def _fused(self, series: GroupedArray, learned: Floats) -> Floats:
        if self.fusion is None:
            return learned
        pairs = zip(series, GroupedArray(learned, series.indptr), strict=True)
        return np.concatenate(
            [self.fusion.fuse(np.asarray(rows)[:, self.scored], part) for rows, part in pairs]
        )
