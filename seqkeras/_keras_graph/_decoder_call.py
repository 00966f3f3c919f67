"""The decoder in the graph of an encoder-decoder, and the encoder before it."""

from typing import Any, NamedTuple

import keras

from seqkeras._checks import Description, bad_argument
from seqkeras._keras_graph._model_graph import ModelGraph


class EncoderDecoder(NamedTuple):
    """The two parts of a model, which share its layers.

    Attributes:
        encoder: a model from `sources` to `[memory, memory_mask, *states]`.
        decoder: the layer that reads these, and the targets.
        sources: the inputs of the model that the decoder reads through the encoder.
    """

    encoder: keras.Model
    decoder: Any
    sources: list[Any]


def decoder_call(graph: ModelGraph) -> Any:
    """Return the call of the decoder in a model, or None if it has none.

    Raises:
        ArgumentError: the model has several.
    """
    calls = [call for call in graph.calls if is_decoder(call.operation)]
    if len(calls) > 1:
        names = ", ".join(repr(call.operation.name) for call in calls)
        actual = Description(f"{graph.model.name} with the decoders {names}")
        raise bad_argument("model", actual, "a model with one decoder layer")
    return calls[0] if calls else None


def is_decoder(layer: Any) -> bool:
    """Check whether a layer decodes step by step, as `seqkeras.layers.SequenceDecoder` does."""
    names = ("initial_state", "step", "vocabulary_size")
    return isinstance(layer, keras.layers.Layer) and all(hasattr(layer, name) for name in names)


def encoder_decoder(graph: ModelGraph, call: Any) -> EncoderDecoder:
    """Divide a model at its decoder.

    The encoder is everything that the memory, its mask and the initial states are computed from.

    Args:
        graph: the graph of a functional model, whose output is that of its decoder.
        call: the call of the decoder, on `[targets, memory, memory_mask, *states]`.

    Raises:
        ArgumentError: the model returns something else than the output of its decoder.
    """
    _check_ends(graph, call)
    _, *read = call.input_tensors
    sources = _ancestors(graph, read)
    return EncoderDecoder(keras.Model(sources, read, name="encoder"), call.operation, sources)


def vocabulary_size(graph: ModelGraph, decoder: Any) -> int:
    """Return the number of ids that the decoder of a model predicts.

    Raises:
        ArgumentError: it predicts numbers.
    """
    if not decoder.vocabulary_size:
        actual = Description(f"{graph.model.name} with a decoder of numbers, {decoder.name!r}")
        raise bad_argument("model", actual, "a model with a decoder of ids")
    return int(decoder.vocabulary_size)


def _check_ends(graph: ModelGraph, call: Any) -> None:
    name = graph.model.name
    if len(graph.outputs) != 1 or graph.outputs[0] is not call.outputs[0]:
        actual = Description(f"{name}, whose output is not that of {call.operation.name!r}")
        fix = "Put what follows the decoder into it, or train on its logits with from_logits=True."
        raise bad_argument("model", actual, "a model that returns the logits of its decoder", fix)


def _ancestors(graph: ModelGraph, tensors: list[Any]) -> list[Any]:
    """Return the inputs of a model that some tensors are computed from."""
    needed = {id(tensor) for tensor in tensors}
    for call in reversed(graph.calls):
        if needed & {id(tensor) for tensor in call.outputs}:
            needed |= {id(tensor) for tensor in call.input_tensors}
    return [tensor for tensor in graph.inputs if id(tensor) in needed]
