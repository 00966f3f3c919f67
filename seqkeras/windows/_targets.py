"""Check that a data set fits the model that reads it, in its inputs and its targets.

Keras broadcasts targets against outputs, so training on targets of the wrong shape runs without an
error and learns nonsense. Keras does not tell a data set which model reads it, so the data set
looks for the model among its callers when an epoch begins.
"""

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary, ref

import keras
from keras import tree

from seqkeras._checks import Description, bad_argument

Shape: TypeAlias = tuple[int | None, ...]

#: Losses whose targets have the shape of the outputs.
_ALIKE = frozenset({
    "BinaryCrossentropy", "BinaryFocalCrossentropy", "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy", "CategoricalHinge", "CosineSimilarity", "Hinge", "Huber",
    "KLDivergence", "LogCosh", "MeanAbsoluteError", "MeanAbsolutePercentageError",
    "MeanSquaredError", "MeanSquaredLogarithmicError", "Poisson", "SquaredHinge",
    "binary_crossentropy", "binary_focal_crossentropy", "categorical_crossentropy",
    "categorical_focal_crossentropy", "categorical_hinge", "cosine_similarity", "hinge", "huber",
    "kl_divergence", "log_cosh", "mean_absolute_error", "mean_absolute_percentage_error",
    "mean_squared_error", "mean_squared_logarithmic_error", "poisson", "squared_hinge",
})  # fmt: skip
#: Losses whose targets are class indices, without the class axis, the last axis of the outputs.
_CLASSES = frozenset(("SparseCategoricalCrossentropy", "sparse_categorical_crossentropy"))

#: What to do where a stateful model reads rows that do not continue each other.
HOW_TO_CONTINUE = (
    "Train it with StatefulBatches and seqkeras.training.fit_stateful, or train a stateless model "
    "on windows and convert it with seqkeras.states.as_stateful."
)

#: The methods of a model that read a data set.
_READERS = ("fit", "evaluate", "predict")

#: For each data set, the model and the loss of its last check.
_checked: "WeakKeyDictionary[Any, tuple[ref[keras.Model], Any]]" = WeakKeyDictionary()


class Advice(NamedTuple):
    """The arguments to change in a data set, for errors.

    Attributes:
        each: argument for a model with an output at each timestep.
        once: argument for a model with one output after the last timestep.
    """

    each: str
    once: str


class Reader(NamedTuple):
    """The call of a model's method that reads a data set.

    Attributes:
        model: the model.
        first_epoch: `initial_epoch` of `fit`; 0 with `steps_per_epoch`, and for other methods.
        validation: `validation_data` of `fit`.
        shuffles: whether `fit` changes the order of batches, as it does by default.
    """

    model: keras.Model
    first_epoch: int
    validation: Any = None
    shuffles: bool = False


def find_reader() -> Reader | None:
    """Return the call of `fit` or `evaluate` that led here, at any depth, or None."""
    frame = inspect.currentframe()
    while frame is not None:
        method = frame.f_code.co_name
        values = frame.f_locals if method in _READERS else {}
        model = values.get("self")
        if isinstance(model, keras.Model):
            if method == "predict":
                return None
            first = 0 if values.get("steps_per_epoch") else values.get("initial_epoch", 0)
            shuffles = bool(values.get("shuffle", False))
            return Reader(model, first, values.get("validation_data"), shuffles)
        frame = frame.f_back
    return None


def check_once(dataset: Any, model: keras.Model) -> None:
    """Check a data set against a model, unless its last check was with the same model and loss.

    Args:
        dataset: the data set, an `Epochs`.
        model: a compiled model.

    Raises:
        ArgumentError: see `check_inputs`, `check_targets` and `check_state`.
    """
    state = ref(model), model.loss
    if _checked.get(dataset) == state:
        return
    check_inputs(model, dataset)
    check_targets(model, dataset)
    check_state(model, dataset)
    _checked[dataset] = state


