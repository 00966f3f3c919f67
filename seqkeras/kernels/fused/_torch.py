"""The fused kernel for PyTorch on a CPU, as an autograd function."""

import ctypes
import weakref
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from seqkeras import native
from seqkeras._checks import Description, bad_argument
from seqkeras.kernels.fused import _arguments as arguments
from seqkeras.kernels.fused._arguments import FusedInputs, FusedOutputs, Static
from seqkeras.native import library

Tensors = Mapping[str, torch.Tensor]


def why_not() -> str | None:
    """Return why the kernel cannot run in PyTorch on this machine, or None if it can."""
    return native.why_not()


def run(static: Static, inputs: Sequence[FusedInputs]) -> list[FusedOutputs]:
    """Run each layer of a call over whole sequences. `x` may have strides.

    Raises:
        ArgumentError: a shape or a dtype is wrong, or a tensor is not on the CPU.
        NotImplementedError: the kernel cannot run here, or the native library does not support the
            layer.
    """
    for layer in inputs:
        arguments.check_shapes(static, layer)
        for name, tensor in arguments.present(layer).items():
            _check_kind(name, tensor)
    save = static.save and torch.is_grad_enabled()
    tensors = [tensor for layer in inputs for tensor in layer]
    return arguments.as_outputs(static, _Fused.apply(static._replace(save=save), *tensors))


class _Fused(torch.autograd.Function):
    """The kernel as a function from each layer's `FusedInputs` to its outputs, as flat tuples."""

    @staticmethod
    def forward(context: Any, static: Static, *tensors: torch.Tensor | None) -> Any:
        save = static.save and any(context.needs_input_grad)
        inputs = [FusedInputs(*layer) for layer in arguments.by_layer(static, tensors)]
        outputs = _forward(static._replace(save=save), inputs)
        context.set_materialize_grads(False)
        context.static = static
        saved: list[torch.Tensor | None] = []
        for layer in outputs:
            saved += [layer["y"], layer["saved"]] if save else [None, None]
        context.save_for_backward(*tensors, *saved)
        return tuple(layer[name] for layer in outputs for name in arguments.output_names(static))

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor | None) -> Any:
        static: Static = context.static._replace(save=True)
        count = static.directions * len(FusedInputs._fields)
        every = context.saved_tensors  # activation checkpointing allows only one access
        tensors = every[:count]
        saved = every[count:]
        inputs = [FusedInputs(*layer) for layer in arguments.by_layer(static, tensors)]
        if saved[1] is None:
            saved = [layer[name] for layer in _forward(static, inputs) for name in ("y", "saved")]
        read = []
        for (y, workspace), layer in zip(
            arguments.by_layer(static, saved), arguments.by_layer(static, gradients), strict=True
        ):
            names = arguments.output_names(static)
            output_gradients = {
                f"d{name}": gradient
                for name, gradient in zip(names, layer, strict=True)
                if gradient is not None
            }
            read.append({"y": y, "saved": workspace, **output_gradients})
        needed = [
            [name for name, needs in zip(FusedInputs._fields, layer, strict=True) if needs]
            for layer in arguments.by_layer(static, context.needs_input_grad[1:])
        ]
        results = _backward(static, inputs, read, needed)
        if torch.is_grad_enabled():  # create_graph=True: to be differentiated again
            sources = [tensor for tensor in (*tensors, *gradients) if tensor is not None]
            results = [
                {name: _Once.apply(gradient, *sources) for name, gradient in layer.items()}
                for layer in results
            ]
        return None, *(layer.get(name) for layer in results for name in FusedInputs._fields)


class _Once(torch.autograd.Function):
    """Passes a gradient through, and raises if it is differentiated with respect to its sources."""

    @staticmethod
    def forward(context: Any, gradient: torch.Tensor, *sources: torch.Tensor) -> torch.Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> Any:
        raise NotImplementedError(arguments.ONCE)


def _forward(static: Static, inputs: Sequence[FusedInputs]) -> list[dict[str, torch.Tensor]]:
    """Compute the outputs of each layer, by name; with `static.save` also `y` and `saved`."""
    # Hold these tensors until the call returns: the structs only have pointers to them.
    tensors = [_readable(arguments.present(layer)) for layer in inputs]
    structs = _layers(static, tensors)
    names = arguments.output_names(static._replace(sequences=static.sequences or static.save))
    outputs = []
    for struct, layer in zip(structs, inputs, strict=True):
        shapes = arguments.output_shapes(layer.x.shape, layer.recurrent_kernel.shape)
        results = {name: _empty(shapes[name]) for name in names}
        if static.save:
            # Not empty: with a null pointer, as of an empty tensor, the library saves nothing.
            results["saved"] = _workspace(max(arguments.workspace_floats(struct), 1))
        outputs.append(results)
    _call("sqk_forward_all", structs, [_outputs(results) for results in outputs])
    return outputs


