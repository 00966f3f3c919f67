"""Which columns of what a network reads belong to the target, and which to each covariate."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras.forecasting.frames._panel import Panel

#: What a network reads, by the names of its inputs; arrays with a window in each row.
Context = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Part:
    """The target, or one covariate, in what a network reads.

    Attributes:
        name: of the column, or `calendar_` and the name of a calendar feature.
        places: in which inputs it stands, and in which columns of their last axis.
    """

    name: str
    places: dict[str, slice]


def target_part(panel: Panel, *, masked: bool) -> Part:
    """The target, and whether it was there if it may be missing."""
    return Part(str(panel.columns.target), {"inputs": slice(0, 1 + masked)})


def covariate_parts(panel: Panel, *, masked: bool) -> list[Part]:
    """The covariates: past, future and static ones in the order named, then the calendar.

    All words of a column are one part, and so are sine and cosine of a calendar feature.
    """
    covariates, first = panel.covariates, 1 + masked
    past = dict(_consecutive(covariates.widths(covariates.past), first))
    ahead = dict(_consecutive(covariates.widths(covariates.future), 0))
    begin = sum(width for _, width in covariates.widths(covariates.future))
    clock = dict(_consecutive(covariates.calendar_widths, begin))
    known = first + covariates.past_width  # where the future covariates begin in the lookback
    return [
        *(Part(name, {"inputs": place}) for name, place in past.items()),
        *(_known_ahead(name, place, known) for name, place in ahead.items()),
        *_static_parts(panel),
        *(_known_ahead(f"calendar_{name}", place, known) for name, place in clock.items()),
    ]


def as_parts(context: Any) -> Context:
    """A window of each series as a dict, which it is where there are covariates."""
    return context if isinstance(context, dict) else {"inputs": context}


def as_read(parts: Context) -> Any:
    """What a network reads: the dict, or the only array in it."""
    return parts if len(parts) > 1 else parts["inputs"]


def stacked(contexts: Iterable[Context]) -> Context:
    """Several contexts as one, so that a network reads them in one pass."""
    found = list(contexts)
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def _known_ahead(name: str, place: slice, known: int) -> Part:
    read = slice(known + place.start, known + place.stop)
    return Part(name, {"inputs": read, "future": place})


def _static_parts(panel: Panel) -> list[Part]:
    covariates = panel.covariates
    inputs = [
        "categories" if one in covariates.categories else "static" for one in covariates.static
    ]
    counts = [inputs[:number].count(one) for number, one in enumerate(inputs)]
    return [
        Part(name, {one: slice(count, count + 1)})
        for name, one, count in zip(covariates.static, inputs, counts, strict=True)
    ]


def _consecutive(widths: Iterable[tuple[str, int]], first: int) -> Iterable[tuple[str, slice]]:
    for name, width in widths:
        yield name, slice(first, first + width)
        first += width
