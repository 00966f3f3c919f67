"""Check that a model and its functions fit a rollout: first the shapes, then unknown layers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import keras
import numpy as np
import numpy.typing as npt
from keras import ops, tree

from seqkeras._checks import Description, bad_argument
from seqkeras.errors import ArgumentError
from seqkeras.states._named import clear_rows, named_states, rows_of, stateful_layers
from seqkeras.states._tried import agree, tolerance_of
from seqkeras.stepwise._model_step import output_spec
from seqkeras.stepwise._runner import Runner

#: Size of the sequences on which unknown layers are tested.
TRIED_TIMESTEPS = 12
TRIED_ROWS = 4

_DRAW_TOKENS = (
    "To draw token ids from logits: sample=lambda logits, seed: "
    "keras.random.categorical(logits, 1, seed=seed)[:, 0]."
)


def check_shapes(runner: Runner, rows: int, future: npt.NDArray[Any] | None) -> None:
    """Check from shapes only that the next input fits the model.

    Raises:
        ArgumentError: the shape or dtype does not fit, or a function cannot be called.
    """
    covariates = []
    if future is not None:
        covariates = [keras.KerasTensor((rows, *future.shape[2:]), dtype=future.dtype.name)]
    key = (rows, *(tensor.shape for tensor in covariates))
    if key in runner.checked:
        return
    value = tree.map_structure(
        lambda tensor: keras.KerasTensor((rows, *tensor.shape[1:]), dtype=tensor.dtype),
        _outputs(runner),
    )
    if runner.sample is not None:
        sample = runner.sample
        generator = runner.generator
        value = _called("sample", "(output, seed)", lambda output: sample(output, generator), value)
        if any(tuple(tensor.shape[:1]) != (rows,) for tensor in tree.flatten(value)):
            expected = "a function that returns a value for each row"
            actual = Description(f"a function that returns {_shape(value)}")
            raise bad_argument("sample", actual, expected)
    _check_next_input(runner, value, covariates)
    runner.checked.add(key)


def _check_next_input(runner: Runner, value: Any, covariates: list[Any]) -> None:
    timestep = runner.step.timestep
    expected_shape = timestep.shape[1:]
    if runner.feedback is not None:
        signature = "(output, future_t)" if covariates else "(output)"
        next_input = _called("feedback", signature, runner.feedback, value, *covariates)
        if not _fits(next_input, value, expected_shape):
            actual = Description(f"a function that returns {_shape(next_input)}")
            expected = f"a function that returns the next input, {_batched(expected_shape)}"
            fix = f"Its arguments are {_shapes(value, covariates)}."
            raise bad_argument("feedback", actual, expected, fix)
    else:
        next_input = _joined(value, covariates)
        if not _fits(next_input, value, expected_shape):
            _refuse_default(value, covariates, expected_shape)
    if "int" in timestep.dtype and "float" in next_input.dtype:
        actual = Description(f"{_shape(next_input)} of {next_input.dtype}")
        expected = f"of {timestep.dtype}, as the context"
        raise bad_argument("next input", actual, expected, _DRAW_TOKENS)


def _joined(value: Any, covariates: list[Any]) -> Any:
    """Return the next input without `feedback`, or None if output and covariates do not join."""
    if not covariates:
        return value
    if tree.is_nested(value) or len(value.shape) != 2 or len(covariates[0].shape) != 2:
        return None
    features = value.shape[1] + covariates[0].shape[1]
    return keras.KerasTensor((value.shape[0], features), value.dtype)


def _refuse_default(value: Any, covariates: list[Any], expected_shape: Any) -> NoReturn:
    arguments = "output, future_t" if covariates else "output"
    fix = (
        f"Pass feedback=lambda {arguments}: ..., which returns {_batched(expected_shape)} and uses "
        "keras.ops."
    )
    is_vector = not tree.is_nested(value) and len(value.shape) == 2
    if not expected_shape:
        fix = _DRAW_TOKENS
    elif not covariates and len(expected_shape) == 1 and is_vector:
        missing = expected_shape[0] - value.shape[1]
        if missing > 0:
            fix += f" If {missing} of the features are known in advance, pass them as future=."
    actual = Description(f"None, and the outputs are {_shapes(value, covariates)}")
    expected = f"a function if outputs are not the next inputs, {_batched(expected_shape)}"
    raise bad_argument("feedback", actual, expected, fix)


def _called(name: str, signature: str, function: Any, *args: Any) -> Any:
    try:
        return output_spec(function, *args)
    except Exception as error:
        expected = f"a function {signature} of keras.ops"
        raise bad_argument(name, function, expected, _raised(error)) from error


def _raised(error: Exception) -> str:
    message = str(error).split("Error encountered:\n\n")[-1]  # without Keras' heading
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


def check_unsure(runner: Runner, context: npt.NDArray[Any]) -> None:
    """Compare single steps with the model on whole sequences, for layers that are not Keras' own.

    Raises:
        ArgumentError: the outputs differ.
    """
    step = runner.step
    model = step.graph.model
    sequences = _sequences(model, context)
    inputs = [sequences if kind else None for kind in step.input_kinds]
    with _fresh_states(model):
        outputs = model(step.graph.pack_inputs(inputs), training=False)
    expected = [
        ops.convert_to_numpy(ops.cast(output, "float32")) for output in tree.flatten(outputs)
    ]
    stepped = tree.flatten(runner.predict_on_batch({"context": sequences}))
    tolerance = tolerance_of(step.layers)
    for actual, whole, is_sequence in zip(stepped, expected, step.output_kinds, strict=True):
        actual = np.asarray(actual if is_sequence else actual[:, -1], "float32")
        if not agree(actual, whole, tolerance):
            reason = "on single timesteps it returns other values than on sequences"
            _refuse_unsure(runner, reason)


def _refuse_unsure(runner: Runner, reason: str) -> NoReturn:
    names = ", ".join(repr(name) for name in dict.fromkeys(runner.step.unsure))
    actual = f"{runner.step.name} with a layer that reads more than its timestep, one of {names}"
    expected = "a model that can be run one timestep at a time"
    fix = f"Tried out: {reason}. Call model.predict on the growing sequence instead."
    raise bad_argument("model", Description(actual), expected, fix)


def _sequences(model: Any, context: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return shuffled timesteps of the context, floats with noise, as long as the model needs."""
    random = np.random.default_rng(0)
    tensor = next(tensor for tensor in model.inputs if len(tensor.shape) == context.ndim)
    rows = tensor.shape[0] or min(len(context), TRIED_ROWS)
    timesteps = tensor.shape[1] or TRIED_TIMESTEPS
    row = np.resize(np.arange(len(context)), rows)
    time = np.resize(np.arange(context.shape[1]), timesteps)
    values = context[row][:, random.permutation(time)]
    if values.dtype.kind != "f":
        return values
    values = np.nan_to_num(values)
    noise = random.normal(size=values.shape) * (values.std() or np.abs(values).max() or 1)
    return (values + 0.5 * noise).astype(values.dtype)


