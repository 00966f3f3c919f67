"""The arguments of a fused kernel, and their form in the adapters to TensorFlow and XLA.

An adapter receives the tensors that are present, layer by layer and in the order of `SLOTS`, and
these numbers: the bits of the slots that are present, the bits of the gradients to compute, and the
fields of `Static`. `native/src/binding.h` is the C++ side.
"""

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from seqkeras import native
from seqkeras._checks import Description, bad_argument
from seqkeras.native import ACTIVATIONS, CELLS, GATES, MASKED_OUTPUTS, PRECISIONS, library


class Static(NamedTuple):
    """Facts about a call that are known when its graph is traced."""

    #: A name of `seqkeras.native.CELLS`.
    cell: str
    #: Names of `seqkeras.native.ACTIVATIONS`.
    activation: str
    recurrent_activation: str
    #: A name of `seqkeras.native.MASKED_OUTPUTS`: what `y` holds at masked timesteps.
    masked_output: str
    #: Read from the last timestep to the first; `y` is in the order of reading.
    go_backwards: bool
    #: Whether to save what the gradient needs. If False, a gradient runs forward again.
    save: bool
    #: Whether `y` is an output.
    sequences: bool
    #: Rates for inference. In training, the masks of `FusedInputs` replace them.
    zoneout_h: float
    zoneout_c: float
    norm_epsilon: float
    #: Precision of the products: `float32`, or `bfloat16` with sums in float32.
    precision: str
    #: Number of layers in the call, 1 or 2. The second layer reads in the other direction;
    #: otherwise only its `FusedInputs` differ.
    directions: int = 1


class FusedInputs(NamedTuple):
    """Tensors of one layer, float32 unless stated otherwise; None for those that are absent.

    Gates are in Keras' order: i, f, c, o for the LSTM and z, r, h for the GRU.
    """

    #: `(batch, timesteps, features)`
    x: Any
    #: `(features, gates * units)`
    kernel: Any
    #: `(units, gates * units)`
    recurrent_kernel: Any
    #: `(gates * units,)`, or `(2, gates * units)` for `gru_reset_after`
    bias: Any
    #: `(batch, units)`
    h0: Any
    #: `(batch, units)`, only for the LSTM
    c0: Any
    #: `(batch, timesteps)`, bool; False is masked
    mask: Any
    #: `(gates, batch, units)`: factors of the state in each gate's product
    recurrent_dropout: Any
    #: `(batch, timesteps)`, bool; True clears the state of a row before it reads this timestep
    reset: Any
    #: `(batch, timesteps, units)`, bool: where the old h and c stay, in training
    zoneout_h_mask: Any
    zoneout_c_mask: Any
    #: `(3, units)`: weights from c to the gates i, f and o
    peephole: Any
    #: `(10, units)`: scales of the 4 gates' input product, of their recurrent product, and of c;
    #: the shift of c
    norm: Any


class FusedOutputs(NamedTuple):
    """Outputs of one layer."""

    #: `(batch, timesteps, units)`, or None unless `Static.sequences`
    y: Any
    #: `(batch, units)`: `y` at the timestep read last
    last: Any
    #: `(batch, units)`: the final state; `c_n` exists only for the LSTM
    h_n: Any
    c_n: Any


#: The inputs, then the other tensors that backward reads; `saved` is the workspace of forward.
SLOTS = (*FusedInputs._fields, "y", "saved", "dy", "dlast", "dh_n", "dc_n")
#: Inputs that are bool; all others are float32.
BOOLS = frozenset(("mask", "reset", "zoneout_h_mask", "zoneout_c_mask"))
#: Inputs that have a gradient.
DIFFERENTIABLE = ("x", "kernel", "recurrent_kernel", "bias", "h0", "c0", "peephole", "norm")
#: Inputs that all rows of the batch share.
WEIGHTS = ("kernel", "recurrent_kernel", "bias", "peephole", "norm")
#: Fields of `Static` that are names, with their values in the order of the C interface.
CHOICES = {
    "cell": CELLS,
    "activation": ACTIVATIONS,
    "recurrent_activation": ACTIVATIONS,
    "masked_output": MASKED_OUTPUTS,
    "precision": PRECISIONS,
}
FLAGS = ("go_backwards", "save", "sequences")
RATES = ("zoneout_h", "zoneout_c", "norm_epsilon")
#: The error for a second derivative.
ONCE = (
    "The gradient of a fused recurrent layer cannot be differentiated again. For second "
    'derivatives, and for derivatives in forward mode, use implementation="scan".'
)


def present(inputs: FusedInputs) -> dict[str, Any]:
    """Return the tensors that are not None, by name."""
    return {name: tensor for name, tensor in inputs._asdict().items() if tensor is not None}


def slot_bits(names: Iterable[str]) -> int:
    """Return a number with the bits of these slots set."""
    return sum(1 << SLOTS.index(name) for name in names)


def slot_names(bits: int) -> list[str]:
    """Return the slots whose bits are set in a number."""
    return [name for place, name in enumerate(SLOTS) if bits >> place & 1]


