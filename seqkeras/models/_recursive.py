"""A network that forecasts one step, which is fed back as its next input."""

from typing import Unpack

import keras

from seqkeras._checks import check_integer
from seqkeras.models._multi_output import multi_output
from seqkeras.models._window import NetworkOptions, check_stateless


def recursive(
    features: int = 1,
    *,
    lookback: int,
    horizon: int = 1,
    season_length: int = 1,
    linear_skip: bool = True,
    name: str | None = None,
    **options: Unpack[NetworkOptions],
) -> keras.Model:
    """Build a model that forecasts one step, to be fed back for the steps after it.

    It is `multi_output` with a horizon of one step. Trained on windows with one target step, it
    learns from true values (teacher forcing, Williams and Zipser 1989). To train it on its own
    outputs, as a forecast uses it, run it over a horizon with `seqkeras.training.unrolled`.

    Args:
        features: columns of each timestep, default 1. The first is the target. The others must be
            known when an output is fed back: the columns of `future` come last, and before them
            there may be a flag that says whether the target was observed.
        lookback: timesteps of the window.
        horizon: number of steps to forecast with feedback, default 1. It does not change the model,
            and is accepted only so that all forecasting networks have the same arguments.
        season_length: timesteps of one season, at most `lookback`; default 1, no season.
        linear_skip: whether to add the linear paths from the lookback and from the future
            covariates to the next step, default True.
        name: name of the model, default `"recursive"`.
        **options: normalization, future, static, categories, outputs, see `NetworkOptions`; units,
            cell, bidirectional, dropout, recurrent_dropout, implementation, batch_size, see
            `StackOptions`. `stateful` is refused: a forecast reads its own window from its start.

    Returns:
        An uncompiled functional model, `(batch, lookback, features)` to `(batch, 1)`; with several
        outputs to `(batch, 1, outputs)`. With `future`, `static` or `categories` it takes a dict,
        as `multi_output` does.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> recursive(lookback=36, season_length=12, units=16).output_shape
        (None, 1)
    """
    check_stateless("recursive", options)
    check_integer("horizon", horizon)
    return multi_output(
        features,
        lookback=lookback,
        horizon=1,
        season_length=season_length,
        linear_skip=linear_skip,
        name=name or "recursive",
        **options,
    )
