"""The compiled kernels as a function of PyTorch, on a CPU."""

import ctypes
import weakref
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from seqkeras import native
from seqkeras._checks import bad_argument
from seqkeras.kernels._call import Inputs, Outputs, Static
from seqkeras.kernels.fused import _arguments as call
from seqkeras.native import library

Tensors = Mapping[str, torch.Tensor]


def why_not() -> str | None:
    """Why the kernels cannot run in PyTorch on this machine, or None where they can."""
    return native.why_not()


def run(static: Static, inputs: Sequence[Inputs]) -> list[Outputs]:
    """Runs each layer of a call over whole sequences. `x` may have strides.

    Raises:
        ArgumentError: a shape or a dtype is wrong, or a tensor is not on the CPU.
        NotImplementedError: `why_not` has the reason, or there is no kernel for this.
    """
    for layer in inputs:
        call.check_shapes(static, layer)
        for name, tensor in call.there(layer).items():
            _check_kind(name, tensor)
    save = static.save and torch.is_grad_enabled()
    tensors = [tensor for layer in inputs for tensor in layer]
    return call.as_outputs(static, _Fused.apply(static._replace(save=save), *tensors))


class _Fused(torch.autograd.Function):
    """Takes `Static` and the fields of `Inputs`, returns the outputs of `output_names`."""

    @staticmethod
    def forward(context: Any, static: Static, *tensors: torch.Tensor | None) -> Any:
        save = static.save and any(context.needs_input_grad)
        inputs = [Inputs(*layer) for layer in call.of_layers(static, tensors)]
        outputs = _forward(static._replace(save=save), inputs)
        context.set_materialize_grads(False)
        context.static = static
        # Both are None where nothing is saved.
        kept = [(one.get("y") if save else None, one.get("saved")) for one in outputs]
        context.save_for_backward(*tensors, *(tensor for pair in kept for tensor in pair))
        return tuple(one[name] for one in outputs for name in call.output_names(static))

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor | None) -> Any:
        static: Static = context.static._replace(save=True)
        count = static.directions * len(Inputs._fields)
        tensors, kept = context.saved_tensors[:count], context.saved_tensors[count:]
        inputs = [Inputs(*layer) for layer in call.of_layers(static, tensors)]
        if kept[1] is None:
            kept = [one[name] for one in _forward(static, inputs) for name in ("y", "saved")]
        read = [
            {
                "y": y,
                "saved": saved,
                **{
                    f"d{name}": gradient
                    for name, gradient in zip(call.output_names(static), given, strict=True)
                    if gradient is not None
                },
            }
            for (y, saved), given in zip(
                call.of_layers(static, kept), call.of_layers(static, gradients), strict=True
            )
        ]
        needed = call.of_layers(static, context.needs_input_grad[1:])
        wanted = [
            [name for name, one in zip(Inputs._fields, layer, strict=True) if one]
            for layer in needed
        ]
        found = _backward(static, inputs, read, wanted)
        if torch.is_grad_enabled():  # the gradients are to be differentiated again
            sources = [one for one in (*tensors, *gradients) if one is not None]
            found = [
                {name: _Once.apply(gradient, *sources) for name, gradient in layer.items()}
                for layer in found
            ]
        return None, *(layer.get(name) for layer in found for name in Inputs._fields)


class _Once(torch.autograd.Function):
    """A gradient, of what it was computed from, that has no gradient itself."""

    @staticmethod
    def forward(context: Any, gradient: torch.Tensor, *sources: torch.Tensor) -> torch.Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> Any:
        raise NotImplementedError(call.ONCE)


def _forward(static: Static, inputs: Sequence[Inputs]) -> list[dict[str, torch.Tensor]]:
    """Of each layer the outputs; where saving, also `saved`, and `y` if it is not wanted, too."""
    # Held until the call is over: what is copied here is read by pointers alone.
    tensors = [_readable(call.there(one)) for one in inputs]
    layers = _layers(static, tensors)
    names = call.output_names(static._replace(sequences=static.sequences or static.save))
    outputs = []
    for layer, one in zip(layers, inputs, strict=True):
        shapes = call.output_shapes(one.x.shape, one.recurrent_kernel.shape)
        found = {name: _empty(shapes[name]) for name in names}
        if static.save:
            # At least one float, for a null pointer means that nothing is saved.
            found["saved"] = _workspace(max(call.workspace_floats(layer), 1))
        outputs.append(found)
    _call("sqk_forward_all", layers, [_outputs(one) for one in outputs])
    return outputs


def _backward(
    static: Static,
    inputs: Sequence[Inputs],
    others: Sequence[Tensors],
    wanted: Sequence[Iterable[str]],
) -> list[dict[str, torch.Tensor]]:
    """Of each layer gradients to its inputs `wanted`, from what forward left and the gradients to
    its outputs."""
    tensors = [_readable(call.there(one)) for one in inputs]
    others = [_readable(one) for one in others]
    layers = _layers(static, tensors)
    found = [
        {name: _empty(one[name].shape) for name in call.gradient_names(names)}
        for one, names in zip(tensors, wanted, strict=True)
    ]
    outputs = [_outputs(one) for one in others]
    gradients = [_gradients(*both) for both in zip(others, found, strict=True)]
    _call("sqk_backward_all", layers, outputs, gradients)
    return found


