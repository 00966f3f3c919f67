"""The fused kernel for TensorFlow on a CPU, as custom operations."""

import ctypes
import functools
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from seqkeras import native
from seqkeras.kernels.fused import _arguments as arguments
from seqkeras.kernels.fused._arguments import FusedInputs, FusedOutputs, Static
from seqkeras.native import ABI_VERSION

Tensors = Mapping[str, tf.Tensor]


def why_not() -> str | None:
    """Return why the kernel cannot run in TensorFlow on this machine, or None if it can."""
    return native.why_not() or _load()[1]


def run(static: Static, inputs: Sequence[FusedInputs]) -> list[FusedOutputs]:
    """Run each layer of a call over whole sequences, eagerly or in a graph.

    Raises:
        NotImplementedError: the kernel cannot run here; `why_not` has the reason.
        tf.errors.InvalidArgumentError: a shape is wrong; a graph raises it only when it runs.
        tf.errors.UnimplementedError: the native library does not support the layer.
    """
    tensors = [
        {name: tf.convert_to_tensor(value) for name, value in arguments.present(layer).items()}
        for layer in inputs
    ]
    outputs, _ = _forward(static, tensors)
    return arguments.as_outputs(static, outputs)


def _forward(
    static: Static, tensors: Sequence[Tensors]
) -> tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]:
    """Return the outputs of all layers and, with `static.save`, a saved tensor for each layer."""
    names = arguments.output_names(static)
    outputs, saved = _operations().seqkeras_forward(
        floats=_flat(tensors, bools=False),
        bools=_flat(tensors, bools=True),
        given=arguments.slot_bits(tensors[0]),
        wanted=0,
        N=static.directions * len(names),
        S=static.directions if static.save else 0,
        **arguments.to_numbers(static),
    )
    shapes = []
    for layer in tensors:
        sizes = arguments.output_shapes(layer["x"].shape, layer["recurrent_kernel"].shape)
        shapes += [sizes[name] for name in names]
    _set_shapes(outputs, shapes)
    return outputs, saved


def _flat(tensors: Sequence[Tensors], *, bools: bool) -> list[tf.Tensor]:
    """List the bool tensors of all layers, or the others."""
    return [
        tensor
        for layer in tensors
        for name, tensor in layer.items()
        if (name in arguments.BOOLS) == bools
    ]


def _forward_gradient(operation: Any, *gradients: tf.Tensor | None) -> list[tf.Tensor | None]:
    """Compute the gradients to the inputs of `SeqkerasForward`, with None for bool inputs."""
    static = arguments.from_numbers({name: operation.get_attr(name) for name in Static._fields})
    names = arguments.slot_names(operation.get_attr("given"))
    floats = [name for name in names if name not in arguments.BOOLS]
    bools = [name for name in names if name in arguments.BOOLS]
    tensors = _inputs_of(operation, static, floats, bools)
    count = static.directions * len(arguments.output_names(static))
    outputs = list(operation.outputs[:count])
    saved = list(operation.outputs[count:])
    if not static.save:
        static = static._replace(save=True)
        in_order = [{name: layer[name] for name in names} for layer in tensors]
        outputs, saved = map(list, _forward(static, in_order))
    computed = arguments.gradient_names(_differentiated(operation, floats * static.directions))
    read = [{name: layer[name] for name in floats} for layer in tensors]
    output_gradients = arguments.output_gradients(
        static, gradients[:count], lambda i: tf.zeros_like(outputs[i])
    )
    for number, ys in enumerate(arguments.by_layer(static, outputs)):
        if static.sequences:
            read[number]["y"] = ys[0]
        for name, gradient in output_gradients[number].items():
            read[number][name] = tf.convert_to_tensor(gradient)
    results = _operations().seqkeras_backward(
        floats=_flat(read, bools=False),
        bools=_flat(tensors, bools=True),
        saved=saved,
        given=arguments.slot_bits([*read[0], *bools, "saved"]),
        wanted=arguments.slot_bits(computed),
        N=static.directions * len(computed),
        **arguments.to_numbers(static),
    )
    _set_shapes(results, [layer[name].shape for layer in tensors for name in computed])
    by_layer = [
        dict(zip(computed, layer, strict=True)) for layer in arguments.by_layer(static, results)
    ]
    return [
        *(layer.get(name) for layer in by_layer for name in floats),
        *(None for _ in range(static.directions * len(bools))),
    ]


def _inputs_of(
    operation: Any, static: Static, floats: Sequence[str], bools: Sequence[str]
) -> list[dict[str, tf.Tensor]]:
    """Name the inputs of `SeqkerasForward`: the floats of all layers, then their bools."""
    count = static.directions * len(floats)
    return [
        dict(zip([*floats, *bools], [*float_tensors, *bool_tensors], strict=True))
        for float_tensors, bool_tensors in zip(
            arguments.by_layer(static, operation.inputs[:count]),
            arguments.by_layer(static, operation.inputs[count:]),
            strict=True,
        )
    ]


def _differentiated(operation: Any, names: Sequence[str]) -> list[str]:
    """Return which inputs need a gradient; in a graph, where no tape tells, all of them."""
    skipped = getattr(operation, "skip_input_indices", None) or ()
    return [name for place, name in enumerate(names) if place not in skipped]


def _backward_gradient(operation: Any, *_: tf.Tensor) -> None:
    raise NotImplementedError(arguments.ONCE)


def _set_shapes(tensors: Sequence[tf.Tensor], shapes: Sequence[Any]) -> None:
    """Set the static shapes of tensors in a graph, because the operations do not infer them."""
    if not tf.executing_eagerly():
        for tensor, shape in zip(tensors, shapes, strict=True):
            tensor.set_shape(shape)


def _operations() -> Any:
    operations, reason = _load()
    reason = native.why_not() or reason
    if reason:
        raise NotImplementedError(f"The fused kernel cannot run in TensorFlow: {reason}.")
    return operations


@functools.cache
def _load() -> tuple[Any, str | None]:
    """Return the operations and None, or None and why they are missing."""
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
        reason = trouble().decode()
        version = library.seqkeras_tensorflow_abi_version()
    except (tf.errors.OpError, OSError, RuntimeError, AttributeError) as error:
        return None, f"{path} does not load into TensorFlow {tf.__version__}: {error}"
    if reason:
        return None, f"{path} does not load into TensorFlow {tf.__version__}: {reason}"
    if version != ABI_VERSION:
        return None, (
            f"{path} belongs to another version of seqkeras (its interface is {version}, and this "
            f"version needs {ABI_VERSION}): run `pip install .` in the source of seqkeras"
        )
    return _connect(operations, library), None


def _connect(operations: Any, library: ctypes.CDLL) -> Any:
    """Pass the native library's functions to the operations, and register their gradients."""
    core = native.load()
    if core is None:
        return operations
    names = ("sqk_forward_all", "sqk_backward_all", "sqk_workspace_floats", "sqk_last_error")
    addresses = [ctypes.c_void_p(core.address(name)) for name in names]
    library.seqkeras_tensorflow_connect(*addresses)
    tf.RegisterGradient("SeqkerasForward")(_forward_gradient)
    tf.RegisterGradient("SeqkerasBackward")(_backward_gradient)
    return operations
