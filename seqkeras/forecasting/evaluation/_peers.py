"""Forecasters of other libraries, for comparisons with ours.

They run in a process of their own, which is stopped when their time is over. Nothing here imports
Keras.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._arrays import Floats
from seqkeras.errors import MissingDependencyError

#: Lags that boosted trees read at most.
MOST_LAGS = 48


@dataclass(frozen=True)
class Request:
    """What a peer forecasts.

    Attributes:
        histories: the series, each `(rows,)` without missing values.
        horizon: timesteps to forecast.
        season_length: timesteps of one season.
        levels: levels of the intervals in percent.
        seed: seed of what is random.
    """

    histories: list[Floats]
    horizon: int
    season_length: int
    levels: tuple[float, ...]
    seed: int | None

    def frame(self) -> pd.DataFrame:
        """Return a long frame of the series, with whole numbers for ids and timestamps."""
        lengths = [len(history) for history in self.histories]
        return pd.DataFrame(
            {
                "unique_id": np.repeat(np.arange(len(lengths)), lengths),
                "ds": np.concatenate([np.arange(length) for length in lengths]),
                "y": np.concatenate(self.histories),
            }
        )


#: Forecasts, each `(series, horizon)`, named as the columns of `Forecaster.predict`.
NamedForecasts = dict[str, Floats]


@dataclass(frozen=True)
class Peer:
    """A forecaster of another library.

    Attributes:
        packages: the packages that it needs.
        run: its forecasts of a request.
    """

    packages: tuple[str, ...]
    run: Callable[[Request], NamedForecasts]

    @property
    def is_installed(self) -> bool:
        """Return whether all packages can be imported."""
        return all(find_spec(package) is not None for package in self.packages)

    @property
    def versions(self) -> str:
        """Return the packages with their versions."""
        return ", ".join(f"{package} {version(package)}" for package in self.packages)

    def check(self) -> None:
        """Check that all packages can be imported, without importing them: that takes seconds.

        Raises:
            MissingDependencyError: a package is not installed.
        """
        if not self.is_installed:
            raise MissingDependencyError(
                f"This needs {' and '.join(self.packages)}, which are not all installed. "
                'Install them with: pip install "seqkeras[compare]"'
            )


def auto_ets(request: Request) -> NamedForecasts:
    """Forecast with exponential smoothing, its form chosen by AICc, of statsforecast."""
    from statsforecast.models import AutoETS

    return _statsforecast(AutoETS(season_length=request.season_length, alias="peer"), request)


def auto_theta(request: Request) -> NamedForecasts:
    """Forecast with the best of four Theta models, of statsforecast."""
    from statsforecast.models import AutoTheta

    return _statsforecast(AutoTheta(season_length=request.season_length, alias="peer"), request)


def _statsforecast(model: Any, request: Request) -> NamedForecasts:
    from statsforecast import StatsForecast

    forecaster = StatsForecast(models=[model], freq=1)
    levels = _whole(request.levels)
    return named_forecasts(
        forecaster.forecast(request.horizon, request.frame(), level=levels), request
    )


def light_gbm(request: Request) -> NamedForecasts:
    """Forecast with boosted trees of LightGBM on lags of seasonal differences, of mlforecast."""
    import lightgbm
    from mlforecast import MLForecast
    from mlforecast.target_transforms import Differences
    from mlforecast.utils import PredictionIntervals

    trees = lightgbm.LGBMRegressor(verbosity=-1, n_jobs=1, random_state=request.seed)
    shortest = min(len(history) for history in request.histories)
    lags = min(MOST_LAGS, max(2 * request.season_length, 12), max(1, shortest // 4))
    forecaster = MLForecast(
        {"peer": trees},
        freq=1,
        lags=list(range(1, lags + 1)),
        target_transforms=[Differences([request.season_length])],
    )
    intervals = PredictionIntervals(n_windows=2, h=request.horizon) if request.levels else None
    forecaster.fit(request.frame(), static_features=[], prediction_intervals=intervals)
    levels = _whole(request.levels) or None
    return named_forecasts(forecaster.predict(request.horizon, level=levels), request)


def _whole(levels: Sequence[float]) -> list[float]:
    """Return levels as integers where they are, because the names of columns contain them."""
    return [int(level) if level == int(level) else level for level in levels]


def named_forecasts(forecast: pd.DataFrame, request: Request) -> NamedForecasts:
    """Return the forecasts in a frame of another library, in the order of the series."""
    forecast = forecast.sort_values(["unique_id", "ds"])
    names = {"peer": "yhat"}
    for level in _whole(request.levels):
        names |= {f"peer-{side}-{level}": f"yhat-{side}-{level:g}" for side in ("lo", "hi")}
    shape = (len(request.histories), request.horizon)
    return {new: forecast[old].to_numpy(np.float64).reshape(shape) for old, new in names.items()}


#: Peers by name.
PEERS = {
    "AutoETS": Peer(("statsforecast",), auto_ets),
    "AutoTheta": Peer(("statsforecast",), auto_theta),
    "LightGBM": Peer(("lightgbm", "mlforecast"), light_gbm),
}


def run_peer(name: str, requests: list[Request]) -> list[NamedForecasts]:
    """Return the forecasts of a peer for each request."""
    return [PEERS[name].run(request) for request in requests]
