"""The compiled kernels as operations of TensorFlow, on a CPU."""

import ctypes
import functools
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from seqkeras import native
from seqkeras.kernels._call import Inputs, Outputs, Static
from seqkeras.kernels.fused import _arguments as call
from seqkeras.native import ABI_VERSION


def why_not() -> str | None:
    """Why the kernels cannot run in TensorFlow on this machine, or None where they can."""
    return native.why_not() or _load()[1]


def run(static: Static, inputs: Sequence[Inputs]) -> list[Outputs]:
    """Runs each layer of a call over whole sequences, eagerly or in a graph.

    Raises:
        NotImplementedError: `why_not` has the reason.
        tf.errors.InvalidArgumentError: a shape is wrong; in a graph, when it runs.
        tf.errors.UnimplementedError: there is no kernel for this.
    """
    tensors = [
        {name: tf.convert_to_tensor(one) for name, one in call.there(layer).items()}
        for layer in inputs
    ]
    outputs, _ = _forward(static, tensors)
    return call.as_outputs(static, outputs)


Tensors = Mapping[str, tf.Tensor]


def _forward(
    static: Static, tensors: Sequence[Tensors]
) -> tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]:
    """The outputs of all layers, and what each saves for the gradient: one tensor, or none."""
    names = call.output_names(static)
    outputs, saved = _operations().seqkeras_forward(
        floats=_flat(tensors, bools=False),
        bools=_flat(tensors, bools=True),
        given=call.bits(tensors[0]),
        wanted=0,
        N=static.directions * len(names),
        S=static.directions * int(static.save),
        **call.numbers(static),
    )
    shapes = [call.output_shapes(one["x"].shape, one["recurrent_kernel"].shape) for one in tensors]
    _set_shapes(outputs, [one[name] for one in shapes for name in names])
    return outputs, saved


def _flat(tensors: Sequence[Tensors], *, bools: bool) -> list[tf.Tensor]:
    """The tensors of all layers, of one dtype."""
    return [
        tensor
        for layer in tensors
        for name, tensor in layer.items()
        if (name in call.BOOLS) == bools
    ]


def _forward_gradient(operation: Any, *gradients: tf.Tensor | None) -> list[tf.Tensor | None]:
    """The gradient of `SeqkerasForward`: of the floats it reads, and None of the bools."""
    static = call.from_numbers({name: operation.get_attr(name) for name in Static._fields})
    names = call.named(operation.get_attr("given"))
    floats = [name for name in names if name not in call.BOOLS]
    bools = [name for name in names if name in call.BOOLS]
    count = static.directions * len(floats)
    tensors = [
        dict(zip([*floats, *bools], [*some, *others], strict=True))
        for some, others in zip(
            call.of_layers(static, operation.inputs[:count]),
            call.of_layers(static, operation.inputs[count:]),
            strict=True,
        )
    ]
    results = call.output_names(static)
    count = static.directions * len(results)
    outputs, saved = list(operation.outputs[:count]), list(operation.outputs[count:])
    if not static.save:
        static = static._replace(save=True)
        in_order = [{name: one[name] for name in names} for one in tensors]
        outputs, saved = map(list, _forward(static, in_order))
    # Known where the gradient is taken by a tape; else all gradients are computed.
    skipped = getattr(operation, "skip_input_indices", None) or ()
    wanted = call.gradient_names(
        name for place, name in enumerate(floats * static.directions) if place not in skipped
    )
    read = [{name: one[name] for name in floats} for one in tensors]
    for layer, ys in zip(read, call.of_layers(static, outputs), strict=True):
        if static.sequences:
            layer["y"] = ys[0]
    given = call.output_gradients(static, gradients[:count], lambda i: tf.zeros_like(outputs[i]))
    for layer, ones in zip(read, given, strict=True):
        layer.update({name: tf.convert_to_tensor(one) for name, one in ones.items()})
    found = _operations().seqkeras_backward(
        floats=_flat(read, bools=False),
        bools=_flat(tensors, bools=True),
        saved=saved,
        given=call.bits([*read[0], *bools, "saved"]),
        wanted=call.bits(wanted),
        N=static.directions * len(wanted),
        **call.numbers(static),
    )
    _set_shapes(found, [one[name].shape for one in tensors for name in wanted])
    by_layer = [dict(zip(wanted, one, strict=True)) for one in call.of_layers(static, found)]
    return [
        *(one.get(name) for one in by_layer for name in floats),
        *(None for _ in range(static.directions * len(bools))),
    ]


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
    names = ("sqk_forward_all", "sqk_backward_all", "sqk_workspace_floats", "sqk_last_error")
    addresses = [ctypes.c_void_p(kernels.address(name)) for name in names]
    library.seqkeras_tensorflow_connect(*addresses)
    tf.RegisterGradient("SeqkerasForward")(_forward_gradient)
    tf.RegisterGradient("SeqkerasBackward")(_backward_gradient)
    return operations
