"""Scores of many series in parts, which an engine computes."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from seqkeras._arrays import Array, Floats
from seqkeras.anomaly._scorer import Scorer
from seqkeras.anomaly._scorer_parts import from_parts, to_parts
from seqkeras.anomaly._thresholds import Threshold
from seqkeras.engines import Engine
from seqkeras.engines._parts import Result, Work, checksum, groups
from seqkeras.windows import GroupedArray

#: Rows of a part, at least.
_ROWS = 2**16


def score_in_parts(
    scorer: Scorer,
    rule: Threshold,
    series: GroupedArray,
    engine: Engine,
    folder: str | os.PathLike[str] | None,
) -> Floats:
    """Return the score of each row, as `scorer.scores(series)` does.

    Args:
        scorer: the scorer.
        rule: its threshold, which changes no score.
        series: the rows of all series.
        engine: where the parts are computed.
        folder: where they are stored, or None.
    """
    header, arrays = to_parts(scorer, rule)
    parts = {}
    for numbers in groups(series.lengths.tolist(), _ROWS):
        group = series.take(np.array(numbers))
        parts[f"series {numbers[0]} to {numbers[-1]}"] = (np.asarray(group.values), group.indptr)
    described = json.dumps(header["scorer"], sort_keys=True, default=str)
    own = [array for name, array in arrays.items() if name.startswith("scorer")]
    work = Work(
        label="scores",
        unit="part",
        function=_ScorePart(header, arrays),
        parts=parts,
        inputs={
            "series": checksum([np.asarray(series.values), series.indptr]),
            "detector": f"{described} {checksum(own)}",
        },
    )
    return np.concatenate([result.arrays["scores"] for result in work.run(engine, folder)])


@dataclass(frozen=True)
class _ScorePart:
    """Scores series; sent to each worker process once, as plain data, and needs no Keras there."""

    header: Mapping[str, Any]
    arrays: Mapping[str, Array]

    @cached_property
    def _scorer(self) -> Scorer:
        return from_parts(self.header, self.arrays)[0]

    def __call__(self, part: tuple[Floats, Array]) -> Result:
        """Return the scores of some series."""
        return Result({"scores": self._scorer.scores(GroupedArray(*part))})
