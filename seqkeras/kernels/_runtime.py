"""Where a call runs, and what it is traced for."""

import sys
from types import FrameType
from typing import Any, NamedTuple

import keras

#: Modules that trace a model in order to store it. What they store runs where no kernel of ours is.
_EXPORTERS = (
    "keras.src.export",
    "tensorflow.lite",
    "tensorflow.python.saved_model",
    "jax._src.export",
    "jax.experimental.jax2tf",
    "torch.export",
    "torch.onnx",
)


#: Why no kernel but the loop runs in a graph, by what the graph is traced for.
TRACED = {
    "xla": "XLA (jit_compile=True) cannot call it",
    "compiler": "torch.compile would break its graph here",
    "transform": "torch.func cannot go through it",
    "export": "the graph is being exported, and runs where seqkeras may not be",
}


class Runtime(NamedTuple):
    """Where a call runs.

    Attributes:
        backend: `tensorflow`, `jax` or `torch`.
        device: `cpu`, `cuda`, or another name of the backend's. `meta` has no numbers at all.
        traced_for: None, or a name of `TRACED`: `xla` and `compiler` where TensorFlow or PyTorch
            compiles the graph, `transform` where `torch.func` goes through it, `export` where it
            is stored.
    """

    backend: str
    device: str
    traced_for: str | None = None


def here(x: Any = None) -> Runtime:
    """The runtime of a call on the tensor `x`; without one, of a plain call on this machine."""
    backend = keras.backend.backend()
    return _RUNTIMES[backend](x)


def _tensorflow(x: Any) -> Runtime:
    import tensorflow as tf

    device = "cpu"
    if tf.config.list_logical_devices("GPU"):
        # Has the device of the scope around the call, if there is one.
        placed = tf.constant(0.0).device
        device = "cpu" if "CPU" in placed.upper() else "cuda"
    if x is None or tf.executing_eagerly():
        return Runtime("tensorflow", device)
    return Runtime("tensorflow", device, _purpose(tf.types.experimental.PolymorphicFunction))


def _jax(x: Any) -> Runtime:
    import jax

    chosen = jax.config.jax_default_device
    device = getattr(chosen, "platform", chosen) or jax.default_backend()
    device = "cuda" if device == "gpu" else str(device)
    traced = isinstance(x, jax.core.Tracer)
    return Runtime("jax", device, _purpose() if traced else None)


def _torch(x: Any) -> Runtime:
    import torch

    device = (keras.ops.zeros(()) if x is None else x).device.type
    if torch.jit.is_tracing() or torch.onnx.is_in_onnx_export():
        return Runtime("torch", device, "export")
    if torch.compiler.is_compiling():
        return Runtime("torch", device, "compiler")
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return Runtime("torch", device, "transform")
    return Runtime("torch", device)


_RUNTIMES = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}


def _purpose(function: type | None = None) -> str | None:
    """What the graph is traced for, from the calls that led here.

    No backend says this while it traces; of TensorFlow's functions, `jit_compile` does.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_EXPORTERS):
            return "export"
        if function is not None and frame.f_code.co_varnames[:1] == ("self",):
            owner = frame.f_locals.get("self")
            if isinstance(owner, function) and getattr(owner, "_jit_compile", False):
                return "xla"
        frame = frame.f_back
    return None
