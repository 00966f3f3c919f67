"""Permutation importance: how much worse forecasts get when a part of their inputs is permuted."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._arrays import Floats, Integers
from seqkeras._checks import bad_data, check_integer
from seqkeras._html import html_frame
from seqkeras.forecasting import _plots
from seqkeras.forecasting._forecaster import Forecaster, check_is_forecaster
from seqkeras.forecasting._settings import as_training
from seqkeras.forecasting.fitted._fitted import Fitted
from seqkeras.forecasting.fitted._origins import Origins
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
from seqkeras.training._progress import Progress


@dataclass(frozen=True)
class Importance:
    """The importance of each part of the inputs of a forecaster.

    Attributes:
        frame: one row for each part of the windows: `feature` (the target, or a covariate; a
            calendar feature is called `calendar_<name>`), `lag` (`"all"`, or timesteps before the
            forecast: `"1"` is the newest, `"3-5"` are three of them), `importance` (increase of the
            error when the part is permuted) and `spread` (its standard deviation over the repeats).
        error: mean absolute error of the unchanged forecasts. Like the importance, it is in the
            unit of the network's outputs: standard deviations of each series, or counts.
    """

    frame: pd.DataFrame
    error: float

    def _repr_html_(self) -> str | None:
        return html_frame(f"Importance, beside an error of {self.error:.3g}", self.frame)

    def plot(self, *, title: str = "") -> Any:
        """Plot the importance of each feature, and of each lag of the target.

        Args:
            title: title of the figure, default none.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        return _plots.draw_importance(self.frame, self.error, title=title)


def permutation_importance(
    forecaster: Forecaster,
    df: "pd.DataFrame | pd.Series",
    *,
    lags: int = 24,
    windows: int = 500,
    repeats: int = 5,
    seed: int | None = 0,
) -> Importance:
    """Measure how much worse forecasts of these rows get when a part of the inputs is permuted.

    Permutation importance (Breiman 2001; Fisher, Rudin & Dominici 2019, arXiv 1801.01489): windows
    of the rows are forecast as they are, and again with one part of each, such as a covariate,
    taken from another window. A part that the network does not use has importance 0.

    On rows that `fit` has not seen, a part is important if it improves new forecasts; on rows that
    it has seen, if the network has learned to use it. Correlated features can replace each other:
    both may then seem unimportant, and permuted windows may be combinations that never occur.

    Args:
        forecaster: a fitted forecaster. It does not change.
        df: rows of fitted series in the columns of `fit`, at least a lookback and a horizon of
            each.
        lags: maximum number of parts that the lookback of the target is cut into.
        windows: maximum number of windows, drawn at random from the rows.
        repeats: permutations of each part.
        seed: seed of the random draws; None for different draws each time.

    Returns:
        An `Importance`: `frame`, `error`, `plot()`.

    Raises:
        NotFittedError: `fit` was not called.
        ArgumentError: an argument cannot be used.
        DataError: a series was not fitted or is too short, or there are fewer than two windows.

    Example:
        >>> from seqkeras.forecasting import Training, load_air_passengers
        >>> df = load_air_passengers()
        >>> forecaster = Forecaster(6, lookback=12, training=Training(epochs=1), seed=0).fit(df)
        >>> importance = permutation_importance(forecaster, df, lags=4)
        >>> importance.frame[["feature", "lag"]].values.tolist()
        [['y', 'all'], ['y', '1-3'], ['y', '4-6'], ['y', '7-9'], ['y', '10-12']]
    """
    check_is_forecaster(forecaster)
    fitted = forecaster.check_fitted()
    lags = check_integer("lags", lags)
    repeats = check_integer("repeats", repeats)
    windows = check_integer("windows", windows, minimum=2)
    if seed is not None:
        seed = check_integer("seed", seed, minimum=0)
    random = np.random.default_rng(seed)
    context, actual = _draw_windows(fitted, df, windows, random)
    orders = [_derangement(len(actual), random) for _ in range(repeats)]

    def error(copies: Context) -> Floats:
        """Return the mean absolute error of each copy of all windows."""
        forecast = look_ahead(
            fitted.model, fitted.likelihood, as_network_input(copies), fitted.horizon
        )
        return np.nanmean(np.abs(forecast.point.reshape(-1, *actual.shape) - actual), axis=(1, 2))

    unchanged = float(error(context)[0])
    parts = list(_parts_by_lag(fitted, min(lags, fitted.lookback)))
    is_hidden = not as_training(forecaster.training).progress
    rows: list[tuple[str, str, float, float]] = []
    with Progress(len(parts), "importance", "part", is_hidden=is_hidden) as progress:
        for part, lag, steps in parts:
            permuted = stack_contexts(_permuted(context, part, steps, order) for order in orders)
            increase = error(permuted) - unchanged
            rows.append((part.name, lag, increase.mean(), pd.Series(increase).std()))
            progress.update(len(rows))
            progress.report(f"part {len(rows)}/{len(parts)}", {})
    frame = pd.DataFrame(rows, columns=["feature", "lag", "importance", "spread"])
    return Importance(frame, unchanged)


