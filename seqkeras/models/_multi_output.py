"""Multi-output forecaster: the whole horizon at once, from the newest observation."""

from typing import Unpack

import keras
from keras import ops

from seqkeras._checks import bad_argument, check_integer
from seqkeras.models._stack import Stack, StackOptions


def multi_output(
    features: int = 1,
    *,
    lookback: int,
    horizon: int,
    season_length: int = 1,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """A model that forecasts every step of the horizon at once, from the last state of the stack.

    What it learns is the correction to the seasonal naive forecast (the value one season before,
    with `season_length=1` the last value). The correction is a linear map of the lookback plus a
    Dense layer on the last state; both read the target relative to its newest value, so a series
    may leave the range that it had in training. The linear path and the last-value normalisation
    are NLinear's (Zeng et al. 2023, arXiv 2205.13504). An untrained model is the seasonal naive
    forecast.

    Args:
        features: of each timestep; the first is the target, others are read as they are.
        lookback: timesteps of the window.
        horizon: timesteps that are forecast.
        season_length: timesteps of one season, at most `lookback`; 1 for none.
        name: of the model.
        **stack: units, cell, bidirectional, dropout, recurrent_dropout, batch_size; see
            `StackOptions`. `stateful` is refused: a forecast reads its own window from its start.

    Returns:
        An uncompiled functional model, `(batch, lookback, features)` to `(batch, horizon)`.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> multi_output(lookback=36, horizon=12, season_length=12, cell="gru").output_shape
        (None, 12)
    """
    if stack.get("stateful"):
        fix = "Use next_step for a model that continues from batch to batch."
        raise bad_argument("stateful", True, "False for multi_output", fix)
    plan = Stack.parse(**stack)
    lookback = check_integer("lookback", lookback)
    horizon = check_integer("horizon", horizon)
    season_length = check_integer("season_length", season_length)
    if season_length > lookback:
        fix = f"The seasonal naive forecast is read from the lookback of {lookback}."
        raise bad_argument("season_length", season_length, "at most lookback", fix)

    x = plan.input(lookback, check_integer("features", features))
    target = x[:, :, 0]
    relative = target - target[:, -1:]
    read = ops.expand_dims(relative, -1)
    if features > 1:
        read = ops.concatenate([read, x[:, :, 1:]], axis=-1)
    state = plan(read, return_sequences=False)
    # From zeros, so that training starts at the seasonal naive forecast and not at random.
    linear = keras.layers.Dense(
        horizon, use_bias=False, kernel_initializer="zeros", name="linear_path"
    )
    head = keras.layers.Dense(horizon, kernel_initializer="zeros", name="head")
    correction = head(state) + linear(relative)
    season = [lookback - season_length + step % season_length for step in range(horizon)]
    return keras.Model(
        x, ops.take(target, season, axis=1) + correction, name=name or "multi_output"
    )
