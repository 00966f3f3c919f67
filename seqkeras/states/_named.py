"""The states of a model and what each is called."""

from typing import Any

import keras
from keras import ops, tree

from seqkeras._checks import bad_argument
from seqkeras._keras_graph import recurrent_layers
from seqkeras.kernels import where_rows

#: The states of cells that have a name for each; those of others are numbered. The cell of a
#: convolution is not public in Keras: its layers stand for it.
_NAMES = [
    (keras.layers.LSTMCell, ("h", "c")),
    ((keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D), ("h", "c")),
    ((keras.layers.GRUCell, keras.layers.SimpleRNNCell), ("h",)),
]


def stateful_layers(model: keras.Model) -> dict[str, Any]:
    """The recurrent layers that keep their states, by the path to each."""
    return {path: layer for path, layer in recurrent_layers(model).items() if layer.stateful}


def clear_rows(layer: Any, flags: Any) -> None:
    """Clears the states of one layer in the rows where `flags`, `(batch, 1)`, are True."""
    kept = tree.map_structure(ops.convert_to_tensor, layer.states)  # JAX takes no variables
    fresh = where_rows(flags, layer.get_initial_state(rows_of(layer)), kept)
    for variable, value in zip(tree.flatten(layer.states), tree.flatten(fresh), strict=True):
        variable.assign(value)


def named_states(layer: Any, states: Any = None) -> dict[str, Any]:
    """The states of one layer, by name: those that it keeps, or those that are given."""
    kept = layer.states if states is None else states
    if isinstance(layer.cell, keras.layers.StackedRNNCells):
        pairs = zip(layer.cell.cells, kept, strict=True)
        cells = [(f"{number}/", cell, one) for number, (cell, one) in enumerate(pairs)]
    else:
        cells = [("", layer, kept)]
    named = {}
    for prefix, owner, own in cells:
        flat = tree.flatten(own)
        for name, variable in zip(_names(owner, len(flat)), flat, strict=True):
            named[prefix + name] = variable
    return named


def _names(owner: Any, count: int) -> list[str]:
    for kinds, names in _NAMES:
        named = isinstance(owner, kinds) or isinstance(getattr(owner, "cell", None), kinds)
        if named and len(names) == count:
            return list(names)
    return [str(number) for number in range(count)]


def state_variables(model: keras.Model) -> dict[str, Any]:
    """All states of a model, by name, or the error for a model without."""
    if not isinstance(model, keras.Model):
        raise bad_argument("model", type(model).__name__, "a keras.Model")
    layers = stateful_layers(model)
    if not layers:
        fix = "seqkeras.states.as_stateful makes a stateful model of it."
        raise bad_argument("model", model.name, "stateful", fix)
    for path, layer in layers.items():
        if layer.states is None:
            fix = f"Layer {path!r} has no state yet: call the model once."
            raise bad_argument("model", model.name, "built", fix)
    return {
        f"{path}/{name}": variable
        for path, layer in layers.items()
        for name, variable in named_states(layer).items()
    }


def rows_of(layer: Any) -> int:
    """The number of rows of a state."""
    return int(tree.flatten(layer.states)[0].shape[0])
