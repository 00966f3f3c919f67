"""Arguments that builders hand on to the recurrent layers of their stack."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from seqkeras._checks import Description, bad_argument, nearest
from seqkeras.layers import CELLS, Cell

#: Arguments that the stack, or the way in which a builder connects its layers, decides.
_DECIDED = frozenset({
    "self", "args", "arguments", "kwargs", "options", "cell", "units", "dropout",
    "recurrent_dropout", "implementation", "return_sequences", "return_state", "go_backwards",
    "stateful", "name",
})  # fmt: skip


def check_layer_options(options: Any, cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the arguments as a dict, after checking that all layers of the stack take them.

    Raises:
        ArgumentError: an argument is unknown to one of the layers, or is decided by the stack; or
            a cell is a Keras cell, which has its own.
    """
    if not isinstance(options, Mapping):
        raise bad_argument("layer_options", options, "a dict of arguments of the layers")
    for cell in cells:
        if options and not isinstance(cell, str):
            fix = "Pass them to the cell itself."
            raise bad_argument("layer_options", options, "omitted where cell is a Keras cell", fix)
        if cell in CELLS:
            _check_names(options, cell)
    return dict(options)


def new_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for one more layer: its initializers draw values of their own."""
    return {
        name: value.clone() if isinstance(value, keras.initializers.Initializer) else value
        for name, value in options.items()
    }


def _check_names(options: Mapping[str, Any], cell: str) -> None:
    known = sorted({
        name
        for kind in CELLS[cell].__mro__
        if issubclass(kind, keras.layers.RNN)
        for name in inspect.signature(kind).parameters
    } - _DECIDED)  # fmt: skip
    for name in options:
        if name not in known:
            hint = nearest(name, known)
            fix = f"{hint} Arguments for the cell {cell!r}: {', '.join(known)}.".strip()
            raise bad_argument(
                "layer_options", Description(f"{name!r}"), "arguments of the layers", fix
            )
