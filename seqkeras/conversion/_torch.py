"""Load the weights of a `torch.nn.LSTM`, `GRU` or `RNN`, and convert weights back to PyTorch."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from seqkeras import gates
from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument
from seqkeras._keras_graph._structure import self_and_sublayers
from seqkeras.errors import ArgumentError

_NAME = re.compile(r"(.*?)(weight|bias)_(ih|hh|hr)_l(\d+)(_reverse)?")
#: The cells of PyTorch, with the activations that they can have: of the cell, and of the gates.
_CELLS = {
    "lstm": (keras.layers.LSTMCell, ("tanh",), "sigmoid"),
    "gru_reset_after": (keras.layers.GRUCell, ("tanh",), "sigmoid"),
    "simple_rnn": (keras.layers.SimpleRNNCell, ("tanh", "relu"), None),
}


class _Place(NamedTuple):
    """A position in a stack of layers: a layer, and the direction in which it reads."""

    layer: int
    is_reverse: bool

    @property
    def suffix(self) -> str:
        """Return the ending of the names of weights in PyTorch, such as `"l0_reverse"`."""
        return f"l{self.layer}_reverse" if self.is_reverse else f"l{self.layer}"


def load_torch_weights(
    model: keras.layers.Layer, state: Mapping[str, Any], prefix: str = ""
) -> None:
    """Load the weights of a whole `torch.nn.LSTM`, `GRU` or `RNN`, including both directions.

    Args:
        model: a built model or layer. Its recurrent layers must match those of the PyTorch module
            in their order: LSTM, GRU with `reset_after=True`, SimpleRNN, or an RNN over one of
            their cells; for `bidirectional=True` each in a Bidirectional that concatenates. All but
            the last layer need `return_sequences=True`. Other layers do not change.
        state: arrays or tensors by name, such as `module.state_dict()`; names of other modules are
            ignored.
        prefix: the part of the names before `weight_ih_l0`, such as `"encoder.lstm."`; it may be
            omitted if `state` has the weights of only one such module.

    Raises:
        ArgumentError: `state` has no such module, or its cells, layers, directions or shapes differ
            from those of the model. Nothing was loaded.

    Example:
        >>> import keras, numpy as np
        >>> state = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 2))}
        >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(2, use_bias=False)])
        >>> load_torch_weights(model, state)
        >>> [weight.shape for weight in model.get_weights()]
        [(3, 8), (2, 8)]
    """
    stack = _stack(state, prefix)
    targets = _layers_by_place(model)
    if stack.keys() != targets.keys():
        raise _bad_state(_description(stack), f"like the model, {_description(targets)}")
    loaded = [_weights(layer, stack[place]) for place, layer in targets.items()]
    for layer, weights in zip(targets.values(), loaded, strict=True):
        layer.cell.set_weights(weights)


def to_torch(model: keras.layers.Layer, prefix: str = "") -> dict[str, Array]:
    """Return the weights of recurrent layers by their names in PyTorch.

    The inverse of `load_torch_weights`. PyTorch has two biases; the second one of an LSTM or a
    SimpleRNN is 0.

    Args:
        model: a built model or layer, as for `load_torch_weights`.
        prefix: text to put before each name, such as `"encoder.lstm."`.

    Returns:
        The arrays by name. Convert each with `torch.from_numpy` for `module.load_state_dict`.

    Raises:
        ArgumentError: the model is not built, has no recurrent layers, or has some that PyTorch
            does not have.

    Example:
        >>> import keras
        >>> layer = keras.layers.GRU(2)
        >>> layer.build((None, None, 3))
        >>> {name: array.shape for name, array in to_torch(layer).items()}
        {'weight_ih_l0': (6, 3), 'weight_hh_l0': (6, 2), 'bias_ih_l0': (6,), 'bias_hh_l0': (6,)}
    """
    state: dict[str, Array] = {}
    for place, layer in _layers_by_place(model).items():
        kernel, recurrent, *bias = layer.cell.get_weights()
        weights = gates.Weights(kernel, recurrent, bias[0] if bias else None)
        converted = gates.convert(weights, cell=_cell(layer), source="keras", target="torch")
        state[f"{prefix}weight_ih_{place.suffix}"] = converted.kernel
        state[f"{prefix}weight_hh_{place.suffix}"] = converted.recurrent_kernel
        if converted.bias is not None:
            state[f"{prefix}bias_ih_{place.suffix}"] = converted.bias[0]
            state[f"{prefix}bias_hh_{place.suffix}"] = converted.bias[1]
    return state


def _stack(state: Mapping[str, Any], prefix: str) -> dict[_Place, gates.Weights]:
    """Return the weights of a stack in a state dict, in the layout of PyTorch."""
    matches = [match for match in map(_NAME.fullmatch, state) if match]
    if not matches:
        expected = "one with the weights of an LSTM, GRU or RNN, such as 'weight_ih_l0'"
        raise _bad_state(f"names such as {sorted(map(str, state))[:3]}", expected)
    prefixes = sorted({match[1] for match in matches})
    if prefix not in prefixes and prefix + "." in prefixes:
        prefix += "."
    if not prefix and len(prefixes) == 1:
        prefix = prefixes[0]
    if prefix not in prefixes:
        raise bad_argument("prefix", prefix, f"one of {prefixes}")
    arrays: dict[_Place, dict[str, Array]] = {}
    for match in matches:
        if match[1] == prefix:
            place = _Place(int(match[4]), bool(match[5]))
            arrays.setdefault(place, {})[f"{match[2]}_{match[3]}"] = _array(state[match[0]])
    return {place: _as_weights(arrays[place], place) for place in sorted(arrays)}


def _as_weights(arrays: dict[str, Array], place: _Place) -> gates.Weights:
    names = arrays.keys()
    if "weight_hr" in names:
        raise _bad_state(
            "weights of a projection (proj_size)", "without a projection, which Keras does not have"
        )
    biases = {"bias_ih", "bias_hh"}
    if names - biases != {"weight_ih", "weight_hh"} or len(names & biases) == 1:
        raise _bad_state(f"for {place.suffix} only {sorted(names)}", "complete for each layer")
    bias = np.stack([arrays["bias_ih"], arrays["bias_hh"]]) if names & biases else None
    return gates.Weights(arrays["weight_ih"], arrays["weight_hh"], bias)


def _array(value: Any) -> Array:
    # NumPy does not know bfloat16. Double precision holds the numbers of every float of PyTorch.
    return np.asarray(value.detach().cpu().double() if hasattr(value, "detach") else value)


def _layers_by_place(model: Any) -> dict[_Place, Any]:
    """Return the recurrent layers of a model by place, including both of a Bidirectional."""
    if not isinstance(model, keras.layers.Layer) or not model.built:
        raise bad_argument("model", type(model).__name__, "a built model or layer of Keras")
    layers = self_and_sublayers(model)
    wrappers = [layer for layer in layers if isinstance(layer, keras.layers.Bidirectional)]
    inner = {id(part) for wrapper in wrappers for part in self_and_sublayers(wrapper)[1:]}
    kinds = (keras.layers.RNN, keras.layers.Bidirectional)
    stack = [layer for layer in layers if isinstance(layer, kinds) and id(layer) not in inner]
    if not stack:
        raise bad_argument("model", model.name, "one with recurrent layers")
    places: dict[_Place, Any] = {}
    for number, layer in enumerate(stack):
        for is_reverse, part in enumerate(_directions(layer)):
            places[_Place(number, bool(is_reverse))] = part
    for layer in places.values():
        _cell(layer)
    return places


def _directions(layer: Any) -> list[Any]:
    if not isinstance(layer, keras.layers.Bidirectional):
        if layer.go_backwards:
            raise _bad_layer(layer, "it reads backwards", "Use a Bidirectional.")
        return [layer]
    if layer.merge_mode != "concat":
        raise _bad_layer(layer, f"merge_mode is {layer.merge_mode!r}", "PyTorch only has 'concat'.")
    return [layer.forward_layer, layer.backward_layer]


def _cell(layer: Any) -> str:
    """Return the name of the cell of a layer, after checking that PyTorch has it."""
    for name, (kind, activations, gate_activation) in _CELLS.items():
        if not isinstance(layer.cell, kind):
            continue
        if layer.cell.activation.__name__ not in activations:
            fix = f"PyTorch only has {' and '.join(activations)}."
            raise _bad_layer(layer, f"activation is {layer.cell.activation.__name__!r}", fix)
        if gate_activation and layer.cell.recurrent_activation.__name__ != gate_activation:
            actual = f"recurrent_activation is {layer.cell.recurrent_activation.__name__!r}"
            raise _bad_layer(layer, actual, f"PyTorch only has {gate_activation}.")
        if name == "gru_reset_after" and not layer.cell.reset_after:
            raise _bad_layer(layer, "reset_after is False", "PyTorch only has True.")
        return name
    raise _bad_layer(
        layer, f"its cell is {type(layer.cell).__name__}", "Use LSTM, GRU or SimpleRNN."
    )


def _weights(layer: Any, weights: gates.Weights) -> list[Array]:
    """Return the weights of a layer, converted."""
    name = _cell(layer)
    rows = len(weights.kernel)
    expected_rows = len(gates.LAYOUTS["torch"][name].gates) * layer.cell.units
    if rows != expected_rows:
        shape = (
            f"for {name} with {layer.cell.units} units, with a weight_ih of {expected_rows} rows"
        )
        raise _bad_state(f"a weight_ih of {rows} rows for layer {layer.name!r}", shape)
    converted = gates.convert(weights, cell=name, source="torch", target="keras")
    arrays = [array for array in converted if array is not None]
    shapes = [array.shape for array in arrays]
    expected = [tuple(weight.shape) for weight in layer.cell.weights]
    if shapes != expected:
        raise _bad_state(f"shapes {shapes} for layer {layer.name!r}", f"{expected}")
    return arrays


def _description(places: Mapping[_Place, Any]) -> str:
    layers = len({place.layer for place in places})
    both = "both directions" if any(place.is_reverse for place in places) else "one direction"
    return f"{layers} {'layer' if layers == 1 else 'layers'}, {both}"


def _bad_state(actual: str, expected: str) -> ArgumentError:
    return bad_argument("state", Description(actual), expected)


def _bad_layer(layer: Any, actual: str, fix: str) -> ArgumentError:
    return bad_argument(
        "model", Description(f"layer {layer.name!r}: {actual}"), "one that PyTorch can express", fix
    )
