"""The recurrent layers of a model, their kernels, and its traps, as a text."""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import keras

from seqkeras._keras_graph import recurrent_layers
from seqkeras.diagnostics import Explanation, explain
from seqkeras.diagnostics._traps import find_traps
from seqkeras.states._named import named_states

_IN, _FIX, _UNDER = " " * 4, "    -> ", " " * 7


def _units(said: Explanation, layer: Any) -> str:
    owners = getattr(layer.cell, "cells", [layer])
    found = [getattr(one, "units", getattr(one, "filters", None)) for one in owners]
    return ", ".join("?" if units is None else str(units) for units in found)


def _kernel(said: Explanation, layer: Any) -> str:
    same = said.training == said.inference
    return said.training if same else f"{said.training}, {said.inference} in predict"


def _states(said: Explanation, layer: Any) -> str:
    if layer.states is not None:
        return _shapes(named_states(layer), "")
    if not layer.built:
        return "not built"
    return _shapes(named_states(layer, layer.get_initial_state(1)), "batch")


def _shapes(states: dict[str, Any], rows: str) -> str:
    shapes = {name: (rows or state.shape[0], *state.shape[1:]) for name, state in states.items()}
    return ", ".join(f"{name} ({', '.join(map(str, one))})" for name, one in shapes.items())


#: The columns of the table: each tells one thing of a layer, from what is said of it and itself.
COLUMNS: dict[str, Callable[[Explanation, Any], str]] = {
    "layer": lambda said, layer: said.layer,
    "class": lambda said, layer: said.kind,
    "units": _units,
    "kernel": _kernel,
    "stateful": lambda said, layer: "yes" if layer.stateful else "no",
    "states": _states,
}


def report(model: keras.Model, *, width: int = 88) -> str:
    """A table of the recurrent layers of a model, why they run as they do, and its traps."""
    said = explain(model)
    layers = recurrent_layers(model).values()
    rows = [[tell(*one) for tell in COLUMNS.values()] for one in zip(said, layers, strict=True)]
    if not rows:
        return f"{model.name} has no recurrent layers."
    parts = [_table([list(COLUMNS), *rows]), "", "Why this kernel:", str(said), ""]
    traps = find_traps(model)
    parts.append(f"{len(traps)} to know:" if traps else "No trap was found.")
    for trap in traps:
        problem = textwrap.fill(trap.problem, width, initial_indent=_IN, subsequent_indent=_IN)
        fix = textwrap.fill(trap.fix, width, initial_indent=_FIX, subsequent_indent=_UNDER)
        parts += [f"  {trap.layer}", problem, fix]
    return "\n".join(parts)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)
