"""From the rows of series to scores, all at once or one row at a time, without Keras."""

from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from seqkeras._arrays import Floats, Integers
from seqkeras.anomaly._amplitude import AmplitudeFusion
from seqkeras.runtime._cell_steps import State
from seqkeras.windows import GroupedArray


class ErrorStream(Protocol):
    """Errors of a network, one row at a time."""

    def step(self, row: list[float]) -> float:
        """Return the error of the next row, a number for each feature."""

    def state(self) -> State:
        """Return the state, arrays with one row."""

    def restore(self, state: State) -> None:
        """Continue from a state."""


class LearnedErrors(Protocol):
    """Errors of a network for each row: of a forecast, or of a reconstruction."""

    @property
    def features(self) -> int:
        """Return the number of features of a row."""

    def score(self, series: GroupedArray) -> Floats:
        """Return the error of each row, `(rows,)`."""

    def expected(self, rows: Floats) -> Floats:
        """Return what the network expects the rows of one series to be, `(n, scored)`."""

    def stream(self) -> ErrorStream:
        """Return the errors one row at a time, before the first row."""


@dataclass(frozen=True)
class Scorer:
    """Scores of a fitted detector: errors of its network, fused with the amplitude, smoothed.

    Attributes:
        errors: errors of the network.
        scored: the scored features.
        smoothing: smoothing of the fused errors; None: none.
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
        learned = errors.score(series)
        if fusion is not None:
            fusion.fit(series.values[:, scored], learned)
        return scorer, scorer._finish(series, learned)

    def scores(self, series: GroupedArray) -> Floats:
        """Return the score of each row, `(rows,)`."""
        return self._finish(series, self.errors.score(series))

    def stream(self) -> "ScoreStream":
        """Return the scores of the causal setting, one row at a time, before the first row."""
        return ScoreStream(self)

    def _finish(self, series: GroupedArray, learned: Floats) -> Floats:
        scores = []
        for rows, part in zip(series, GroupedArray(learned, series.indptr), strict=True):
            scores.append(self._finish_one(np.asarray(rows), cast(Floats, part)))
        return np.concatenate(scores)

    def _finish_one(self, rows: Floats, learned: Floats) -> Floats:
        fused = learned if self.fusion is None else self.fusion.fuse(rows[:, self.scored], learned)
        return fused if self.smoothing is None else np.asarray(self.smoothing.smooth(fused))


class ScoreStream:
    """The scores of a causal `Scorer`, one row at a time.

    Args:
        scorer: the scorer.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._errors = scorer.errors.stream()
        self._smoothing = scorer.smoothing
        self._fusion = scorer.fusion
        self._scored = scorer.scored.tolist()
        self._smoothed = (
            np.zeros(0) if scorer.smoothing is None else self._smoothing.initial_state()
        )
        self._fused = np.zeros(0) if scorer.fusion is None else scorer.fusion.initial_state()

    def step(self, row: list[float]) -> float:
        """Return the score of the next row, a number for each feature."""
        score = self._errors.step(row)
        if self._fusion is not None:
            values = np.array([row[feature] for feature in self._scored])
            score, self._fused = self._fusion.step(values, score, self._fused)
        if self._smoothing is not None:
            score, self._smoothed = self._smoothing.step(score, self._smoothed)
        return score

    def state(self) -> State:
        """Return the states of smoothing, fusion and errors, arrays with one row."""
        return self._smoothed[np.newaxis], self._fused[np.newaxis], *self._errors.state()

    def restore(self, state: State) -> None:
        """Continue from a state that `state` returned."""
        self._smoothed = state[0][0]
        self._fused = state[1][0]
        self._errors.restore(state[2:])
