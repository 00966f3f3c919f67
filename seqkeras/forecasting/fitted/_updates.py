"""Newer rows of the series of a fitted forecaster: checked, joined to what it reads, scored."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras.errors import DataError
from seqkeras.forecasting.calendars._calendar import from_integers, to_integers
from seqkeras.forecasting.fitted._origins import Origins
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._reading import read_alike
from seqkeras.forecasting.networks._predict import Outlook, check_counts
from seqkeras.windows import GroupedArray

if TYPE_CHECKING:
    from seqkeras.forecasting._forecaster import Forecaster


def read_known(forecaster: "Forecaster", df: pd.DataFrame) -> tuple[Panel, npt.NDArray[np.int64]]:
    """Reads rows of series that were fitted, in their columns; the number of each series there.

    Raises:
        ArgumentError: a column is missing.
        DataError: as `Forecaster.fit`, or a series is not known.
    """
    panel = forecaster.panel_
    missing = "mask" if forecaster.inputs_.masked else "raise"
    found = read_alike(df, panel, missing=missing, fill="raise", whole=False)
    check_counts(found, forecaster.head_)
    if found.columns.id != panel.columns.id:
        has, was = found.columns.id, panel.columns.id
        raise DataError(f"The frame must have ids as in fit: id_col={was!r}. Got: {has!r}.")
    numbers = panel.ids.get_indexer(found.ids)
    unknown = np.flatnonzero(numbers < 0)
    if len(unknown):
        raise DataError(
            f"{found.name(unknown[0])} is not among the {len(panel.ids)} series that were fitted "
            f"({len(unknown)} such ids in all). Leave its rows away, or fit again with it."
        )
    return found, numbers.astype(np.int64)


def continued(forecaster: "Forecaster", rows: pd.DataFrame) -> Panel:
    """The rows that are kept, and behind them newer ones; series without any stay as they are.

    Raises:
        ArgumentError, DataError: as `read_known`, or a series does not go on where it ended.
    """
    panel = forecaster.panel_
    newer, numbers = read_known(forecaster, rows)
    _check_continues(panel.take(numbers), newer)
    last = to_integers(panel.last).copy()
    last[numbers] = to_integers(newer.last.astype(panel.last.dtype))
    known = _joined(panel.known.rows, newer.known.rows, numbers)
    return replace(
        panel,
        last=from_integers(last, str(panel.last.dtype)),
        values=_joined(panel.values, newer.values, numbers),
        known=replace(panel.known, rows=known),
    )


def score(forecaster: "Forecaster", rows: pd.DataFrame) -> float:
    """See `Forecaster.score`."""
    panel = continued(forecaster, rows)
    horizon = forecaster.horizon_
    before = forecaster.panel_.values.lengths
    more = panel.values.lengths - before
    whole = -(-more // horizon)
    # Whole horizons from the first new row on; what the last reaches beyond the rows is cut off.
    origins = Origins.rolling(
        before + whole * horizon, windows=whole, step=horizon, horizon=horizon
    )
    yhat = outlook_at(forecaster, panel, origins).point
    place = origins.rows[:, np.newaxis] + np.arange(horizon)
    came = place < panel.values.lengths[origins.series][:, np.newaxis]
    series = np.broadcast_to(origins.series[:, np.newaxis], place.shape)[came]
    errors = np.abs(
        panel.values.values[panel.values.indptr[:-1][series] + place[came]] - yhat[came]
    )
    known = ~np.isnan(errors)
    counts = np.bincount(series[known], minlength=len(more))
    sums = np.bincount(series[known], errors[known], minlength=len(more))
    return -float(np.mean(sums[counts > 0] / counts[counts > 0]))


def outlook_at(forecaster: "Forecaster", panel: Panel, origins: Origins) -> Outlook:
    """What a fitted forecaster sees from any rows of series that it knows."""
    panel = panel.with_categories_of(forecaster.panel_.covariates)
    numbers = forecaster.panel_.ids.get_indexer(panel.ids)
    # In parts, for each holds its lookback several times; the network reads smaller ones still.
    return Outlook.joined(
        forecaster._look(
            panel.before(part.series, part.rows, forecaster.lookback_),
            forecaster.scaler_.take(numbers[part.series]),
            panel.ahead(part.series, part.rows, forecaster.horizon_),
            forecaster.horizon_,
        )
        for part in (origins[i : i + 2**16] for i in range(0, max(1, len(origins)), 2**16))
    )


def _joined(
    before: GroupedArray, newer: GroupedArray, numbers: npt.NDArray[np.int64]
) -> GroupedArray:
    """Series with rows of `newer`, whose series are the ones with these numbers, behind theirs."""
    series = list(before)
    for number, more in zip(numbers, newer, strict=True):
        series[number] = np.concatenate([series[number], more])
    return GroupedArray.from_series(series)


def _check_continues(panel: Panel, newer: Panel) -> None:
    first = newer.calendar.shift(newer.last, 1 - newer.values.lengths)
    expected = panel.calendar.move(panel.last, 1)
    wrong = np.flatnonzero(np.asarray(first != expected))
    if not len(wrong):
        return
    worst = wrong[0]
    raise DataError(
        f"{newer.name(worst)} must go on at {expected[worst]}, behind {panel.last[worst]}. "
        f"Got: {first[worst]} ({len(wrong)} of {len(first)} series do not go on). Give every row "
        "that came since, and none from before."
    )
