"""Find problems of a model and the data that `fit` reads, which raise no error."""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
from keras import tree

from seqkeras._checks import Description, bad_argument
from seqkeras._keras_graph import ModelGraph, is_graph
from seqkeras.diagnostics._trap import Trap
from seqkeras.windows import StatefulBatches, Windows
from seqkeras.windows._targets import HOW_TO_CONTINUE, Advice, find_misfit

_ADVICE = Advice(
    "targets of shape (samples, timesteps, width)", "targets of shape (samples, width)"
)


class _Arrays(NamedTuple):
    """Arrays as `fit(x, y)` reads them.

    Attributes:
        x: array `(samples, ...)`, or a list or dict of them.
        y: targets in the same form. None without targets.
    """

    x: Any
    y: Any = None
    advice: Advice = _ADVICE

    def first_batch(self) -> Any:
        """Return the first sample, or two: with one, axes of length 1 look like any other."""
        parts = self.x if self.y is None else (self.x, self.y)
        return tree.map_structure(lambda array: array[:2], parts)

    def why_not_continuing(self) -> str:
        """Return why a state cannot be carried from batch to batch."""
        return "fit shuffles the rows of arrays, unless called with shuffle=False"


Data: TypeAlias = Windows | StatefulBatches | _Arrays


def read_data(data: Any) -> Data:
    """Return the data in a form that can be examined.

    Raises:
        ArgumentError: they are of another type, or arrays of different lengths.
    """
    if isinstance(data, (Windows, StatefulBatches)):
        return data
    if not isinstance(data, tuple) or len(data) not in (1, 2, 3):
        expected = "Windows, StatefulBatches or a tuple of arrays, (x, y)"
        raise bad_argument("data", type(data).__name__, expected)
    parts = [tree.map_structure(np.asarray, part) for part in data[:2] if part is not None]
    shapes = [array.shape for array in tree.flatten(parts)]
    if any(not shape or shape[0] != shapes[0][0] for shape in shapes):
        raise bad_argument("data", Description(f"shapes {shapes}"), "arrays of the same length")
    return _Arrays(*parts)


def data_traps(model: keras.Model, data: Data, *, stateful: bool) -> Iterator[Trap]:
    """Yield the problems of a model with its training data."""
    misfit = find_misfit(model, data) if model.compiled else None
    if misfit is not None:
        yield Trap(model.name, f"It has {misfit.shapes}: Keras broadcasts them.", misfit.fix)
    if isinstance(data, _Arrays):
        yield from _missing(model, data)
        yield from _outside(model, data)
    if not stateful:
        return
    reason = data.why_not_continuing()
    if reason:
        problem = f"The state of a row continues from another window: {reason}."
        yield Trap(model.name, problem, HOW_TO_CONTINUE)
    yield Trap(
        model.name,
        "In fit, validation_data moves the state that training continues from.",
        "seqkeras.training.fit_stateful(..., validation=) keeps the two apart.",
    )


def _missing(model: keras.Model, data: _Arrays) -> Iterator[Trap]:
    for part, name in ((data.x, "inputs"), (data.y, "targets")):
        arrays = [] if part is None else tree.flatten(part)
        count = sum(
            int(np.count_nonzero(~np.isfinite(array)))
            for array in arrays
            if array.dtype.kind == "f"
        )
        if count:
            yield Trap(
                model.name,
                f"Its {name} have {count} values that are NaN or infinite: the loss becomes NaN.",
                "Fill or omit them. Windows(..., missing='mask') marks them for the network.",
            )


def _outside(model: keras.Model, data: _Arrays) -> Iterator[Trap]:
    if not is_graph(model):
        return
    graph = ModelGraph(model)
    inputs = data.x
    if not isinstance(inputs, dict):
        inputs = dict(zip(graph.input_names, tree.flatten(data.x), strict=False))
    for name, array in inputs.items():
        size = graph.embedded_ids(name if len(inputs) > 1 else None)
        if size is not None and array.size and not 0 <= array.min() <= array.max() < size:
            yield Trap(
                model.name,
                f"It embeds {size} ids, and its inputs have ids from {array.min():g} to "
                f"{array.max():g}: JAX reads zeros or NaN for those outside.",
                f"Use ids from 0 to {size - 1}, or build the model for more.",
            )
