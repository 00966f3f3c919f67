"""Recursive forecaster: one step, to be fed back as the next input."""

from collections.abc import Sequence
from typing import Unpack

import keras

from seqkeras._checks import bad_argument, check_integer
from seqkeras.models._multi_output import multi_output
from seqkeras.models._stack import StackOptions


def recursive(
    features: int = 1,
    *,
    lookback: int,
    horizon: int = 1,
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
    """A model of the next step alone, whose answers are fed back for those behind it.

    It is `multi_output` of one step. Trained on windows of one step it learns from true values
    (teacher forcing, Williams and Zipser 1989); `seqkeras.training.unrolled` runs it over a horizon
    on its own answers, as a forecast does, and trains it so.

    Args:
        features: of each timestep; the first is the target. Others must be known when an answer is
            fed back: those of `future` come last, and before them one may say whether a target was
            observed.
        lookback: timesteps of the window.
        horizon: how far answers will be fed back. The model does not depend on it; it is taken so
            that all forecasting networks are called alike.
        season_length: timesteps of one season, at most `lookback`; 1 for none.
        normalization: how the target of a window is read: relative to its newest value
            (`"last"`, the default), to its mean absolute value (`"mean_scale"`), to its mean and
            deviation (`"revin"`), or as it is (`"none"`). It is undone in the forecast.
        linear_skip: the linear paths from the lookback, and from what is known of the next step.
        future: features that are known of the next step.
        static: numbers that are known of a series.
        categories: size of the vocabulary of each category of a series, with slot 0 for what was
            never seen.
        outputs: numbers for the step, such as quantiles or parameters; the naive forecast is added
            to each.
        name: of the model.
        **stack: units, cell, bidirectional, dropout, recurrent_dropout, batch_size; see
            `StackOptions`. `stateful` is refused: a forecast reads its own window from its start.

    Returns:
        An uncompiled functional model, `(batch, lookback, features)` to `(batch, 1)`, with several
        outputs to `(batch, 1, outputs)`. With `future`, `static` or `categories` it takes a dict,
        as `multi_output` does.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> recursive(lookback=36, season_length=12, units=16).output_shape
        (None, 1)
    """
    if stack.get("stateful"):
        fix = "Use next_step for a model that continues from batch to batch."
        raise bad_argument("stateful", True, "False for recursive", fix)
    check_integer("horizon", horizon)
    return multi_output(
        features,
        lookback=lookback,
        horizon=1,
        season_length=season_length,
        normalization=normalization,
        linear_skip=linear_skip,
        future=future,
        static=static,
        categories=categories,
        outputs=outputs,
        name=name or "recursive",
        **stack,
    )
