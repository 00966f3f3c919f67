"""Turn network outputs into point forecasts, interval widths and sample paths, in network units."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np

from seqkeras._arrays import Array, Floats, Floats32
from seqkeras.forecasting.networks._units import Units
from seqkeras.kernels._retracing import without_retracing_notes
from seqkeras.likelihoods import Likelihood
from seqkeras.models._window import WindowColumns, steps_ahead

#: Forecasts by name, each `(series or origins, horizon)`.
Forecasts = dict[str, Floats]
#: Network inputs by name; each array has one window in each row.
Context = dict[str, Array]

#: Probabilities of the predicted quantiles. Interval widths are in units of the distances between
#: the median and the outer two.
_PROBABILITIES = (0.1, 0.5, 0.9)
#: Sample paths of each series, for the quantiles of a network that is fed its own outputs.
PATHS = 200
_SEED = 0
#: Smallest distance of an outer quantile from the median. Errors are divided by it, and would be
#: practically infinite with a smaller one.
_LEAST_WIDTH = 1e-3
#: Largest number of sample paths that are drawn at once, to limit memory.
_MOST_ROWS = 2**16
#: Series whose sample paths are drawn at once, for quantiles.
_PATHS_AT_ONCE = _MOST_ROWS // PATHS
#: Windows that a network reads at once.
BATCH = 4096
#: Divisor that replaces a width of 0.
_NO_WIDTH = 1e-250


class BatchPredictor(Protocol):
    """The interface of a network for forecasting: a Keras model has it, and `WindowProgram`."""

    @property
    def output_shape(self) -> Any:
        """Return the shape of the output, `(None, steps)` or `(None, steps, outputs)`."""

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for a batch of windows, an array or a dict of arrays."""


@dataclass(frozen=True)
class NetworkForecast:
    """Point forecasts, and how wide the intervals around them are.

    Attributes:
        point: `(batch, horizon)`, the median.
        below: `(batch, horizon)`, from the median down to the 10 % quantile; 1 for a network
            without a likelihood, which predicts no quantiles.
        above: `(batch, horizon)`, from the median up to the 90 % quantile, likewise.
        rounding: `(batch, 1)`, or a number for all; errors up to it count as 0. It is 0 in network
            units.
    """

    point: Floats
    below: Floats
    above: Floats
    rounding: Any = 0.0

    @classmethod
    def concatenate(cls, parts: Iterable["NetworkForecast"]) -> "NetworkForecast":
        """Join several batches into one."""
        forecasts = list(parts)
        shapes = [(len(forecast.point), 1) for forecast in forecasts]
        return cls(
            np.concatenate([forecast.point for forecast in forecasts]),
            np.concatenate([forecast.below for forecast in forecasts]),
            np.concatenate([forecast.above for forecast in forecasts]),
            np.concatenate(
                [
                    np.broadcast_to(forecast.rounding, shape)
                    for forecast, shape in zip(forecasts, shapes, strict=True)
                ]
            ),
        )

    def unscaled(self, units: Units) -> "NetworkForecast":
        """Return the forecast in the units of the series."""
        return NetworkForecast(
            units.restore(self.point),
            self.below * units.scale,
            self.above * units.scale,
            units.rounding,
        )

    def in_widths(self, errors: Floats) -> Floats:
        """Return errors divided by `below` where they are negative, and by `above` elsewhere.

        An error is negative if the point forecast was too high. Where the width is 0, as for a
        series that never changed, an error beyond rounding becomes practically infinite.
        """
        width = np.where(errors < 0, self.below, self.above)
        return np.where(np.abs(errors) <= self.rounding, 0.0, errors) / np.maximum(width, _NO_WIDTH)


def as_dict(inputs: Any) -> Context:
    """Return network inputs as a dict, even if they are only the array of windows."""
    return inputs if isinstance(inputs, dict) else {"inputs": inputs}


def as_network_input(context: Context) -> Any:
    """Return the dict, or the array of windows if the dict has no other input."""
    return context if len(context) > 1 else context["inputs"]