def _backward(
    static: Static,
    inputs: Sequence[FusedInputs],
    read: Sequence[Tensors],
    needed: Sequence[Iterable[str]],
) -> list[dict[str, torch.Tensor]]:
    """Compute the gradients to the `needed` inputs of each layer.

    Args:
        static: the call.
        inputs: the inputs of forward, for each layer.
        read: `y` and `saved` from forward, and the gradients to its outputs, for each layer.
        needed: names of the inputs that need a gradient, for each layer.
    """
    tensors = [_readable(arguments.present(layer)) for layer in inputs]
    read = [_readable(layer) for layer in read]
    structs = _layers(static, tensors)
    results = [
        {name: _empty(layer[name].shape) for name in arguments.gradient_names(names)}
        for layer, names in zip(tensors, needed, strict=True)
    ]
    outputs = [_outputs(layer) for layer in read]
    gradients = [_gradients(*pair) for pair in zip(read, results, strict=True)]
    _call("sqk_backward_all", structs, outputs, gradients)
    return results


def _call(name: str, *structs: Sequence[ctypes.Structure]) -> None:
    """Call a C function that takes a count and, for each kind of struct, an array of pointers."""
    arrays = [(ctypes.c_void_p * len(kind))(*map(ctypes.addressof, kind)) for kind in structs]
    native_library = library()
    native_library.check(getattr(native_library.functions, name)(len(structs[0]), *arrays))


def _empty(shape: Sequence[int]) -> torch.Tensor:
    # Explicit, because torch.set_default_dtype and torch.set_default_device change the defaults.
    return torch.empty(tuple(shape), dtype=torch.float32, device="cpu")


def _check_kind(name: str, tensor: torch.Tensor) -> None:
    dtype = torch.bool if name in arguments.BOOLS else torch.float32
    if tensor.dtype != dtype or tensor.device.type != "cpu":
        raise bad_argument(
            name, Description(f"{tensor.dtype} on {tensor.device}"), f"{dtype} on cpu"
        )


def _readable(tensors: Tensors) -> Tensors:
    """Return the tensors, with copies of those that the native library cannot read by strides."""
    return {name: _dense(name, tensor) for name, tensor in tensors.items()}


def _dense(name: str, tensor: torch.Tensor) -> torch.Tensor:
    strided = name in ("mask", "reset") or (
        name in ("x", "dy") and (tensor.stride(-1) == 1 or tensor.shape[-1] == 1)
    )
    return tensor if strided else tensor.contiguous()


def _layers(static: Static, tensors: Sequence[Tensors]) -> list[native.LayerStruct]:
    directions = arguments.each_direction(static)
    return [_layer(*pair) for pair in zip(directions, tensors, strict=True)]


def _layer(static: Static, tensors: Tensors) -> native.LayerStruct:
    sequences = {
        key: value
        for name in ("x", "mask", "reset")
        for key, value in _sequence(name, tensors.get(name)).items()
    }
    others = {name: tensor for name, tensor in tensors.items() if name not in sequences}
    return arguments.layer_struct(
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
        workspace=saved.data_ptr() if saved is not None else None,
        workspace_floats=saved.numel() if saved is not None else 0,
    )


def _gradients(read: Tensors, results: Tensors) -> native.GradientsStruct:
    inputs = {name: read[name] for name in ("dlast", "dh_n", "dc_n") if name in read}
    outputs = {f"d{name}": results[name] for name in results if name != "x"}
    return native.GradientsStruct(
        **_sequence("dy", read.get("dy")),
        **_sequence("dx", results.get("x")),
        **_pointers({**inputs, **outputs}),
    )


def _sequence(name: str, tensor: torch.Tensor | None) -> dict[str, int]:
    """Return the pointer and the strides of a sequence, under the names of a struct's members."""
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

# The page faults of a fresh workspace take a good part of the time of a call. So its memory is used
# again once PyTorch has freed it: after backward, or when a graph is dropped. The garbage collector
# may return memory in the middle of `_take`, where a lock would deadlock; none is needed, because
# each method of a deque is atomic. At most 8 workspaces of up to 64 MiB stay idle.
_MOST_IDLE = 8
_MOST_FLOATS = 16 << 20
_idle: deque[np.ndarray[Any, Any]] = deque(maxlen=_MOST_IDLE)


def _workspace(floats: int) -> torch.Tensor:
    """Return memory that goes back to `_idle` when PyTorch frees the tensor."""
    memory = _take(floats)
    view = memory[:]
    if floats <= _MOST_FLOATS:
        weakref.finalize(view, _idle.append, memory).atexit = False
    return torch.from_numpy(view)


def _take(floats: int) -> np.ndarray[Any, Any]:
    """Return idle memory of this size, or fresh memory if there is none."""
    for _ in range(_MOST_IDLE):
        try:
            memory = _idle.pop()
        except IndexError:
            break
        if memory.size == floats:
            return memory
        _idle.appendleft(memory)
    return np.empty(floats, np.float32)
