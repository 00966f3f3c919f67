"""Choose the lookback of a fit, and the rows that it holds out."""

import numpy as np

from seqkeras._arrays import Integers, is_constant
from seqkeras._checks import bad_argument
from seqkeras.errors import DataError
from seqkeras.forecasting._settings import Settings
from seqkeras.forecasting.fitted._intervals import check_enough, needed
from seqkeras.forecasting.fitting._season import assumed_season
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.networks._build import default_lookback


def choose_lookback(settings: Settings, panel: Panel) -> tuple[int, int]:
    """Return the lookback and the season length for these series.

    The season length of the calendar is replaced by 1 if it is longer than the lookback, or if the
    series have no such season.

    Raises:
        ArgumentError: the `season_length` in the settings is longer than the lookback.
    """
    season = settings.season_length or panel.calendar.season_length
    lengths = panel.values.lengths
    held_out = _least_held_out(settings, len(lengths))
    room = int(np.median(lengths)) - settings.horizon - held_out
    lookback = settings.lookback or default_lookback(settings.horizon, season, room)
    if settings.season_length is not None:
        if season > lookback:
            raise bad_argument("season_length", season, f"at most the lookback, {lookback}")
        return lookback, season
    return lookback, assumed_season(panel.values, season, lookback)


def check_longest(settings: Settings, panel: Panel, lookback: int) -> None:
    """Check that a network can be trained on one series or more.

    Raises:
        DataError: no series is long enough.
    """
    horizon = settings.horizon
    lengths = panel.values.lengths
    least = _least_held_out(settings, int(np.sum(lengths >= lookback + 2 * horizon)))
    needed_rows = lookback + horizon + least
    longest = int(np.argmax(lengths))
    if lengths[longest] >= needed_rows:
        return
    why = f"lookback {lookback} + horizon {horizon}" + (f" + held out {least}" if least else "")
    fixes = ["a smaller lookback or horizon" if settings.lookback else "a smaller horizon"]
    if least > horizon and lengths[longest] >= lookback + 2 * horizon:
        fixes.append("intervals of lower levels")
    if least and lengths[longest] >= lookback + horizon:
        fixes.append("training=Training(validation=0) with intervals=()")
    raise DataError(
        f"The longest series must have {needed_rows} rows ({why}). Got: {panel.label(longest)} "
        f"with {lengths[longest]} rows. Use {', or '.join(fixes)}."
    )


def hold_out(settings: Settings, panel: Panel, lookback: int) -> Integers:
    """Return how many rows at the end of each series the first stage of training does not see.

    Raises:
        DataError: no series is long enough, or too few targets in these rows are known.
    """
    horizon = settings.horizon
    lengths = panel.values.lengths
    check_longest(settings, panel, lookback)  # again, as series without recent targets are gone
    if not settings.training.validation:
        return np.zeros_like(lengths)
    least = _least_held_out(settings, int(np.sum(lengths >= lookback + 2 * horizon)))
    rows = np.maximum(least, (settings.training.validation * lengths).astype(np.int64))
    rows = np.minimum(rows, np.maximum(least, lengths - lookback - horizon))
    enough = lengths - rows >= lookback + horizon
    rows = np.where(enough, rows, 0)
    # A series that is constant before its held-out rows has no scale to divide its errors by: hold
    # out no rows of it, unless all series are constant.
    varies = enough & ~is_constant(*panel.values.select(0, lengths - rows).extremes())
    if varies.any():
        rows = np.where(varies, rows, 0)
    known = known_targets(panel, rows, horizon)
    if not known:
        raise DataError(
            f"Some held-out targets must be known, to choose the best weights. Got: all "
            f"{rows.sum()} are missing. Hold out more rows with Training(validation=...), or use "
            "training=Training(validation=0) with intervals=()."
        )
    check_enough(known, settings.levels)
    return rows


def known_targets(panel: Panel, held_out: Integers, horizon: int) -> int:
    """Count the known targets of each window whose whole horizon is held out, over all windows."""
    if not panel.has_missing:
        return len(series_of_windows(held_out, horizon)) * horizon
    lengths = panel.values.lengths
    targets = panel.values.select(lengths - held_out, lengths)
    last = held_out - horizon  # where the last horizon of each series begins
    count = 0
    for block in targets.blocks():
        row = np.arange(block.rows.start, block.rows.stop) - block.repeat(targets.indptr[:-1])
        windows = np.minimum(row, block.repeat(last)) - np.maximum(row - horizon + 1, 0) + 1
        count += int(windows[~np.isnan(targets.values[block.rows])].sum())
    return count


def series_of_windows(held_out: Integers, horizon: int) -> Integers:
    """Return the series index of each window whose whole horizon is held out."""
    windows = np.where(held_out > 0, held_out - horizon + 1, 0)
    return np.repeat(np.arange(len(held_out)), windows)


def _least_held_out(settings: Settings, series: int) -> int:
    """Return the fewest held-out rows per series with enough residuals for the highest level."""
    if not settings.training.validation:
        return 0
    windows = -(-needed(settings.levels) // (settings.horizon * max(1, series)))
    return int(settings.horizon + max(1, windows) - 1)
