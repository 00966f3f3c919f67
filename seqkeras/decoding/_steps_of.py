"""Find out how a model is decoded."""

from typing import Any

from seqkeras._keras_graph import ModelGraph
from seqkeras._keras_graph._decoder_call import decoder_call
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
    call = decoder_call(graph)
    return LanguageStep(model) if call is None else EncoderDecoderStep(graph, call)