def check_inputs(model: keras.Model, dataset: Any) -> None:
    """Check that a data set has the inputs of a functional model, in their shapes.

    Raises:
        ArgumentError: the model reads an input that the data set does not have, or of another
            shape.
    """
    batch = dataset.first_batch()
    x = batch[0] if isinstance(batch, tuple) else batch
    if not isinstance(model, keras.Function):
        return
    tensors = model.input
    if not isinstance(tensors, dict):
        tensors = {tensor.name: tensor for tensor in tree.flatten(tensors)}
    if isinstance(x, dict):
        _check_names(model, x, tensors)
        pairs = [(tensor, x[name]) for name, tensor in tensors.items() if name in x]
    else:
        pairs = list(zip(tensors.values(), tree.flatten(x), strict=False))
    has_states = is_stateful(model)
    for tensor, array in pairs:
        # Keras reads any number of rows, unless there are states for each row.
        rows = tensor.shape[0] if has_states else None
        _check_shape(tensor, (rows, *tensor.shape[1:]), tuple(array.shape))


def is_stateful(model: Any) -> bool:
    """Return whether a layer within a model carries its state from batch to batch."""
    layers = getattr(model, "layers", ())
    return any(getattr(layer, "stateful", False) or is_stateful(layer) for layer in layers)


def _check_names(model: keras.Model, x: dict[str, Any], tensors: dict[str, Any]) -> None:
    names = [
        name
        for name, tensor in tensors.items()
        if not getattr(model.get_layer(tensor.name), "optional", False)
    ]
    if all(name in x for name in names):
        return
    fix = f"Give the inputs of a functional model these names: {list(x)}."
    masks = [name for name in x if name.endswith("_mask")]
    if masks and len(names) == 1:
        fix = (
            "To mask timesteps in it, put it into a model that reads both: past = "
            'keras.Input((timesteps, features), name="past"), mask = keras.Input((timesteps, '
            'features), name="past_mask", dtype="bool"), keras.Model({"past": past, "past_mask": '
            "mask}, model(past, mask=keras.ops.all(mask, axis=-1)))."
        )
    raise bad_argument("model", names, f"one with the inputs {list(x)} of these windows", fix)


def _check_shape(tensor: Any, expected: Shape, actual: Shape) -> None:
    if not _fit(actual, expected):
        like = f"of shape {expected}, as the input {tensor.name!r} of the model"
        fix = _fix_inputs(actual, expected)
        raise bad_argument("inputs", Description(f"shape {actual}"), like, fix)


def _fix_inputs(actual: Shape, expected: Shape) -> str:
    if len(actual) != 3 or len(expected) != 3:
        return f"Build the model for inputs of shape {actual[1:]}."
    axis = next(i for i in range(3) if expected[i] not in (actual[i], None))
    size, own = actual[axis], expected[axis]
    name = ("rows", "timesteps", "features")[axis]
    data = (f"batches of {own} rows", f"a lookback of {own}", f"series of width {own}")[axis]
    return f"Build the model for {size} {name}, or give it {data}."


def check_targets(model: keras.Model, dataset: Any) -> None:
    """Check that the targets of a data set have the shape of a model's outputs.

    Raises:
        ArgumentError: they have another shape; the message has both shapes, and the fix. Custom
            losses are not checked, because they may compare other shapes. Or there are none.
    """
    is_of_keras = type(model).train_step is keras.Model.train_step
    if model.loss is not None and is_of_keras and not isinstance(dataset.first_batch(), tuple):
        fix = "Use a horizon of 1 or more, or target_rows='lookback' for labels of timesteps."
        expected = "part of the windows where the model is compiled with a loss"
        raise bad_argument("targets", Description("windows without targets"), expected, fix)
    misfit = find_misfit(model, dataset)
    if misfit is not None:
        expected = "shaped like the outputs of the model, or Keras silently broadcasts them"
        raise bad_argument("targets", Description(misfit.shapes), expected, misfit.fix)


