"""Our compiled kernels: the whole loop over time in one call, forward and backward."""

import importlib
from types import ModuleType
from typing import Any

from keras import ops

from seqkeras import native
from seqkeras.kernels._call import Call, Inputs, Outputs, Result, Static
from seqkeras.kernels._dropout import dropped, recurrent_factors
from seqkeras.kernels._layer_spec import (
    Spec,
    activation_name,
    cell_name,
    masked_output,
    recurrent_activation_name,
)
from seqkeras.kernels._runtime import TRACED, Runtime
from seqkeras.kernels._zoneout import draw, draws

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
    on_gpu = runtime.device == "cuda"
    name = "triton._triton" if on_gpu else f"fused._{runtime.backend}"
    return importlib.import_module(f"seqkeras.kernels.{name}")


def run(call: Call) -> Result:
    """Runs a layer."""
    return _run(call.runtime, _static(call), [_inputs(call)])[0]


def are_alike(first: Call, second: Call) -> bool:
    """Whether two layers differ in nothing but their weights, their width and their direction."""
    static, other = _static(first), _static(second)
    turned = other._replace(go_backwards=not other.go_backwards)
    return turned == static and _tensors_of(first) == _tensors_of(second)


def _tensors_of(call: Call) -> tuple[bool, ...]:
    """Which tensors there are of those that not every layer of a kind has."""
    cell = call.layer.cell
    dropout = call.training and bool(cell.recurrent_dropout)
    variants = (bool(getattr(cell, name, False)) for name in ("peephole", "normalization"))
    return cell.bias is not None, dropout, *variants


def run_both(first: Call, second: Call) -> list[Result]:
    """Runs two layers that are alike in one call."""
    static = _static(first)._replace(directions=2)
    return _run(first.runtime, static, [_inputs(first), _inputs(second)])


def _run(runtime: Runtime, static: Static, inputs: list[Inputs]) -> list[Result]:
    return [_result(one) for one in _binding(runtime).run(static, inputs)]


def _result(outputs: Outputs) -> Result:
    y = ops.expand_dims(outputs.last, 1) if outputs.y is None else outputs.y
    return outputs.last, y, [one for one in (outputs.h_n, outputs.c_n) if one is not None]


def _static(call: Call) -> Static:
    layer, cell = call.layer, call.layer.cell
    # Loops with flags begin with zeros on every backend.
    flags = call.reset is not None or draws(cell, call.training)
    return Static(
        cell=cell_name(cell) or "",
        activation=activation_name(cell.activation) or "",
        recurrent_activation=recurrent_activation_name(cell) or "",
        masked_output=masked_output(layer, "" if flags else call.runtime.backend),
        go_backwards=layer.go_backwards,
        save=call.training,
        sequences=layer.return_sequences,
        zoneout_h=getattr(cell, "zoneout_h", 0.0),
        zoneout_c=getattr(cell, "zoneout_c", 0.0),
        norm_epsilon=getattr(cell, "epsilon", 0.0),
        precision=_precision(call),
    )


def _inputs(call: Call) -> Inputs:
    cell = call.layer.cell
    x, kernel = dropped(cell, call.sequences, call.training)
    h0, *more = call.state
    kept = draw(cell, call.sequences, call.training)
    factors = recurrent_factors(cell, h0, call.training)
    return Inputs(
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
    return ops.convert_to_tensor(x, "float32")