@contextmanager
def _fresh_states(model: Any) -> Iterator[None]:
    """Clear the states of stateful layers, and restore them afterwards."""
    layers = [layer for layer in stateful_layers(model).values() if layer.states]
    states = [state for layer in layers for state in named_states(layer).values()]
    values = [np.array(ops.convert_to_numpy(state)) for state in states]
    for layer in layers:
        clear_rows(layer, np.ones((rows_of(layer), 1), bool))
    try:
        yield
    finally:
        for state, value in zip(states, values, strict=True):
            state.assign(value)


def _fits(next_input: Any, value: Any, expected_shape: tuple[int | None, ...]) -> bool:
    shape = getattr(next_input, "shape", None)
    if shape is None or len(shape) != len(expected_shape) + 1:
        return False
    rows = tree.flatten(value)[0].shape[0]
    pairs = zip((rows, *expected_shape), shape, strict=True)
    return all(None in (expected, actual) or expected == actual for expected, actual in pairs)


def _batched(shape: Any) -> str:
    return str(("batch", *shape)).replace("'", "")


def _shape(value: Any) -> str:
    return ", ".join(
        _batched(part.shape[1:]) if hasattr(part, "shape") else repr(part)
        for part in tree.flatten(value)
    )


def _shapes(value: Any, covariates: list[Any]) -> str:
    if not covariates:
        return _shape(value)
    return f"{_shape(value)}, and future_t {_shape(covariates)}"
