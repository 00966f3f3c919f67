"""The beams of a search that met a stop id."""

import math
from typing import Any, NamedTuple

from keras import ops

from seqkeras.kernels import where_rows


class FinishedBeams(NamedTuple):
    """The best finished beams of each row, frozen; arrays `(batch, beams)`, the best first.

    Attributes:
        scores: the log-probability after the penalties; -inf in places without a beam.
        totals: the log-probability.
        steps: the step at which it met a stop id.
        parents: its place among the live beams before this step.
        ids: the stop id.
    """

    scores: Any
    totals: Any
    steps: Any
    parents: Any
    ids: Any

    @classmethod
    def none(cls, rows: Any, beams: int) -> "FinishedBeams":
        """Return places without a beam."""
        nothing = ops.full((rows, beams), -math.inf, "float32")
        zeros = ops.zeros((rows, beams), "int32")
        return cls(nothing, nothing, zeros, zeros, zeros)

    def merged(self, others: "FinishedBeams", done: Any) -> "FinishedBeams":
        """Return the best of both, as many as there were; rows that are done do not change."""
        beams = self.scores.shape[1]
        both = [ops.concatenate(pair, axis=1) for pair in zip(self, others, strict=True)]
        _, places = ops.top_k(both[0], beams)
        best = [ops.take_along_axis(field, places, axis=1) for field in both]
        return FinishedBeams(*where_rows(done, tuple(self), tuple(best)))
