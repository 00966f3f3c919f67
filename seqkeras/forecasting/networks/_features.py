"""Which columns of a network's inputs belong to the target and to each covariate."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from seqkeras.forecasting.frames._covariates import Covariates
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.models._window import WindowColumns


@dataclass(frozen=True)
class InputColumns:
    """The columns of the target or of one covariate in a network's inputs.

    Attributes:
        name: name of the column in the frame, or `calendar_` and the name of a calendar feature.
        columns: the slice of the last axis that it occupies, for each input that contains it, by
            input name.
    """

    name: str
    columns: dict[str, slice]


def window_columns(covariates: Covariates, *, masked: bool) -> WindowColumns:
    """Return the columns of a window with these covariates.

    Args:
        covariates: covariates of the series.
        masked: whether targets may be missing.
    """
    return WindowColumns(masked, covariates.past_width, covariates.future_width)


def target_columns(panel: Panel, *, masked: bool) -> InputColumns:
    """Return the columns of the target, with its flag if targets may be missing."""
    window = window_columns(panel.covariates, masked=masked)
    return InputColumns(str(panel.columns.target), {"inputs": window.target})


def covariate_columns(panel: Panel, *, masked: bool) -> list[InputColumns]:
    """Return the columns of each covariate: past, future and static ones, then the calendar.

    All categories of a covariate share one entry, and so do the sine and the cosine of a calendar
    feature.
    """
    covariates = panel.covariates
    window = window_columns(covariates, masked=masked)
    past = _consecutive(covariates.widths(covariates.past), window.past.start)
    widths = covariates.widths(covariates.future)
    future = _consecutive(widths, 0)
    first_of_calendar = sum(width for _, width in widths)
    calendar = _consecutive(covariates.calendar_widths, first_of_calendar)
    return [
        *(InputColumns(name, {"inputs": columns}) for name, columns in past),
        *(_known_ahead(name, columns, window) for name, columns in future),
        *_static_columns(covariates),
        *(_known_ahead(f"calendar_{name}", columns, window) for name, columns in calendar),
    ]


def _known_ahead(name: str, columns: slice, window: WindowColumns) -> InputColumns:
    first = window.future.start
    in_window = slice(first + columns.start, first + columns.stop)
    return InputColumns(name, {"inputs": in_window, "future": columns})


def _static_columns(covariates: Covariates) -> Iterator[InputColumns]:
    counts = {"categories": 0, "static": 0}
    for name in covariates.static:
        part = "categories" if name in covariates.categories else "static"
        column = counts[part]
        counts[part] += 1
        yield InputColumns(name, {part: slice(column, column + 1)})


def _consecutive(widths: Iterable[tuple[str, int]], first: int) -> Iterator[tuple[str, slice]]:
    for name, width in widths:
        yield name, slice(first, first + width)
        first += width
