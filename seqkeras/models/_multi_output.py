"""Multi-output forecaster: the whole horizon at once, from the newest observation."""

from collections.abc import Sequence
from typing import Unpack

import keras

from seqkeras._checks import bad_argument, check_flag
from seqkeras.models._stack import Stack, StackOptions
from seqkeras.models._window import Sizes, Window


def multi_output(
    features: int = 1,
    *,
    lookback: int,
    horizon: int,
    season_length: int = 1,
    normalization: str = "last",
    linear_skip: bool = True,
    future: int = 0,
    static: int = 0,
    categories: Sequence[int] = (),
    outputs: int = 1,
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

    What is known of the horizon is read step by step, beside the last state and the row of the
    naive forecast: a correction to that depends on what is new since then. Two Dense layers that
    all steps share (the local part of MQ-RNN, Wen et al. 2017, arXiv 1711.11053) and a linear path
    read it.

    Args:
        features: of each timestep; the first is the target, others are read as they are.
        lookback: timesteps of the window.
        horizon: timesteps that are forecast.
        season_length: timesteps of one season, at most `lookback`; 1 for none.
        normalization: how the target of a window is read: relative to its newest value
            (`"last"`, the default), to its mean absolute value (`"mean_scale"`), to its mean and
            deviation (`"revin"`), or as it is (`"none"`). It is undone in the forecast.
        linear_skip: the linear paths from the lookback, and from what is known ahead, to the
            horizon.
        future: features that are known of each step of the horizon.
        static: numbers that are known of a series.
        categories: size of the vocabulary of each category of a series, with slot 0 for what was
            never seen.
        outputs: numbers for each step, such as quantiles or parameters; the naive forecast is
            added to each.
        name: of the model.
        **stack: units, cell, bidirectional, dropout, recurrent_dropout, batch_size; see
            `StackOptions`. `stateful` is refused: a forecast reads its own window from its start.

    Returns:
        An uncompiled functional model, `(batch, lookback, features)` to `(batch, horizon)`, with
        several outputs to `(batch, horizon, outputs)`. With `future`, `static` or `categories` it
        takes a dict of `"inputs"` and of what there is among `"future"` `(batch, horizon,
        future)`, `"static"` `(batch, static)` and `"categories"` `(batch, len(categories))`.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> multi_output(lookback=36, horizon=12, season_length=12, cell="gru").output_shape
        (None, 12)
        >>> multi_output(lookback=36, horizon=12, future=2, outputs=3).output_shape
        (None, 12, 3)
    """
    if stack.get("stateful"):
        fix = "Use next_step for a model that continues from batch to batch."
        raise bad_argument("stateful", True, "False for multi_output", fix)
    plan = Stack.parse(**stack)
    check_flag("linear_skip", linear_skip)
    sizes = Sizes(features, lookback, horizon, season_length, future, static, categories, outputs)
    window = Window(sizes, normalization, plan.batch_size)
    state = plan(window.beside_about(window.past, "about_past"), return_sequences=False)
    correction = window.head(state, "head")
    if linear_skip:
        correction += window.head(window.relative, "linear_path", use_bias=False)
    if window.ahead is not None:
        correction += window.head_of_steps(_read_ahead(window.ahead, state), "ahead_path")
        if linear_skip:
            correction += window.head_of_steps(window.ahead, "linear_ahead")
    return window.model(correction, name or "multi_output")


def _read_ahead(ahead: keras.KerasTensor, state: keras.KerasTensor) -> keras.KerasTensor:
    """What is known of each step, read in the light of the last state."""
    width = state.shape[-1]
    beside = keras.layers.RepeatVector(ahead.shape[1], name="state_for_each_step")(state)
    both = keras.layers.Concatenate(name="state_and_ahead")([beside, ahead])
    return keras.layers.Dense(width, "relu", name="read_ahead")(both)
