"""The states of a model, by name."""

from typing import Any

import keras
from keras import ops, tree

from seqkeras._checks import bad_argument
from seqkeras._keras_graph import recurrent_layers
from seqkeras.kernels import where_rows

#: Names of the states of known cells; the states of other cells are numbered. Keras does not make
#: the cells of ConvLSTM public, so the table lists the layers instead.
_NAMES = [
    (keras.layers.LSTMCell, ("h", "c")),
    ((keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D), ("h", "c")),
    ((keras.layers.GRUCell, keras.layers.SimpleRNNCell), ("h",)),
]


def stateful_layers(model: keras.Model) -> dict[str, Any]:
    """Return the recurrent layers that keep their states, by path."""
    return {path: layer for path, layer in recurrent_layers(model).items() if layer.stateful}


def clear_rows(layer: Any, flags: Any) -> None:
    """Clear the states of one layer in the rows where `flags`, `(batch, 1)`, are True."""
    old = tree.map_structure(ops.convert_to_tensor, layer.states)  # JAX accepts no variables
    new = where_rows(flags, layer.get_initial_state(rows_of(layer)), old)
    for variable, value in zip(tree.flatten(layer.states), tree.flatten(new), strict=True):
        variable.assign(value)
    output = getattr(layer, "last_output", None)
    if output is not None:
        output.assign(where_rows(flags, ops.zeros(output.shape), ops.convert_to_tensor(output)))


def named_states(layer: Any, states: Any = None) -> dict[str, Any]:
    """Return states of one layer by name.

    Args:
        layer: a recurrent layer.
        states: states nested as the layer nests its own. Default: the states that the layer keeps.
    """
    output = getattr(layer, "last_output", None) if states is None else None
    if states is None:
        states = layer.states
    if isinstance(layer.cell, keras.layers.StackedRNNCells):
        pairs = enumerate(zip(layer.cell.cells, states, strict=True))
        cells = [(f"{number}/", cell, cell_states) for number, (cell, cell_states) in pairs]
    else:
        cells = [("", layer, states)]
    named = {}
    for prefix, owner, cell_states in cells:
        variables = tree.flatten(cell_states)
        for name, variable in zip(_names(owner, len(variables)), variables, strict=True):
            named[prefix + name] = variable
    return named if output is None else {**named, "output": output}


def _names(owner: Any, count: int) -> list[str]:
    for kinds, names in _NAMES:
        known = isinstance(owner, kinds) or isinstance(getattr(owner, "cell", None), kinds)
        if known and len(names) == count:
            return list(names)
    return [str(number) for number in range(count)]


def state_variables(model: keras.Model) -> dict[str, Any]:
    """Return all states of a model by name.

    Raises:
        ArgumentError: the model is not stateful, or not built.
    """
    if not isinstance(model, keras.Model):
        raise bad_argument("model", type(model).__name__, "a keras.Model")
    layers = stateful_layers(model)
    if not layers:
        fix = "Convert it with seqkeras.states.as_stateful(model, batch_size)."
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
    """Return the number of rows of a layer's state."""
    return int(tree.flatten(layer.states)[0].shape[0])
