"""What recurrent layers of Keras are in a program."""

from dataclasses import replace
from typing import Any

from keras import layers

from seqkeras.export._plain_layers import activation_of
from seqkeras.export._trace import Trace, Value, refused

CELLS = {layers.LSTMCell: "lstm", layers.GRUCell: "gru", layers.SimpleRNNCell: "simple_rnn"}


def recurrent(trace: Trace, layer: Any, x: Value, given: dict[str, Any]) -> list[Value | None]:
    """A recurrent layer: a node for each of its cells, and the state as more outputs if asked.

    Args:
        trace: to write to.
        layer: LSTM, GRU, SimpleRNN, or RNN over such cells.
        x: its input.
        given: arguments of its call beside that.

    Raises:
        ArgumentError: it cannot be stepped.
    """
    if given.get("initial_state") is not None:
        raise refused(layer.name, "its initial state is computed by the model", "Give it none.")
    if trace.window is None:
        if layer.go_backwards:
            raise refused(layer.name, "go_backwards begins at the end of the sequence")
        if not x.over_time:
            raise refused(layer.name, "its timesteps are not those of the inputs")
    y = _run(trace, layer, x, given.get("mask") or x.mask, backwards=layer.go_backwards)
    if not layer.return_state:
        return [y]
    # Of the state, the last output is known by name; what else there is, None, cannot be used.
    last: Value | None = replace(y, rank=2, over_time=False)
    if hasattr(layer.cell, "cells") or getattr(layer, "zero_output_for_mask", False):
        last = None  # the first of its states is another one
    elif trace.window is not None and layer.return_sequences:
        last = trace.add("pick", [y], layer.name, parts=[-1], rank=2, over_time=False)
    return [y, last, *[None] * 8]


def both_ways(trace: Trace, layer: Any, x: Value, given: dict[str, Any]) -> Value:
    """Bidirectional, of whole windows alone."""
    if trace.window is None:
        raise refused(layer.name, "its backward direction begins at the end of the sequence")
    if given.get("initial_state") is not None or layer.forward_layer.return_state:
        raise refused(layer.name, "its states are used by the model", "Leave them to the layer.")
    if layer.merge_mode is None:
        raise refused(layer.name, "merge_mode=None gives two outputs", "Give it a merge_mode.")
    mask = given.get("mask") or x.mask
    there = _run(trace, layer.forward_layer, x, mask, layer.forward_layer.go_backwards)
    back = _run(trace, layer.backward_layer, x, mask, layer.backward_layer.go_backwards)
    if layer.return_sequences:
        back = trace.add("pick", [back], layer.name, parts=[[None, None, -1]])
    merges = {"sum": "add", "mul": "multiply", "ave": "average", "concat": "concatenate"}
    axis: dict[str, Any] = {"axis": -1} if layer.merge_mode == "concat" else {}
    y = trace.add(merges[layer.merge_mode], [there, back], layer.name, **axis)
    return replace(y, mask=mask) if layer.return_sequences else y


def _run(trace: Trace, layer: Any, x: Value, mask: Value | None, backwards: bool) -> Value:
    cells = list(getattr(layer.cell, "cells", [layer.cell]))
    for number, cell in enumerate(cells):
        last = number == len(cells) - 1
        sequences = layer.return_sequences if last else True
        options = {
            **_options(layer, cell),
            "sequences": sequences,
            "backwards": bool(backwards) and number == 0,
            "zero_output_for_mask": last and bool(getattr(layer, "zero_output_for_mask", False)),
        }
        weights = {role: getattr(cell, role) for role in ("kernel", "recurrent_kernel", "bias")}
        x = trace.add(
            "recurrent",
            [x] if mask is None else [x, mask],
            layer.name if len(cells) == 1 else f"{layer.name}/{cell.name}",
            rank=3 if sequences else 2,
            over_time=sequences,
            weights={role: weight for role, weight in weights.items() if weight is not None},
            **options,
        )
        if backwards and mask is not None and not last:
            mask = trace.add("pick", [mask], layer.name, parts=[[None, None, -1]])
            backwards = False
    return x if mask is None or not layer.return_sequences else replace(x, mask=mask)


def _options(layer: Any, cell: Any) -> dict[str, Any]:
    name = CELLS.get(type(cell))
    if name is None:
        known = ", ".join(one.__name__ for one in CELLS)
        reason = f"its cell {type(cell).__name__} has no form without Keras"
        if isinstance(cell, tuple(CELLS)):
            reason += ", for it is more than the cell of Keras, such as with zoneout"
        raise refused(layer.name, reason, f"Cells that have one: {known} of Keras.")
    options = {"cell": name, "units": cell.units}
    options |= activation_of(layer, cell.activation)
    if name != "simple_rnn":
        options["recurrent_activation"] = activation_of(layer, cell.recurrent_activation)[
            "activation"
        ]
    if name == "gru":
        options["reset_after"] = bool(cell.reset_after)
    return options
