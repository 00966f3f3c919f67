"""Components of a forecast: what the season, the series itself and each covariate add to it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._arrays import Floats
from seqkeras._checks import bad_argument
from seqkeras._html import html_frame
from seqkeras.forecasting import _plots
from seqkeras.forecasting._forecaster import Forecaster, check_is_forecaster
from seqkeras.forecasting.frames._forms import as_pandas
from seqkeras.forecasting.frames._panel import Panel, by_series
from seqkeras.forecasting.networks._features import InputColumns, covariate_columns
from seqkeras.forecasting.networks._predict import (
    Context,
    as_dict,
    as_network_input,
    look_ahead,
    stack_contexts,
)

SEASON = "seasonal naive"
NETWORK = "network"


@dataclass(frozen=True)
class Components:
    """A forecast, and the parts that add up to it.

    Attributes:
        frame: a long frame of ids and timestamps, `yhat`, and the columns whose sum it is:
            `"seasonal naive"`, the value one season before (without a season, the last value);
            `"network"`, what the network and the linear expert add when they read the series
            without covariates; and a column for each covariate, with what it adds. Calendar
            features are called `calendar_<name>`.
    """

    frame: pd.DataFrame

    def _repr_html_(self) -> str | None:
        return html_frame("Components: columns that add up to yhat", as_pandas(self.frame))

    def plot(self, *, series: Any = None, title: str = "") -> Any:
        """Plot the forecast and its components below each other.

        Args:
            series: id of the series to plot, or a list of ids; None: the first four.
            title: title of the figure, default none.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ArgumentError: no series has that id.
            MissingDependencyError: matplotlib is not installed.
        """
        frame = as_pandas(self.frame)
        names = frame.columns.tolist()
        keys = names[: names.index("yhat")]
        parts = by_series(frame, keys[0] if len(keys) > 1 else None, series)
        return _plots.draw_components(parts, keys[-1], title=title)


def components(
    forecaster: Forecaster,
    *,
    horizon: int | None = None,
    future: "pd.DataFrame | None" = None,
    df: "pd.DataFrame | pd.Series | None" = None,
    fill: str = "raise",
) -> Components:
    """Split a forecast into the season, the series itself, and each covariate.

    The network first forecasts with every covariate at 0: numbers are at their mean over the rows
    of `fit`, categorical columns have none of their categories, static categories are unknown, and
    the sine and cosine of the calendar are 0. Then the covariates are filled in one after the
    other, in the order past, future, static, calendar, and each is credited with the change of the
    forecast. So the columns add up to `yhat`. Where covariates interact, the order matters: their
    joint effect goes to the later one. Components describe the network, not causes.

    Args:
        forecaster: a fitted forecaster. It does not change.
        horizon, future, df, fill: as for `Forecaster.predict`.

    Returns:
        A `Components`: `frame`, `plot()`.

    Raises:
        NotFittedError, ArgumentError, DataError: as `Forecaster.predict`; or a covariate has the
            name of a component.

    Example:
        >>> from seqkeras.forecasting import Columns, Training, load_air_passengers
        >>> forecaster = Forecaster(6, intervals=(), training=Training(epochs=1), seed=0)
        >>> forecaster = forecaster.fit(load_air_passengers(), columns=Columns(calendar="auto"))
        >>> components(forecaster).frame.columns.tolist()
        ['ds', 'yhat', 'seasonal naive', 'network', 'calendar_month']
    """
    check_is_forecaster(forecaster)
    fitted = forecaster.check_fitted()
    request = fitted.request(horizon, future, df, fill)
    panel = request.panel
    units = request.units(fitted.season_length)
    context = as_dict(fitted.inputs.context(panel, units.scaler, request.ahead))
    parts = covariate_columns(panel, masked=fitted.inputs.masked)
    names = [part.name for part in parts]
    _check_names(panel, names)
    # Without any covariate, with the first, with the first two ...
    contexts = [_without(context, parts[count:]) for count in range(len(parts) + 1)]
    forecast = look_ahead(
        fitted.model, fitted.likelihood, as_network_input(stack_contexts(contexts)), request.steps
    )
    scaled = [
        _season(context, fitted.season_length, request.steps),
        *forecast.point.reshape(len(contexts), -1, request.steps),
    ]
    forecasts = np.stack([units.restore(forecast) for forecast in scaled])
    added = np.diff(forecasts, axis=0, prepend=0.0)
    columns = dict(zip([SEASON, NETWORK, *names], added, strict=True))
    frame = panel.forecast_frame({"yhat": forecasts[-1]} | columns)
    return Components(panel.shape.native(frame, panel.columns.time))


def _without(context: Context, parts: list[InputColumns]) -> Context:
    """Return a copy with covariates set to 0: numbers to their mean, categories to none of them."""
    copies = {name: array.copy() for name, array in context.items()}
    for part in parts:
        for name, columns in part.columns.items():
            copies[name][..., columns] = 0
    return copies


def _season(context: Context, season_length: int, steps: int) -> Floats:
    """Repeat the last season of the target, as our networks do."""
    season = context["inputs"][:, -season_length:, 0].astype(np.float64)
    return season[:, np.arange(steps) % season_length]


def _check_names(panel: Panel, names: list[str]) -> None:
    taken = [panel.columns.id, panel.columns.time, "yhat", SEASON, NETWORK, *names]
    twice = [name for name in names if taken.count(name) > 1]
    if twice:
        fix = "The frame of components needs this name itself. Rename your column, and fit again."
        raise bad_argument("covariates", twice[0], "names that no other column has", fix)
