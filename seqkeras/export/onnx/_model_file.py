"""Turn a written graph into the bytes of an ONNX file."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from seqkeras._checks import Description, bad_argument
from seqkeras._lazy import import_optional
from seqkeras.export.onnx._writer import Node, Slot, Writer
from seqkeras.runtime._onnx_file import FORMAT, HEADER, KIND, VERSION, with_checksum

#: Versions of the operators and of the file format, which ONNX Runtime reads since 1.12 (2022).
OPSET = 17
IR_VERSION = 8

#: An ONNX file is one protobuf message, which cannot be larger.
MAX_BYTES = 2**31 - 2**20


def onnx_bytes(graph: Writer, header: Mapping[str, Any], kind: str = KIND) -> bytes:
    """Return an ONNX file that `onnx.checker` accepts.

    Args:
        graph: the graph.
        header: what is kept in the metadata.
        kind: kind of the file.

    Raises:
        ArgumentError: the weights are too large for one file, or ONNX has no operator for a layer
            with its dtypes.
        MissingDependencyError: onnx is not installed.
    """
    onnx = import_optional("onnx", extra="onnx")
    size = sum(array.nbytes for array in graph.arrays.values())
    if size > MAX_BYTES:
        fix = "Use save_program, which has no such limit."
        raise bad_argument(
            "model", Description(f"{size / 2**30:.1f} GiB of weights"), "below 2 GiB", fix
        )
    model = onnx.helper.make_model(
        _graph(onnx, graph, str(header["name"])),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="seqkeras",
    )
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    onnx.helper.set_model_props(model, {FORMAT: f"{kind} {VERSION}", HEADER: text})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        fix = "Use save_program instead."
        raise bad_argument(
            "model", Description(str(error)), "one that ONNX can represent", fix
        ) from error
    return with_checksum(model.SerializeToString())


def _graph(onnx: Any, graph: Writer, name: str, arrays: bool = True) -> Any:
    numbers = graph.arrays.items() if arrays else ()
    return onnx.helper.make_graph(
        [_node(onnx, node) for node in graph.nodes],
        name,
        [_slot(onnx, slot) for slot in graph.inputs],
        [_slot(onnx, slot) for slot in graph.outputs],
        [
            onnx.numpy_helper.from_array(np.asarray(array, order="C"), array_name)
            for array_name, array in numbers
        ],
    )


def _node(onnx: Any, node: Node) -> Any:
    inputs = list(node.inputs)
    while inputs and not inputs[-1]:
        inputs.pop()
    attributes = {key: _attribute(onnx, node, value) for key, value in node.attributes.items()}
    return onnx.helper.make_node(node.op, inputs, node.outputs, name=node.name, **attributes)


def _attribute(onnx: Any, node: Node, value: Any) -> Any:
    if isinstance(value, Writer):  # its arrays are stored in the graph around it
        return _graph(onnx, value, f"{node.name}/body", arrays=False)
    if isinstance(value, np.dtype):
        return onnx.helper.np_dtype_to_tensor_dtype(value)
    return value


def _slot(onnx: Any, slot: Slot) -> Any:
    kind = onnx.helper.np_dtype_to_tensor_dtype(slot.dtype)
    return onnx.helper.make_tensor_value_info(slot.name, kind, list(slot.shape))
