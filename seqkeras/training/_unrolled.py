"""A network of a few steps, run over a whole horizon on its own outputs in one graph."""

from typing import Any

import keras
from keras import ops

from seqkeras._checks import Description, bad_argument, check_integer
from seqkeras.errors import ArgumentError
from seqkeras.layers import ScheduledSampling
from seqkeras.models._window import WindowColumns, steps_ahead


def unrolled(
    network: keras.Model, *, horizon: int, teacher_forcing: float | None = None
) -> keras.Model:
    """Build a model of the whole horizon, in which a network of fewer steps reads its own outputs.

    The model shares the weights of the network: train the model, and forecast with the network. As
    in a forecast, each call of the network reads the window after the previous outputs were
    appended to it, and gradients flow back through those outputs. A training step therefore costs
    as much as `horizon / steps` training steps of the network.

    Args:
        network: an uncompiled functional model, `(batch, lookback, features)` to `(batch, steps)`,
            such as `seqkeras.models.recursive`. Instead of an array it may take a dict of
            `"inputs"` and any of `"future"`, `"static"` and `"categories"`. Feature 0 is the
            target, and the features of `"future"` come last. A feature between them is a flag that
            says whether the target was observed; it is 1 for outputs.
        horizon: timesteps to forecast.
        teacher_forcing: probability that training feeds the true value instead of an output
            (scheduled sampling, Bengio et al. 2015, arXiv 1506.03099): 1 is teacher forcing, 0 free
            running, and the callback `TeacherForcingSchedule` lowers it from epoch to epoch. The
            model then takes a dict with `"targets"` as well, `(batch, horizon)`, NaN where a value
            is missing; it reads them only in training. Default: None, the model always runs free
            and takes no targets.

    Returns:
        An uncompiled functional model from the network's inputs, with `"future"` over the whole
        horizon, to `(batch, horizon)`.

    Raises:
        ArgumentError: the network has other inputs or outputs, or an argument cannot be used.

    Example:
        >>> import numpy as np
        >>> from seqkeras.models import recursive
        >>> network = recursive(lookback=8, units=4)
        >>> model = unrolled(network, horizon=2)
        >>> model.output_shape
        (None, 2)
        >>> model.compile("adam", "mae")
        >>> x, y = np.zeros((4, 8, 1)), np.zeros((4, 2))
        >>> history = model.fit(x, y, verbose=0)
    """
    horizon = check_integer("horizon", horizon)
    shapes, steps = _shapes(network)
    _, future_width = shapes.get("future", (0, 0))
    columns = WindowColumns.fed_back(shapes["inputs"][1], future_width)
    inputs = _inputs(network, shapes, horizon)
    sampling = None
    targets = None
    if teacher_forcing is not None:
        sampling = ScheduledSampling(teacher_forcing)
        targets = keras.Input((horizon,), name="targets")
    windows = inputs["inputs"]
    outputs = []
    for first in range(0, horizon, steps):
        places = steps_ahead(first, steps, horizon)
        part = inputs | {"inputs": windows}
        ahead = None
        if "future" in inputs:
            ahead = ops.take(inputs["future"], places, axis=1)
            part["future"] = ahead
        output = network(part if isinstance(network.input, dict) else windows)
        outputs.append(output)
        fed = output
        if sampling is not None:
            fed = sampling(output, ops.take(targets, places, axis=1))
        windows = columns.advance(windows, ops.cast(fed, windows.dtype), ahead, ops)
    forecast = ops.concatenate(outputs, axis=1)[:, :horizon]
    reads = inputs if isinstance(network.input, dict) else inputs["inputs"]
    if targets is not None:
        reads = inputs | {"targets": targets}
    return keras.Model(reads, forecast, name=f"{network.name}_unrolled")


def _shapes(network: Any) -> tuple[dict[str, tuple[int, ...]], int]:
    """Return the shapes of a network's inputs without the batch, and the steps of its output.

    Raises:
        ArgumentError: the outputs of the network cannot be fed back as its inputs.
    """
    expected = "a functional keras.Model of (batch, lookback, features) to (batch, steps)"
    if not isinstance(network, keras.Model):
        raise bad_argument("network", type(network).__name__, expected)
    try:
        tensors = _tensors(network)
        output = tuple(network.output.shape)
    except AttributeError as error:
        raise bad_argument(
            "network", Description(f"a {type(network).__name__}"), expected
        ) from error
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
    window = shapes.get("inputs", ())
    if len(output) != 2 or output[1] is None or len(window) != 2 or None in window:
        fix = (
            "A network with several outputs for each step, as a likelihood needs, must be trained "
            "with teacher forcing instead."
        )
        raise ArgumentError(f"network must be {expected}. Got: {shapes} to {output[1:]}. {fix}")
    return shapes, int(output[1])


def _tensors(network: keras.Model) -> dict[str, Any]:
    return network.input if isinstance(network.input, dict) else {"inputs": network.input}


def _inputs(
    network: keras.Model, shapes: dict[str, tuple[int, ...]], horizon: int
) -> dict[str, Any]:
    """Return new inputs like those of the network, with `"future"` over the whole horizon."""
    shapes = dict(shapes)
    if "future" in shapes:
        shapes["future"] = (horizon, shapes["future"][1])
    inputs = {}
    for name, tensor in _tensors(network).items():
        batch_shape = (tensor.shape[0], *shapes[name])
        inputs[name] = keras.Input(batch_shape=batch_shape, dtype=tensor.dtype, name=name)
    return inputs
