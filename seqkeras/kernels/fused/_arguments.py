"""A call of the compiled kernels as their adapters to TensorFlow and XLA take it.

An adapter gets the tensors there are, layer by layer and in the order of `SLOTS`, and numbers:
which tensors these are, as bits of slots, and what `Static` says. `native/src/binding.h` is the
other side.
"""

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from seqkeras import native
from seqkeras._checks import bad_argument
from seqkeras.kernels._call import Inputs, Outputs, Static
from seqkeras.native import ACTIVATIONS, CELLS, GATES, MASKED_OUTPUTS, PRECISIONS, library

#: The inputs, and what backward reads beside them; `saved` is what forward left for it.
SLOTS = (*Inputs._fields, "y", "saved", "dy", "dlast", "dh_n", "dc_n")
#: Inputs that are bool; all else is float32.
BOOLS = frozenset(("mask", "reset", "zoneout_h_mask", "zoneout_c_mask"))
#: Inputs that have a gradient.
DIFFERENTIABLE = ("x", "kernel", "recurrent_kernel", "bias", "h0", "c0", "peephole", "norm")
#: Fields of `Static` that are names, and what they may be, in the order of the C interface.
CHOICES = {
    "cell": CELLS,
    "activation": ACTIVATIONS,
    "recurrent_activation": ACTIVATIONS,
    "masked_output": MASKED_OUTPUTS,
    "precision": PRECISIONS,
}
FLAGS = ("go_backwards", "save", "sequences")
RATES = ("zoneout_h", "zoneout_c", "norm_epsilon")
#: What asking for a second derivative is answered with.
ONCE = (
    "The gradient of a fused recurrent layer has no gradient itself. For second derivatives, and "
    'for derivatives in forward mode, take implementation="scan".'
)


def there(inputs: Inputs) -> dict[str, Any]:
    """The tensors there are, under their names."""
    return {name: tensor for name, tensor in inputs._asdict().items() if tensor is not None}


def bits(names: Iterable[str]) -> int:
    """A number with the bits of these slots."""
    return sum(1 << SLOTS.index(name) for name in names)


def named(number: int) -> list[str]:
    """The slots whose bits a number has."""
    return [name for place, name in enumerate(SLOTS) if number >> place & 1]


def numbers(static: Static) -> dict[str, int | float]:
    """`Static` as numbers, under the names of its fields."""
    values: dict[str, Any] = static._asdict()
    for name, choices in CHOICES.items():
        values[name] = choices.index(values[name])
    for name in FLAGS:
        values[name] = int(values[name])
    for name in RATES:
        values[name] = float(values[name])
    return values


def from_numbers(values: Mapping[str, Any]) -> Static:
    """The `Static` that `numbers` was given."""
    names = {name: choices[values[name]] for name, choices in CHOICES.items()}
    flags = {name: bool(values[name]) for name in FLAGS}
    return Static(**{**values, **names, **flags})


def output_names(static: Static) -> list[str]:
    """The outputs that a layer has, in their order."""
    absent = {"y": not static.sequences, "c_n": static.cell != "lstm"}
    return [name for name in Outputs._fields if not absent.get(name)]


def each_direction(static: Static) -> list[Static]:
    """`Static` of each layer of a call, as if it were called alone."""
    alone = static._replace(directions=1)
    return [alone, alone._replace(go_backwards=not static.go_backwards)][: static.directions]


def of_layers(static: Static, found: Sequence[Any]) -> list[list[Any]]:
    """What a call gives for all its layers, layer by layer."""
    each = len(found) // static.directions
    return [list(found[i * each : (i + 1) * each]) for i in range(static.directions)]


def as_outputs(static: Static, found: Sequence[Any]) -> list[Outputs]:
    """The outputs of each layer under their names, None for those that it does not have."""
    names = output_names(static)
    layers = [dict(zip(names, one, strict=True)) for one in of_layers(static, found)]
    return [Outputs(*(one.get(name) for name in Outputs._fields)) for one in layers]


def output_gradients(
    static: Static, found: Sequence[Any], zeros: Callable[[int], Any]
) -> list[dict[str, Any]]:
    """Gradients to the outputs of each layer, under the names of their slots.

    All layers have the same: `zeros(place)` stands for one that is None, if another has it.
    """
    names, layers = output_names(static), of_layers(static, found)
    there = [any(layer[i] is not None for layer in layers) for i in range(len(names))]
    return [
        {
            f"d{name}": zeros(number * len(names) + i) if layer[i] is None else layer[i]
            for i, name in enumerate(names)
            if there[i]
        }
        for number, layer in enumerate(layers)
    ]


def output_shapes(x: Any, recurrent_kernel: Any) -> dict[str, tuple[Any, ...]]:
    """Shapes of the outputs, from those of two inputs."""
    state = (x[0], recurrent_kernel[0])
    return {"y": (*x[:2], recurrent_kernel[0]), "last": state, "h_n": state, "c_n": state}


def gradient_names(names: Iterable[str]) -> list[str]:
    """Gradients to ask for where these are wanted: those to the two kernels come together."""
    wanted = set(names)
    if wanted & {"kernel", "recurrent_kernel"}:
        wanted |= {"kernel", "recurrent_kernel"}
    return [name for name in DIFFERENTIABLE if name in wanted]


def layer_struct(static: Static, shape: Any, units: int, **values: Any) -> native.LayerStruct:
    """`sqk_layer` for an x of this `shape`, with `values` beside the numbers of `static`."""
    of_layer = numbers(static)
    del of_layer["save"], of_layer["sequences"], of_layer["directions"]
    sizes = dict(zip(("batch", "timesteps", "features"), shape, strict=True))
    return native.LayerStruct(**of_layer, **sizes, units=units, **values)


def workspace_floats(struct: native.LayerStruct) -> int:
    """Floats of a workspace for this layer."""
    native_library = library()
    floats = int(native_library.functions.sqk_workspace_floats(ctypes.byref(struct)))
    native_library.check(int(floats < 0))
    return floats


def check_shapes(static: Static, inputs: Inputs) -> None:
    """Raises ArgumentError where a shape does not fit those of `x` and `recurrent_kernel`."""
    for name, axes in (("x", 3), ("recurrent_kernel", 2)):
        shape = tuple(getattr(inputs, name).shape)
        if len(shape) != axes:
            raise bad_argument(name, f"shape {shape}", f"an array with {axes} axes")
    batch, timesteps, features = inputs.x.shape
    units, gates = inputs.recurrent_kernel.shape[0], GATES[static.cell]
    width, state, steps = gates * units, (batch, units), (batch, timesteps)
    expected = {
        "kernel": (features, width),
        "recurrent_kernel": (units, width),
        "bias": (2, width) if static.cell == "gru_reset_after" else (width,),
        "h0": state,
        "c0": state,
        "mask": steps,
        "recurrent_dropout": (gates, *state),
        "reset": steps,
        "zoneout_h_mask": (*steps, units),
        "zoneout_c_mask": (*steps, units),
        "peephole": (3, units),
        "norm": (10, units),
    }
    for name, shape in expected.items():
        tensor = getattr(inputs, name)
        if tensor is not None and tuple(tensor.shape) != shape:
            raise bad_argument(name, f"shape {tuple(tensor.shape)}", f"of shape {shape}")
