"""The backend and device that a call runs on, and what its graph is traced for."""

import sys
from types import FrameType
from typing import Any, NamedTuple

import keras

#: Packages that trace a model in order to store it. The stored graph may run without seqkeras.
_EXPORTERS = (
    keras.export.ExportArchive.__module__.rpartition(".")[0],
    "tensorflow.lite",
    "tensorflow.python.saved_model",
    "jax._src.export",
    "jax.experimental.jax2tf",
    "torch.export",
    "torch.onnx",
)

#: Why only the loop can run in a graph, by what the graph is traced for.
TRACED = {
    "xla": "XLA (jit_compile=True) cannot call it",
    "compiler": "torch.compile would break its graph here",
    "transform": "torch.func cannot transform it",
    "export": "the graph is being exported, and may run without seqkeras",
}


class Runtime(NamedTuple):
    """Where a call runs.

    Attributes:
        backend: `tensorflow`, `jax` or `torch`.
        device: `cpu`, `cuda`, or another of the backend's names. Tensors on `meta` have no values.
        traced_for: None, or a key of `TRACED`: `xla` and `compiler` if TensorFlow or PyTorch
            compiles the graph, `transform` if `torch.func` transforms it, `export` if the graph is
            being stored.
    """

    backend: str
    device: str
    traced_for: str | None = None


def here(x: Any = None) -> Runtime:
    """Return the runtime of a call on the tensor `x`, or without `x` that of an eager call."""
    backend = keras.backend.backend()
    return _RUNTIMES[backend](x)


def distribution(model: Any) -> str | None:
    """Return the name of the TensorFlow strategy that spreads a model over devices, or None."""
    strategy = getattr(model, "distribute_strategy", None)  # only on TensorFlow
    name = type(strategy).__name__
    return None if strategy is None or name.startswith("_Default") else name


def _tensorflow(x: Any) -> Runtime:
    import tensorflow as tf

    device = "cpu"
    if tf.config.list_logical_devices("GPU"):
        # A new tensor is placed by the device scope around the call, if there is one.
        placed = tf.constant(0.0).device
        device = "cpu" if "CPU" in placed.upper() else "cuda"
    if x is None or tf.executing_eagerly():
        return Runtime("tensorflow", device)
    return Runtime("tensorflow", device, _traced_for(tf.types.experimental.PolymorphicFunction))


def _jax(x: Any) -> Runtime:
    import jax

    chosen = jax.config.jax_default_device
    device = getattr(chosen, "platform", chosen) or jax.default_backend()
    device = "cuda" if device == "gpu" else str(device)
    traced = isinstance(x, jax.core.Tracer)
    return Runtime("jax", device, _traced_for() if traced else None)


def _torch(x: Any) -> Runtime:
    import torch

    device = (x if x is not None else keras.ops.zeros(())).device.type
    if torch.jit.is_tracing() or torch.onnx.is_in_onnx_export():
        return Runtime("torch", device, "export")
    if torch.compiler.is_compiling():
        return Runtime("torch", device, "compiler")
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return Runtime("torch", device, "transform")
    return Runtime("torch", device)


_RUNTIMES = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}


def _traced_for(function_type: type | None = None) -> str | None:
    """Return what the graph around this call is traced for: `export`, `xla`, or None.

    No backend has a function for this, but whoever traces the graph is among the callers. So this
    searches the call stack for the exporters, and for functions compiled with XLA; the innermost
    match counts.

    Args:
        function_type: the type of TensorFlow's traced functions. None, the default, does not look
            for XLA.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_EXPORTERS):
            return "export"
        if function_type is not None and _compiles_with_xla(frame, function_type):
            return "xla"
        frame = frame.f_back
    return None


def _compiles_with_xla(frame: FrameType, function_type: type) -> bool:
    """Return whether a frame is a method of a `tf.function` with `jit_compile=True`.

    TensorFlow has no public way to ask for the option: the graph that is being traced does not
    have it, and the attributes of the traced function only get it after tracing. So this reads the
    private attribute in which a `tf.function` stores it. If TensorFlow renamed that attribute, our
    layers would no longer notice XLA, which would then refuse to compile them;
    `tests/kernels/test_runtime.py` would fail.
    """
    # Reading the locals of a frame is slow, so functions that are not methods are skipped.
    if frame.f_code.co_varnames[:1] != ("self",):
        return False
    owner = frame.f_locals.get("self")
    return isinstance(owner, function_type) and bool(getattr(owner, "_jit_compile", False))
