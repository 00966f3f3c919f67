"""Feed the outputs of a model back as its inputs, in one compiled loop."""

from collections.abc import Callable, Hashable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from seqkeras._checks import Description, bad_argument, check_integer
from seqkeras.stepwise._compiled_loops import CompiledLoops
from seqkeras.stepwise._model_step import ModelStep
from seqkeras.stepwise._runner import Runner
from seqkeras.stepwise._validate import check_shapes, check_unsure

Function = Callable[..., Any]


def rollout(
    model: keras.Model,
    context: npt.ArrayLike,
    steps: int,
    *,
    future: npt.ArrayLike | None = None,
    sample: Function | None = None,
    feedback: Function | None = None,
    seed: int | None = None,
) -> Any:
    """Warm a model up on known timesteps, then feed each output back as the next input.

    All steps run in one compiled loop (an eager loop on PyTorch), instead of one `model.predict`
    each. The result is that of calling `model.predict` on the growing sequence. The state starts at
    zeros; the state of a stateful model is neither read nor changed, and its batch size does not
    matter. Each call uses the current weights of the model.

    Args:
        model: a built functional or Sequential model from `(batch, timesteps, features)`, or token
            ids `(batch, timesteps)`, to outputs for each timestep or after the last one.
        context: the known timesteps, shaped as the input of the model. Timesteps that the model
            masks, such as padding on either side, do not change the state; the last output before
            them is fed back.
        steps: number of timesteps to generate.
        future: covariates known in advance, `(batch, steps - 1, covariates)`, or with one timestep
            more. They begin with the first timestep after the context.
        sample: a function of the output and of a `keras.random.SeedGenerator` that draws a value,
            such as a token id from logits. The value is returned and fed back.
        feedback: a function that returns the next input, `(batch, features)`, from the output,
            `(batch, outputs)`, and, with `future`, one row of it, `(batch, covariates)`. Default:
            the output, joined with the row of `future` along the last axis.
        seed: seed of `sample`; the same seed draws the same values. Default: new values at each
            call.

    To draw tokens from a language model, use `seqkeras.decoding.generate`: it ends rows at stop
    ids, and never draws an id that the model masks. A rollout has no end, and a drawn id 0 is
    masked at the next step of a model with `mask_zero=True`: the state and the output before it are
    held.

    `sample` and `feedback` must use `keras.ops`, because they are compiled with the loop. Pass the
    same function objects again to avoid another compilation.

    Returns:
        `(batch, steps, outputs)`; `(batch, steps)` if the values are token ids; a structure of
        such arrays if the model has several outputs. The first step is the output after the
        context.

    Raises:
        ArgumentError: a layer cannot be run one timestep at a time, shapes do not fit, or an
            argument is unusable. This is checked before anything is computed, except for layers
            that are not Keras' own: the model is then run both ways, and refused if the results
            differ.

    Example:
        >>> x = keras.Input((None, 3))
        >>> model = keras.Model(x, keras.layers.Dense(1)(keras.layers.GRU(8)(x)))
        >>> context = np.zeros((4, 20, 3))
        >>> calendar = np.zeros((4, 10, 2))
        >>> rollout(model, context, 10, future=calendar).shape
        (4, 10, 1)
    """
    steps = check_integer("steps", steps)
    for name, function in (("sample", sample), ("feedback", feedback)):
        if function is not None and not callable(function):
            raise bad_argument(name, function, "a function, or None")
    loops = CompiledLoops.of(model, "_seqkeras_rollout", ModelStep)
    timestep = loops.step.timestep
    inputs = {"context": _context(context, timestep), "steps": np.zeros(steps, "int8")}
    if future is not None:
        inputs["future"] = _future(future, len(inputs["context"]), steps, timestep)
    if sample is not None:
        seed = check_integer("seed", seed, minimum=0) if seed is not None else None
        generator = keras.random.SeedGenerator(seed)
        inputs["seed"] = ops.convert_to_numpy(generator.state.value)
    elif seed is not None:
        raise bad_argument("seed", seed, "omitted without sample", "Remove it, or pass sample=.")
    key = (_identity(feedback), _identity(sample))
    runner = loops.loop(key, lambda: Runner(loops.step, feedback, sample))
    check_shapes(runner, len(inputs["context"]), inputs.get("future"))
    if loops.step.unsure and not loops.verified:
        check_unsure(runner, inputs["context"])
        loops.verified = True
    return runner.predict_on_batch(inputs)


def _identity(function: Function | None) -> Hashable:
    return function if isinstance(function, Hashable) else id(function)


def _context(context: Any, timestep: Any) -> npt.NDArray[Any]:
    values = _array("context", context)
    features = timestep.shape[1:]
    expected = ("batch", "timesteps", *features)
    fits = values.ndim == len(expected) and all(
        length in (None, size) for length, size in zip(features, values.shape[2:], strict=True)
    )
    if not fits:
        shape = f"of shape ({', '.join(map(str, expected))}), as the input of the model"
        raise bad_argument("context", Description(f"shape {values.shape}"), shape)
    if not values.size:
        fix = "It needs at least one row and one timestep."
        raise bad_argument("context", Description(f"shape {values.shape}"), "not empty", fix)
    return _cast("context", values, timestep.dtype)


def _future(future: Any, rows: int, steps: int, timestep: Any) -> npt.NDArray[Any]:
    values = _array("future", future)
    if values.ndim != 3 or len(values) != rows:
        expected = f"of shape ({rows}, timesteps, covariates), with as many rows as context"
        raise bad_argument("future", Description(f"shape {values.shape}"), expected)
    if values.shape[1] not in (steps - 1, steps):
        expected = f"of {steps - 1} or {steps} timesteps for {steps} steps"
        raise bad_argument("future", Description(f"{values.shape[1]} timesteps"), expected)
    dtype = timestep.dtype if "float" in timestep.dtype else "float32"
    return _cast("future", values, dtype) if values.dtype.kind == "f" else values


def _array(name: str, value: Any) -> npt.NDArray[Any]:
    if np.ma.isMaskedArray(value):
        fix = "Fill its gaps, or mask the values in the model, with keras.layers.Masking."
        raise bad_argument(name, Description("a masked array"), "an array without a mask", fix)
    try:
        array = ops.convert_to_numpy(value) if ops.is_tensor(value) else np.asarray(value)
    except ValueError as error:
        fix = "Pad rows of different lengths, and mask the padding in the model."
        raise bad_argument(name, type(value).__name__, "one array of numbers", fix) from error
    if array.dtype.kind not in "biufV" or array.dtype.names:
        raise bad_argument(name, Description(f"dtype {array.dtype}"), "an array of numbers")
    return array


def _cast(name: str, values: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    # NumPy lacks bfloat16, so short floats stay float32 here, and the graph casts them.
    with np.errstate(over="ignore"):
        result = values.astype("float32" if dtype in ("float16", "bfloat16") else dtype)
    if result.dtype.kind == "f" and (np.isinf(result) > np.isinf(values)).any():
        raise bad_argument(
            name, Description(f"up to {np.abs(values).max():.3g}"), f"numbers that fit {dtype}"
        )
    if result.dtype.kind in "iu" and not np.array_equal(result, values):
        raise bad_argument(
            name, Description(f"dtype {values.dtype}"), f"whole numbers that fit into {dtype}"
        )
    return result
