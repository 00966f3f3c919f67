"""Save an encoder-decoder as a file that needs only NumPy."""

import os
from typing import Any, NamedTuple

import keras
import numpy as np

from seqkeras._archive import write_archive
from seqkeras._checks import Description, bad_argument
from seqkeras._keras_graph import ModelGraph, name_of
from seqkeras._keras_graph._decoder_call import EncoderDecoder, decoder_call, encoder_decoder
from seqkeras.errors import SeqkerasError
from seqkeras.export._decoder_layers import decoder_step, first_state, target_port
from seqkeras.export._program_parts import check_finite
from seqkeras.export._trace import Trace, Value, export_error
from seqkeras.export._translate import translate_model
from seqkeras.export._verify import HALF_TOLERANCE, TOLERANCE, largest_difference
from seqkeras.layers import SequenceDecoder, TokenVectors
from seqkeras.runtime import DecoderProgram
from seqkeras.runtime._decoder_program import KIND, TRIED, VERSION

#: Numbers of timesteps of the sources, and of steps of the decoder, that are compared.
TIMESTEPS = 5
STEPS = 4


class DecoderFile(NamedTuple):
    """The contents of a decoder file."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]


def save_decoder(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Save an encoder-decoder as a program that decodes one timestep at a time, with NumPy only.

    The file holds the encoder and one step of the decoder: `runtime.load_decoder` reads it. Before
    it is written, its exact contents are run on random sources and compared with the model.

    Args:
        model: an encoder-decoder, such as `models.sequence_to_sequence` or the `model_` of a
            `text.Translator`: functional, with one `layers.SequenceDecoder`, of ids or numbers,
            whose output is that of the model.
        path: path of the file. An existing file is replaced once the new one is complete.

    Raises:
        ArgumentError: a layer cannot be exported; the message names it with the reason.

    Example:
        >>> from seqkeras import runtime
        >>> from seqkeras.models import sequence_to_sequence
        >>> save_decoder(sequence_to_sequence(40, 30, embedding=4, units=8), "letters.decoder")
        >>> runtime.load_decoder("letters.decoder").vocabulary_size
        30
    """
    header, arrays = verified_decoder(model)
    write_archive(path, header, arrays, kind=KIND, version=VERSION)


def verified_decoder(model: Any) -> DecoderFile:
    """Translate an encoder-decoder, and compare the result with it."""
    graph = ModelGraph(model)
    call = decoder_call(graph)
    if call is None or not isinstance(call.operation, SequenceDecoder):
        actual = Description(f"{graph.model.name} without a layers.SequenceDecoder")
        fix = "save_program exports models without one."
        raise bad_argument("model", actual, "an encoder-decoder", fix)
    parts = encoder_decoder(graph, call)
    file = _translate(graph, parts)
    _compare(parts, file, graph.compute_dtypes)
    return file


def _translate(graph: ModelGraph, parts: EncoderDecoder) -> DecoderFile:
    dtype = "float64" if "float64" in graph.compute_dtypes else "float32"
    encoder = Trace(TRIED[0], dtype)
    encoder_graph = ModelGraph(parts.encoder)
    ports = [_port(encoder_graph, tensor, dtype) for tensor in encoder_graph.inputs]
    sources = [
        Value(encoder.reserve_name(port["name"]), len(tensor.shape), True)
        for port, tensor in zip(ports, encoder_graph.inputs, strict=True)
    ]
    read = translate_model(encoder, encoder_graph, sources)
    for node in encoder.nodes:
        if node["op"] == "repeat":
            reason = "it repeats a vector for a known number of timesteps"
            raise export_error(node["name"], reason, "Remove it.")
    states, constants = first_state(encoder, parts.decoder, read)
    step_trace = encoder.beside(window=None)
    target = target_port(parts.decoder, dtype)
    step = decoder_step(step_trace, parts.decoder, target, list(constants))
    check_finite(step_trace.arrays)
    return DecoderFile(
        {
            "name": graph.model.name,
            "dtype": dtype,
            "inputs": ports,
            "target": target,
            "encoder": _spec(encoder, [*states, *constants.values()]),
            "decoder": _spec(step_trace, step.outputs),
            "reads": step.reads,
            "fed": step.fed,
            "constants": list(constants),
            "made_with": {"keras": keras.__version__},
        },
        step_trace.arrays,
    )


def _spec(trace: Trace, outputs: list[Value]) -> dict[str, Any]:
    return {"nodes": trace.nodes, "outputs": [value.name for value in outputs]}


def _port(graph: ModelGraph, tensor: Any, dtype: str) -> dict[str, Any]:
    name = name_of(tensor)
    timesteps, *shape = tensor.shape[1:] if len(tensor.shape) > 1 else (0,)
    if timesteps is not None or None in shape:
        fix = "Give it the shape (None, ...), with any number of timesteps."
        raise export_error(name, f"a source of the shape {tuple(tensor.shape)}", fix)
    embeddings = [
        layer
        for layer in graph.readers(tensor)
        if isinstance(layer, (keras.layers.Embedding, TokenVectors))
    ]
    return {
        "name": name,
        "shape": shape,
        "dtype": "int32" if embeddings else dtype,
        "below": min((layer.input_dim for layer in embeddings), default=None),
    }


def random_sources(program: DecoderProgram, timesteps: int) -> dict[str, np.ndarray]:
    """Return two random rows of sources; the second of ids ends with padding."""
    random = np.random.default_rng(0)
    sources = {}
    for port in program.inputs:
        x = random.normal(size=(2, timesteps, *port.shape)).astype(port.dtype)
        if port.below is not None:
            x = random.integers(1, max(port.below, 2), x.shape).astype(port.dtype)
            x[1, -(timesteps // 2) :] = 0
        sources[port.name] = x
    return sources


def random_targets(program: DecoderProgram) -> np.ndarray:
    """Return random targets of two rows at some steps, `(steps, 2, ...)`."""
    random = np.random.default_rng(0)
    port = program.target
    if port.below is not None:
        return random.integers(1, port.below, (STEPS, 2), port.dtype)
    return random.normal(size=(STEPS, 2, *port.shape)).astype(port.dtype)


def _compare(parts: EncoderDecoder, file: DecoderFile, compute_dtypes: set[str]) -> None:
    """Compare a program with its model, step by step from random sources.

    Raises:
        SeqkerasError: they differ.
    """
    program = DecoderProgram(*file, fingerprint="")
    sources = random_sources(program, TIMESTEPS)
    memory, mask, *states = parts.encoder(list(sources.values()), training=False)
    moving, constants = parts.decoder.initial_state(memory, mask, states)
    state = program.begin(sources)
    # The softmax of an attention is in float32 in every model.
    tolerances = (TOLERANCE.get(dtype, HALF_TOLERANCE) for dtype in compute_dtypes)
    allowed = max(TOLERANCE["float32"], *tolerances)
    for before in random_targets(program):
        outputs, moving, weights = parts.decoder.step(
            keras.ops.convert_to_tensor(before), moving, constants
        )
        actual, state, attention = program.step(before, state)
        _check(actual, outputs, allowed)
        if weights is not None:
            _check(attention, weights, allowed)


def _check(actual: Any, tensor: Any, allowed: float) -> None:
    expected = keras.ops.convert_to_numpy(keras.ops.cast(tensor, actual.dtype))
    difference = largest_difference(actual, expected, allowed, None)
    if difference is not None:
        raise SeqkerasError(
            "The decoder does not return what the model returns: a step differs by "
            f"{difference:.3g}. Nothing was written. If the model returns the same outputs for the "
            "same inputs, this is a bug in seqkeras: please report it."
        )
