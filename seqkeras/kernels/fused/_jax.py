"""The fused kernel for JAX on a CPU, as custom calls of XLA."""

import functools
import importlib.util
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from seqkeras import native
from seqkeras.kernels.fused import _arguments as arguments
from seqkeras.kernels.fused._arguments import FusedInputs, FusedOutputs, Static
from seqkeras.kernels.fused._devices import over_devices, with_typed_rows

# JAX before 0.5 has this module in `jax.extend`.
_module = "jax.ffi" if importlib.util.find_spec("jax.ffi") else "jax.extend.ffi"
ffi: Any = importlib.import_module(_module)

_FORWARD, _BACKWARD = "sqk_xla_forward", "sqk_xla_backward"


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
    return with_typed_rows(functools.partial(_run, static), list(inputs), inputs[0].x)


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
    # With y among the outputs, the workspace has only rows, which can be split over devices.
    outputs, workspaces = _forward(static._replace(save=True, sequences=True), inputs)
    saved = _Saved(inputs, [layer.y for layer in outputs], workspaces, _Names(gradients))
    if not static.sequences:
        outputs = [layer._replace(y=None) for layer in outputs]
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
    tensors = [
        {
            **arguments.present(inputs),
            "y": saved.y[number],
            "saved": saved.workspaces[number],
            **output_gradients[number],
        }
        for number, inputs in enumerate(saved.inputs)
    ]
    static = static._replace(save=True, sequences=True)
    results = _call(static, tensors, saved.gradients)
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
    results = _call(static, [arguments.present(layer) for layer in inputs])
    count = static.directions * len(arguments.output_names(static))
    return arguments.as_outputs(static, results[:count]), results[count:]


def _call(
    static: Static, tensors: Sequence[Mapping[str, Any]], gradients: Sequence[str] | None = None
) -> list[jax.Array]:
    """Run forward, or backward if `gradients` are named, on the tensors of each layer."""
    names = tuple(name for name in arguments.SLOTS if name in tensors[0])
    operands = [layer[name] for layer in tensors for name in names]
    return list(_kernel(static, names, gradients and tuple(gradients))(*operands))


@functools.cache
def _kernel(
    static: Static, names: tuple[str, ...], gradients: tuple[str, ...] | None
) -> Callable[..., list[jax.Array]]:
    """Return a custom call as a function of its operands, which are `names` for each layer.

    It returns `gradients` for each layer; without these, the outputs of each layer and then, with
    `static.save`, the workspace of each.
    """
    target = _FORWARD if gradients is None else _BACKWARD
    attributes = _attributes(static, names, gradients or ())
    results = _results(static, gradients)

    def run(*operands: jax.Array) -> list[jax.Array]:
        layers = arguments.by_layer(static, operands)
        tensors = [dict(zip(names, layer, strict=True)) for layer in layers]
        shapes = [_shape(static, tensors[number], name) for number, name in results]
        # The native library takes and returns workspaces that are flat.
        flat = [
            jax.ShapeDtypeStruct((math.prod(shape),) if name == "saved" else shape, np.float32)
            for shape, (_, name) in zip(shapes, results, strict=True)
        ]
        operands = tuple(
            operand.reshape(-1) if name == "saved" else operand
            for name, operand in zip(names * static.directions, operands, strict=True)
        )
        values = ffi.ffi_call(target, flat)(*operands, **attributes)
        return [value.reshape(shape) for value, shape in zip(values, shapes, strict=True)]

    split = over_devices(
        run,
        [arguments.batch_axis(name) for name in names] * static.directions,
        [arguments.batch_axis(name) for _, name in results],
    )
    return jax.jit(_once(jax.custom_batching.sequential_vmap(split)))


def _attributes(
    static: Static, names: Iterable[str], gradients: Iterable[str]
) -> dict[str, np.generic]:
    numbers = {
        "given": arguments.slot_bits(names),
        "wanted": arguments.slot_bits(gradients),
        **arguments.to_numbers(static),
    }
    return {
        name: np.float32(value) if isinstance(value, float) else np.int32(value)
        for name, value in numbers.items()
    }


def _results(static: Static, gradients: Sequence[str] | None) -> list[tuple[int, str]]:
    """Return the results of a call in order: the number of a layer, and a name."""
    layers = range(static.directions)
    if gradients is not None:
        return [(layer, name) for layer in layers for name in gradients]
    outputs = [(layer, name) for layer in layers for name in arguments.output_names(static)]
    return outputs + [(layer, "saved") for layer in layers if static.save]


def _shape(static: Static, layer: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Return the shape of a result of a layer that has these tensors."""
    if name in layer:  # a gradient
        return tuple(layer[name].shape)
    if name == "saved":
        return layer["x"].shape[0], _saved_floats(static, layer)
    return arguments.output_shapes(layer["x"].shape, layer["recurrent_kernel"].shape)[name]


def _saved_floats(static: Static, layer: Mapping[str, Any]) -> int:
    """Return how many floats forward saves for each row of the batch."""
    one_row = (1, *layer["x"].shape[1:])
    # Only the presence of tensors matters here, so any pointer that is not null will do.
    pointers = dict.fromkeys(layer, 1)
    struct = arguments.layer_struct(static, one_row, layer["recurrent_kernel"].shape[0], **pointers)
    return arguments.workspace_floats(struct)


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
    for name in (_FORWARD, _BACKWARD):
        function = getattr(library.functions, name)
        ffi.register_ffi_target(name, ffi.pycapsule(function), platform="cpu")
    return None