def stack_contexts(contexts: Iterable[Context]) -> Context:
    """Join several contexts into one, so that a network reads them in one pass."""
    parts = list(contexts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def split_rows(inputs: Any, rows: int) -> Iterator[Any]:
    """Split an array or a dict of arrays into parts of at most `rows` rows."""
    context = as_dict(inputs)
    for first in range(0, len(context["inputs"]), rows):
        part = {name: array[first : first + rows] for name, array in context.items()}
        yield part if isinstance(inputs, dict) else part["inputs"]


@without_retracing_notes()
def predict_batches(network: BatchPredictor, inputs: Any, batch_size: int = BATCH) -> Floats32:
    """Run a network in batches over an array or a dict of arrays, and return its outputs."""
    # Avoid Keras' predict(): its loop and callbacks cost 45 ms a call.
    return np.concatenate(
        [network.predict_on_batch(part) for part in split_rows(inputs, batch_size)]
    )


def roll_forward(
    network: BatchPredictor,
    inputs: Any,
    horizon: int,
    *,
    to_values: Callable[[Any], Any] = lambda outputs: outputs,
) -> Array:
    """Forecast `horizon` timesteps; a network of fewer steps is fed its own outputs.

    Args:
        network: maps `(batch, lookback, features)` to `(batch, steps)`.
        inputs: `(batch, lookback, features)`, the newest values last; or a dict with this array as
            `"inputs"`, and with `"future"` over the whole horizon, `(batch, horizon, future)`.
        horizon: timesteps to forecast.
        to_values: turns the outputs of the network into values `(batch, steps)`, which are
            returned and fed back. Default: the outputs themselves.

    Returns:
        `(batch, horizon)`.
    """
    steps = network.output_shape[1]
    windows = as_dict(inputs)["inputs"]
    forecasts: list[Array] = []
    for first in range(0, horizon, steps):
        part = _steps_of(inputs, first, steps, horizon)
        if first:
            part = {**part, "inputs": windows} if isinstance(part, dict) else windows
        values = to_values(predict_batches(network, part))
        forecasts.append(values)
        if first + steps < horizon:
            windows = _moved_on(windows, values, as_dict(part).get("future"))
    return np.concatenate(forecasts, axis=1)[:, :horizon]


def _steps_of(inputs: Any, first: int, steps: int, horizon: int) -> Any:
    """Return the inputs with the future covariates of `steps` steps, from step `first` on."""
    if not isinstance(inputs, dict) or "future" not in inputs:
        return inputs
    return {**inputs, "future": inputs["future"][:, steps_ahead(first, steps, horizon)]}


def _moved_on(windows: Array, values: Array, ahead: Array | None) -> Array:
    columns = WindowColumns.fed_back(windows.shape[-1], ahead.shape[-1] if ahead is not None else 0)
    return columns.advance(windows, values.astype(windows.dtype), ahead, np)


def windows_at_once(network: BatchPredictor, likelihood: Likelihood | None, horizon: int) -> int:
    """Return the number of windows that `look_ahead` forecasts together.

    The last bits of a forecast depend on which windows these are.
    """
    return BATCH if likelihood is None or network.output_shape[1] >= horizon else _PATHS_AT_ONCE


def look_ahead(
    network: BatchPredictor, likelihood: Likelihood | None, inputs: Any, horizon: int
) -> NetworkForecast:
    """Forecast from one window of each series.

    Args:
        network: as for `roll_forward`; with a likelihood it returns `(batch, steps, outputs)`.
        likelihood: turns the outputs into quantiles; None if the outputs are the forecast.
        inputs: as for `roll_forward`.
        horizon: timesteps to forecast.
    """
    if likelihood is None:
        point = roll_forward(network, inputs, horizon).astype(np.float64)
        return NetworkForecast(point, np.ones_like(point), np.ones_like(point))
    if network.output_shape[1] >= horizon:
        part = _steps_of(inputs, 0, network.output_shape[1], horizon)
        outputs = predict_batches(network, part)[:, :horizon]
        quantiles = likelihood.quantiles(outputs, _PROBABILITIES)
    else:
        parts = split_rows(inputs, _PATHS_AT_ONCE)
        quantiles = np.concatenate(
            [_path_quantiles(network, likelihood, part, horizon) for part in parts]
        )
    low, point, high = np.moveaxis(quantiles, -1, 0)
    least = 1.0 if likelihood.counts else _LEAST_WIDTH
    return NetworkForecast(point, np.maximum(point - low, least), np.maximum(high - point, least))


def _path_quantiles(
    network: BatchPredictor, likelihood: Likelihood, inputs: Any, horizon: int
) -> Floats:
    """Return the quantiles of sample paths, `(batch, horizon, probabilities)`."""
    paths = sample_paths(network, likelihood, inputs, horizon, PATHS, seed=_SEED, shared=True)
    return np.quantile(paths, _PROBABILITIES, axis=0).transpose(1, 2, 0)


def sample_paths(
    network: BatchPredictor,
    likelihood: Likelihood,
    inputs: Any,
    horizon: int,
    count: int,
    *,
    seed: int | None,
    shared: bool = False,
) -> Floats:
    """Draw sample paths of each series: draw each step, and feed it back before the next one.

    All paths of all series are drawn together, one batch for each step. With a network that
    forecasts the whole horizon at once, all steps are drawn independently.

    Args:
        network: as for `look_ahead`.
        likelihood: distribution that the outputs of the network describe.
        inputs: as for `look_ahead`.
        horizon: timesteps to forecast.
        count: number of paths of each series.
        seed: seed of the draws; None for different draws each time.
        shared: whether all series use the same random numbers, default False. The paths of a series
            then do not depend on the other series.

    Returns:
        `(count, batch, horizon)`.
    """
    rng = np.random.default_rng(seed)

    def draw(outputs: Any) -> Floats:
        rows, steps = outputs.shape[:2]
        if not shared:
            return likelihood.at(outputs, rng.random((rows, steps)))
        return likelihood.at(outputs, np.tile(rng.random((count, steps)), (rows // count, 1)))

    paths = []
    for part in split_rows(inputs, max(1, _MOST_ROWS // count)):
        if shared:
            rng = np.random.default_rng(seed)
        repeated = keras.tree.map_structure(lambda array: np.repeat(array, count, axis=0), part)
        drawn = roll_forward(network, repeated, horizon, to_values=draw)
        paths.append(np.moveaxis(drawn.reshape(-1, count, horizon), 1, 0))
    return np.concatenate(paths, axis=1, dtype=np.float64)
