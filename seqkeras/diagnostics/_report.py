"""A text about the recurrent layers of a model, their kernels and its traps."""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import keras

from seqkeras._keras_graph import recurrent_layers
from seqkeras.diagnostics import Explanation, explain
from seqkeras.diagnostics._traps import find_traps
from seqkeras.states._named import named_states

_INDENT = " " * 4
_FIX = "    -> "
_HANGING = " " * 7


def _units(explanation: Explanation, layer: Any) -> str:
    cells = getattr(layer.cell, "cells", [layer])
    widths = [getattr(cell, "units", getattr(cell, "filters", None)) for cell in cells]
    return ", ".join(str(width) if width is not None else "?" for width in widths)


def _kernel(explanation: Explanation, layer: Any) -> str:
    if explanation.training == explanation.inference:
        return explanation.training
    return f"{explanation.training}, {explanation.inference} in predict"


def _states(explanation: Explanation, layer: Any) -> str:
    if layer.states is not None:
        return _shapes({name: state.shape for name, state in named_states(layer).items()})
    if not layer.built:
        return "not built"
    states = named_states(layer, layer.get_initial_state(1))
    return _shapes({name: ("batch", *state.shape[1:]) for name, state in states.items()})


def _shapes(shapes: dict[str, Sequence[Any]]) -> str:
    return ", ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in shapes.items())


#: The columns of the table: for each title, a function from an explanation and its layer to text.
COLUMNS: dict[str, Callable[[Explanation, Any], str]] = {
    "layer": lambda explanation, layer: explanation.layer,
    "class": lambda explanation, layer: explanation.kind,
    "units": _units,
    "kernel": _kernel,
    "stateful": lambda explanation, layer: "yes" if layer.stateful else "no",
    "states": _states,
}


def report(model: keras.Model, *, width: int = 88) -> str:
    """Describe the recurrent layers of a model, why they run as they do, and its traps."""
    explanations = explain(model)
    layers = recurrent_layers(model).values()
    rows = [
        [column(explanation, layer) for column in COLUMNS.values()]
        for explanation, layer in zip(explanations, layers, strict=True)
    ]
    if not rows:
        return f"{model.name} has no recurrent layers."
    parts = [_table([list(COLUMNS), *rows]), "", "Why this kernel:", str(explanations), ""]
    traps = find_traps(model)
    parts.append(f"{len(traps)} to know:" if traps else "No trap was found.")
    for trap in traps:
        problem = textwrap.fill(
            trap.problem, width, initial_indent=_INDENT, subsequent_indent=_INDENT
        )
        fix = textwrap.fill(trap.fix, width, initial_indent=_FIX, subsequent_indent=_HANGING)
        parts += [f"  {trap.layer}", problem, fix]
    return "\n".join(parts)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)
