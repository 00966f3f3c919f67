"""From one network to a forecast of any horizon."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument
from seqkeras.errors import ArgumentError
from seqkeras.models import multi_output

#: Called as `builder(1, lookback=..., horizon=...)`.
Builder = Callable[..., keras.Model]

STRATEGIES = ("multi_output", "recursive")


def default_lookback(horizon: int, season_length: int, room: int) -> int:
    """As many of three seasons as there is room for, and if there is, twice the horizon.

    Args:
        horizon: timesteps to forecast.
        season_length: timesteps of one season.
        room: the longest lookback that the series allow.
    """
    for seasons in (3, 2, 1):
        lookback = max(seasons * season_length, 2 * horizon)
        if lookback <= room:
            return lookback
    return max(1, min(room, 2 * horizon))


def default_batch_size(windows: int) -> int:
    """A hundredth of the windows, from 32 to 1024: small for few, fast for many."""
    return int(np.clip(windows // 100, 32, 1024))


def build_network(
    model: str | Builder | keras.Model,
    *,
    lookback: int,
    horizon: int,
    season_length: int,
    units: int | tuple[int, ...] | None = None,
    cell: str | None = None,
) -> keras.Model:
    """A network with fresh weights, `(batch, lookback, 1)` to `(batch, steps)`.

    Args:
        model: the name of a strategy, a builder, or a model, which is copied.
        lookback: timesteps that it reads.
        horizon: timesteps to forecast; steps are as many for `"multi_output"`, 1 for
            `"recursive"`, and at most as many for a builder or a model.
        season_length: of the named strategies.
        units: of the named strategies; None is 64.
        cell: of the named strategies; None is `"gru"`.

    Raises:
        ArgumentError: a builder or a model gives something else.
    """
    if isinstance(model, str):
        return multi_output(
            lookback=lookback,
            horizon=horizon if model == "multi_output" else 1,
            season_length=season_length,
            units=64 if units is None else units,
            cell="gru" if cell is None else cell,
        )
    if isinstance(model, keras.Model):
        _check_network(model, lookback, horizon)
        return keras.models.clone_model(model)
    try:
        network = model(1, lookback=lookback, horizon=horizon)
    except (TypeError, ArgumentError) as error:
        call = f"model(1, lookback={lookback}, horizon={horizon})"
        raise ArgumentError(
            f"model must be a builder that takes {call}. It said: {error}"
        ) from error
    _check_network(network, lookback, horizon)
    return network


def roll_forward(
    network: keras.Model, context: npt.NDArray[np.float32], horizon: int
) -> npt.NDArray[np.float32]:
    """Forecasts `horizon` timesteps; a network that answers fewer is fed its own answers.

    Args:
        network: `(batch, lookback, 1)` to `(batch, steps)`.
        context: `(batch, lookback, 1)`, the newest values last.
        horizon: timesteps to forecast.

    Returns:
        `(batch, horizon)`.
    """
    lookback, known = context.shape[1], context
    while known.shape[1] - lookback < horizon:
        answer = predict_batches(network, known[:, -lookback:])
        known = np.concatenate([known, answer[..., np.newaxis]], axis=1)
    return known[:, lookback : lookback + horizon, 0]


def predict_batches(
    network: keras.Model, windows: npt.NDArray[np.float32], batch_size: int = 4096
) -> npt.NDArray[np.float32]:
    """The answers to `(windows, lookback, 1)`, a batch after the other."""
    starts = range(0, len(windows), batch_size)
    # Not predict(), which costs 40 ms a call for its loop and its callbacks.
    answers = [network.predict_on_batch(windows[i : i + batch_size]) for i in starts]
    return np.concatenate(answers)


def _check_network(network: Any, lookback: int, horizon: int) -> None:
    expected = (
        f"a keras.Model of (batch, {lookback}, 1) to (batch, steps), with steps from 1 to {horizon}"
    )
    if not isinstance(network, keras.Model):
        raise bad_argument("model", network, expected)
    try:
        reads, writes = network.input_shape, network.output_shape
    except (AttributeError, ValueError) as error:
        fix = "Functional models have these shapes, and Sequential ones that begin with an Input."
        raise bad_argument("model", network, expected, fix) from error
    if not (isinstance(reads, tuple) and isinstance(writes, tuple)):
        raise bad_argument("model", f"inputs {reads}, outputs {writes}", expected)
    fits = len(reads) == 3 and reads[0] is None and reads[1] in (None, lookback) and reads[2] == 1
    if not (fits and len(writes) == 2 and writes[1] is not None and writes[1] <= horizon):
        raise ArgumentError(f"model must give {expected}. Got: {reads} to {writes}.")
