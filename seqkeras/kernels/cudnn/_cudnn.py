"""cuDNN, called through the backend's own function, with support for any mask.

The same code runs PyTorch's own kernels on a CPU; see `_aten.py`.
"""

import importlib
from typing import Any

from keras import ops

from seqkeras.gates import LAYOUTS, Weights
from seqkeras.kernels._call import Call, Result
from seqkeras.kernels._draws import drop_inputs
from seqkeras.kernels._layer_spec import Spec
from seqkeras.kernels._runtime import TRACED, Runtime
from seqkeras.kernels.cudnn._masks import Sequences, run_masked


def why_not(spec: Spec, runtime: Runtime) -> str | None:
    """Return why cuDNN cannot run a layer, or None if it can."""
    if runtime.device != "cuda":
        return f"it needs an NVIDIA GPU, and this runs on {runtime.device}"
    if not spec.use_cudnn:
        return "use_cudnn=False"
    if runtime.traced_for is not None:
        return TRACED[runtime.traced_for]
    if runtime.backend == "jax" and spec.cell == "gru_reset_after":
        return "JAX has no function for cuDNN's GRU"
    return not_in_cudnn(spec)


def not_in_cudnn(spec: Spec) -> str | None:
    """Return why neither cuDNN nor PyTorch's own kernels support a layer, or None if they do."""
    if spec.cell not in ("lstm", "gru_reset_after"):
        name = "GRU(reset_after=False)" if spec.cell == "gru" else spec.kind
        return f"it supports LSTM and GRU, not {name}"
    if 0 in spec.widths:
        return "it needs at least one feature"
    if (spec.activation, spec.recurrent_activation) != ("tanh", "sigmoid"):
        activation = spec.activation or "a custom function"
        recurrent_activation = spec.recurrent_activation or "a custom function"
        return f"its activations are tanh and sigmoid, not {activation} and {recurrent_activation}"
    if spec.recurrent_dropout:
        return f"recurrent_dropout={spec.recurrent_dropout} is not supported"
    for name in ("zoneout", "peephole", "normalization", "projection", "clips"):
        if getattr(spec, name):
            return f"{name} is not supported"
    if spec.resets:
        return "clearing states within a batch is not supported"
    return None


def run(call: Call) -> Result:
    """Run a layer with the backend's own function."""
    layer = call.layer
    mask = call.mask
    sequences = ops.cast(call.sequences, layer.compute_dtype)  # inputs may be integers
    x, kernel = drop_inputs(layer.cell, sequences, call.training)
    if layer.go_backwards:
        x = ops.flip(x, axis=1)
        mask = ops.flip(mask, axis=1) if mask is not None else None
    weights = _weights(call, kernel, x.dtype)
    backend = importlib.import_module(f"{__package__}._{call.runtime.backend}")

    def read(x: Any, lengths: Any) -> Sequences:
        result: Sequences = backend.run(x, lengths, call.state, weights)
        return result

    if mask is None:
        y, states = read(x, None)
    else:
        mask = ops.cast(mask, "bool")
        y, states = run_masked(read, x, call.state, mask, layer.zero_output_for_mask)
    last = y[:, -1]
    return last, y if layer.return_sequences else ops.expand_dims(last, 1), states


def _weights(call: Call, kernel: Any, dtype: Any) -> Weights:
    """Return the weights in cuDNN's layout: its order of gates, and always two biases."""
    cell = call.layer.cell
    keras_layout = LAYOUTS["keras"][call.spec.cell or ""]
    cudnn_layout = LAYOUTS["cudnn"][call.spec.cell or ""]
    kernel = ops.cast(ops.convert_to_tensor(kernel), dtype)
    recurrent_kernel = ops.cast(ops.convert_to_tensor(cell.recurrent_kernel), dtype)
    zeros = ops.zeros((1, kernel.shape[1]), dtype)
    bias = zeros
    if cell.bias is not None:
        bias = ops.cast(ops.convert_to_tensor(cell.bias), dtype)
        bias = ops.reshape(bias, (keras_layout.biases, -1))
    if bias.shape[0] == 1:
        bias = ops.concatenate([bias, zeros])
    order = [keras_layout.gates.index(gate) for gate in cudnn_layout.gates]
    if order == sorted(order):
        return Weights(kernel, recurrent_kernel, bias)
    return Weights(*(_reorder_gates(array, order) for array in (kernel, recurrent_kernel, bias)))


def _reorder_gates(x: Any, order: list[int]) -> Any:
    gates = ops.split(x, len(order), axis=-1)
    return ops.concatenate([gates[number] for number in order], axis=-1)
