"""Whole sequences on the compiled kernels, forward and backward, as functions on NumPy arrays."""

import ctypes
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from seqkeras._checks import bad_argument, check_integer, check_one_of
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
from seqkeras.native._library import library

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Layer:
    """A recurrent layer's kind and weights, checked once.

    Args:
        cell: `lstm`, `gru` (its gate r before the product with the state), `gru_reset_after`
            (Keras' default) or `simple_rnn`.
        kernel: `(features, gates * units)`, as Keras has it; float32, as all arrays here.
        recurrent_kernel: `(units, gates * units)`.
        bias: `(gates * units,)`, for `gru_reset_after` `(2, gates * units)`; or None.
        activation: `tanh`; for `simple_rnn` also `relu` and `linear`.
        recurrent_activation: `sigmoid` or `hard_sigmoid`.

    Raises:
        ArgumentError: the shapes do not fit each other, or an array is not float32.
        NotImplementedError: there are no kernels for such a cell, or none on this machine.

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
        set_ = functools.partial(object.__setattr__, self)
        set_("kernel", _dense("kernel", self.kernel, (features, width)))
        set_("recurrent_kernel", _dense("recurrent_kernel", self.recurrent_kernel, (units, width)))
        set_("bias", _dense("bias", self.bias, bias))

    @property
    def features(self) -> int:
        """Features of an input."""
        return int(self.kernel.shape[0])

    @property
    def units(self) -> int:
        """Width of the state."""
        return int(self.recurrent_kernel.shape[0])

    @property
    def has_c(self) -> bool:
        """Whether there is a second state, the LSTM's."""
        return self.cell == "lstm"

    def struct(self, **values: Any) -> LayerStruct:
        """The layer as the C interface takes it."""
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
    """What `forward` returns: outputs, states at the end, and what `backward` needs."""

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
    """Runs a layer over whole sequences.

    Args:
        layer: its weights.
        x: `(batch, timesteps, features)`; its last axis must be dense, the others may have strides.
        h0, c0: states at the start, `(batch, units)`; zeros where None.
        mask: bool or uint8, `(batch, timesteps)`; where False the state stays as it was.
        recurrent_dropout: factors of the state, `(gates, batch, units)`: 0 or 1 / (1 - rate).
        reset: bool or uint8, `(batch, timesteps)`; where True the state of the row is zeros before
            it reads the timestep, and no gradient goes back from there.
        zoneout_h, zoneout_c: the part of the old `h` and `c` that stays, for inference.
        zoneout_h_mask, zoneout_c_mask: bool or uint8, `(batch, timesteps, units)`, for training;
            where True the old value stays. The rates are not read then.
        peephole: of an LSTM, `(3, units)`: factors of `c` in the sums of the gates i, f and o.
        norm: of an LSTM with layer normalization, `(10, units)`: scales of the gates' input
            product and of their recurrent product, scale of `c`, shift of `c`.
        norm_epsilon: added to each variance.
        precision: of the products, `float32` or `bfloat16`.
        masked_output: `hold_output`, `hold_state` or `zero`; see `src/seqkeras_native.h`.
        go_backwards: from the last timestep to the first; outputs are in that order.
        training: keeps what `backward` needs.
        threads: parts that the batch is split into; 0 is `Library.threads`.

    Raises:
        ArgumentError: a shape or a dtype is not as above.
        NotImplementedError: there are no kernels for this.
    """
    native = library()
    check_one_of("masked_output", masked_output, MASKED_OUTPUTS)
    check_one_of("precision", precision, PRECISIONS)
    x = _rows("x", x, (None, None, layer.features))
    batch, timesteps = x.shape[:2]
    state, sequence = (batch, layer.units), (batch, timesteps, layer.units)
    inputs = {
        "h0": _dense("h0", h0, state),
        "c0": _dense("c0", c0, state),
        "recurrent_dropout": _dense(
            "recurrent_dropout", recurrent_dropout, (GATES[layer.cell], *state)
        ),
        "zoneout_h_mask": _flags("zoneout_h_mask", zoneout_h_mask, sequence, dense=True),
        "zoneout_c_mask": _flags("zoneout_c_mask", zoneout_c_mask, sequence, dense=True),
        "peephole": _dense("peephole", peephole, (3, layer.units)),
        "norm": _dense("norm", norm, (10, layer.units)),
    }
    flags = {
        "mask": _flags("mask", mask, (batch, timesteps)),
        "reset": _flags("reset", reset, (batch, timesteps)),
    }
    struct = layer.struct(
        masked_output=MASKED_OUTPUTS.index(masked_output),
        go_backwards=bool(go_backwards),
        threads=check_integer("threads", threads, minimum=0),
        batch=batch,
        timesteps=timesteps,
        zoneout_h=zoneout_h,
        zoneout_c=zoneout_c,
        norm_epsilon=norm_epsilon,
        precision=PRECISIONS.index(precision),
        **_strided("x", x),
        **_strided("mask", flags["mask"]),
        **_strided("reset", flags["reset"]),
        **{name: _pointer(array) for name, array in inputs.items()},
    )
    y = np.empty(sequence, np.float32)
    last, h_n = np.empty(state, np.float32), np.empty(state, np.float32)
    c_n = np.empty(state, np.float32) if layer.has_c else None
    workspace = None
    if training:
        floats = native.functions.sqk_workspace_floats(ctypes.byref(struct))
        # At least one float, for a null pointer means that nothing is saved.
        workspace = np.empty(max(floats, 1), np.float32)
    outputs = OutputsStruct(
        **_strided("y", y),
        last=_pointer(last),
        h_n=_pointer(h_n),
        c_n=_pointer(c_n),
        workspace=_pointer(workspace),
        workspace_floats=0 if workspace is None else workspace.size,
    )
    native.check(native.functions.sqk_forward(ctypes.byref(struct), ctypes.byref(outputs)))
    kept = {"x": x, **flags, **inputs}
    return Forward(y, last, h_n, c_n, workspace, layer, kept, struct, outputs)


