"""Read the sequences of a search backwards, from their ends to their beginnings."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from seqkeras.decoding._beams import Beams

#: What a `BeamLoop` returns, by name.
Results: TypeAlias = Mapping[str, npt.NDArray[Any]]
Array: TypeAlias = npt.NDArray[Any]


class _Ends(NamedTuple):
    """The last token of each sequence, `(batch, sequences)`, the best sequence first.

    Attributes:
        scores: log-probability after the penalties; -inf in places without a sequence.
        totals: log-probability.
        steps: number of its step.
        parents: place of the sequence among the live beams before this step.
        ids: the token.
        finished: whether the token is a stop id.
    """

    scores: Array
    totals: Array
    steps: Array
    parents: Array
    ids: Array
    finished: Array


def read_back(results: Results, nbest: int, pad: int) -> Beams:
    """Return the best sequences of each row.

    Args:
        results: what a `BeamLoop` returns.
        nbest: number of sequences of each row.
        pad: the id after the end of a sequence.
    """
    ends = _Ends(*(part[:, :nbest] for part in _ends(results)))
    exists = ends.scores > -np.inf
    steps = results["step_ids"].shape[1]
    places = _places(results, ends, steps)
    numbers = np.arange(steps)
    is_last = exists[..., None] & (numbers == ends.steps[..., None])
    is_inside = exists[..., None] & (numbers < ends.steps[..., None])

    def along(values: npt.NDArray[Any], last: npt.NDArray[Any], padding: int) -> Any:
        inside = np.where(is_inside, _looked_up(values, places[..., 1:]), padding)
        return np.where(is_last, last[..., None], inside).astype(values.dtype)

    totals = along(results["step_totals"], ends.totals, 0)
    before = np.concatenate([np.zeros_like(totals[..., :1]), totals[..., :-1]], axis=-1)
    is_used = is_last | is_inside
    attention = None
    if "step_attention" in results:
        weights = _looked_up(results["step_attention"], places[..., :-1])
        attention = np.where(is_used[..., None], weights, np.float32(0))
    return Beams(
        ids=along(results["step_ids"], ends.ids, pad),
        lengths=np.where(exists, ends.steps + 1, 0).astype("int32"),
        finished=ends.finished & exists,
        scores=ends.scores,
        log_probabilities=np.where(is_used, totals - before, np.float32(0)),
        attention=attention,
    )


def _ends(results: Results) -> _Ends:
    """Return the ends of finished beams, and then of those that were alive at the last step."""
    last = [results[f"step_{name}"][:, -1] for name in ("totals", "parents", "ids")]
    steps = np.full_like(last[1], results["step_ids"].shape[1] - 1)
    # Live beams of rows that are done were not followed to their ends.
    scores = np.where(results["done"][:, None], np.float32(-np.inf), results["live_scores"])
    live = (scores, last[0], steps, last[1], last[2], np.zeros_like(steps, bool))
    finished = [results[f"finished_{name}"] for name in _Ends._fields[:-1]]
    pairs = zip([*finished, np.ones_like(steps, bool)], live, strict=True)
    ends = _Ends(*(np.concatenate(pair, axis=1) for pair in pairs))
    is_missing = np.isneginf(ends.scores)
    order = np.lexsort((-ends.scores, ~ends.finished, is_missing), axis=1)
    return _Ends(*(np.take_along_axis(part, order, axis=1) for part in ends))


def _places(results: Results, ends: _Ends, steps: int) -> npt.NDArray[np.int32]:
    """Return the places of sequences among the live beams, `(batch, sequences, steps + 1)`.

    Number 0 is before the first step; up to the parent of the last token.
    """
    places = np.zeros((*ends.ids.shape, steps + 1), "int32")
    for step in range(ends.steps.max(), -1, -1):
        inside = np.take_along_axis(results["step_parents"][:, step], places[..., step + 1], axis=1)
        places[..., step] = np.where(ends.steps == step, ends.parents, inside)
    return places


def _looked_up(values: npt.NDArray[Any], places: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
    """Return `(batch, sequences, steps, ...)` from `(batch, steps, beams, ...)`."""
    rows = np.arange(len(values))[:, None, None]
    return values[rows, np.arange(values.shape[1]), places]
