"""The compiled kernels as operations of TensorFlow, on a CPU."""

import ctypes
import functools
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from seqkeras import native
from seqkeras.kernels import _fused_call as call
from seqkeras.kernels._call import Inputs, Outputs, Static
from seqkeras.native import ABI_VERSION


def why_not() -> str | None:
    """Why the kernels cannot run in TensorFlow on this machine, or None where they can."""
    return native.why_not() or _load()[1]


def run(static: Static, inputs: Inputs) -> Outputs:
    """Runs a layer over whole sequences, eagerly or in a graph.

    Raises:
        NotImplementedError: `why_not` has the reason.
        tf.errors.InvalidArgumentError: a shape is wrong; in a graph, when it runs.
        tf.errors.UnimplementedError: there is no kernel for this.
    """
    tensors = {name: tf.convert_to_tensor(one) for name, one in call.there(inputs).items()}
    outputs, _ = _forward(static, tensors)
    return call.as_outputs(static, outputs)


def _forward(
    static: Static, tensors: Mapping[str, tf.Tensor]
) -> tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]:
    """The outputs, and what is saved for the gradient: one tensor, or none."""
    names = call.output_names(static)
    outputs, saved = _operations().seqkeras_forward(
        floats=[tensor for name, tensor in tensors.items() if name not in call.BOOLS],
        bools=[tensor for name, tensor in tensors.items() if name in call.BOOLS],
        given=call.bits(tensors),
        wanted=0,
        N=len(names),
        S=int(static.save),
        **call.numbers(static),
    )
    shapes = call.output_shapes(tensors["x"].shape, tensors["recurrent_kernel"].shape)
    _set_shapes(outputs, [shapes[name] for name in names])
    return outputs, saved


def _forward_gradient(operation: Any, *gradients: tf.Tensor | None) -> list[tf.Tensor | None]:
    """The gradient of `SeqkerasForward`: of the floats it reads, and None of the bools."""
    static = call.from_numbers({name: operation.get_attr(name) for name in Static._fields})
    names = call.named(operation.get_attr("given"))
    floats = [name for name in names if name not in call.BOOLS]
    bools = [name for name in names if name in call.BOOLS]
    tensors = dict(zip([*floats, *bools], operation.inputs, strict=True))
    outputs = list(operation.outputs)
    if not static.save:
        static = static._replace(save=True)
        again, saved = _forward(static, {name: tensors[name] for name in names})
        outputs = [*again, *saved]
    # Known where the gradient is taken by a tape; else all gradients are computed.
    skipped = getattr(operation, "skip_input_indices", None) or ()
    wanted = call.gradient_names(name for place, name in enumerate(floats) if place not in skipped)
    read = {name: tensors[name] for name in floats}
    if static.sequences:
        read["y"] = outputs[0]
    for name, gradient in zip(call.output_names(static), gradients, strict=False):
        if gradient is not None:
            read[f"d{name}"] = tf.convert_to_tensor(gradient)
    found = _operations().seqkeras_backward(
        floats=list(read.values()),
        bools=[tensors[name] for name in bools],
        saved=outputs[-1:],
        given=call.bits([*read, *bools, "saved"]),
        wanted=call.bits(wanted),
        N=len(wanted),
        **call.numbers(static),
    )
    _set_shapes(found, [tensors[name].shape for name in wanted])
    by_name = dict(zip(wanted, found, strict=True))
    return [by_name.get(name) for name in (*floats, *bools)]


def _backward_gradient(operation: Any, *_: tf.Tensor) -> None:
    raise NotImplementedError(call.ONCE)


def _set_shapes(tensors: Sequence[tf.Tensor], shapes: Sequence[Any]) -> None:
    """Tells a graph the shapes, which the operations themselves cannot."""
    if not tf.executing_eagerly():
        for tensor, shape in zip(tensors, shapes, strict=True):
            tensor.set_shape(shape)


def _operations() -> Any:
    operations, reason = _load()
    reason = native.why_not() or reason
    if reason:
        raise NotImplementedError(f"There are no fused kernels for TensorFlow: {reason}.")
    return operations


@functools.cache
def _load() -> tuple[Any, str | None]:
    """The operations and why they are not there, one of them None."""
    spec = importlib.util.find_spec("seqkeras.native._tensorflow")
    if spec is None or spec.origin is None:
        return None, "the native library was built without the operations of TensorFlow"
    return _load_file(Path(spec.origin))


def _load_file(path: Path) -> tuple[Any, str | None]:
    try:
        operations = tf.load_op_library(str(path))
        library = ctypes.CDLL(str(path))
        trouble = library.seqkeras_tensorflow_trouble
        trouble.restype = ctypes.c_char_p
        found = trouble().decode()
        version = library.seqkeras_tensorflow_abi_version()
    except (tf.errors.OpError, OSError, RuntimeError, AttributeError) as error:
        return None, f"{path} does not load into TensorFlow {tf.__version__}: {error}"
    if found:
        return None, f"{path} does not load into TensorFlow {tf.__version__}: {found}"
    if version != ABI_VERSION:
        return None, (
            f"{path} is of another version of seqkeras: it has the interface {version}, this "
            f"needs {ABI_VERSION}. Build it again with pip install ."
        )
    return _connect(operations, library), None


def _connect(operations: Any, library: ctypes.CDLL) -> Any:
    """The operations, with the functions of the kernels' library and with their gradients."""
    kernels = native.load()
    if kernels is None:
        return operations
    names = ("sqk_forward", "sqk_backward", "sqk_workspace_floats", "sqk_last_error")
    addresses = [ctypes.c_void_p(kernels.address(name)) for name in names]
    library.seqkeras_tensorflow_connect(*addresses)
    tf.RegisterGradient("SeqkerasForward")(_forward_gradient)
    tf.RegisterGradient("SeqkerasBackward")(_backward_gradient)
    return operations
