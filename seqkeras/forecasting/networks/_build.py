"""Build forecasting networks, and check that they fit the series."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from seqkeras._checks import Description, bad_argument
from seqkeras.errors import ArgumentError
from seqkeras.forecasting.frames._covariates import Covariates
from seqkeras.forecasting.networks._features import window_columns
from seqkeras.models import encoder_decoder, multi_output, recursive, segment_rnn
from seqkeras.models._window import NetworkSizes

#: Called as `builder(features, lookback=..., horizon=...)`; with covariates or several outputs also
#: with the `builder_options` of `NetworkSizes`.
Builder = Callable[..., keras.Model]

#: The builder of each named strategy.
STRATEGIES: dict[str, Builder] = {
    "multi_output": multi_output,
    "recursive": recursive,
    "encoder_decoder": encoder_decoder,
    "segment_rnn": segment_rnn,
}


def default_lookback(horizon: int, season_length: int, room: int) -> int:
    """Return three seasons, or as many as fit into `room`, but at least twice the horizon.

    If twice the horizon does not fit either, return all of `room`, but at least 1.

    Args:
        horizon: timesteps to forecast.
        season_length: timesteps of one season.
        room: longest lookback that the series allow; 0 or less if they are too short.
    """
    for seasons in (3, 2, 1):
        lookback = max(seasons * season_length, 2 * horizon)
        if lookback <= room:
            return lookback
    return max(1, min(room, 2 * horizon))


def default_batch_size(windows: int) -> int:
    """Return 1 % of the number of windows, clipped to the range from 32 to 1024.

    So small data sets get enough updates per epoch, and large ones train fast.
    """
    return int(np.clip(windows // 100, 32, 1024))


def network_sizes(
    covariates: Covariates,
    *,
    lookback: int,
    horizon: int,
    season_length: int = 1,
    masked: bool = False,
    outputs: int = 1,
) -> NetworkSizes:
    """Return the sizes of a network for series with these covariates.

    Args:
        covariates: covariates of the series.
        lookback: timesteps that the network reads.
        horizon: timesteps to forecast.
        season_length: timesteps of one season, default 1.
        masked: whether targets may be missing, which needs one more column; default False.
        outputs: number of outputs for each step of the horizon, default 1.
    """
    columns = window_columns(covariates, masked=masked)
    return NetworkSizes(
        lookback=lookback,
        horizon=horizon,
        features=columns.count,
        past=columns.past_width,
        future=columns.future_width,
        static=len(covariates.static) - len(covariates.sizes),
        categories=covariates.sizes,
        season_length=season_length,
        outputs=outputs,
    )


def build_network(
    model: str | Builder | keras.Model,
    sizes: NetworkSizes,
    *,
    units: int | tuple[int, ...] | None = None,
    cell: str | None = None,
    normalization: str | None = None,
    counts: bool = False,
) -> keras.Model:
    """Build a network with fresh weights, from `(batch, lookback, features)` to `(batch, steps)`.

    A named strategy forecasts the whole horizon, except for `"recursive"`, which forecasts 1 step.
    A builder or a model may forecast fewer steps than the horizon.

    Args:
        model: the name of a strategy, a builder, or a model, which is copied.
        sizes: sizes of the inputs and the output.
        units: width of the recurrent layers of a named strategy, default 64.
        cell: cell of a named strategy, default `"gru"`.
        normalization: normalization of a named strategy, default `"last"`, or `"mean_scale"` for
            counts.
        counts: whether targets are counts, default False. Counts are not scaled beforehand, so a
            named strategy scales each window itself.

    Raises:
        ArgumentError: the network does not fit the sizes, or would need future values of past
            covariates.
    """
    if isinstance(model, str):
        network = STRATEGIES[model](
            sizes.features,
            lookback=sizes.lookback,
            horizon=sizes.horizon,
            season_length=sizes.season_length,
            units=units if units is not None else 64,
            cell=cell if cell is not None else "gru",
            normalization=normalization or ("mean_scale" if counts else "last"),
            **sizes.builder_options,
        )
    elif isinstance(model, keras.Model):
        network = model
    else:
        network = _call(model, sizes)
    steps = check_network(network, sizes)
    if steps < sizes.horizon and sizes.past:
        actual = (
            f"a network that forecasts {steps} of {sizes.horizon} steps, so that future values of "
            "the past covariates would be needed"
        )
        expected = "one that forecasts the whole horizon when there are past covariates"
        fix = (
            "Use a network that forecasts the whole horizon, or, if the covariates are known "
            "ahead, pass them as Columns(future=...)."
        )
        raise bad_argument("network", Description(actual), expected, fix)
    return keras.models.clone_model(network) if network is model else network


def _call(builder: Builder, sizes: NetworkSizes) -> Any:
    options = {"lookback": sizes.lookback, "horizon": sizes.horizon, **sizes.builder_options}
    try:
        return builder(sizes.features, **options)
    except (TypeError, ArgumentError) as error:
        call = ", ".join(f"{name}={value}" for name, value in options.items())
        raise ArgumentError(
            f"network must be a builder that can be called as builder({sizes.features}, {call}). "
            f"The call failed: {error}"
        ) from error


def check_network(network: Any, sizes: NetworkSizes) -> int:
    """Check the inputs and the output of a network, and return the number of steps it forecasts.

    Args:
        network: the network.
        sizes: the sizes that it must have.

    Raises:
        ArgumentError: the network is not a Keras model, or its shapes do not fit the sizes.
    """
    shapes = {name: (None, *shape) for name, shape in sizes.input_shapes.items()}
    one_input = len(shapes) == 1
    expected = _expectation(shapes["inputs"] if one_input else shapes, sizes)
    if not isinstance(network, keras.Model):
        raise bad_argument("network", network, expected)
    try:
        input_shape = input_shapes(network)
        output_shape = network.output_shape
    except (AttributeError, ValueError) as error:
        fix = "Use a functional model, or a Sequential model that starts with a keras.Input."
        raise bad_argument("network", network, expected, fix) from error
    steps = _steps_of(output_shape, sizes)
    if "future" in shapes and steps is not None:
        shapes["future"] = (None, steps, sizes.future)
    by_name = input_shape
    if one_input and isinstance(input_shape, tuple):
        by_name = {"inputs": input_shape}
    if steps is None or steps > sizes.horizon or not _inputs_match(by_name, shapes):
        raise ArgumentError(f"network must be {expected}. Got: {input_shape} to {output_shape}.")
    return steps


def _expectation(input_shape: Any, sizes: NetworkSizes) -> str:
    inputs = str(input_shape).replace("None", "batch").replace("'", "")
    outputs = ", ".join(map(str, ("batch", "steps", *sizes.step_shape)))
    return f"a keras.Model of {inputs} to ({outputs}), with steps from 1 to {sizes.horizon}"


def _steps_of(shape: Any, sizes: NetworkSizes) -> int | None:
    """Return the number of steps in an output shape, or None if the shape does not fit."""
    if not isinstance(shape, tuple) or len(shape) < 2 or shape[2:] != sizes.step_shape:
        return None
    return shape[1]


def input_shapes(network: keras.Model) -> Any:
    """Return the shape of a network's only input, or the shapes of its inputs by name."""
    if not isinstance(network.input, dict):
        return network.input_shape
    return {name: tuple(tensor.shape) for name, tensor in network.input.items()}


def _inputs_match(actual: Any, expected: dict[str, Any]) -> bool:
    """Check whether inputs have the expected names and shapes; timesteps may be None."""
    if not isinstance(actual, dict) or set(actual) != set(expected):
        return False
    return all(_shape_matches(actual[name], shape) for name, shape in expected.items())


def _shape_matches(actual: tuple[int | None, ...], expected: tuple[int | None, ...]) -> bool:
    if len(actual) != len(expected) or actual[0] is not None or actual[-1] != expected[-1]:
        return False
    return all(size in (needed, None) for size, needed in zip(actual, expected, strict=True))
