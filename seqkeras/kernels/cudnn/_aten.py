"""PyTorch's own kernels on a CPU, which Keras does not call; chosen if `fused` cannot run."""

from seqkeras.kernels._layer_spec import Spec
from seqkeras.kernels._runtime import TRACED, Runtime
from seqkeras.kernels.cudnn._cudnn import not_in_cudnn
from seqkeras.kernels.cudnn._cudnn import run as run


def why_not(spec: Spec, runtime: Runtime) -> str | None:
    """Return why PyTorch's own kernels cannot run a layer on a CPU, or None if they can."""
    if (runtime.backend, runtime.device) != ("torch", "cpu"):
        return "it only runs under PyTorch on a CPU"
    if runtime.traced_for is not None:
        return TRACED[runtime.traced_for]
    return not_in_cudnn(spec)
