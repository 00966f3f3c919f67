"""The compiled kernels as calls of XLA, for JAX on a CPU."""

import functools
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from seqkeras import native
from seqkeras.kernels import _fused_call as call
from seqkeras.kernels._call import Inputs, Outputs, Static

# JAX before 0.5 has it in another place.
_module = "jax.ffi" if importlib.util.find_spec("jax.ffi") else "jax.extend.ffi"
ffi: Any = importlib.import_module(_module)

_TARGETS = ("sqk_xla_forward", "sqk_xla_backward")


def why_not() -> str | None:
    """Why the kernels cannot run in JAX on this machine, or None where they can."""
    return native.why_not() or _register()


def run(static: Static, inputs: Inputs) -> Outputs:
    """Runs a layer over whole sequences. Only what is differentiated keeps what that needs.

    Raises:
        NotImplementedError: `why_not` has the reason.
        ArgumentError: a shape is wrong.
        jax.errors.JaxRuntimeError: there is no kernel for this.
    """
    reason = why_not()
    if reason:
        raise NotImplementedError(f"There are no fused kernels for JAX: {reason}.")
    call.check_shapes(static, inputs)
    return _run(static, inputs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(static: Static, inputs: Inputs) -> Outputs:
    return _forward(static._replace(save=False), inputs)[0]


@jax.tree_util.register_static
class _Names(tuple[str, ...]):
    """Names that go from forward to backward, though they are no arrays."""


class _Kept(NamedTuple):
    """What backward needs."""

    inputs: Inputs
    y: Any
    saved: Any
    wanted: _Names


def _run_forward(static: Static, primals: Inputs) -> tuple[Outputs, _Kept]:
    """`primals` says of each input whether a gradient to it is wanted."""
    there = call.there(primals)
    wanted = call.gradient_names(name for name, primal in there.items() if primal.perturbed)
    inputs = primals._replace(**{name: primal.value for name, primal in there.items()})
    outputs, saved = _forward(static._replace(save=True), inputs)
    return outputs, _Kept(inputs, outputs.y, saved, _Names(wanted))


def _run_backward(static: Static, kept: _Kept, cotangents: Outputs) -> tuple[Inputs]:
    read = call.there(kept.inputs)
    if static.sequences:
        read["y"] = kept.y
    read["saved"] = kept.saved
    for name, cotangent in cotangents._asdict().items():
        if cotangent is not None and not isinstance(cotangent, jax.custom_derivatives.SymbolicZero):
            read[f"d{name}"] = cotangent
    shapes = [read[name].shape for name in kept.wanted]
    static = static._replace(save=True)
    found = _call("sqk_xla_backward", static, read, shapes, wanted=call.bits(kept.wanted))
    gradients = dict(zip(kept.wanted, found, strict=True))
    return (Inputs(*(gradients.get(name) for name in Inputs._fields)),)


_run.defvjp(_run_forward, _run_backward, symbolic_zeros=True)


def _forward(static: Static, inputs: Inputs) -> tuple[Outputs, jax.Array | None]:
    """The outputs, and what is saved where that is asked for."""
    sizes = call.output_shapes(inputs.x.shape, inputs.recurrent_kernel.shape)
    shapes = [sizes[name] for name in call.output_names(static)]
    if static.save:
        shapes.append((_saved_floats(static, inputs),))
    found = _call("sqk_xla_forward", static, call.there(inputs), shapes, wanted=0)
    saved = found.pop() if static.save else None
    return call.as_outputs(static, found), saved


def _saved_floats(static: Static, inputs: Inputs) -> int:
    """Floats that forward saves: the workspace, and y where it is no output."""
    x, units = inputs.x.shape, inputs.recurrent_kernel.shape[0]
    # It matters which tensors there are, and nothing is read from them.
    there = dict.fromkeys(call.there(inputs), 1)
    floats = call.workspace_floats(call.layer_struct(static, x, units, **there))
    return floats if static.sequences else floats + x[0] * x[1] * units


def _call(
    target: str,
    static: Static,
    tensors: Mapping[str, Any],
    shapes: Sequence[tuple[int, ...]],
    wanted: int,
) -> list[jax.Array]:
    numbers = {"given": call.bits(tensors), "wanted": wanted, **call.numbers(static)}
    attributes = {
        name: np.float32(value) if isinstance(value, float) else np.int32(value)
        for name, value in numbers.items()
    }
    results = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    do = ffi.ffi_call(target, results, vmap_method="sequential")
    return list(do(*(tensors[name] for name in call.SLOTS if name in tensors), **attributes))


@functools.cache
def _register() -> str | None:
    """Tells JAX of the kernels, once; returns why that is not possible."""
    library = native.load()
    if library is None:
        return native.why_not()
    for name in _TARGETS:
        function = getattr(library.functions, name)
        ffi.register_ffi_target(name, ffi.pycapsule(function), platform="cpu")
    return None
