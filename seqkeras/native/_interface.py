"""The C interface, `src/seqkeras_native.h`, for ctypes: its names, structs and functions."""

import ctypes
from collections.abc import Mapping
from typing import Any

#: The value that `sqk_abi_version` of a library must return.
ABI_VERSION = 3

#: Names of the C interface, in the order of its numbers; see `src/seqkeras_native.h`.
CELLS = ("lstm", "gru", "gru_reset_after", "simple_rnn")
ACTIVATIONS = ("tanh", "relu", "linear", "sigmoid", "hard_sigmoid")
MASKED_OUTPUTS = ("hold_output", "hold_state", "zero")
PRECISIONS = ("float32", "bfloat16")
GATES = {"lstm": 4, "gru": 3, "gru_reset_after": 3, "simple_rnn": 1}
#: Features and units must each be fewer than this; `kMostWide` in `src/api.cpp`.
MOST_WIDE = 1 << 20
UNSUPPORTED = 2
NO_MEMORY = 3

_GATE_ACTIVATIONS = ("sigmoid", "hard_sigmoid")
#: For each cell, the activations that it supports, and those that its gates support.
KNOWN = {
    "lstm": (("tanh",), _GATE_ACTIVATIONS),
    "gru": (("tanh",), _GATE_ACTIVATIONS),
    "gru_reset_after": (("tanh",), _GATE_ACTIVATIONS),
    "simple_rnn": (("tanh", "relu", "linear"), ("sigmoid",)),
}

_array = ctypes.c_void_p
_float = ctypes.c_float
_int32 = ctypes.c_int32
_int64 = ctypes.c_int64


class _Struct(ctypes.Structure):
    """A struct of the C interface, which begins with its own size."""

    def __init__(self, **values: Any) -> None:
        super().__init__(struct_size=ctypes.sizeof(self), **values)


class LayerStruct(_Struct):
    """`sqk_layer`."""

    _fields_ = (
        ("struct_size", _int64),
        *((name, _int32) for name in ("cell", "activation", "recurrent_activation")),
        *((name, _int32) for name in ("masked_output", "go_backwards", "reserved")),
        *((name, _int64) for name in ("threads", "batch", "timesteps", "features", "units")),
        ("x", _array),
        *((name, _int64) for name in ("x_batch_stride", "x_time_stride")),
        *((name, _array) for name in ("kernel", "recurrent_kernel", "bias", "h0", "c0", "mask")),
        *((name, _int64) for name in ("mask_batch_stride", "mask_time_stride")),
        *((name, _array) for name in ("recurrent_dropout", "reset")),
        *((name, _int64) for name in ("reset_batch_stride", "reset_time_stride")),
        *((name, _float) for name in ("zoneout_h", "zoneout_c")),
        *((name, _array) for name in ("zoneout_h_mask", "zoneout_c_mask", "peephole", "norm")),
        ("norm_epsilon", _float),
        ("precision", _int32),
    )


class OutputsStruct(_Struct):
    """`sqk_outputs`."""

    _fields_ = (
        ("struct_size", _int64),
        ("y", _array),
        *((name, _int64) for name in ("y_batch_stride", "y_time_stride")),
        *((name, _array) for name in ("last", "h_n", "c_n", "workspace")),
        ("workspace_floats", _int64),
    )


class GradientsStruct(_Struct):
    """`sqk_gradients`."""

    _fields_ = (
        ("struct_size", _int64),
        ("dy", _array),
        *((name, _int64) for name in ("dy_batch_stride", "dy_time_stride")),
        *((name, _array) for name in ("dlast", "dh_n", "dc_n", "dx")),
        *((name, _int64) for name in ("dx_batch_stride", "dx_time_stride")),
        *((name, _array) for name in ("dkernel", "drecurrent_kernel", "dbias", "dh0", "dc0")),
        *((name, _array) for name in ("dpeephole", "dnorm")),
    )


#: Functions of the C interface: the types of their result and of their arguments.
SIGNATURES: Mapping[str, tuple[Any, tuple[Any, ...]]] = {
    "sqk_abi_version": (_int64, ()),
    "sqk_last_error": (ctypes.c_char_p, ()),
    "sqk_isa_name": (ctypes.c_char_p, ()),
    "sqk_set_isa": (ctypes.c_int, (ctypes.c_char_p,)),
    "sqk_threads": (_int64, ()),
    "sqk_set_threads": (ctypes.c_int, (_int64,)),
    "sqk_calls": (_int64, (ctypes.c_int,)),
    "sqk_workspace_floats": (_int64, (ctypes.POINTER(LayerStruct),)),
    "sqk_forward": (ctypes.c_int, (ctypes.POINTER(LayerStruct), ctypes.POINTER(OutputsStruct))),
    "sqk_backward": (
        ctypes.c_int,
        tuple(map(ctypes.POINTER, (LayerStruct, OutputsStruct, GradientsStruct))),
    ),
    "sqk_forward_all": (ctypes.c_int, (_int64, _array, _array)),
    "sqk_backward_all": (ctypes.c_int, (_int64, _array, _array, _array)),
    "sqk_pack": (ctypes.c_int, (ctypes.POINTER(LayerStruct), ctypes.POINTER(ctypes.c_void_p))),
    "sqk_unpack": (None, (ctypes.c_void_p,)),
    "sqk_step": (ctypes.c_int, (ctypes.c_void_p, _int64, *(ctypes.c_void_p,) * 5)),
}


def not_among_kernels(
    cell: str, activation: str | None, recurrent_activation: str | None
) -> str | None:
    """Return why the native library does not support a cell's activations, or None if it does.

    Args:
        cell: a name of `CELLS`.
        activation, recurrent_activation: Keras' names of the functions; None for custom functions.
    """
    activations = (("activation", activation), ("recurrent_activation", recurrent_activation))
    for (name, value), supported in zip(activations, KNOWN[cell], strict=True):
        if value not in supported:
            actual = f"{name}={value!r}" if value is not None else f"a custom {name}"
            return f"{actual} is not supported; supported: {', '.join(supported)}"
    return None
