"""Convert models to seqkeras layers."""

from collections.abc import Iterator
from typing import Any

import keras

from seqkeras._keras_graph import self_and_sublayers
from seqkeras._keras_graph._layer_parts import calls_to
from seqkeras._keras_graph._rebuild import new_layer
from seqkeras._warnings import warn
from seqkeras.conversion._conversion import (
    Conversion,
    assign,
    class_in,
    convert,
    copy_attributes,
    is_from_seqkeras,
)
from seqkeras.errors import KeptLayerWarning
from seqkeras.layers import FASTER, Bidirectional
from seqkeras.states._recurrent_states import OURS

#: The seqkeras layer for each Keras cell.
_OF_CELL: dict[Any, Any] = {
    keras.layers.LSTMCell: FASTER[keras.layers.LSTM],
    keras.layers.GRUCell: FASTER[keras.layers.GRU],
    keras.layers.SimpleRNNCell: FASTER[keras.layers.SimpleRNN],
}

_SHARED_CELL = "one of its cells is also used elsewhere, and shares its weights there"


def accelerate(model: keras.Model) -> keras.Model:
    """Return a copy of a model that uses the layers of `seqkeras.layers`, with the same outputs.

    Keras' LSTM, GRU and SimpleRNN become the layers of the same name in `seqkeras.layers`, also
    inside nested models, Bidirectional, TimeDistributed and other wrappers. `RNN(LSTMCell(...))`
    becomes an LSTM, and likewise for the other cells. An RNN over several such cells becomes one
    layer for each: the last keeps the name of the RNN, the others are named `NAME_cell_0` and so
    on. Other stateful layers, such as ConvLSTM2D, become those of `seqkeras.layers` too, which are
    no faster but keep their states on JAX.

    The copy has the layers, names, weights, states, random seeds and trainable flags of the model,
    and is compiled in the same way. It also has the variables of the optimizer, so training
    continues as with the model; only metrics start from scratch. `to_keras` is the inverse.

    Args:
        model: functional or Sequential, trained or not. A model of your own class becomes a
            `keras.Model`, unless its constructor takes inputs and outputs.

    Returns:
        The copy, even if nothing was converted; the model itself does not change.

    Raises:
        ArgumentError: the model is not built, or is a subclass with its own `call`, or a layer
            cannot be recreated from its config; the message names the layer.

    Warns:
        KeptLayerWarning: some recurrent layers were not converted. The message names each with the
            reason: a cell of another kind or dtype, a class of your own, an RNN over several cells
            that takes or returns states, reads backwards or is in a wrapper, or a cell that is also
            used elsewhere.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(8)])
        >>> type(accelerate(model).layers[0]).__module__.split(".")[0]
        'seqkeras'
    """
    copy, conversion = convert(model, _Accelerate)
    unconverted = list(conversion.unconverted(copy))
    if unconverted:
        warn(
            f"accelerate did not convert {len(unconverted)} recurrent layer(s): "
            f"{'; '.join(unconverted)}.",
            KeptLayerWarning,
        )
    return copy


