"""cuDNN through the backend's own function, and every mask on it.

The same code runs PyTorch's own kernels on a CPU, see `_aten`.
"""

import importlib
from typing import Any

from keras import ops

from seqkeras.gates import LAYOUTS, Weights
from seqkeras.kernels._call import Call, Result
from seqkeras.kernels._dropout import dropped
from seqkeras.kernels._layer_spec import Spec, cell_name, masked_output
from seqkeras.kernels._runtime import TRACED, Runtime
from seqkeras.kernels.cudnn._masks import Sequences, run_masked


def why_not(spec: Spec, runtime: Runtime) -> str | None:
    """Why cuDNN cannot run a layer, or None where it can."""
    if runtime.device != "cuda":
        return f"it needs an NVIDIA GPU, and this runs on {runtime.device}"
    if not spec.use_cudnn:
        return "use_cudnn=False"
    if runtime.traced_for is not None:
        return TRACED[runtime.traced_for]
    if runtime.backend == "jax" and spec.cell == "gru_reset_after":
        return "JAX has no function for its GRU"
    return not_in_cudnn(spec)


def not_in_cudnn(spec: Spec) -> str | None:
    """What cuDNN's recurrent layers do not have, of what a layer asks for; or None."""
    if spec.cell not in ("lstm", "gru_reset_after"):
        name = "GRU(reset_after=False)" if spec.cell == "gru" else spec.kind
        return f"it is used for LSTM and GRU, not for {name}"
    if (spec.activation, spec.recurrent_activation) != ("tanh", "sigmoid"):
        given = (spec.activation or "one's own", spec.recurrent_activation or "one's own")
        return f"its activations are tanh and sigmoid, not {' and '.join(given)}"
    if spec.recurrent_dropout:
        return f"recurrent_dropout={spec.recurrent_dropout} is not supported"
    for name in ("zoneout", "peephole", "normalization"):
        if getattr(spec, name):
            return f"{name} is not supported"
    if spec.resets:
        return "states that are cleared within a batch are not supported"
    return None


def run(call: Call) -> Result:
    """Runs a layer."""
    layer, state, mask, backend = call.layer, call.state, call.mask, call.runtime.backend
    # The sequences may be integers.
    sequences = ops.cast(call.sequences, layer.compute_dtype)
    x, kernel = dropped(layer.cell, sequences, call.training)
    if layer.go_backwards:
        x = ops.flip(x, axis=1)
        mask = None if mask is None else ops.flip(mask, axis=1)
    weights = _weights(layer.cell, kernel, x.dtype)
    function = importlib.import_module(f"{__package__}._{backend}")

    def read(x: Any, lengths: Any) -> Sequences:
        found: Sequences = function.run(x, lengths, state, weights)
        return found

    if mask is None:
        y, states = read(x, None)
    else:
        mask = ops.cast(mask, "bool")
        y, states = run_masked(read, x, state, mask, masked_output(layer, backend))
    last = y[:, -1]
    return last, y if layer.return_sequences else ops.expand_dims(last, 1), states


def _weights(cell: Any, kernel: Any, dtype: Any) -> Weights:
    """The weights with cuDNN's order of gates and two biases, zeros where Keras has none."""
    ours = LAYOUTS["keras"][cell_name(cell) or ""]
    theirs = LAYOUTS["cudnn"][cell_name(cell) or ""]
    kernel, recurrent_kernel = (
        ops.cast(ops.convert_to_tensor(one), dtype) for one in (kernel, cell.recurrent_kernel)
    )
    zeros = ops.zeros((1, kernel.shape[1]), dtype)
    bias = zeros
    if cell.bias is not None:
        bias = ops.reshape(ops.cast(ops.convert_to_tensor(cell.bias), dtype), (ours.biases, -1))
    if bias.shape[0] == 1:
        bias = ops.concatenate([bias, zeros])
    order = [ours.gates.index(gate) for gate in theirs.gates]
    if order == sorted(order):
        return Weights(kernel, recurrent_kernel, bias)
    reordered = (_reordered(one, order) for one in (kernel, recurrent_kernel, bias))
    return Weights(*reordered)


def _reordered(x: Any, order: list[int]) -> Any:
    gates = ops.split(x, len(order), axis=-1)
    return ops.concatenate([gates[number] for number in order], axis=-1)
