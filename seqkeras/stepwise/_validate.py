"""Whether a model and functions given fit a rollout: shapes first, then layers one is unsure of."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import keras
import numpy as np
import numpy.typing as npt
from keras import ops, tree

from seqkeras._checks import bad_argument
from seqkeras.errors import ArgumentError
from seqkeras.states._named import clear_rows, rows_of, stateful_layers
from seqkeras.stepwise._runner import Runner
from seqkeras.stepwise._stepwise import Plain, spec

# Timesteps that an unknown layer is tried on, and rows.
TRIED, TRIED_ROWS = 12, 4


def check_shapes(runner: Runner, rows: int, future: npt.NDArray[Any] | None) -> None:
    """Checks what is fed back against the input of the model, without any work.

    Raises:
        ArgumentError: it has another shape, or a function given cannot be called.
    """
    known = []
    if future is not None:
        known = [keras.KerasTensor((rows, *future.shape[2:]), dtype=future.dtype.name)]
    key = (rows, *(one.shape for one in known))
    if key in runner.checked:
        return
    value = tree.map_structure(
        lambda one: keras.KerasTensor((rows, *one.shape[1:]), dtype=one.dtype), _outputs(runner)
    )
    if runner.sample is not None:
        seed = runner.generator
        value = _tried("sample", "(output, seed)", lambda one: runner.sample(one, seed), value)
        if any(tuple(one.shape[:1]) != (rows,) for one in tree.flatten(value)):
            expected = "a function that gives a value for each row"
            raise bad_argument("sample", Plain(f"one that gives {_shape(value)}"), expected)
    _check_fed(runner, value, known)
    runner.checked.add(key)


def _check_fed(runner: Runner, value: Any, known: list[Any]) -> None:
    timestep = runner.step.timestep
    wanted = timestep.shape[1:]
    if runner.feedback is not None:
        names = "(output, future_t)" if known else "(output)"
        fed = _tried("feedback", names, runner.feedback, value, *known)
        if not _fits(fed, value, wanted):
            got = Plain(f"one that gives {_shape(fed)}")
            expected = f"a function that gives the next input, {_batched(wanted)}"
            raise bad_argument("feedback", got, expected, f"It was given {_shapes(value, known)}.")
    else:
        fed = _joined(value, known)
        if not _fits(fed, value, wanted):
            _refuse_default(value, known, wanted)
    if "int" in timestep.dtype and "float" in fed.dtype:
        got = Plain(f"{_shape(fed)} of {fed.dtype}")
        raise bad_argument("next input", got, f"of {timestep.dtype}, as the context", _SAMPLE)


def _joined(value: Any, known: list[Any]) -> Any:
    """What is fed back without a function; None where that cannot be."""
    if not known or tree.is_nested(value):
        return None if known else value
    if (len(value.shape), len(known[0].shape)) != (2, 2):
        return None
    return keras.KerasTensor((value.shape[0], value.shape[1] + known[0].shape[1]), value.dtype)


_SAMPLE = (
    "To draw token ids from logits: sample=lambda logits, seed: "
    "keras.random.categorical(logits, 1, seed=seed)[:, 0]."
)


def _refuse_default(value: Any, known: list[Any], wanted: Any) -> NoReturn:
    names = "output, future_t" if known else "output"
    fix = (
        f"Make the next input of it: feedback=lambda {names}: ..., keras.ops that give "
        f"{_batched(wanted)}."
    )
    if not wanted:
        fix = _SAMPLE
    elif not known and len(wanted) == 1 and not tree.is_nested(value) and len(value.shape) == 2:
        more = wanted[0] - value.shape[1]
        if more > 0:
            fix += f" If {more} of the features are known in advance, give them as future=."
    got = Plain(f"None, and the outputs are {_shapes(value, known)}")
    expected = f"given where outputs are not the next inputs, {_batched(wanted)}"
    raise bad_argument("feedback", got, expected, fix)


def _tried(name: str, signature: str, function: Any, *args: Any) -> Any:
    try:
        return spec(function, *args)
    except Exception as error:
        expected = f"a function {signature} of keras.ops"
        raise bad_argument(name, function, expected, _raised(error)) from error


def _raised(error: Exception) -> str:
    message = str(error).split("Error encountered:\n\n")[-1]  # what Keras puts before
    return f"It raised {type(error).__name__}: {message}"


def _outputs(runner: Runner) -> Any:
    try:
        return runner.step.output_like
    except ArgumentError:
        raise
    except Exception as error:
        if not runner.step.unsure:
            raise
        _refuse_unsure(runner, f"on a single timestep it fails. {_raised(error)}")


def check_unsure(model: Any, runner: Runner, context: npt.NDArray[Any]) -> None:
    """Compares stepping with the model on whole sequences, where layers are not known.

    Raises:
        ArgumentError: they differ.
    """
    tried = _sequences(model, context)
    inputs = [tried if kind else None for kind in runner.step.graph.input_kinds]
    structure = getattr(model, "_inputs_struct", model.inputs)
    if isinstance(structure, list) and len(inputs) == 1:
        structure = structure[0]
    with _begun_anew(model):
        whole = model(tree.pack_sequence_as(structure, inputs), training=False)
    whole = [ops.convert_to_numpy(ops.cast(one, "float32")) for one in tree.flatten(whole)]
    stepped = tree.flatten(runner.predict_on_batch({"context": tried}))
    short = any("float16" in layer.compute_dtype for layer in runner.walked)
    for one, other, each in zip(stepped, whole, runner.step.graph.output_kinds, strict=True):
        one = np.asarray(one if each else one[:, -1], "float32")
        scale = max(1.0, float(np.nanmax(np.abs(other), initial=0.0)))
        off = (0.05 if short else 1e-4) * scale
        if one.shape != other.shape or not np.allclose(one, other, off, off, equal_nan=True):
            _refuse_unsure(runner, "on single timesteps it gives other values than on sequences")


def _refuse_unsure(runner: Runner, reason: str) -> NoReturn:
    names = ", ".join(repr(name) for name in dict.fromkeys(runner.step.unsure))
    got = f"{runner.step.name} with layers of which one reads more than its timestep, of {names}"
    expected = "a model that can be run one timestep at a time"
    fix = f"Tried out: {reason}. Call model.predict on the growing sequence instead."
    raise bad_argument("model", Plain(got), expected, fix)


def _sequences(model: Any, context: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Some rows of the context, as long as the model wants them, and different at each timestep."""
    random = np.random.default_rng(0)
    (given,) = [one for one in model.inputs if len(one.shape) == context.ndim][:1]
    rows = given.shape[0] or min(len(context), TRIED_ROWS)
    timesteps = given.shape[1] or TRIED
    row = np.resize(np.arange(len(context)), rows)
    time = np.resize(np.arange(context.shape[1]), timesteps)
    values = context[row][:, random.permutation(time)]
    if values.dtype.kind != "f":
        return values
    values = np.nan_to_num(values)
    noise = random.normal(size=values.shape) * (values.std() or np.abs(values).max() or 1)
    return (values + 0.5 * noise).astype(values.dtype)


