"""The fused kernel for PyTorch on a GPU, in Triton, for layers that cuDNN cannot run.

These have recurrent dropout, zoneout, peepholes, hard_sigmoid, a GRU that resets before its
product, any mask, or resets at any timestep. It was never run on a GPU, only in Triton's
interpreter; `benchmarks/gpu_kernels.py` can measure it there.

The product `x kernel` of all timesteps is one matrix product before the loop, and the gradients to
the weights are matrix products after it. The loop itself, `h recurrent_kernel` and the cell, is one
launch. Each program has 16 to 64 rows of the batch and 16 units, to give every multiprocessor a
part, and waits for the programs of the same rows after each timestep. Up to 64 units, one program
has all of them and nothing waits. If there are more programs than multiprocessors, each timestep is
a launch of its own.

What limits the speed: a timestep of an LSTM with u units is 8 u^2 operations per row, in tensor
cores, and 16 u^2 bytes of recurrent kernel per block of rows, which come from L2 (up to 64 units,
from L1). Divided among the multiprocessors, either takes about a microsecond at 512 units. So the
limit at usual sizes is latency: one round of waiting per timestep, and two for a GRU that resets
before its product. Products are as exact as `torch.backends.cudnn.allow_tf32` says, like cuDNN's.
"""

import functools
import importlib.metadata
import importlib.util
from collections.abc import Sequence

from seqkeras.kernels.fused._arguments import FusedInputs, FusedOutputs, Static, each_direction
from seqkeras.kernels.triton._interpreter import interpreted


@functools.cache
def why_not() -> str | None:
    """Return why the kernel cannot run on this machine, or None if it can."""
    for package in ("torch", "triton"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    version = importlib.metadata.version("triton")
    if tuple(map(int, version.split(".")[:2])) < (3, 3):
        return f"triton {version} is older than 3.3, the first version with cooperative launches"
    if interpreted():
        return None
    import torch

    if not torch.cuda.is_available() or torch.version.cuda is None:
        return "PyTorch sees no NVIDIA GPU"
    if torch.cuda.get_device_capability() < (8, 0):
        return "the GPU is older than compute capability 8.0"
    return None


def run(static: Static, inputs: Sequence[FusedInputs]) -> list[FusedOutputs]:
    """Run each layer of a call, one after the other, on tensors of PyTorch.

    Inputs may also be float16 or bfloat16; the outputs then have the same dtype.

    Raises:
        NotImplementedError: the layer has layer normalization, for which one program would need all
            units of a row.
    """
    if any(layer.norm is not None for layer in inputs):
        raise NotImplementedError(
            "The Triton kernel does not support layer normalization. Use implementation='scan'."
        )
    from seqkeras.kernels.triton import _host

    layers = zip(each_direction(static), inputs, strict=True)
    return [_host.run(*layer) for layer in layers]
