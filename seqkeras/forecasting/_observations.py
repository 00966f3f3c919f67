"""Newer rows of the series of a fitted forecaster: checked, joined to what it reads, scored."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras.errors import DataError
from seqkeras.forecasting._calendar import from_integers, to_integers
from seqkeras.forecasting._frames import DEFAULT_ID, Panel, read_panel
from seqkeras.forecasting._origins import Origins
from seqkeras.windows import GroupedArray

if TYPE_CHECKING:
    from seqkeras.forecasting._forecaster import Forecaster


def read_known(panel: Panel, df: pd.DataFrame) -> tuple[Panel, npt.NDArray[np.int64]]:
    """Reads rows of series that `panel` has, in its columns; the number of each series there.

    Raises:
        ArgumentError: a column is missing.
        DataError: as `Forecaster.fit`, or a series is not known.
    """
    names, calendar = panel.columns, panel.calendar
    counted = calendar.dtype.lstrip("u").startswith("int")
    if names.time in getattr(df, "columns", ()) and len(df):
        kind = df[names.time].dtype.kind
        if (kind in "iu") != counted and kind in "iuM":
            raise DataError(
                f"Column {names.time!r} must hold stamps as in fit, {calendar.dtype}. "
                f"Got: {df[names.time].dtype}."
            )
    found = read_panel(
        df,
        id_col=DEFAULT_ID if names.id is None else names.id,
        time_col=names.time,
        target_col=names.target,
        freq=None if calendar.is_period else calendar.step,
    )
    if found.columns.id != names.id:
        has, was = found.columns.id, names.id
        raise DataError(f"The frame must have ids as in fit: id_col={was!r}. Got: {has!r}.")
    numbers = panel.ids.get_indexer(found.ids)
    unknown = np.flatnonzero(numbers < 0)
    if len(unknown):
        raise DataError(
            f"{found.name(unknown[0])} is not among the {len(panel.ids)} series that were fitted "
            f"({len(unknown)} such ids in all). Leave its rows away, or fit again with it."
        )
    return found, numbers.astype(np.int64)


def continued(panel: Panel, rows: pd.DataFrame) -> Panel:
    """The rows that `panel` holds, and behind them newer ones; series without any stay as they are.

    Raises:
        ArgumentError, DataError: as `read_known`, or a series does not go on where it ended.
    """
    newer, numbers = read_known(panel, rows)
    _check_continues(panel.take(numbers), newer)
    values = list(panel.values)
    for number, more in zip(numbers, newer.values, strict=True):
        values[number] = np.concatenate([values[number], more])
    last = to_integers(panel.last).copy()
    last[numbers] = to_integers(newer.last.astype(panel.last.dtype))
    return replace(
        panel,
        last=from_integers(last, str(panel.last.dtype)),
        values=GroupedArray.from_series(values),
    )


def score(forecaster: "Forecaster", rows: pd.DataFrame) -> float:
    """See `Forecaster.score`."""
    panel = continued(forecaster.panel_, rows)
    horizon, lookback = forecaster.horizon_, forecaster.lookback_
    more = panel.values.lengths - lookback
    whole = -(-more // horizon)
    # Whole horizons from the first new row on; what the last reaches beyond the rows is cut off.
    origins = Origins.rolling(
        lookback + whole * horizon, windows=whole, step=horizon, horizon=horizon
    )
    contexts = origins.before(panel.values, lookback)
    yhat = forecaster._forecasts(contexts, origins.series, horizon)["yhat"]
    place = origins.rows[:, np.newaxis] + np.arange(horizon)
    came = place < panel.values.lengths[origins.series][:, np.newaxis]
    series = np.broadcast_to(origins.series[:, np.newaxis], place.shape)[came]
    actual = panel.values.values[(panel.values.indptr[:-1][series] + place[came])]
    sums = np.bincount(series, np.abs(actual - yhat[came]))
    return -float(np.mean(sums[more[: len(sums)] > 0] / more[more > 0]))


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
