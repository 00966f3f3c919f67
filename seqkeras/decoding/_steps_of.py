"""Find out how a model is decoded."""

from typing import Any

import keras

from seqkeras._checks import Description, bad_argument
from seqkeras._keras_graph import ModelGraph
from seqkeras.decoding._encoder_decoder_step import EncoderDecoderStep
from seqkeras.decoding._language_step import LanguageStep
from seqkeras.decoding._token_step import TokenStep
from seqkeras.stepwise._compiled_loops import CompiledLoops


def steps_of(model: Any) -> CompiledLoops[TokenStep]:
    """Return the step function of a model, and the loops compiled for it.

    Raises:
        ArgumentError: the model is neither a language model nor an encoder-decoder, or cannot be
            run one timestep at a time.
    """
    return CompiledLoops.of(model, "_seqkeras_decoding", _step_of)


def _step_of(model: Any) -> TokenStep:
    graph = ModelGraph(model)
    calls = [call for call in graph.calls if is_decoder(call.operation)]
    if not calls:
        return LanguageStep(model)
    if len(calls) > 1:
        names = ", ".join(repr(call.operation.name) for call in calls)
        actual = Description(f"{model.name} with the decoders {names}")
        raise bad_argument("model", actual, "a model with one decoder layer")
    return EncoderDecoderStep(graph, calls[0])


def is_decoder(layer: Any) -> bool:
    """Check whether a layer decodes step by step, as `seqkeras.layers.SequenceDecoder` does."""
    names = ("initial_state", "step", "vocabulary_size")
    return isinstance(layer, keras.layers.Layer) and all(hasattr(layer, name) for name in names)
