"""The fused kernel: one call runs the whole loop over time, forward or backward."""

import importlib
from types import ModuleType
from typing import Any

from keras import ops

from seqkeras import native
from seqkeras.kernels._call import Call, Result
from seqkeras.kernels._draws import drop_inputs, recurrent_factors, zoneout_masks
from seqkeras.kernels._layer_spec import Spec
from seqkeras.kernels._runtime import TRACED, Runtime
from seqkeras.kernels.fused._arguments import FusedInputs, FusedOutputs, Static

_DTYPES = ("float32", "bfloat16", "float16")


def why_not(spec: Spec, runtime: Runtime) -> str | None:
    """Return why the fused kernel cannot run a layer, or None if it can."""
    return _why_not_layer(spec) or _why_not_place(spec, runtime)


def why_not_auto(runtime: Runtime) -> str | None:
    """Return why `auto` avoids the fused kernel even where it can run, or None if it does not."""
    if runtime.device == "cuda":
        return "its GPU kernel has not been measured on a GPU; implementation='fused' selects it"
    return None


def _why_not_layer(spec: Spec) -> str | None:
    if spec.cell is None:
        return f"{spec.kind} is not one of the cells that it supports"
    for name, width in zip(("features", "units"), spec.widths, strict=False):
        if not 1 <= width < native.MOST_WIDE:
            return f"it supports 1 to {native.MOST_WIDE - 1} {name}, not {width}"
    for name in ("projection", "clips"):
        if getattr(spec, name):
            return f"it does not support {name}"
    if spec.dtype not in _DTYPES:
        return f"it computes in float32, and the layer in {spec.dtype}"
    return native.not_among_kernels(spec.cell, spec.activation, spec.recurrent_activation)


def _why_not_place(spec: Spec, runtime: Runtime) -> str | None:
    if runtime.traced_for is not None:
        return TRACED[runtime.traced_for]
    on_gpu = (runtime.backend, runtime.device) == ("torch", "cuda")
    if runtime.device != "cpu" and not on_gpu:
        return f"it has no kernel for {runtime.backend} on the device {runtime.device}"
    if on_gpu and spec.normalization:
        return "its GPU kernel does not support normalization"
    missing = native.why_not() if runtime.device == "cpu" else None
    reason: str | None = missing or _binding(runtime).why_not()
    return reason


def _binding(runtime: Runtime) -> ModuleType:
    """Import the module that has `run(static, inputs)` for a backend and device."""
    on_gpu = runtime.device == "cuda"
    name = "triton._triton" if on_gpu else f"fused._{runtime.backend}"
    return importlib.import_module(f"seqkeras.kernels.{name}")


def run(call: Call) -> Result:
    """Run a layer with the fused kernel."""
    return _run(call.runtime, _static(call), [_inputs(call)])[0]


def are_alike(first: Call, second: Call) -> bool:
    """Return whether two layers can share a call of the fused kernel.

    They must read in opposite directions, and otherwise differ only in their weights and width.
    """
    static = _static(first)
    other = _static(second)
    turned = other._replace(go_backwards=not other.go_backwards)
    return turned == static and _optional_tensors(first) == _optional_tensors(second)


def _optional_tensors(call: Call) -> tuple[bool, ...]:
    """Return whether a layer has a bias, recurrent dropout, a peephole and normalization."""
    spec = call.spec
    dropout = bool(spec.recurrent_dropout)
    return call.layer.cell.bias is not None, dropout, spec.peephole, spec.normalization


def run_both(first: Call, second: Call) -> list[Result]:
    """Run two layers for which `are_alike` is True, in one call of the fused kernel."""
    static = _static(first)._replace(directions=2)
    return _run(first.runtime, static, [_inputs(first), _inputs(second)])


def _run(runtime: Runtime, static: Static, inputs: list[FusedInputs]) -> list[Result]:
    return [_result(outputs) for outputs in _binding(runtime).run(static, inputs)]


def _result(outputs: FusedOutputs) -> Result:
    y = outputs.y if outputs.y is not None else ops.expand_dims(outputs.last, 1)
    return outputs.last, y, [state for state in (outputs.h_n, outputs.c_n) if state is not None]


def _static(call: Call) -> Static:
    layer = call.layer
    spec = call.spec
    return Static(
        cell=spec.cell or "",
        activation=spec.activation or "",
        recurrent_activation=spec.recurrent_activation or "",
        masked_output=call.masked_output,
        go_backwards=layer.go_backwards,
        save=call.training,
        sequences=layer.return_sequences,
        zoneout_h=getattr(layer.cell, "zoneout_h", 0.0),
        zoneout_c=getattr(layer.cell, "zoneout_c", 0.0),
        norm_epsilon=getattr(layer.cell, "epsilon", 0.0),
        precision=_precision(spec, call.runtime),
    )


def _inputs(call: Call) -> FusedInputs:
    cell = call.layer.cell
    x, kernel = drop_inputs(cell, call.sequences, call.training)
    h0, *more_states = call.state
    zoneout = zoneout_masks(cell, call.sequences, call.training) or []
    factors = recurrent_factors(cell, h0, call.training)
    return FusedInputs(
        x=_float32(x),
        kernel=_float32(kernel),
        recurrent_kernel=_float32(cell.recurrent_kernel),
        bias=_float32(cell.bias) if cell.bias is not None else None,
        h0=_float32(h0),
        c0=_float32(more_states[0]) if more_states else None,
        mask=ops.cast(call.mask, "bool") if call.mask is not None else None,
        recurrent_dropout=_float32(ops.stack(factors)) if factors is not None else None,
        reset=call.reset,
        zoneout_h_mask=zoneout[0] if zoneout else None,
        zoneout_c_mask=zoneout[1] if len(zoneout) > 1 else None,
        peephole=_float32(cell.peephole_kernel) if call.spec.peephole else None,
        norm=_norm(cell) if call.spec.normalization else None,
    )


def _precision(spec: Spec, runtime: Runtime) -> str:
    """Return the precision of the products: bfloat16 for a bfloat16 layer, where supported."""
    supported = spec.dtype == "bfloat16" and spec.cell != "gru" and runtime.device == "cpu"
    library = native.load() if supported else None
    return "bfloat16" if library is not None and library.bfloat16 else "float32"


def _norm(cell: Any) -> Any:
    """Join the scales and the shift of a layer-normalized LSTM into one array `(10, units)`."""
    parts = (cell.kernel_scale, cell.recurrent_scale, cell.state_scale, cell.state_shift)
    return ops.reshape(ops.concatenate([_float32(part) for part in parts]), (10, cell.units))


def _float32(x: Any) -> Any:
    # In Keras 3.10 with PyTorch, convert_to_tensor ignores the dtype for variables.
    return ops.cast(ops.convert_to_tensor(x), "float32")
