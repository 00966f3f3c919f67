"""Our compiled kernels: the whole loop over time in one call, forward and backward."""

import importlib
from types import ModuleType
from typing import Any

from keras import ops

from seqkeras import native
from seqkeras.kernels._call import Call, Inputs, Result, Static
from seqkeras.kernels._dropout import dropped, recurrent_factors
from seqkeras.kernels._runtime import TRACED, Runtime
from seqkeras.kernels._spec import (
    Spec,
    activation_name,
    cell_name,
    masked_output,
    recurrent_activation_name,
)
from seqkeras.kernels._zoneout import draw

_DTYPES = ("float32", "bfloat16", "float16")


def why_not(spec: Spec, runtime: Runtime) -> str | None:
    """Why the kernels cannot run a layer, or None where they can."""
    return _not_computed(spec) or _not_there(spec, runtime)


def why_not_unasked(runtime: Runtime) -> str | None:
    """Why they are left alone, though they could run a layer, unless they are asked for."""
    if runtime.device == "cuda":
        return "its kernel for GPUs was never measured on one; implementation='fused' takes it"
    return None


def _not_computed(spec: Spec) -> str | None:
    if spec.cell is None:
        return f"{spec.kind} is not one of the cells that it knows"
    if spec.dtype not in _DTYPES:
        return f"it computes in float32, and the layer in {spec.dtype}"
    return native.not_among_kernels(spec.cell, spec.activation, spec.recurrent_activation)


def _not_there(spec: Spec, runtime: Runtime) -> str | None:
    if runtime.traced_for is not None:
        return TRACED[runtime.traced_for]
    on_gpu = (runtime.backend, runtime.device) == ("torch", "cuda")
    if runtime.device != "cpu" and not on_gpu:
        return f"it has no kernel for {runtime.backend} on the device {runtime.device}"
    if on_gpu and spec.normalization:
        return "normalization is not in its kernel for GPUs"
    missing = native.why_not() if runtime.device == "cpu" else None
    reason: str | None = missing or _binding(runtime).why_not()
    return reason


def _binding(runtime: Runtime) -> ModuleType:
    """The module with `run(static, inputs)` for this place, imported when it is asked for."""
    name = "_triton" if runtime.device == "cuda" else f"_fused_{runtime.backend}"
    return importlib.import_module(f"{__package__}.{name}")


def run(call: Call) -> Result:
    """Runs a layer."""
    layer, cell, training = call.layer, call.layer.cell, call.training
    x, kernel = dropped(cell, call.sequences, training)
    h0, *more = call.state
    kept = draw(cell, call.sequences, training)
    # Loops with flags begin with zeros on every backend.
    backend = call.runtime.backend if call.reset is None and kept is None else ""
    static = Static(
        cell=cell_name(cell) or "",
        activation=activation_name(cell.activation) or "",
        recurrent_activation=recurrent_activation_name(cell) or "",
        masked_output=masked_output(layer, backend),
        go_backwards=layer.go_backwards,
        save=training,
        sequences=layer.return_sequences,
        zoneout_h=getattr(cell, "zoneout_h", 0.0),
        zoneout_c=getattr(cell, "zoneout_c", 0.0),
        norm_epsilon=getattr(cell, "epsilon", 0.0),
        precision=_precision(call),
    )
    factors = recurrent_factors(cell, h0, training)
    inputs = Inputs(
        x=_float32(x),
        kernel=_float32(kernel),
        recurrent_kernel=_float32(cell.recurrent_kernel),
        bias=None if cell.bias is None else _float32(cell.bias),
        h0=_float32(h0),
        c0=_float32(more[0]) if more else None,
        mask=None if call.mask is None else ops.cast(call.mask, "bool"),
        recurrent_dropout=None if factors is None else _float32(ops.stack(factors)),
        reset=call.reset,
        zoneout_h_mask=kept and kept[0],
        zoneout_c_mask=kept[1] if kept and len(kept) > 1 else None,
        peephole=_float32(cell.peephole_kernel) if getattr(cell, "peephole", False) else None,
        norm=_norm(cell) if getattr(cell, "normalization", False) else None,
    )
    outputs = _binding(call.runtime).run(static, inputs)
    y = ops.expand_dims(outputs.last, 1) if outputs.y is None else outputs.y
    return outputs.last, y, [one for one in (outputs.h_n, outputs.c_n) if one is not None]


def _precision(call: Call) -> str:
    """That of the products: what a layer in bfloat16 is given has no more digits anyway."""
    known = call.layer.compute_dtype == "bfloat16" and cell_name(call.layer.cell) != "gru"
    library = native.load() if known and call.runtime.device == "cpu" else None
    return "bfloat16" if library is not None and library.bfloat16 else "float32"


def _norm(cell: Any) -> Any:
    """Scales and shift of a layer-normalised LSTM, `(10, units)`."""
    parts = (cell.kernel_scale, cell.recurrent_scale, cell.state_scale, cell.state_shift)
    return ops.reshape(ops.concatenate([_float32(one) for one in parts]), (10, cell.units))


def _float32(x: Any) -> Any:
    return ops.cast(ops.convert_to_tensor(x), "float32")
