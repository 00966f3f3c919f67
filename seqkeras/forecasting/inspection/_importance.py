"""Permutation importance: how much worse forecasts get when a part of the windows is mixed up."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from seqkeras._checks import check_integer
from seqkeras.errors import DataError
from seqkeras.forecasting import _plots
from seqkeras.forecasting.fitted._origins import Origins
from seqkeras.forecasting.fitted._updates import read_known
from seqkeras.forecasting.networks._features import (
    InputColumns,
    covariate_columns,
    target_columns,
)
from seqkeras.forecasting.networks._predict import (
    Context,
    as_dict,
    as_network_input,
    look_ahead,
    stack_contexts,
)

if TYPE_CHECKING:
    from seqkeras.forecasting._forecaster import Forecaster

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """What a forecaster reads its forecasts from.

    Attributes:
        frame: one row for each part of the windows: `feature` (the target, or a covariate; a
            feature of the calendar is called `calendar_<name>`), `lag` (`"all"`, or timesteps
            before the forecast: `"1"` is the newest, `"3-5"` are three of them), `importance`
            (increase of the error when the part is permuted) and `spread` (its standard deviation
            over the repeats).
        error: mean absolute error of the forecasts as they are. Like the importance it is in the
            unit that a network answers in: deviations of each series, or counts.
    """

    frame: pd.DataFrame
    error: float

    def plot(self, *, title: str = "") -> Any:
        """Draws the importance of each feature, and of each lag of the target.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        return _plots.draw_importance(self.frame, self.error, title=title)


def importance(
    forecaster: "Forecaster",
    df: Any,
    *,
    lags: int,
    windows: int,
    repeats: int,
    seed: int | None,
) -> Importance:
    """See `Forecaster.explain`."""
    lags, repeats = check_integer("lags", lags), check_integer("repeats", repeats)
    windows = check_integer("windows", windows, minimum=2)
    if seed is not None:
        check_integer("seed", seed, minimum=0)
    random = np.random.default_rng(seed)
    context, actual = _windows(forecaster, df, windows, random)
    orders = [_another(len(actual), random) for _ in range(repeats)]

    def error(copies: Context) -> Floats:
        """The mean absolute error of each copy of all windows."""
        outlook = look_ahead(
            forecaster.model_, forecaster.head_, as_network_input(copies), forecaster.horizon_
        )
        return np.nanmean(np.abs(outlook.point.reshape(-1, *actual.shape) - actual), axis=(1, 2))

    plain = float(error(context)[0])
    parts = list(_groups(forecaster, min(lags, forecaster.lookback_)))
    shown = tqdm(parts, desc="explain", leave=False, disable=None if forecaster.progress else True)
    rows = []
    for part, lag, steps in shown:
        worse = (
            error(stack_contexts(_permuted(context, part, steps, one) for one in orders)) - plain
        )
        rows.append((part.name, lag, worse.mean(), pd.Series(worse).std()))
    return Importance(pd.DataFrame(rows, columns=["feature", "lag", "importance", "spread"]), plain)


def _windows(
    forecaster: "Forecaster", df: Any, count: int, random: np.random.Generator
) -> tuple[Context, Floats]:
    """At most `count` windows of these rows, drawn at random, and what came, both scaled."""
    lookback, horizon = forecaster.lookback_, forecaster.horizon_
    panel = read_known(forecaster, df)[0].long_enough(
        lookback + horizon,
        why=f"lookback {lookback} + horizon {horizon}",
        short_series=forecaster.short_series,
        fix="Give more rows of it",
    )
    origins = _drawn(panel.values.lengths - lookback - horizon + 1, lookback, count, random)
    actual = origins.after(panel.values, horizon)
    known = ~np.isnan(actual).all(axis=1)
    origins, actual = origins[known], actual[known]
    if len(origins) < 2:
        fix = f"Give more rows: {lookback} + {horizon} are one window, each further row is one more"
        raise DataError(f"df must hold two windows with targets. Got: {len(origins)}. {fix}.")
    scaler = forecaster.scaler_.take(forecaster.panel_.ids.get_indexer(panel.ids)[origins.series])
    context = forecaster.inputs_.context(
        panel.before(origins.series, origins.rows, lookback),
        scaler,
        panel.ahead(origins.series, origins.rows, horizon),
    )
    return as_dict(context), scaler.transform_batch(actual)


def _drawn(
    counts: npt.NDArray[np.int64], lookback: int, count: int, random: np.random.Generator
) -> Origins:
    """Some of the windows of series that have so many of them."""
    ends = np.cumsum(counts)
    drawn = np.sort(random.choice(ends[-1], min(count, ends[-1]), replace=False))
    series = np.searchsorted(ends, drawn, side="right")
    return Origins(series, lookback + drawn - (ends - counts)[series])


def _another(count: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """For each window another one, never itself."""
    order = random.permutation(count)
    others = np.empty_like(order)
    others[order] = np.roll(order, 1)
    return others


def _groups(forecaster: "Forecaster", lags: int) -> Iterator[tuple[InputColumns, str, slice]]:
    """Each part with the name and the rows of its lags."""
    panel, masked, lookback = forecaster.panel_, forecaster.inputs_.masked, forecaster.lookback_
    target = target_columns(panel, masked=masked)
    for part in (target, *covariate_columns(panel, masked=masked)):
        yield part, "all", slice(None)
    width = -(-lookback // lags)  # one width, so that parts can be compared
    for newest in range(1, lookback + 1, width):
        oldest = min(newest + width - 1, lookback)
        name = f"{newest}-{oldest}" if oldest > newest else f"{newest}"
        yield target, name, slice(lookback - oldest, lookback - newest + 1)


def _permuted(
    context: Context, part: InputColumns, steps: slice, others: npt.NDArray[np.int64]
) -> Context:
    """The windows, with a part of each as it is in another one."""
    copies = {name: context[name].copy() for name in part.columns}
    for name, columns in part.columns.items():
        place = (slice(None), steps, columns) if copies[name].ndim == 3 else (slice(None), columns)
        copies[name][place] = context[name][others][place]
    return context | copies