def backward(
    run: Forward,
    *,
    dy: Array | None = None,
    dlast: Array | None = None,
    dh_n: Array | None = None,
    dc_n: Array | None = None,
) -> dict[str, Array]:
    """Gradients of a loss to all that `forward` read, from those to what `forward` returned.

    Args:
        run: what `forward` returned, with `training=True`.
        dy, dlast, dh_n, dc_n: gradients to `y`, `last`, `h_n` and `c_n`; zeros where None.

    Returns:
        Gradients to `x`, `kernel`, `recurrent_kernel`, `bias`, `h0`, for an LSTM `c0`, and to
        `peephole` and `norm` where there are any.

    Raises:
        ArgumentError: a shape or a dtype is wrong, or `run` was not for training.
    """
    native = library()
    layer = run.layer
    x = run.inputs["x"]
    assert x is not None
    state = (x.shape[0], layer.units)
    if run.workspace is None:
        raise bad_argument("run", "a forward without it", "a forward with training=True")
    dy = None if dy is None else _rows("dy", dy, run.y.shape)
    given = {
        name: _dense(name, array, state)
        for name, array in (("dlast", dlast), ("dh_n", dh_n), ("dc_n", dc_n))
    }
    width = GATES[layer.cell] * layer.units
    shapes = {
        "x": x.shape,
        "kernel": layer.kernel.shape,
        "recurrent_kernel": layer.recurrent_kernel.shape,
        "bias": (2, width) if layer.cell == "gru_reset_after" else (width,),
        "h0": state,
        **({"c0": state} if layer.has_c else {}),
    }
    for name in ("peephole", "norm"):
        weight = run.inputs[name]
        if weight is not None:
            shapes[name] = weight.shape
    found = {name: np.empty(shape, np.float32) for name, shape in shapes.items()}
    gradients = GradientsStruct(
        **_strided("dy", dy),
        **_strided("dx", found["x"]),
        **{name: _pointer(array) for name, array in given.items()},
        **{f"d{name}": _pointer(array) for name, array in found.items() if name != "x"},
    )
    code = native.functions.sqk_backward(
        ctypes.byref(run.struct), ctypes.byref(run.outputs), ctypes.byref(gradients)
    )
    native.check(code)
    return found


def _pointer(array: Array | None) -> int | None:
    return None if array is None else array.ctypes.data


def _strided(name: str, array: Array | None) -> dict[str, int | None]:
    """Pointer and strides of a sequence, under the names that a struct has for them."""
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
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise bad_argument(name, array.shape, f"of shape {shape}")
    return array


def _dense(name: str, array: Any, shape: tuple[int | None, ...]) -> Any:
    """The array, row-major, after a look at its dtype and shape; None stays None."""
    return None if array is None else np.ascontiguousarray(_float32(name, array, shape))


def _rows(name: str, array: Any, shape: tuple[int | None, ...]) -> Array:
    """The array if its last axis is dense and its strides are whole elements, else a copy."""
    array = _float32(name, array, shape)
    whole = all(stride % array.itemsize == 0 for stride in array.strides)
    return array if whole and array.strides[-1] == array.itemsize else array.copy()


def _flags(name: str, array: Any, shape: tuple[int, ...], dense: bool = False) -> Array | None:
    """The array as bytes, row-major if it must be `dense`; None stays None."""
    if array is None:
        return None
    if not isinstance(array, np.ndarray) or array.dtype not in (np.bool_, np.uint8):
        raise bad_argument(name, getattr(array, "dtype", type(array)), "a bool or uint8 array")
    if array.shape != shape:
        raise bad_argument(name, array.shape, f"of shape {shape}")
    return (np.ascontiguousarray(array) if dense else array).view(np.uint8)
