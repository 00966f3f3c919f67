"""A network with an encoder that reads the lookback and a decoder that runs over the horizon."""

from typing import Unpack

import keras

from seqkeras._checks import check_flag
from seqkeras.models._stack import one_way, run_from
from seqkeras.models._window import NetworkOptions, learned_vectors, plan_network


def encoder_decoder(
    features: int = 1,
    *,
    lookback: int,
    horizon: int,
    season_length: int = 1,
    linear_skip: bool = True,
    name: str | None = None,
    **options: Unpack[NetworkOptions],
) -> keras.Model:
    """Build a forecaster whose decoder runs over the horizon from the encoder's last state.

    The decoder is a second stack of the same layers. At each step it reads the future covariates
    of that step and the row that the naive forecast repeats; without future covariates it reads a
    learned vector that identifies the step. It does not read its own forecasts, so no error grows
    from step to step, and training reads the same inputs as forecasting. (Encoder and decoder are
    those of Sutskever et al. 2014, arXiv 1409.3215; forecasting all steps without feedback is from
    Wen et al. 2017, arXiv 1711.11053.)

    It learns the correction to the seasonal naive forecast, which is what an untrained model
    returns. Use it where the effect of future covariates carries over from step to step; otherwise
    `multi_output` does the same in fewer steps.

    Args:
        features: columns of each timestep, default 1. The first is the target; others are read
            unchanged.
        lookback: timesteps of the window.
        horizon: timesteps to forecast.
        season_length: timesteps of one season, at most `lookback`; default 1, no season.
        linear_skip: whether to add a linear map of the lookback (NLinear), default True.
        name: name of the model, default `"encoder_decoder"`.
        **options: normalization, future, static, categories, outputs, see `NetworkOptions`; units,
            cell, dropout, recurrent_dropout, implementation, batch_size, see `StackOptions`.
            Encoder and decoder read static numbers and categories at each step. `bidirectional`
            and `stateful` are refused.

    Returns:
        An uncompiled functional model, `(batch, lookback, features)` to `(batch, horizon)`; with
        several outputs to `(batch, horizon, outputs)`. With `future`, `static` or `categories` it
        takes a dict, as `multi_output` does.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> encoder_decoder(lookback=36, horizon=12, future=2, units=16).output_shape
        (None, 12)
    """
    one_way("encoder_decoder", options)
    check_flag("linear_skip", linear_skip)
    window, stack = plan_network(
        options,
        features=features,
        lookback=lookback,
        horizon=horizon,
        season_length=season_length,
    )
    encoder = stack.layers("encoder", return_sequences=False, return_state=True)
    decoder = stack.layers("decoder", return_sequences=True, return_state=True)
    _, states = run_from(encoder, stack.project(window.with_about(window.past, "about_past")))
    ahead = window.ahead
    if ahead is None:
        ahead = learned_vectors(window.relative, horizon, stack.units[0], "steps")
    ahead = stack.project(window.with_about(ahead, "about_ahead"), "ahead_projection")
    steps, _ = run_from(decoder, ahead, states)
    correction = window.head_of_steps(steps, "head")
    if linear_skip:
        correction += window.head(window.relative, "linear_path", use_bias=False)
    return window.model(correction, name or "encoder_decoder")
