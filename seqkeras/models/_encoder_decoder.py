"""Encoder and decoder: one reads the lookback, the other runs over the horizon from its state."""

from collections.abc import Sequence
from typing import Unpack

import keras

from seqkeras._checks import check_flag
from seqkeras.models._stack import Stack, StackOptions, one_way, run_from
from seqkeras.models._window import Sizes, Window, learned_vectors


def encoder_decoder(
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
    """A forecaster whose decoder runs over the horizon, from the state that the encoder ends in.

    The decoder is a second stack of the same layers. In each step it reads what is known of that
    step, and beside it the row of the naive forecast; where nothing is known, a learned vector that
    says which step it is. It does not read its own forecasts, so that no error grows from step to
    step, and training sees what forecasting sees. (Encoder and decoder are those of Sutskever et
    al. 2014, arXiv 1409.3215; to forecast all steps without feedback is from Wen et al. 2017, arXiv
    1711.11053.)

    What it learns is the correction to the seasonal naive forecast, which an untrained model
    gives. Take it where covariates are known ahead and act from one step to the next; elsewhere
    `multi_output` does the same in fewer steps.

    Args:
        features: of each timestep; the first is the target, others are read as they are.
        lookback: timesteps of the window.
        horizon: timesteps that are forecast.
        season_length: timesteps of one season, at most `lookback`; 1 for none.
        normalization: how the target of a window is read: relative to its newest value
            (`"last"`, the default), to its mean absolute value (`"mean_scale"`), to its mean and
            deviation (`"revin"`), or as it is (`"none"`). It is undone in the forecast.
        linear_skip: add a linear map of the lookback (NLinear).
        future: features that are known of each step of the horizon.
        static: numbers that are known of a series; encoder and decoder read them in each step.
        categories: size of the vocabulary of each category of a series, with slot 0 for what was
            never seen.
        outputs: numbers for each step, such as quantiles or parameters; the naive forecast is
            added to each.
        name: of the model.
        **stack: units, cell, dropout, recurrent_dropout, implementation, batch_size; see
            `StackOptions`. `bidirectional` and `stateful` are refused.

    Returns:
        An uncompiled functional model, `(batch, lookback, features)` to `(batch, horizon)`, with
        several outputs to `(batch, horizon, outputs)`. With `future`, `static` or `categories` it
        takes a dict, as `multi_output` does.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> encoder_decoder(lookback=36, horizon=12, future=2, units=16).output_shape
        (None, 12)
    """
    one_way("encoder_decoder", stack)
    plan = Stack.parse(**stack)
    check_flag("linear_skip", linear_skip)
    sizes = Sizes(features, lookback, horizon, season_length, future, static, categories, outputs)
    window = Window(sizes, normalization, plan.batch_size)
    encoder = plan.layers("encoder", return_sequences=False, return_state=True)
    decoder = plan.layers("decoder", return_sequences=True, return_state=True)
    _, states = run_from(encoder, window.beside_about(window.past, "about_past"))
    ahead = window.ahead
    if ahead is None:
        ahead = learned_vectors(window.relative, horizon, plan.units[0], "steps")
    steps, _ = run_from(decoder, window.beside_about(ahead, "about_ahead"), states)
    correction = window.head_of_steps(steps, "head")
    if linear_skip:
        correction += window.head(window.relative, "linear_path", use_bias=False)
    return window.model(correction, name or "encoder_decoder")
