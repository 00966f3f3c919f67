"""Recurrent layers on a GPU for what cuDNN cannot run, in Triton, for the PyTorch backend.

That is: recurrent dropout, zoneout, peepholes, hard_sigmoid, a GRU that resets before its product,
any mask, and resets at any timestep. `x kernel` of all timesteps is one matrix product before the
loop, and the gradients to the weights are matrix products after it. The loop itself, `h
recurrent_kernel` and the cell, is one launch: each program has 16 to 64 rows of the batch and 16
units, so that every multiprocessor has a part, and waits for those of the same rows after each
timestep; up to 64 units one program has them all, and nothing waits. Where there are more programs
than multiprocessors, each timestep is a launch.

What bounds it: a timestep of an LSTM with u units is 8 u^2 operations a row, in tensor cores, and
16 u^2 bytes of recurrent kernel for a block of rows, that come from L2 (up to 64 units, from L1).
Shared out, either takes about a microsecond at 512 units, so latency bounds the usual sizes: one
round of waiting in a timestep, two for a GRU that resets before its product. Products are as exact
as `torch.backends.cudnn.allow_tf32` says, like those of cuDNN.
"""

import functools
import importlib.metadata
import importlib.util
import os
from collections.abc import Sequence

from seqkeras.kernels._call import Inputs, Outputs, Static
from seqkeras.kernels.fused._arguments import each_direction


@functools.cache
def why_not() -> str | None:
    """Why no layer can run here, in words, or None."""
    for package in ("torch", "triton"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    version = importlib.metadata.version("triton")
    if tuple(map(int, version.split(".")[:2])) < (3, 3):
        return f"triton {version} is older than 3.3, the first that launches programs together"
    if interpreted():
        return None
    import torch

    if not torch.cuda.is_available() or torch.version.cuda is None:
        return "PyTorch sees no NVIDIA GPU"
    if torch.cuda.get_device_capability() < (8, 0):
        return "the GPU is older than compute capability 8.0"
    return None


def interpreted() -> bool:
    """Triton's interpreter runs the programs on the CPU, slowly: for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def run(static: Static, inputs: Sequence[Inputs]) -> list[Outputs]:
    """Runs each layer of a call, one after the other, on tensors of PyTorch.

    float16 and bfloat16 come back as they came.

    Raises:
        NotImplementedError: the layer is normalized, for which a row's units must be in one place.
    """
    if any(one.norm is not None for one in inputs):
        raise NotImplementedError(
            "The Triton kernel has no layer normalization. Use implementation='scan'."
        )
    from seqkeras.kernels.triton import _host

    layers = zip(each_direction(static), inputs, strict=True)
    return [_host.run(*one) for one in layers]