def batch_axis(name: str) -> int | None:
    """Return the axis of the batch in a slot or an output; None for a weight, which has none."""
    if name in WEIGHTS:
        return None
    return 1 if name == "recurrent_dropout" else 0


def to_numbers(static: Static) -> dict[str, int | float]:
    """Turn the fields of `Static` into numbers."""
    values: dict[str, Any] = static._asdict()
    for name, choices in CHOICES.items():
        values[name] = choices.index(values[name])
    for name in FLAGS:
        values[name] = int(values[name])
    for name in RATES:
        values[name] = float(values[name])
    return values


def from_numbers(values: Mapping[str, Any]) -> Static:
    """Turn the numbers of `to_numbers` back into `Static`."""
    names = {name: choices[values[name]] for name, choices in CHOICES.items()}
    flags = {name: bool(values[name]) for name in FLAGS}
    return Static(**{**values, **names, **flags})


def output_names(static: Static) -> list[str]:
    """Return the names of the outputs that a layer has, in order."""
    absent = {"y": not static.sequences, "c_n": static.cell != "lstm"}
    return [name for name in FusedOutputs._fields if not absent.get(name)]


def each_direction(static: Static) -> list[Static]:
    """Return a `Static` for each layer of a call, as if it were the only one."""
    first = static._replace(directions=1)
    second = first._replace(go_backwards=not static.go_backwards)
    return [first, second][: static.directions]


def by_layer(static: Static, tensors: Sequence[Any]) -> list[list[Any]]:
    """Split the tensors of a call, in the order of its layers, into those of each layer."""
    count = len(tensors) // static.directions
    return [list(tensors[i * count : (i + 1) * count]) for i in range(static.directions)]


def as_outputs(static: Static, tensors: Sequence[Any]) -> list[FusedOutputs]:
    """Name the outputs of each layer, with None for those that it does not have."""
    names = output_names(static)
    absent = dict.fromkeys(FusedOutputs._fields)
    return [
        FusedOutputs(**{**absent, **dict(zip(names, layer, strict=True))})
        for layer in by_layer(static, tensors)
    ]


def output_gradients(
    static: Static, gradients: Sequence[Any], zeros: Callable[[int], Any]
) -> list[dict[str, Any]]:
    """Name the gradients to the outputs of each layer by their slots.

    All layers must have gradients to the same outputs. So where one layer has a gradient and
    another has None, the latter gets `zeros(position)`.
    """
    names = output_names(static)
    layers = by_layer(static, gradients)
    has_gradient = [any(layer[i] is not None for layer in layers) for i in range(len(names))]
    return [
        {
            f"d{name}": layer[i] if layer[i] is not None else zeros(number * len(names) + i)
            for i, name in enumerate(names)
            if has_gradient[i]
        }
        for number, layer in enumerate(layers)
    ]


def output_shapes(x: Any, recurrent_kernel: Any) -> dict[str, tuple[Any, ...]]:
    """Return the shapes of the outputs, given the shapes of `x` and `recurrent_kernel`."""
    state = (x[0], recurrent_kernel[0])
    return {"y": (*x[:2], recurrent_kernel[0]), "last": state, "h_n": state, "c_n": state}


def gradient_names(names: Iterable[str]) -> list[str]:
    """Return the gradients to compute for `names`: both kernels' gradients, or neither."""
    computed = set(names)
    if computed & {"kernel", "recurrent_kernel"}:
        computed |= {"kernel", "recurrent_kernel"}
    return [name for name in DIFFERENTIABLE if name in computed]


def layer_struct(static: Static, shape: Any, units: int, **values: Any) -> native.LayerStruct:
    """Build an `sqk_layer` for an x of this `shape`; `values` are its other members."""
    numbers = to_numbers(static)
    del numbers["save"], numbers["sequences"], numbers["directions"]
    sizes = dict(zip(("batch", "timesteps", "features"), shape, strict=True))
    return native.LayerStruct(**numbers, **sizes, units=units, **values)


def workspace_floats(struct: native.LayerStruct) -> int:
    """Return the size in floats of the workspace of a layer."""
    native_library = library()
    floats = int(native_library.functions.sqk_workspace_floats(ctypes.byref(struct)))
    native_library.check(int(floats < 0))
    return floats


def check_shapes(static: Static, inputs: FusedInputs) -> None:
    """Check that all shapes fit those of `x` and `recurrent_kernel`.

    Raises:
        ArgumentError: a shape does not fit.
    """
    for name, axes in (("x", 3), ("recurrent_kernel", 2)):
        shape = tuple(getattr(inputs, name).shape)
        if len(shape) != axes:
            raise bad_argument(name, Description(f"shape {shape}"), f"an array with {axes} axes")
    batch, timesteps, features = inputs.x.shape
    units = inputs.recurrent_kernel.shape[0]
    gates = GATES[static.cell]
    width = gates * units
    state = (batch, units)
    steps = (batch, timesteps)
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
            raise bad_argument(
                name, Description(f"shape {tuple(tensor.shape)}"), f"an array of shape {shape}"
            )