class _Accelerate(Conversion):
    def __init__(self, model: keras.Model) -> None:
        super().__init__(model)
        self._reasons: dict[str, str] = {}
        self._stacks: dict[int, list[Any]] = {}

    def run(self) -> keras.Model:
        copy = super().run()
        for layer in self_and_sublayers(self._root):
            if id(layer) in self._stacks and layer.states is not None:
                for states, part in zip(layer.states, self._stacks[id(layer)], strict=True):
                    assign(states, part.states)
        return copy

    def exchange(self, kind: Any, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if kind in FASTER:
            return FASTER[kind], config
        if kind is keras.layers.Bidirectional:
            return Bidirectional, config
        if kind is keras.layers.RNN:
            faster = _layer_of_cell(config)
            if faster is not None:
                return faster
        if kind in OURS and config["stateful"]:
            return OURS[kind], config  # no faster, but keeps its state on JAX
        return kind, config

    def _new(self, layer: Any) -> Any:
        if type(layer) is keras.layers.RNN and self._has_shared_cell(layer):
            self._reasons[layer.name] = _SHARED_CELL
            return new_layer(layer)
        return super()._new(layer)

    def _has_shared_cell(self, layer: Any) -> bool:
        return any(id(part) in self._shared for part in self_and_sublayers(layer)[1:])

    def unconverted(self, copy: keras.Model) -> Iterator[str]:
        """Describe each recurrent layer of Keras left in the copy, and why it was not converted."""
        for layer in self_and_sublayers(copy):
            if not isinstance(layer, keras.layers.RNN) or is_from_seqkeras(layer):
                continue
            reason = self._reasons.get(layer.name) or _why_kept(layer)
            yield f"{layer.name!r} ({type(layer).__name__}): {reason}"

    def _parts(self, layer: Any) -> list[Any]:
        if type(layer) is not keras.layers.RNN or not _stacked_cells(layer.get_config()):
            return super()._parts(layer)
        if id(layer) not in self._stacks:
            reason = _SHARED_CELL if self._has_shared_cell(layer) else _why_no_stack(layer)
            if reason:
                self._reasons[layer.name] = reason
                return super()._parts(layer)
            self._stacks[id(layer)] = self._stack(layer)
        return self._stacks[id(layer)]

    def _stack(self, layer: Any) -> list[Any]:
        """Create a seqkeras layer for each cell of an RNN."""
        config = layer.get_config()
        cells = config.pop("cell")["config"]["cells"]
        last = len(cells) - 1
        stack = []
        for number, cell in enumerate(cells):
            options = {**config, "cell": cell}
            if number < last:
                options["name"] = f"{layer.name}_cell_{number}"
                options["return_sequences"] = True
                options["zero_output_for_mask"] = False
            layer_of_cell = _layer_of_cell(options)
            assert layer_of_cell is not None
            kind, own_config = layer_of_cell
            stack.append(kind.from_config(own_config))
            self._pairs.append((layer.cell.cells[number], stack[-1].cell))
        copy_attributes(layer, stack[-1])
        return stack


def _layer_of_cell(config: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """Return the class and config of the seqkeras layer for an RNN config, if there is one."""
    cell = config["cell"]
    kind = _OF_CELL.get(class_in(cell))
    if kind is None or cell["config"]["dtype"] != config["dtype"]:
        return None
    cell_options = {
        name: value
        for name, value in cell["config"].items()
        if name not in ("name", "trainable", "dtype")
    }
    options = {name: value for name, value in config.items() if name != "cell"}
    return kind, {**cell_options, **options}


def _stacked_cells(config: dict[str, Any]) -> list[Any]:
    """Return the serialized cells of an RNN over several cells; empty for a single cell."""
    cell = config["cell"]
    is_stacked = class_in(cell) is keras.layers.StackedRNNCells
    return list(cell["config"]["cells"]) if is_stacked else []


def _why_no_stack(layer: Any) -> str:
    """Return why an RNN over several cells cannot become one layer for each; empty if it can."""
    config = layer.get_config()
    if not all(_layer_of_cell({**config, "cell": cell}) for cell in _stacked_cells(config)):
        return "a cell is not an LSTMCell, GRUCell or SimpleRNNCell, or has another dtype"
    if layer.return_state:
        return "it returns the states of several cells (return_state=True)"
    if layer.go_backwards:
        return "it reads backwards over several cells (go_backwards=True)"
    if any(
        len(call.args) > 1 or call.kwargs.get("initial_state") is not None
        for call in calls_to(layer)
    ):
        return "it takes the states of several cells (initial_state)"
    return ""


def _why_kept(layer: Any) -> str:
    if type(layer) in FASTER:
        return "it is created within a layer of your own"
    if type(layer) is not keras.layers.RNN:
        return "seqkeras has no faster layer of this class"
    if isinstance(layer.cell, keras.layers.StackedRNNCells):
        return "it has several cells, and is in a wrapper, which takes one layer"
    if type(layer.cell) in _OF_CELL:
        return "its cell has another dtype than the layer"
    return f"seqkeras has no faster layer for its cell, {type(layer.cell).__name__}"