@contextmanager
def _begun_anew(model: Any) -> Iterator[None]:
    """Lets stateful layers begin anew, and puts what they kept back."""
    layers = [layer for layer in stateful_layers(model).values() if layer.states]
    kept = [
        (one, np.array(ops.convert_to_numpy(one)))
        for one in tree.flatten([x.states for x in layers])
    ]
    for layer in layers:
        clear_rows(layer, np.ones((rows_of(layer), 1), bool))
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)


def _fits(fed: Any, value: Any, wanted: tuple[int | None, ...]) -> bool:
    shape = getattr(fed, "shape", None)
    if shape is None or len(shape) != len(wanted) + 1:
        return False
    rows = tree.flatten(value)[0].shape[0]
    expected = zip((rows, *wanted), shape, strict=True)
    return all(None in (want, have) or want == have for want, have in expected)


def _batched(shape: Any) -> str:
    return str(("batch", *shape)).replace("'", "")


def _shape(value: Any) -> str:
    flat = tree.flatten(value)
    return ", ".join(
        _batched(one.shape[1:]) if hasattr(one, "shape") else repr(one) for one in flat
    )


def _shapes(value: Any, known: list[Any]) -> str:
    extra = f", and future_t {_shape(known)}" if known else ""
    return _shape(value) + extra
