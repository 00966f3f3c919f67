"""Check that a data set fits the model that reads it, in its inputs and its targets.

Keras broadcasts targets against outputs: a training on targets of another shape runs, and learns
nonsense. It shows a data set nothing of the model that reads it, so a data set looks for the model
among its callers when an epoch begins.
"""

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary, ref

import keras
from keras import tree

from seqkeras._checks import Description, bad_argument

Shape: TypeAlias = tuple[int | None, ...]

#: Losses that compare each number of the outputs with a target of its own.
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
#: Losses whose targets are numbers of classes, which the last axis of the outputs counts.
_CLASSES = frozenset(("SparseCategoricalCrossentropy", "sparse_categorical_crossentropy"))

#: The methods of a model that read a data set.
_READERS = ("fit", "evaluate", "predict")

#: The model and the loss that a data set was last checked for.
_checked: "WeakKeyDictionary[Any, tuple[ref[keras.Model], Any]]" = WeakKeyDictionary()


class Advice(NamedTuple):
    """What to change in a data set, for errors.

    Attributes:
        each: the argument for a model with an output at each timestep.
        once: the argument for a model with one output after the last timestep.
    """

    each: str
    once: str


class Reader(NamedTuple):
    """The call of a model's method that reads a data set.

    Attributes:
        model: the model.
        first_epoch: number of the first epoch of a training that is resumed; 0 for others.
    """

    model: keras.Model
    first_epoch: int


def find_reader() -> Reader | None:
    """Return what `fit` or `evaluate` has called this, at any depth, or None."""
    frame = inspect.currentframe()
    while frame is not None:
        method = frame.f_code.co_name
        values = frame.f_locals if method in _READERS else {}
        model = values.get("self")
        if isinstance(model, keras.Model):
            if method == "predict":
                return None
            first = 0 if values.get("steps_per_epoch") else values.get("initial_epoch", 0)
            return Reader(model, first)
        frame = frame.f_back
    return None


def check_once(dataset: Any, model: keras.Model) -> None:
    """Check a data set against a model, unless it was the last one that it was checked against.

    Args:
        dataset: has a method `first_batch`, and `advice`.
        model: compiled.

    Raises:
        ArgumentError: see `check_inputs` and `check_targets`.
    """
    state = ref(model), model.loss
    if _checked.get(dataset) == state:
        return
    check_inputs(model, dataset)
    check_targets(model, dataset)
    _checked[dataset] = state


def check_inputs(model: keras.Model, dataset: Any) -> None:
    """Check that named inputs of a data set are those of a functional model.

    Raises:
        ArgumentError: the model reads an input of another name.
    """
    batch = dataset.first_batch()
    x = batch[0] if isinstance(batch, tuple) else batch
    if not isinstance(x, dict) or not isinstance(model, keras.Function):
        return
    tensors = model.input
    if not isinstance(tensors, dict):
        tensors = {tensor.name: tensor for tensor in tree.flatten(tensors)}
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


def check_targets(model: keras.Model, dataset: Any) -> None:
    """Check that the targets of a data set have the shape of a model's outputs.

    Raises:
        ArgumentError: they have another shape; the message has both, and the fix. A loss of one's
            own may compare what it likes, and is not judged.
    """
    misfit = find_misfit(model, dataset)
    if misfit is not None:
        expected = "shaped like the outputs of the model, or Keras broadcasts them without a word"
        raise bad_argument("targets", Description(misfit.shapes), expected, misfit.fix)


class Misfit(NamedTuple):
    """Targets that do not fit the outputs of a model.

    Attributes:
        shapes: both shapes, in words.
        fix: what to do, as a sentence.
    """

    shapes: str
    fix: str


def find_misfit(model: keras.Model, dataset: Any) -> Misfit | None:
    """Return in which way the targets of a data set do not fit a compiled model, or None."""
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
        return  # Keras refuses these
    for target, output, loss in zip(targets, outputs, losses, strict=True):
        yield tuple(target.shape), tuple(output.shape), loss


def _output_shapes(model: keras.Model, x: Any) -> Any:
    """Return the outputs for such inputs as `KerasTensor`s; none if the model cannot read them."""
    if not (model.built or isinstance(model, keras.Sequential)):
        return []
    try:
        shapes = model.compute_output_shape(tree.map_structure(lambda array: array.shape, x))
    except Exception:  # of any layer: `fit` raises it again, in its own words
        return []
    return tree.map_shape_structure(keras.KerasTensor, shapes)


def _name_of(loss: Any) -> str:
    """Return the name of a loss of Keras; of others an empty string."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    kind = loss if hasattr(loss, "__name__") else type(loss)
    return kind.__name__ if kind.__module__.startswith("keras.") else ""


def _fit(targets: Shape, outputs: Shape) -> bool:
    """Return whether Keras compares each number with one; it drops one last axis of length 1."""
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
