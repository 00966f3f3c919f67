"""The compiled kernels as calls of XLA, for JAX on a CPU."""

import functools
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from seqkeras import native
from seqkeras.kernels._call import Inputs, Outputs, Static
from seqkeras.kernels.fused import _arguments as call

# JAX before 0.5 has it in another place.
_module = "jax.ffi" if importlib.util.find_spec("jax.ffi") else "jax.extend.ffi"
ffi: Any = importlib.import_module(_module)

_TARGETS = ("sqk_xla_forward", "sqk_xla_backward")


def why_not() -> str | None:
    """Why the kernels cannot run in JAX on this machine, or None where they can."""
    return native.why_not() or _register()


def run(static: Static, inputs: Sequence[Inputs]) -> list[Outputs]:
    """Runs each layer of a call over whole sequences. Only what is differentiated keeps what that
    needs.

    Raises:
        NotImplementedError: `why_not` has the reason.
        ArgumentError: a shape is wrong.
        jax.errors.JaxRuntimeError: there is no kernel for this.
    """
    reason = why_not()
    if reason:
        raise NotImplementedError(f"There are no fused kernels for JAX: {reason}.")
    for layer in inputs:
        call.check_shapes(static, layer)
    return _run(static, list(inputs))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(static: Static, inputs: list[Inputs]) -> list[Outputs]:
    return _forward(static._replace(save=False), inputs)[0]


@jax.tree_util.register_static
class _Names(tuple[str, ...]):
    """Names that go from forward to backward, though they are no arrays."""


class _Kept(NamedTuple):
    """What backward needs: of each layer its inputs, `y` and what was saved."""

    inputs: list[Inputs]
    y: list[Any]
    saved: list[Any]
    wanted: _Names


def _run_forward(static: Static, primals: list[Inputs]) -> tuple[list[Outputs], _Kept]:
    """`primals` says of each input whether a gradient to it is wanted."""
    there = [call.there(one) for one in primals]
    wanted = call.gradient_names(
        name for one in there for name, primal in one.items() if primal.perturbed
    )
    inputs = [
        layer._replace(**{name: primal.value for name, primal in one.items()})
        for layer, one in zip(primals, there, strict=True)
    ]
    outputs, saved = _forward(static._replace(save=True), inputs)
    return outputs, _Kept(inputs, [one.y for one in outputs], saved, _Names(wanted))


def _run_backward(static: Static, kept: _Kept, cotangents: list[Outputs]) -> tuple[list[Inputs]]:
    flat = [one for layer in cotangents for one in layer if one is not None]
    unknown = jax.custom_derivatives.SymbolicZero
    given = call.output_gradients(
        static,
        [None if isinstance(one, unknown) else one for one in flat],
        lambda i: jax.numpy.zeros(flat[i].shape, flat[i].dtype),
    )
    read = [
        {**call.there(inputs), **({"y": y} if static.sequences else {}), "saved": saved, **ones}
        for inputs, y, saved, ones in zip(kept.inputs, kept.y, kept.saved, given, strict=True)
    ]
    shapes = [one[name].shape for one in read for name in kept.wanted]
    static = static._replace(save=True)
    found = _call("sqk_xla_backward", static, read, shapes, wanted=call.bits(kept.wanted))
    gradients = [dict(zip(kept.wanted, one, strict=True)) for one in call.of_layers(static, found)]
    return ([Inputs(*(one.get(name) for name in Inputs._fields)) for one in gradients],)


_run.defvjp(_run_forward, _run_backward, symbolic_zeros=True)


def _forward(static: Static, inputs: Sequence[Inputs]) -> tuple[list[Outputs], list[jax.Array]]:
    """The outputs of each layer, and what each saved where that is asked for."""
    sizes = [call.output_shapes(one.x.shape, one.recurrent_kernel.shape) for one in inputs]
    shapes = [one[name] for one in sizes for name in call.output_names(static)]
    count = len(shapes)
    if static.save:
        shapes += [(_saved_floats(static, one),) for one in inputs]
    found = _call("sqk_xla_forward", static, [call.there(one) for one in inputs], shapes, wanted=0)
    return call.as_outputs(static, found[:count]), found[count:]


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
    tensors: Sequence[Mapping[str, Any]],
    shapes: Sequence[tuple[int, ...]],
    wanted: int,
) -> list[jax.Array]:
    numbers = {"given": call.bits(tensors[0]), "wanted": wanted, **call.numbers(static)}
    attributes = {
        name: np.float32(value) if isinstance(value, float) else np.int32(value)
        for name, value in numbers.items()
    }
    results = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    do = ffi.ffi_call(target, results, vmap_method="sequential")
    given = [layer[name] for layer in tensors for name in call.SLOTS if name in layer]
    return list(do(*given, **attributes))


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
