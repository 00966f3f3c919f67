"""Components of a forecast: what the season, the series alone and each covariate say."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras._checks import bad_argument
from seqkeras.forecasting import _plots
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
from seqkeras.windows import StandardScaler

if TYPE_CHECKING:
    from seqkeras.forecasting._forecaster import Forecaster

Floats = npt.NDArray[np.float64]
SEASON, NETWORK = "seasonal naive", "network"


@dataclass(frozen=True)
class Components:
    """A forecast, and what adds up to it.

    Attributes:
        frame: a long frame of ids and stamps, `yhat`, and the columns whose sum it is:
            `"seasonal naive"`, the value one season before (where there is no season, the last
            one); `"network"`, what the network adds from the series alone; and what each covariate
            adds to that, in the order named. Features of the calendar are called
            `calendar_<name>`.
    """

    frame: pd.DataFrame

    def plot(self, *, series: Any = None, title: str = "") -> Any:
        """Draws the forecast and its components below each other.

        Args:
            series: id of the series to draw, or a list of ids; None: the first four.
            title: above the picture.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ArgumentError: no series of that id.
            MissingDependencyError: matplotlib is not installed.
        """
        frame = as_pandas(self.frame)
        keys = frame.columns.tolist()
        keys = keys[: keys.index("yhat")]
        parts = by_series(frame, keys[0] if len(keys) > 1 else None, series)
        return _plots.draw_components(parts, keys[-1], title=title)


def components(
    forecaster: "Forecaster", panel: Panel, scaler: StandardScaler, ahead: Floats, steps: int
) -> Components:
    """See `Forecaster.components`; the arguments are those of `Forecaster._look`."""
    context = as_dict(forecaster.inputs_.context(panel, scaler, ahead))
    parts = covariate_columns(panel, masked=forecaster.inputs_.masked)
    names = [part.name for part in parts]
    _check_names(panel, names)
    # Without any covariate, with the first, with the first two ...
    contexts = [_without(context, parts[count:]) for count in range(len(parts) + 1)]
    found = look_ahead(
        forecaster.model_, forecaster.head_, as_network_input(stack_contexts(contexts)), steps
    )
    forecasts = [
        _season(context, forecaster.season_length_, steps),
        *found.point.reshape(len(contexts), -1, steps),
    ]
    levels = np.stack([scaler.inverse_transform(one) for one in forecasts])
    added = np.diff(levels, axis=0, prepend=0.0)
    columns = dict(zip([SEASON, NETWORK, *names], added, strict=True))
    frame = panel.forecast_frame({"yhat": levels[-1]} | columns)
    return Components(panel.shape.native(frame, panel.columns.time))


def _without(context: Context, parts: list[InputColumns]) -> Context:
    """The windows with 0 in the place of covariates: the mean of a number, none of the words."""
    left = {name: one.copy() for name, one in context.items()}
    for part in parts:
        for name, columns in part.columns.items():
            left[name][..., columns] = 0
    return left


def _season(context: Context, season_length: int, steps: int) -> Floats:
    """The last season of the target again and again, as it stands in our networks."""
    season = context["inputs"][:, -season_length:, 0].astype(np.float64)
    return season[:, np.arange(steps) % season_length]


def _check_names(panel: Panel, names: list[str]) -> None:
    taken = [panel.columns.id, panel.columns.time, "yhat", SEASON, NETWORK, *names]
    twice = [name for name in names if taken.count(name) > 1]
    if twice:
        fix = "The frame of components has such a column of its own. Rename it, and fit again."
        raise bad_argument("covariates", twice[0], "other names", fix)