def _draw_windows(
    fitted: Fitted, df: Any, count: int, random: np.random.Generator
) -> tuple[Context, Floats]:
    """Draw at most `count` windows of these rows; return their inputs and actual values, scaled."""
    lookback = fitted.lookback
    horizon = fitted.horizon
    panel = fitted.read_fitted_series(df)[0].long_enough(
        lookback + horizon,
        why=f"lookback {lookback} + horizon {horizon}",
        short_series=fitted.if_short,
        fix="Give more rows of the series",
    )
    origins = _draw_origins(panel.values.lengths - lookback - horizon + 1, lookback, count, random)
    actual = origins.after(panel.values, horizon)
    known = ~np.isnan(actual).all(axis=1)
    origins = origins[known]
    actual = actual[known]
    if len(origins) < 2:
        fix = f"Give more rows: a series of {lookback} + {horizon} rows is only one window."
        raise bad_data("df", f"{len(origins)}", "hold two windows with targets", fix)
    scaler = fitted.scaler.take(fitted.panel.ids.get_indexer(panel.ids)[origins.series])
    context = fitted.inputs.context(
        panel.before(origins.series, origins.rows, lookback),
        scaler,
        panel.ahead(origins.series, origins.rows, horizon),
    )
    return as_dict(context), scaler.transform_batch(actual)


def _draw_origins(
    windows: Integers, lookback: int, count: int, random: np.random.Generator
) -> Origins:
    """Draw origins from series with these numbers of windows."""
    ends = np.cumsum(windows)
    drawn = np.sort(random.choice(ends[-1], min(count, ends[-1]), replace=False))
    series = np.searchsorted(ends, drawn, side="right")
    return Origins(series, lookback + drawn - (ends - windows)[series])


def _derangement(count: int, random: np.random.Generator) -> Integers:
    """Draw another window for each window, never itself."""
    order = random.permutation(count)
    others = np.empty_like(order)
    others[order] = np.roll(order, 1)
    return others


def _parts_by_lag(fitted: Fitted, lags: int) -> Iterator[tuple[InputColumns, str, slice]]:
    """Yield each part of the inputs, with the label and the slice of its lags."""
    masked = fitted.inputs.masked
    lookback = fitted.lookback
    target = target_columns(fitted.panel, masked=masked)
    for part in (target, *covariate_columns(fitted.panel, masked=masked)):
        yield part, "all", slice(None)
    width = -(-lookback // lags)  # equal, so that importances of lags are comparable
    for newest in range(1, lookback + 1, width):
        oldest = min(newest + width - 1, lookback)
        name = f"{newest}-{oldest}" if oldest > newest else f"{newest}"
        yield target, name, slice(lookback - oldest, lookback - newest + 1)


def _permuted(context: Context, part: InputColumns, steps: slice, others: Integers) -> Context:
    """Return the windows, with one part of each taken from another window."""
    copies = {name: context[name].copy() for name in part.columns}
    for name, columns in part.columns.items():
        place = (slice(None), steps, columns) if copies[name].ndim == 3 else (slice(None), columns)
        copies[name][place] = context[name][others][place]
    return context | copies