def _call(name: str, *structs: Sequence[ctypes.Structure]) -> None:
    """Calls a function of the C interface, that takes a number and an array of each struct."""
    arrays = [(ctypes.c_void_p * len(one))(*map(ctypes.addressof, one)) for one in structs]
    native_library = library()
    native_library.check(getattr(native_library.functions, name)(len(structs[0]), *arrays))


def _empty(shape: Sequence[int]) -> torch.Tensor:
    # Whatever torch.set_default_dtype and torch.set_default_device say.
    return torch.empty(tuple(shape), dtype=torch.float32, device="cpu")


def _check_kind(name: str, tensor: torch.Tensor) -> None:
    dtype = torch.bool if name in call.BOOLS else torch.float32
    if tensor.dtype != dtype or tensor.device.type != "cpu":
        raise bad_argument(name, f"{tensor.dtype} on {tensor.device}", f"{dtype} on cpu")


def _readable(tensors: Tensors) -> Tensors:
    """The tensors, copied where the kernels cannot read them by strides."""
    return {name: _dense(name, tensor) for name, tensor in tensors.items()}


def _dense(name: str, tensor: torch.Tensor) -> torch.Tensor:
    strided = name in ("mask", "reset") or (
        name in ("x", "dy") and (tensor.stride(-1) == 1 or tensor.shape[-1] == 1)
    )
    return tensor if strided else tensor.contiguous()


def _layers(static: Static, tensors: Sequence[Tensors]) -> list[native.LayerStruct]:
    return [_layer(*one) for one in zip(call.each_direction(static), tensors, strict=True)]


def _layer(static: Static, tensors: Tensors) -> native.LayerStruct:
    sequences = {
        key: value
        for name in ("x", "mask", "reset")
        for key, value in _sequence(name, tensors.get(name)).items()
    }
    others = {name: tensor for name, tensor in tensors.items() if name not in sequences}
    return call.layer_struct(
        static,
        tensors["x"].shape,
        tensors["recurrent_kernel"].shape[0],
        **sequences,
        **_pointers(others),
    )


def _outputs(tensors: Tensors) -> native.OutputsStruct:
    saved = tensors.get("saved")
    return native.OutputsStruct(
        **_sequence("y", tensors.get("y")),
        **_pointers({name: tensors[name] for name in ("last", "h_n", "c_n") if name in tensors}),
        workspace=None if saved is None else saved.data_ptr(),
        workspace_floats=0 if saved is None else saved.numel(),
    )


def _gradients(others: Tensors, found: Tensors) -> native.GradientsStruct:
    given = {name: others[name] for name in ("dlast", "dh_n", "dc_n") if name in others}
    return native.GradientsStruct(
        **_sequence("dy", others.get("dy")),
        **_sequence("dx", found.get("x")),
        **_pointers({**given, **{f"d{name}": found[name] for name in found if name != "x"}}),
    )


def _sequence(name: str, tensor: torch.Tensor | None) -> dict[str, int]:
    """Pointer and strides of a sequence, under the names that a struct has for them."""
    if tensor is None:
        return {}
    return {
        name: _pointer(tensor),
        f"{name}_batch_stride": tensor.stride(0),
        f"{name}_time_stride": tensor.stride(1),
    }


def _pointers(tensors: Tensors) -> dict[str, int]:
    return {name: _pointer(tensor) for name, tensor in tensors.items()}


def _pointer(tensor: torch.Tensor) -> int:
    # An empty tensor may have no memory; a null pointer means that there is no tensor.
    return tensor.data_ptr() or ctypes.addressof(_NOTHING)


_NOTHING = ctypes.c_float()


# ---- workspaces ---------------------------------------------------------------------------------

# Fresh memory costs page faults, which for a workspace are a good part of the time of a call. So a
# workspace is used again once PyTorch has done with it: after backward, or when a graph is dropped.
# There is no lock: memory may be given back by a garbage collection in the middle of `_take`, and
# each call of a deque's methods is done at once.
_MOST_KEPT, _MOST_FLOATS = 8, 16 << 20
_kept: deque[np.ndarray[Any, Any]] = deque(maxlen=_MOST_KEPT)


def _workspace(floats: int) -> torch.Tensor:
    """Memory that goes back to `_kept` when PyTorch frees the tensor."""
    memory = _take(floats)
    view = memory[:]
    if floats <= _MOST_FLOATS:
        weakref.finalize(view, _kept.append, memory).atexit = False
    return torch.from_numpy(view)


def _take(floats: int) -> np.ndarray[Any, Any]:
    """Kept memory of this size, or fresh memory."""
    for _ in range(_MOST_KEPT):
        try:
            memory = _kept.pop()
        except IndexError:
            break
        if memory.size == floats:
            return memory
        _kept.appendleft(memory)
    return np.empty(floats, np.float32)
