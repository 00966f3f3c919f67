"""A network of a few steps, run over a whole horizon on its own answers, in one graph."""

from typing import Any

import keras
import numpy as np
from keras import ops

from seqkeras._checks import bad_argument, check_integer
from seqkeras.errors import ArgumentError
from seqkeras.training._scheduled_sampling import ScheduledSampling


def unrolled(
    network: keras.Model, *, horizon: int, teacher_forcing: float | None = None
) -> keras.Model:
    """A model of the whole horizon, in which a network of fewer steps is fed its own answers.

    It shares the weights of the network: train the one, and forecast with the other. Each step
    reads the window that was moved on by the answers before it, as a forecast does, and gradients
    go back through them. So a step of training costs as much as one of the network for each step
    of the horizon.

    Args:
        network: an uncompiled functional model, `(batch, lookback, features)` to `(batch, steps)`,
            such as `seqkeras.models.recursive`, or of a dict with `"inputs"` and what there is
            among `"future"`, `"static"` and `"categories"`. Feature 0 is the target; those of
            `future` are the last; one between them is a flag that a target was observed, which
            is 1 for answers.
        horizon: timesteps to forecast.
        teacher_forcing: probability that training feeds the true value in place of an answer
            (scheduled sampling, Bengio et al. 2015, arXiv 1506.03099): 1 is teacher forcing, 0 free
            running, and the callback `TeacherForcingSchedule` lowers it from epoch to epoch. The
            model then takes a dict with `"targets"` as well, `(batch, horizon)`, NaN where one is
            missing, which it looks at in training alone. None: it always runs free, and takes no
            targets.

    Returns:
        An uncompiled functional model, of the inputs of the network, `"future"` over the whole
        horizon, to `(batch, horizon)`.

    Raises:
        ArgumentError: the network has other shapes, or an argument cannot be used.

    Example:
        >>> from seqkeras.models import recursive
        >>> network = recursive(lookback=24, units=8)
        >>> model = unrolled(network, horizon=6)
        >>> model.output_shape
        (None, 6)
        >>> model.compile("adam", "mae")
        >>> x, y = np.zeros((4, 24, 1)), np.zeros((4, 6))
        >>> history = model.fit(x, y, verbose=0)
    """
    horizon = check_integer("horizon", horizon)
    shapes, steps = _shapes(network)
    inputs = _inputs(network, shapes, horizon)
    sampling = targets = None
    if teacher_forcing is not None:
        sampling = ScheduledSampling(teacher_forcing)
        targets = keras.Input((horizon,), name="targets")
    window, answers = inputs["inputs"], []
    for done in range(0, horizon, steps):
        # Behind the last step, for answers that are cut off, it stands again.
        ahead = np.minimum(np.arange(done, done + steps), horizon - 1)
        given = inputs | {"inputs": window}
        if "future" in inputs:
            given["future"] = ops.take(inputs["future"], ahead, axis=1)
        answer = network(given if isinstance(network.input, dict) else window)
        answers.append(answer)
        fed = answer
        if sampling is not None:
            fed = sampling(answer, ops.take(targets, ahead, axis=1))
        window = _moved_on(window, fed, given.get("future"))
    forecast = ops.concatenate(answers, axis=1)[:, :horizon]
    reads = inputs if isinstance(network.input, dict) else inputs["inputs"]
    if targets is not None:
        reads = inputs | {"targets": targets}
    return keras.Model(reads, forecast, name=f"{network.name}_unrolled")


def _shapes(network: Any) -> tuple[dict[str, tuple[int, ...]], int]:
    """The shapes of the inputs without the batch, and the steps of an answer.

    Raises:
        ArgumentError: they are not those of a network that can be fed back.
    """
    expected = "a functional keras.Model of (batch, lookback, features) to (batch, steps)"
    if not isinstance(network, keras.Model):
        raise bad_argument("network", type(network).__name__, expected)
    try:
        given, answer = network.input, tuple(network.output.shape)
    except AttributeError as error:
        raise bad_argument("network", f"a {type(network).__name__}", expected) from error
    parts = given if isinstance(given, dict) else {"inputs": given}
    shapes = {name: tuple(one.shape[1:]) for name, one in parts.items()}
    past = shapes.get("inputs", ())
    if len(answer) != 2 or answer[1] is None or len(past) != 2 or None in past:
        fix = "Of several outputs a step, as a head has, teacher forcing is the way to train."
        raise ArgumentError(f"network must be {expected}. Got: {shapes} to {answer[1:]}. {fix}")
    between = past[1] - 1 - shapes.get("future", (0, 0))[1]
    if between not in (0, 1):
        fix = "All other features would have to be known when an answer is fed back."
        expected = "one that reads the target, at most one flag, and the features of 'future'"
        raise bad_argument("network", f"{shapes}", expected, fix)
    return shapes, int(answer[1])


def _inputs(
    network: keras.Model, shapes: dict[str, tuple[int, ...]], horizon: int
) -> dict[str, Any]:
    """Fresh inputs like those of the network, with the future of the whole horizon."""
    given = network.input if isinstance(network.input, dict) else {"inputs": network.input}
    wanted = dict(shapes)
    if "future" in wanted:
        wanted["future"] = (horizon, shapes["future"][1])
    return {
        name: keras.Input(batch_shape=(given[name].shape[0], *shape), dtype=given[name].dtype,
                          name=name)
        for name, shape in wanted.items()
    }  # fmt: skip


def _moved_on(window: Any, answer: Any, ahead: Any) -> Any:
    """The window without its oldest rows, and answers behind it."""
    parts = [ops.expand_dims(ops.cast(answer, window.dtype), -1)]
    width = 0 if ahead is None else ahead.shape[-1]
    if window.shape[-1] > 1 + width:
        parts.append(ops.ones_like(parts[0]))
    if ahead is not None:
        parts.append(ahead)
    rows = ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    return ops.concatenate([window, rows], axis=1)[:, -window.shape[1] :]
