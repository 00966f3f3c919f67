"""Forecasts of many series in parts, which an engine computes."""

import json
import os
from dataclasses import dataclass, replace

import keras
import numpy as np

from seqkeras.engines import Engine
from seqkeras.engines._parts import Result, Work, checksum
from seqkeras.forecasting.fitted._fitted import Fitted, Request
from seqkeras.forecasting.frames._checksum import panel_checksum
from seqkeras.forecasting.networks._predict import BATCH, NetworkForecast, windows_at_once
from seqkeras.training._fingerprint import config_checksum


@dataclass(frozen=True)
class RunInParts:
    """Runs the network of a fit on an engine, with the same bits as here.

    A part is a whole number of the batches in which the network reads windows here.

    Attributes:
        fitted: the fit.
        engine: where the parts are computed.
        folder: where they are stored, or None.
    """

    fitted: Fitted
    engine: Engine
    folder: str | os.PathLike[str] | None

    def __call__(self, request: Request) -> NetworkForecast:
        """Return the forecasts of the network in the units of the series."""
        fitted = self.fitted
        own = windows_at_once(fitted.model, fitted.likelihood, request.steps)
        size = own * (BATCH // own)
        series = len(request.panel.ids)
        ranges = [range(first, min(first + size, series)) for first in range(0, series, size)]
        work = Work(
            label="predict",
            unit="part",
            function=_RunPart(_network_only(fitted)),
            parts={f"series {part[0]} to {part[-1]}": request.take(part) for part in ranges},
            inputs=_inputs(fitted, request),
        )
        results = work.run(self.engine, self.folder)
        return NetworkForecast.concatenate(NetworkForecast(**result.arrays) for result in results)


@dataclass(frozen=True)
class _RunPart:
    """Runs a network; sent to each worker process once."""

    fitted: Fitted

    def __call__(self, request: Request) -> Result:
        """Return the forecasts of some series."""
        forecast = self.fitted.run(request)
        shape = (len(forecast.point), 1)
        return Result(
            {
                "point": forecast.point,
                "below": forecast.below,
                "above": forecast.above,
                "rounding": np.broadcast_to(forecast.rounding, shape),
            }
        )


def _network_only(fitted: Fitted) -> Fitted:
    """Return a fit without most of its series: requests hold those that are forecast."""
    first = np.arange(1)
    return replace(
        fitted, panel=fitted.panel.take(first), scaler=fitted.scaler.take(first), intervals=None
    )


def _inputs(fitted: Fitted, request: Request) -> dict[str, str]:
    """Describe what the forecasts of the network depend on."""
    scaler = request.scaler
    weights = fitted.model.get_weights()
    likelihood = keras.saving.serialize_keras_object(fitted.likelihood)
    scaled = [scaler.center_, scaler.scale_, scaler.constant_]
    return {
        "data": f"{panel_checksum(request.panel)} {checksum([*scaled, request.ahead])}",
        "network": f"{config_checksum(fitted.model):08x} {checksum(weights)}",
        "likelihood": json.dumps(likelihood, sort_keys=True),
        "covariates": f"{fitted.panel.covariates} {fitted.inputs.masked} "
        + checksum(fitted.inputs.scaler.arrays.values()),
        "horizon": f"{request.steps} steps, season of {fitted.season_length}",
    }
