"""A network that forecasts the whole horizon at once, relative to the newest observation."""

from typing import Unpack

import keras

from seqkeras._checks import check_flag
from seqkeras.models._window import NetworkOptions, check_stateless, plan_network


def multi_output(
    features: int = 1,
    *,
    lookback: int,
    horizon: int,
    season_length: int = 1,
    linear_skip: bool = True,
    name: str | None = None,
    **options: Unpack[NetworkOptions],
) -> keras.Model:
    """Build a model that forecasts all steps at once, from the last state of its recurrent layers.

    It learns the correction to the seasonal naive forecast (the value one season before; with
    `season_length=1` the last value). The correction is a linear map of the lookback plus a Dense
    layer on the last state. By default, both read the target relative to its newest value, so
    forecasts can leave the range of the training data. The linear path and the last-value
    normalization are those of NLinear (Zeng et al. 2023, arXiv 2205.13504). An untrained model is
    the seasonal naive forecast.

    Future covariates are read step by step, together with the last state and the row that the
    naive forecast repeats: the correction depends on what has changed since that row. Two Dense
    layers that all steps share (the local part of MQ-RNN, Wen et al. 2017, arXiv 1711.11053) and a
    linear path read them.

    Args:
        features: columns of each timestep, default 1. The first is the target; others are read
            unchanged.
        lookback: timesteps of the window.
        horizon: timesteps to forecast.
        season_length: timesteps of one season, at most `lookback`; default 1, no season.
        linear_skip: whether to add the linear paths from the lookback and from the future
            covariates to the horizon, default True.
        name: name of the model, default `"multi_output"`.
        **options: normalization, future, static, categories, outputs, see `NetworkOptions`; units,
            cell, bidirectional, dropout, recurrent_dropout, implementation, batch_size, see
            `StackOptions`. `stateful` is refused: a forecast reads its own window from its start.

    Returns:
        An uncompiled functional model, `(batch, lookback, features)` to `(batch, horizon)`; with
        several outputs to `(batch, horizon, outputs)`. With `future`, `static` or `categories` it
        takes a dict of `"inputs"` and, for the options in use, `"future"` `(batch, horizon,
        future)`, `"static"` `(batch, static)` and `"categories"` `(batch, len(categories))`.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> multi_output(lookback=36, horizon=12, season_length=12, cell="gru").output_shape
        (None, 12)
        >>> multi_output(lookback=36, horizon=12, future=2, outputs=3).output_shape
        (None, 12, 3)
    """
    check_stateless("multi_output", options)
    check_flag("linear_skip", linear_skip)
    window, stack = plan_network(
        options,
        features=features,
        lookback=lookback,
        horizon=horizon,
        season_length=season_length,
    )
    state = stack(window.with_about(window.past, "about_past"), return_sequences=False)
    correction = window.head(state, "head")
    if linear_skip:
        correction += window.head(window.relative, "linear_path", use_bias=False)
    if window.ahead is not None:
        correction += window.head_of_steps(_read_ahead(window.ahead, state), "ahead_path")
        if linear_skip:
            correction += window.head_of_steps(window.ahead, "linear_ahead")
    return window.model(correction, name or "multi_output")


def _read_ahead(ahead: keras.KerasTensor, state: keras.KerasTensor) -> keras.KerasTensor:
    """Read the future covariates of each step together with the last state."""
    repeated = keras.layers.RepeatVector(ahead.shape[1], name="state_for_each_step")(state)
    both = keras.layers.Concatenate(name="state_and_ahead")([repeated, ahead])
    return keras.layers.Dense(state.shape[-1], "relu", name="read_ahead")(both)
