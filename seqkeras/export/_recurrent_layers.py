"""Translate recurrent layers of Keras."""

from dataclasses import replace
from typing import Any

from keras import layers, tree

from seqkeras.export._plain_layers import activation_of
from seqkeras.export._trace import Trace, Value, export_error

CELLS = {layers.LSTMCell: "lstm", layers.GRUCell: "gru", layers.SimpleRNNCell: "simple_rnn"}

#: The weights of a cell, some of which it may lack.
WEIGHTS = ("kernel", "recurrent_kernel", "bias")


def recurrent(trace: Trace, layer: Any, x: Value, arguments: dict[str, Any]) -> list[Value | None]:
    """Translate a recurrent layer into a node for each of its cells.

    Args:
        trace: the graph to add the nodes to.
        layer: LSTM, GRU, SimpleRNN, or RNN over such cells.
        x: its input.
        arguments: the other arguments of its call.

    Returns:
        The output, then the states if the layer returns them; None for states that a program cannot
        return.

    Raises:
        ArgumentError: the layer cannot be exported.
    """
    if arguments.get("initial_state") is not None:
        fix = "Call it without initial_state."
        raise export_error(layer.name, "its initial state is computed by the model", fix)
    if trace.window is None:
        if layer.go_backwards:
            raise export_error(layer.name, "go_backwards begins at the end of the sequence")
        if not x.has_time_axis:
            raise export_error(layer.name, "its timesteps are not those of the inputs")
    mask = arguments.get("mask") or x.mask
    y, states = _run(trace, layer, x, mask, backwards=layer.go_backwards)
    if not layer.return_state:
        return [y]
    if trace.window is not None:
        return [y, *states]
    other_states = len(tree.flatten(layer.cell.state_size)) - 1
    return [y, _last_output(layer, y)] + [None] * other_states


def both_ways(trace: Trace, layer: Any, x: Value, arguments: dict[str, Any]) -> list[Value]:
    """Translate a Bidirectional layer, which needs a whole window.

    Returns:
        The output, then the states if the layer returns them.

    Raises:
        ArgumentError: the program has no window, or the layer takes states or returns two outputs.
    """
    if trace.window is None:
        raise export_error(layer.name, "its backward direction begins at the end of the sequence")
    if arguments.get("initial_state") is not None:
        fix = "Call it without initial_state."
        raise export_error(layer.name, "its initial state is computed by the model", fix)
    if layer.merge_mode is None:
        raise export_error(layer.name, "merge_mode=None gives two outputs", "Give it a merge_mode.")
    mask = arguments.get("mask") or x.mask
    directions = (layer.forward_layer, layer.backward_layer)
    (forward, states), (backward, backward_states) = (
        _run(trace, direction, x, mask, direction.go_backwards) for direction in directions
    )
    if layer.return_sequences:
        backward = trace.add("pick", [backward], layer.name, parts=[[None, None, -1]])
    merges = {"sum": "add", "mul": "multiply", "ave": "average", "concat": "concatenate"}
    axis: dict[str, Any] = {"axis": -1} if layer.merge_mode == "concat" else {}
    y = trace.add(merges[layer.merge_mode], [forward, backward], layer.name, **axis)
    y = replace(y, mask=mask) if layer.return_sequences else y
    return [y, *states, *backward_states]


def _last_output(layer: Any, y: Value) -> Value | None:
    """Return the first state after a step if it equals the output, else None."""
    if hasattr(layer.cell, "cells") or getattr(layer, "zero_output_for_mask", False):
        return None
    return replace(y, rank=2, has_time_axis=False)


def _run(
    trace: Trace, layer: Any, x: Value, mask: Value | None, backwards: bool
) -> tuple[Value, list[Value]]:
    """Add a node for each cell; return the output, and the last states where a layer returns them.

    In a program without a window, no states are returned.
    """
    states = []
    cells = cells_of(layer)
    for number, cell in enumerate(cells):
        is_last = number == len(cells) - 1
        sequences = layer.return_sequences if is_last else True
        zeros_masked = is_last and bool(getattr(layer, "zero_output_for_mask", False))
        options = {
            **cell_options(layer, cell),
            "sequences": sequences,
            "backwards": bool(backwards) and number == 0,
            "zero_output_for_mask": zeros_masked,
        }
        weights = {role: getattr(cell, role) for role in WEIGHTS}
        x = trace.add(
            "recurrent",
            [x, mask] if mask is not None else [x],
            layer.name if len(cells) == 1 else f"{layer.name}/{cell.name}",
            rank=3 if sequences else 2,
            has_time_axis=sequences,
            weights={role: weight for role, weight in weights.items() if weight is not None},
            **options,
        )
        if layer.return_state and trace.window is not None:
            states += trace.final_states(len(tree.flatten(cell.state_size)))
        if backwards and mask is not None and not is_last:
            # The first cell reads backwards, so the other cells need the reversed mask.
            mask = trace.add("pick", [mask], layer.name, parts=[[None, None, -1]])
            backwards = False
    y = x if mask is None or not layer.return_sequences else replace(x, mask=mask)
    return y, states


def cells_of(layer: Any) -> list[Any]:
    """Return the cell of a recurrent layer, or its cells if it runs several."""
    return list(getattr(layer.cell, "cells", [layer.cell]))


def cell_options(layer: Any, cell: Any) -> dict[str, Any]:
    """Return the options of a node that runs a cell.

    Raises:
        ArgumentError: the cell is not one that a program can run.
    """
    name = CELLS.get(type(cell))
    if name is None:
        known = ", ".join(kind.__name__ for kind in CELLS)
        reason = f"its cell {type(cell).__name__} is not supported"
        if isinstance(cell, tuple(CELLS)):
            reason += ", because it may do more than Keras' own cell, such as zoneout"
        raise export_error(layer.name, reason, f"Cells that can be exported: Keras' own {known}.")
    options = {"cell": name, "units": cell.units}
    options |= activation_of(layer, cell.activation)
    if name != "simple_rnn":
        gates = activation_of(layer, cell.recurrent_activation)
        options["recurrent_activation"] = gates["activation"]
    if name == "gru":
        options["reset_after"] = bool(cell.reset_after)
    return options
