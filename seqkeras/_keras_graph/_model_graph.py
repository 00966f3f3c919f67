"""The graph of a model, read once for all code that needs it."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
from keras import tree

from seqkeras._keras_graph._calls import calls_in_order
from seqkeras._keras_graph._structure import check_graph, name_of, self_and_sublayers


class ModelGraph:
    """The layers of a functional or Sequential model, and the calls between them.

    The graph is read once, by the constructor: after adding layers to the model, create a new one.

    Args:
        model: a built functional or Sequential model.

    Attributes:
        model: the model.
        inputs: its symbolic inputs, in one flat list.
        outputs: its symbolic outputs, in one flat list.
        input_structure: the inputs in the structure that the model is called with: a tensor, a
            list or a dict.
        output_structure: the outputs in the structure that the model returns.
        output_names: names of the outputs, as Keras gives them.
        calls: the calls of layers and operations, as nodes of Keras, each after the calls whose
            outputs it reads. For the calls inside a nested model, see `nested`.

    Raises:
        ArgumentError: `model` is not a Keras model, is not built, or is a subclass with its own
            `call`.

    Example:
        >>> x = keras.Input((None, 2), name="x")
        >>> h = keras.layers.GRU(3, name="gru")(x)
        >>> graph = ModelGraph(keras.Model(x, keras.layers.Dense(1, name="dense")(h)))
        >>> [call.operation.name for call in graph.calls]
        ['gru', 'dense']
    """

    def __init__(self, model: Any) -> None:
        if not isinstance(model, keras.Function):
            check_graph(model)
        function = model._functional if isinstance(model, keras.Sequential) else model
        self.model = model
        self.inputs = list(function.inputs)
        self.outputs = list(function.outputs)
        self.input_structure = function._inputs_struct
        self.output_structure = function._outputs_struct
        self.output_names = list(function.output_names)
        self.calls = calls_in_order(function)
        self._nested: dict[int, ModelGraph] = {}

    @property
    def input_names(self) -> list[str]:
        """Return the names of the inputs, in the order of `inputs`."""
        return [name_of(tensor) for tensor in self.inputs]

    @functools.cached_property
    def layers(self) -> list[Any]:
        """Return the model and every layer within it, including those of nested models."""
        return self_and_sublayers(self.model)

    @property
    def compute_dtypes(self) -> set[str]:
        """Return the dtypes in which the layers with weights compute."""
        return {layer.compute_dtype for layer in self.layers if layer.weights}

    def pack_inputs(self, values: Sequence[Any]) -> Any:
        """Return flat values in the structure that the model is called with."""
        return tree.pack_sequence_as(self.input_structure, values)

    def readers(self, tensor: Any) -> list[Any]:
        """Return the layers and operations that are called on a tensor."""
        return [
            call.operation
            for call in self.calls
            if any(tensor is other for other in call.input_tensors)
        ]

    def embedded_ids(self, name: str | None) -> int | None:
        """Return the number of ids that an embedding of an input has; None without one.

        Args:
            name: name of the input. None: any input.
        """
        for tensor in self.inputs:
            if name in (None, name_of(tensor)):
                for reader in self.readers(tensor):
                    if isinstance(getattr(reader, "input_dim", None), int):
                        return reader.input_dim
        return None

    def nested(self, model: Any) -> "ModelGraph":
        """Return the graph of a model that is called in this one."""
        if id(model) not in self._nested:
            self._nested[id(model)] = ModelGraph(model)
        return self._nested[id(model)]
