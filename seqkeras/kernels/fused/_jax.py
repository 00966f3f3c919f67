"""The fused kernel for JAX on a CPU, as custom calls of XLA."""

import functools
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from seqkeras import native
from seqkeras.kernels.fused import _arguments as arguments
from seqkeras.kernels.fused._arguments import FusedInputs, FusedOutputs, Static

# JAX before 0.5 has this module in `jax.extend`.
_module = "jax.ffi" if importlib.util.find_spec("jax.ffi") else "jax.extend.ffi"
ffi: Any = importlib.import_module(_module)

_TARGETS = ("sqk_xla_forward", "sqk_xla_backward")


def why_not() -> str | None:
    """Return why the kernel cannot run in JAX on this machine, or None if it can."""
    return native.why_not() or _register()


def run(static: Static, inputs: Sequence[FusedInputs]) -> list[FusedOutputs]:
    """Run each layer of a call over whole sequences.

    Only a call that is differentiated saves what the gradient needs.

    Raises:
        NotImplementedError: the kernel cannot run here; `why_not` has the reason.
        ArgumentError: a shape is wrong.
        jax.errors.JaxRuntimeError: the native library does not support the layer.
    """
    reason = why_not()
    if reason:
        raise NotImplementedError(f"The fused kernel cannot run in JAX: {reason}.")
    for layer in inputs:
        arguments.check_shapes(static, layer)
    return _run(static, list(inputs))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(static: Static, inputs: list[FusedInputs]) -> list[FusedOutputs]:
    return _forward(static._replace(save=False), inputs)[0]


@jax.tree_util.register_static
class _Names(tuple[str, ...]):
    """Names of gradients: static data that JAX passes from forward to backward with arrays."""


class _Saved(NamedTuple):
    """What backward needs: for each layer its inputs, `y` and the workspace of forward."""

    inputs: list[FusedInputs]
    y: list[Any]
    workspaces: list[Any]
    gradients: _Names


def _run_forward(static: Static, primals: list[FusedInputs]) -> tuple[list[FusedOutputs], _Saved]:
    """Run forward for a gradient, of the inputs whose primals are marked as `perturbed`."""
    layers = [arguments.present(layer) for layer in primals]
    gradients = arguments.gradient_names(
        name for layer in layers for name, primal in layer.items() if primal.perturbed
    )
    absent = dict.fromkeys(FusedInputs._fields)
    inputs = [
        FusedInputs(**{**absent, **{name: primal.value for name, primal in layer.items()}})
        for layer in layers
    ]
    outputs, workspaces = _forward(static._replace(save=True), inputs)
    saved = _Saved(inputs, [layer.y for layer in outputs], workspaces, _Names(gradients))
    return outputs, saved


def _run_backward(
    static: Static, saved: _Saved, cotangents: list[FusedOutputs]
) -> tuple[list[FusedInputs]]:
    flat = [cotangent for layer in cotangents for cotangent in layer if cotangent is not None]
    zero = jax.custom_derivatives.SymbolicZero
    output_gradients = arguments.output_gradients(
        static,
        [None if isinstance(cotangent, zero) else cotangent for cotangent in flat],
        lambda i: jax.numpy.zeros(flat[i].shape, flat[i].dtype),
    )
    tensors = []
    for number, inputs in enumerate(saved.inputs):
        layer = arguments.present(inputs)
        if static.sequences:
            layer["y"] = saved.y[number]
        tensors.append({**layer, "saved": saved.workspaces[number], **output_gradients[number]})
    shapes = [layer[name].shape for layer in tensors for name in saved.gradients]
    static = static._replace(save=True)
    bits = arguments.slot_bits(saved.gradients)
    results = _call("sqk_xla_backward", static, tensors, shapes, gradient_bits=bits)
    absent = dict.fromkeys(FusedInputs._fields)
    gradients = [
        FusedInputs(**{**absent, **dict(zip(saved.gradients, layer, strict=True))})
        for layer in arguments.by_layer(static, results)
    ]
    return (gradients,)


_run.defvjp(_run_forward, _run_backward, symbolic_zeros=True)


def _forward(
    static: Static, inputs: Sequence[FusedInputs]
) -> tuple[list[FusedOutputs], list[jax.Array]]:
    """Return the outputs of each layer, and with `static.save` the workspace of each."""
    shapes = []
    for layer in inputs:
        sizes = arguments.output_shapes(layer.x.shape, layer.recurrent_kernel.shape)
        shapes += [sizes[name] for name in arguments.output_names(static)]
    count = len(shapes)
    if static.save:
        shapes += [(_saved_floats(static, layer),) for layer in inputs]
    tensors = [arguments.present(layer) for layer in inputs]
    results = _call("sqk_xla_forward", static, tensors, shapes, gradient_bits=0)
    return arguments.as_outputs(static, results[:count]), results[count:]


def _saved_floats(static: Static, inputs: FusedInputs) -> int:
    """Return how many floats forward saves: the workspace, and y unless it is an output."""
    shape = inputs.x.shape
    units = inputs.recurrent_kernel.shape[0]
    # Only the presence of tensors matters here, so any pointer that is not null will do.
    pointers = dict.fromkeys(arguments.present(inputs), 1)
    floats = arguments.workspace_floats(arguments.layer_struct(static, shape, units, **pointers))
    return floats if static.sequences else floats + shape[0] * shape[1] * units


def _call(
    target: str,
    static: Static,
    tensors: Sequence[Mapping[str, Any]],
    shapes: Sequence[tuple[int, ...]],
    gradient_bits: int,
) -> list[jax.Array]:
    numbers = {
        "given": arguments.slot_bits(tensors[0]),
        "wanted": gradient_bits,
        **arguments.to_numbers(static),
    }
    attributes = {
        name: np.float32(value) if isinstance(value, float) else np.int32(value)
        for name, value in numbers.items()
    }
    results = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    call = ffi.ffi_call(target, results, vmap_method="sequential")
    operands = [layer[name] for layer in tensors for name in arguments.SLOTS if name in layer]
    return list(_once(functools.partial(call, **attributes))(*operands))


def _once(function: Any) -> Any:
    """Wrap a function: differentiating it raises an error that names the alternative."""
    wrapped = jax.custom_jvp(function)

    @wrapped.defjvp
    def refuse(primals: Any, tangents: Any) -> Any:
        raise NotImplementedError(arguments.ONCE)

    return wrapped


@functools.cache
def _register() -> str | None:
    """Register the kernel with JAX, once; return why that is impossible, or None."""
    library = native.load()
    if library is None:
        return native.why_not()
    for name in _TARGETS:
        function = getattr(library.functions, name)
        ffi.register_ffi_target(name, ffi.pycapsule(function), platform="cpu")
    return None