def check_state(model: keras.Model, dataset: Any) -> None:
    """Check that the batches continue each other if a model carries its state between them.

    Raises:
        ArgumentError: the model is stateful, and they do not.
    """
    reason = dataset.why_not_continuing()
    if reason is not None and is_stateful(model):
        expected = f"stateless: {reason}, so no batch continues the batch before"
        actual = Description(f"{model.name!r}, which is stateful")
        raise bad_argument("model", actual, expected, HOW_TO_CONTINUE)


class Misfit(NamedTuple):
    """Targets that do not fit the outputs of a model.

    Attributes:
        shapes: text with both shapes.
        fix: what to change, as a sentence.
    """

    shapes: str
    fix: str


def find_misfit(model: keras.Model, dataset: Any) -> Misfit | None:
    """Return how the targets of a data set do not fit a compiled model, or None if they fit."""
    batch = dataset.first_batch()
    if not isinstance(batch, tuple) or len(batch) < 2:
        return None
    for targets, outputs, loss in _compared(model, *batch[:2]):
        name = _name_of(loss)
        expected = outputs[:-1] if name in _CLASSES else outputs
        if name in _ALIKE | _CLASSES and not _fit(targets, expected):
            shapes = f"targets {targets} for outputs {outputs}"
            return Misfit(shapes, _fix(targets, expected, dataset.advice))
    return None


def _compared(model: keras.Model, x: Any, y: Any) -> Iterator[tuple[Shape, Shape, Any]]:
    """Yield the shapes of targets and outputs that a loss compares, with the loss."""
    outputs = _output_shapes(model, x)
    losses = model.loss
    if isinstance(y, dict) and isinstance(outputs, dict):
        names = [name for name in outputs if name in y]
        y = [y[name] for name in names]
        outputs = [outputs[name] for name in names]
        losses = [losses.get(name) for name in names] if isinstance(losses, dict) else losses
    targets = tree.flatten(y)
    outputs = tree.flatten(outputs)
    if isinstance(losses, dict):
        losses = list(losses.values())
    if not isinstance(losses, (list, tuple)):
        losses = [losses] * len(outputs)
    if len(targets) != len(outputs) or len(losses) != len(outputs):
        return  # Keras itself raises for these
    for target, output, loss in zip(targets, outputs, losses, strict=True):
        yield tuple(target.shape), tuple(output.shape), loss


def _output_shapes(model: keras.Model, x: Any) -> Any:
    """Return the outputs for these inputs as `KerasTensor`s; empty if the shapes are unknown."""
    if not (model.built or isinstance(model, keras.Sequential)):
        return []
    try:
        shapes = model.compute_output_shape(tree.map_structure(lambda array: array.shape, x))
    except Exception:  # any error of a layer; `fit` raises it with its own message
        return []
    return tree.map_shape_structure(keras.KerasTensor, shapes)


def _name_of(loss: Any) -> str:
    """Return the name of a loss of Keras; an empty string for other losses."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    kind = loss if hasattr(loss, "__name__") else type(loss)
    return kind.__name__ if kind.__module__.startswith("keras.") else ""


def _fit(targets: Shape, outputs: Shape) -> bool:
    """Return whether the shapes fit, up to one last axis of length 1, which Keras removes."""
    shorter, longer = sorted((targets, outputs), key=len)
    if len(longer) == len(shorter) + 1 and longer[-1] == 1:
        longer = longer[:-1]
    pairs = zip(shorter, longer, strict=False)
    return len(shorter) == len(longer) and all(a == b or None in (a, b) for a, b in pairs)


def _fix(targets: Shape, outputs: Shape, advice: Advice) -> str:
    if len(outputs) > 2 and targets[1:2] != outputs[1:2]:
        return (
            f"The model has an output at each timestep: use {advice.each}, or a model with one "
            "output after the last timestep, such as many_to_one."
        )
    if len(outputs) < 3 and len(targets) > 2:
        return (
            f"The model has one output after the last timestep: use {advice.once}, or a model with "
            "an output at each timestep, such as many_to_many."
        )
    return (
        f"Build the model for outputs of width {targets[-1]}, or give it targets of width "
        f"{outputs[-1]}: a horizon of {outputs[-1]}, or as many columns of targets."
    )
