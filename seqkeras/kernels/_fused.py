"""Our compiled kernels: the whole loop over time in one call, forward and backward."""

import importlib
from types import ModuleType
from typing import Any

from keras import ops

from seqkeras import native
from seqkeras.kernels._call import Inputs, Static
from seqkeras.kernels._runtime import TRACED, Runtime, here
from seqkeras.kernels._spec import Spec, activation_name, cell_name
from seqkeras.kernels._zoneout import draw

#: Of each cell, the activations that the kernels have, and those of its gates.
_GATES = ("sigmoid", "hard_sigmoid")
_KNOWN = {
    "lstm": (("tanh",), _GATES),
    "gru": (("tanh",), _GATES),
    "gru_reset_after": (("tanh",), _GATES),
    "simple_rnn": (("tanh", "relu", "linear"), ("sigmoid",)),
}

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
    for name, known in zip(("activation", "recurrent_activation"), _KNOWN[spec.cell], strict=True):
        given = getattr(spec, name)
        if given not in known:
            shown = "a function of its own" if given is None else repr(given)
            return f"{name} is {shown}; it has {', '.join(known)}"
    return None


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


def run(
    layer: Any, sequences: Any, state: Any, mask: Any, training: bool, reset: Any
) -> tuple[Any, Any, list[Any]]:
    """Runs a layer: the last output, all outputs, and the state at the end, as Keras has them."""
    cell, runtime = layer.cell, here(sequences)
    backend = runtime.backend
    x, kernel = dropped(cell, sequences, training)
    h0, *more = state if isinstance(state, (list, tuple)) else [state]
    bias, kept = cell.bias, draw(cell, sequences, training)
    static = Static(
        cell=cell_name(cell) or "",
        activation=activation_name(cell.activation) or "",
        recurrent_activation=activation_name(getattr(cell, "recurrent_activation", None))
        or "sigmoid",
        # Loops with flags begin with zeros on every backend.
        masked_output=masked_output(layer, backend if reset is None and kept is None else ""),
        go_backwards=layer.go_backwards,
        save=bool(training),
        sequences=layer.return_sequences,
        zoneout_h=getattr(cell, "zoneout_h", 0.0),
        zoneout_c=getattr(cell, "zoneout_c", 0.0),
        norm_epsilon=getattr(cell, "epsilon", 0.0),
        precision=_precision(layer, runtime),
    )
    inputs = Inputs(
        x=_float32(x),
        kernel=_float32(kernel),
        recurrent_kernel=_float32(cell.recurrent_kernel),
        bias=None if bias is None else _float32(bias),
        h0=_float32(h0),
        c0=_float32(more[0]) if more else None,
        mask=None if mask is None else ops.cast(mask, "bool"),
        recurrent_dropout=_recurrent_dropout(cell, h0, training),
        reset=reset,
        zoneout_h_mask=kept and kept[0],
        zoneout_c_mask=kept[1] if kept and len(kept) > 1 else None,
        peephole=_float32(cell.peephole_kernel) if getattr(cell, "peephole", False) else None,
        norm=_norm(cell) if getattr(cell, "normalization", False) else None,
    )
    outputs = _binding(runtime).run(static, inputs)
    y = outputs.y if layer.return_sequences else ops.expand_dims(outputs.last, 1)
    return outputs.last, y, [outputs.h_n] if outputs.c_n is None else [outputs.h_n, outputs.c_n]


def _precision(layer: Any, runtime: Runtime) -> str:
    """That of the products: what a layer in bfloat16 is given has no more digits anyway."""
    known = layer.compute_dtype == "bfloat16" and cell_name(layer.cell) != "gru"
    library = native.load() if known and runtime.device == "cpu" else None
    return "bfloat16" if library is not None and library.bfloat16 else "float32"


def _norm(cell: Any) -> Any:
    """Scales and shift of a layer-normalised LSTM, `(10, units)`."""
    parts = (cell.kernel_scale, cell.recurrent_scale, cell.state_scale, cell.state_shift)
    return ops.reshape(ops.concatenate([_float32(one) for one in parts]), (10, cell.units))


def _float32(x: Any) -> Any:
    return ops.cast(ops.convert_to_tensor(x), "float32")


def masked_output(layer: Any, backend: str) -> str:
    """What Keras on this backend shows at a masked timestep."""
    if layer.zero_output_for_mask:
        return "zero"
    return "hold_state" if backend == "jax" and not layer.unroll else "hold_output"


def dropped(cell: Any, sequences: Any, training: bool) -> tuple[Any, Any]:
    """The sequences after dropout, and the kernel that reads them."""
    factors = cell.get_dropout_mask(sequences[:, 0, :]) if training and cell.dropout else None
    if factors is None:
        return sequences, cell.kernel
    if not isinstance(factors, list):
        return sequences * ops.expand_dims(factors, 1), cell.kernel
    # With recurrent dropout Keras drops other inputs for each gate: a copy of the input for each,
    # and a kernel in which each gate reads its own.
    copies = [sequences * ops.expand_dims(one, 1) for one in factors]
    gates = ops.split(ops.convert_to_tensor(cell.kernel), len(factors), axis=1)
    blocks = [
        ops.pad(gate, [[0, 0], [number * cell.units, (len(gates) - 1 - number) * cell.units]])
        for number, gate in enumerate(gates)
    ]
    return ops.concatenate(copies, axis=-1), ops.concatenate(blocks, axis=0)


def _recurrent_dropout(cell: Any, h0: Any, training: bool) -> Any:
    """Factors `(gates, batch, units)`, or None."""
    if not training or not cell.recurrent_dropout:
        return None
    factors = cell.get_recurrent_dropout_mask(h0)
    if not isinstance(factors, list):  # SimpleRNN, of one gate
        factors = [factors]
    return _float32(ops.stack(factors))
