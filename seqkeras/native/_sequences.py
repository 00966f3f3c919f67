"""Layers of the native library over whole sequences of NumPy arrays, forward and backward."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from seqkeras._checks import Description, bad_argument, check_integer, check_one_of
from seqkeras.native._interface import (
    ACTIVATIONS,
    CELLS,
    GATES,
    MASKED_OUTPUTS,
    PRECISIONS,
    GradientsStruct,
    LayerStruct,
    OutputsStruct,
)
from seqkeras.native._library import Library, library

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Layer:
    """The kind and weights of a recurrent layer, checked once.

    Args:
        cell: `lstm`, `gru` (whose gate r acts before the product with the state),
            `gru_reset_after` (Keras' default) or `simple_rnn`.
        kernel: `(features, gates * units)`, as in Keras; float32, like all arrays here.
        recurrent_kernel: `(units, gates * units)`.
        bias: `(gates * units,)`, or `(2, gates * units)` for `gru_reset_after`. None, the default,
            for a layer without bias.
        activation: `tanh`, the default; for `simple_rnn` also `relu` and `linear`.
        recurrent_activation: `sigmoid`, the default, or `hard_sigmoid`.

    Raises:
        ArgumentError: the shapes do not fit each other, an array is not float32, or the cell or an
            activation is unknown.

    >>> Layer("lstm", np.zeros((2, 12)), np.zeros((3, 12)))
    Traceback (most recent call last):
        ...
    seqkeras.errors.ArgumentError: kernel must be float32. Got: kernel=dtype('float64').
    """

    cell: str
    kernel: Array = field(repr=False)
    recurrent_kernel: Array = field(repr=False)
    bias: Array | None = field(default=None, repr=False)
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"

    def __post_init__(self) -> None:
        check_one_of("cell", self.cell, CELLS)
        check_one_of("activation", self.activation, ACTIVATIONS)
        check_one_of("recurrent_activation", self.recurrent_activation, ACTIVATIONS)
        units = np.shape(self.recurrent_kernel)[0] if np.ndim(self.recurrent_kernel) else 0
        width = GATES[self.cell] * units
        features = np.shape(self.kernel)[0] if np.ndim(self.kernel) else 0
        bias = (2, width) if self.cell == "gru_reset_after" else (width,)
        shapes = {"kernel": (features, width), "recurrent_kernel": (units, width), "bias": bias}
        for name, shape in shapes.items():
            object.__setattr__(self, name, _dense(name, getattr(self, name), shape))

    @property
    def features(self) -> int:
        """Return the number of features of an input."""
        return int(self.kernel.shape[0])

    @property
    def units(self) -> int:
        """Return the width of the state."""
        return int(self.recurrent_kernel.shape[0])

    @property
    def has_c(self) -> bool:
        """Return whether the layer has a second state, `c`, as only an LSTM does."""
        return self.cell == "lstm"

    def struct(self, **values: Any) -> LayerStruct:
        """Build an `sqk_layer` of the C interface; `values` are its other members."""
        return LayerStruct(
            cell=CELLS.index(self.cell),
            activation=ACTIVATIONS.index(self.activation),
            recurrent_activation=ACTIVATIONS.index(self.recurrent_activation),
            features=self.features,
            units=self.units,
            kernel=_pointer(self.kernel),
            recurrent_kernel=_pointer(self.recurrent_kernel),
            bias=_pointer(self.bias),
            **values,
        )


@dataclass(frozen=True)
class Forward:
    """The result of `forward`: outputs, final states, and what `backward` needs."""

    y: Array
    last: Array
    h_n: Array
    c_n: Array | None
    workspace: Array | None = field(repr=False)
    layer: Layer = field(repr=False)
    inputs: Mapping[str, Array | None] = field(repr=False)
    struct: LayerStruct = field(repr=False)
    outputs: OutputsStruct = field(repr=False)


def forward(
    layer: Layer,
    x: Array,
    *,
    h0: Array | None = None,
    c0: Array | None = None,
    mask: Array | None = None,
    recurrent_dropout: Array | None = None,
    reset: Array | None = None,
    zoneout_h: float = 0.0,
    zoneout_c: float = 0.0,
    zoneout_h_mask: Array | None = None,
    zoneout_c_mask: Array | None = None,
    peephole: Array | None = None,
    norm: Array | None = None,
    norm_epsilon: float = 1e-3,
    precision: str = "float32",
    masked_output: str = "hold_output",
    go_backwards: bool = False,
    training: bool = False,
    threads: int = 0,
) -> Forward:
    """Run a layer over whole sequences.

    Args:
        layer: the layer.
        x: `(batch, timesteps, features)`; copied unless its last axis is dense.
        h0, c0: initial states, `(batch, units)`; None, the default, for zeros.
        mask: bool or uint8, `(batch, timesteps)`; where False, the state stays as it was. None, the
            default, masks nothing.
        recurrent_dropout: factors of the state, `(gates, batch, units)`: 0 or 1 / (1 - rate).
        reset: bool or uint8, `(batch, timesteps)`; where True, the state of the row becomes zeros
            before it reads the timestep, and no gradient flows back beyond it.
        zoneout_h, zoneout_c: in inference, the fraction of the old `h` and `c` in the new, 0.0 by
            default.
        zoneout_h_mask, zoneout_c_mask: bool or uint8, `(batch, timesteps, units)`, for training;
            where True, the old value stays. The rates are then ignored.
        peephole: `(3, units)`, only for an LSTM: factors of `c` in the sums of the gates i, f, o.
        norm: `(10, units)`, for an LSTM with layer normalization: 4 scales of the gates' input
            products, 4 of their recurrent products, the scale of `c` and the shift of `c`.
        norm_epsilon: added to each variance, 0.001 by default.
        precision: precision of the products: `float32`, the default, or `bfloat16`.
        masked_output: `hold_output`, the default, `hold_state` or `zero`; see
            `src/seqkeras_native.h`.
        go_backwards: read from the last timestep to the first; outputs are in that order. False by
            default.
        training: save what `backward` needs. False by default.
        threads: largest number of parts that the batch is split into; 0, the default, for
            `Library.threads`.

    Raises:
        ArgumentError: an argument is not as above.
        NotImplementedError: the library does not support the layer, or is not available.
    """
    native = library()
    check_one_of("masked_output", masked_output, MASKED_OUTPUTS)
    check_one_of("precision", precision, PRECISIONS)
    x = _rows("x", x, (None, None, layer.features))
    arrays = {
        "h0": h0,
        "c0": c0,
        "mask": mask,
        "recurrent_dropout": recurrent_dropout,
        "reset": reset,
        "zoneout_h_mask": zoneout_h_mask,
        "zoneout_c_mask": zoneout_c_mask,
        "peephole": peephole,
        "norm": norm,
    }
    inputs = _readable(layer, x, arrays)
    strided = ("x", "mask", "reset")
    struct = layer.struct(
        masked_output=MASKED_OUTPUTS.index(masked_output),
        go_backwards=bool(go_backwards),
        threads=check_integer("threads", threads, minimum=0),
        batch=x.shape[0],
        timesteps=x.shape[1],
        zoneout_h=zoneout_h,
        zoneout_c=zoneout_c,
        norm_epsilon=norm_epsilon,
        precision=PRECISIONS.index(precision),
        **{key: value for name in strided for key, value in _strided(name, inputs[name]).items()},
        **{name: _pointer(array) for name, array in inputs.items() if name not in strided},
    )
    return _run(native, layer, inputs, struct, training)


def _readable(
    layer: Layer, x: Array, arrays: Mapping[str, Array | None]
) -> dict[str, Array | None]:
    """Check the optional inputs of a layer; return all inputs in a form that C can read."""
    steps = x.shape[:2]
    state = (x.shape[0], layer.units)
    shapes = {
        "h0": state,
        "c0": state,
        "mask": steps,
        "recurrent_dropout": (GATES[layer.cell], *state),
        "reset": steps,
        "zoneout_h_mask": (*steps, layer.units),
        "zoneout_c_mask": (*steps, layer.units),
        "peephole": (3, layer.units),
        "norm": (10, layer.units),
    }
    inputs: dict[str, Array | None] = {"x": x}
    for name, array in arrays.items():
        if name in ("mask", "reset"):
            inputs[name] = _flags(name, array, shapes[name])
        elif name in ("zoneout_h_mask", "zoneout_c_mask"):
            inputs[name] = _flags(name, array, shapes[name], dense=True)
        else:
            inputs[name] = _dense(name, array, shapes[name])
    return inputs


def _run(
    native: Library,
    layer: Layer,
    inputs: Mapping[str, Array | None],
    struct: LayerStruct,
    training: bool,
) -> Forward:
    """Allocate the outputs of a layer, and compute them."""
    state = (struct.batch, layer.units)
    y = np.empty((struct.batch, struct.timesteps, layer.units), np.float32)
    last = np.empty(state, np.float32)
    h_n = np.empty(state, np.float32)
    c_n = np.empty(state, np.float32) if layer.has_c else None
    workspace = None
    if training:
        floats = native.functions.sqk_workspace_floats(ctypes.byref(struct))
        # Not empty: an empty array may have a null pointer, for which the library saves nothing.
        workspace = np.empty(max(floats, 1), np.float32)
    outputs = OutputsStruct(
        **_strided("y", y),
        last=_pointer(last),
        h_n=_pointer(h_n),
        c_n=_pointer(c_n),
        workspace=_pointer(workspace),
        workspace_floats=workspace.size if workspace is not None else 0,
    )
    native.check(native.functions.sqk_forward(ctypes.byref(struct), ctypes.byref(outputs)))
    return Forward(y, last, h_n, c_n, workspace, layer, inputs, struct, outputs)


def backward(
    run: Forward,
    *,
    dy: Array | None = None,
    dlast: Array | None = None,
    dh_n: Array | None = None,
    dc_n: Array | None = None,
) -> dict[str, Array]:
    """Compute the gradients of a loss to the weights and inputs of a `forward` call.

    Args:
        run: the result of `forward`, with `training=True`.
        dy, dlast, dh_n, dc_n: gradients to `y`, `last`, `h_n` and `c_n`; None, the default, for
            zeros.

    Returns:
        Gradients to `x`, `kernel`, `recurrent_kernel`, `bias`, `h0`, for an LSTM also `c0`, and to
        `peephole` and `norm` if the layer has them.

    Raises:
        ArgumentError: a shape or a dtype is wrong, or `run` was made without `training=True`.
    """
    native = library()
    if run.workspace is None:
        raise bad_argument(
            "run",
            Description("a Forward without a workspace"),
            "the result of forward(..., training=True)",
        )
    state = run.h_n.shape
    dy = _rows("dy", dy, run.y.shape) if dy is not None else None
    state_gradients = {
        name: _dense(name, array, state)
        for name, array in (("dlast", dlast), ("dh_n", dh_n), ("dc_n", dc_n))
    }
    results = {name: np.empty(shape, np.float32) for name, shape in _gradient_shapes(run).items()}
    gradients = GradientsStruct(
        **_strided("dy", dy),
        **_strided("dx", results["x"]),
        **{name: _pointer(array) for name, array in state_gradients.items()},
        **{f"d{name}": _pointer(array) for name, array in results.items() if name != "x"},
    )
    code = native.functions.sqk_backward(
        ctypes.byref(run.struct), ctypes.byref(run.outputs), ctypes.byref(gradients)
    )
    native.check(code)
    return results


def _gradient_shapes(run: Forward) -> dict[str, tuple[int, ...]]:
    layer = run.layer
    width = GATES[layer.cell] * layer.units
    shapes = {
        "x": (*run.y.shape[:2], layer.features),
        "kernel": layer.kernel.shape,
        "recurrent_kernel": layer.recurrent_kernel.shape,
        "bias": (2, width) if layer.cell == "gru_reset_after" else (width,),
        "h0": run.h_n.shape,
    }
    if layer.has_c:
        shapes["c0"] = run.h_n.shape
    for name in ("peephole", "norm"):
        weight = run.inputs[name]
        if weight is not None:
            shapes[name] = weight.shape
    return shapes


def _pointer(array: Array | None) -> int | None:
    return array.ctypes.data if array is not None else None


def _strided(name: str, array: Array | None) -> dict[str, int | None]:
    """Return the pointer and the strides of a sequence, under the names of a struct's members."""
    if array is None:
        return {}
    return {
        name: array.ctypes.data,
        f"{name}_batch_stride": array.strides[0] // array.itemsize,
        f"{name}_time_stride": array.strides[1] // array.itemsize,
    }


def _float32(name: str, array: Any, shape: tuple[int | None, ...]) -> Array:
    if not isinstance(array, np.ndarray):
        raise bad_argument(name, type(array).__name__, "a NumPy array")
    if array.dtype != np.float32:
        raise bad_argument(name, array.dtype, "float32")
    fits = array.ndim == len(shape) and all(
        expected in (actual, None) for actual, expected in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise bad_argument(name, array.shape, f"an array of shape {shape}")
    return array


def _dense(name: str, array: Any, shape: tuple[int | None, ...]) -> Any:
    """Check an array and make it row-major; None stays None."""
    return np.ascontiguousarray(_float32(name, array, shape)) if array is not None else None


def _rows(name: str, array: Any, shape: tuple[int | None, ...]) -> Array:
    """Check an array; copy it unless its last axis is dense and its strides are whole elements."""
    array = _float32(name, array, shape)
    whole = all(stride % array.itemsize == 0 for stride in array.strides)
    return array if whole and array.strides[-1] == array.itemsize else array.copy()


def _flags(name: str, array: Any, shape: tuple[int, ...], dense: bool = False) -> Array | None:
    """Check flags and view them as bytes, made row-major if `dense`; None stays None."""
    if array is None:
        return None
    if not isinstance(array, np.ndarray) or array.dtype not in (np.bool_, np.uint8):
        raise bad_argument(name, getattr(array, "dtype", type(array)), "a bool or uint8 array")
    if array.shape != shape:
        raise bad_argument(name, array.shape, f"an array of shape {shape}")
    return (np.ascontiguousarray(array) if dense else array).view(np.uint8)
