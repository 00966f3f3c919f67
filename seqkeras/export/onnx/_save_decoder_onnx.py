"""Save an encoder-decoder as two ONNX files: the encoder, and one step of the decoder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from seqkeras._checks import bad_argument
from seqkeras._files import whole_file
from seqkeras._lazy import import_optional
from seqkeras.errors import SeqkerasError
from seqkeras.export._save_decoder import (
    DecoderFile,
    random_sources,
    random_targets,
    verified_decoder,
)
from seqkeras.export._verify import TOLERANCE, largest_difference
from seqkeras.export.onnx._model_file import onnx_bytes
from seqkeras.export.onnx._program_nodes import Nodes
from seqkeras.export.onnx._writer import Slot, Writer, ints
from seqkeras.runtime import DecoderProgram
from seqkeras.runtime._onnx_file import DECODER_KIND

#: Numbers of timesteps of the sources that are compared.
COMPARED = (5, 2)


def save_decoder_onnx(
    model: keras.Model,
    encoder_path: str | os.PathLike[str],
    decoder_path: str | os.PathLike[str],
) -> None:
    """Save an encoder-decoder as two ONNX files, for ONNX Runtime in any language.

    The encoder reads the sources `(batch, timesteps)`, and returns the state before the first
    token. The decoder reads the `ids` `(batch,)` of the tokens before and this state, and returns
    the `logits` of the next token `(batch, vocabulary_size)`, the weights of the attention if there
    is any, and the arrays of the state that have changed: a new one has the name of the old one
    plus `/new`. The others, such as the memory, stay as they are. A decoder of numbers reads
    `numbers` `(batch, features)`, and returns their `prediction` in place of logits.

    Both are run and compared with the model before they replace files. They use standard operators
    only (opset 17).

    Args:
        model: an encoder-decoder, as in `save_decoder`.
        encoder_path: path of the file of the encoder.
        decoder_path: path of the file of the decoder.

    Raises:
        ArgumentError: a layer cannot be exported; the message names it with the reason. Or both
            paths are the same.
        MissingDependencyError: onnx or onnxruntime is not installed.

    Example:
        >>> import onnxruntime
        >>> from seqkeras.models import sequence_to_sequence
        >>> model = sequence_to_sequence(40, 30, embedding=4, units=8)
        >>> save_decoder_onnx(model, "encoder.onnx", "decoder.onnx")
        >>> decoder = onnxruntime.InferenceSession("decoder.onnx")
        >>> [value.name for value in decoder.get_inputs()]
        ['ids', 'decoder_1/h', 'decoder_1/c', 'memory', 'mask', 'keys']
    """
    for package in ("onnx", "onnxruntime"):
        import_optional(package, extra="onnx")
    if os.path.abspath(encoder_path) == os.path.abspath(decoder_path):
        raise bad_argument("decoder_path", decoder_path, "another path than encoder_path")
    file = verified_decoder(model)
    program = DecoderProgram(*file, fingerprint="")
    encoder, decoder = _encoder_graph(file, program), _decoder_graph(file, program)
    header = {"name": program.name, "made_with": file.header["made_with"]}
    with whole_file(encoder_path) as encoder_part, whole_file(decoder_path) as decoder_part:
        for path, graph in ((encoder_part, encoder), (decoder_part, decoder)):
            Path(path).write_bytes(onnx_bytes(graph, header, kind=DECODER_KIND))
        _compare(program, Path(encoder_part), Path(decoder_part))


def _encoder_graph(file: DecoderFile, program: DecoderProgram) -> Writer:
    """Write the encoder: sources to the state before the first step."""
    header = file.header
    g = Writer(np.dtype(header["dtype"]), 1)
    lead = ("batch", "timesteps")
    slots = [Slot(port.name, port.dtype, (*lead, *port.shape)) for port in program.inputs]
    sources = [g.read(slot) for slot in slots]
    states = _state_slots(header, program)
    names = [f"{slot.name}/output" if slot.name in sources else slot.name for slot in states]
    for name in names:
        g.reserve(name)
    nodes = Nodes(g, header["encoder"], file.arrays, program.shapes[0], whole=True)
    outputs, _ = nodes.write(dict(zip(sources, sources, strict=True)), iter(()))
    g.layer = ""
    if header["fed"] is not None:
        rows = g.op("Slice", g.op("Shape", sources[0]), ints(0), ints(1))
        shape = g.op("Concat", rows, ints(header["fed"]), axis=0)
        place = len(outputs) - len(header["constants"])
        outputs.insert(place, g.op("Expand", np.zeros(1, g.dtype), shape))
    for value, name, slot in zip(outputs, names, states, strict=True):
        g.show(g.cast(value, g.dtype), name, slot.shape)
    return g


def _decoder_graph(file: DecoderFile, program: DecoderProgram) -> Writer:
    """Write a step: target and state to output, weights of the attention, and what has changed."""
    header = file.header
    g = Writer(np.dtype(header["dtype"]), 1)
    slots = _state_slots(header, program)
    target = program.target
    before = g.read(Slot(target.name, target.dtype, ("batch", *target.shape)))
    states = [g.read(slot) for slot in slots]
    changed = slots[: len(slots) - len(header["constants"])]
    weights = [Slot("attention", g.dtype, ("batch", "timesteps"))] if program.has_attention else []
    output = "logits" if program.vocabulary_size is not None else "prediction"
    results = [Slot(output, g.dtype, ("batch", *program.output_shape)), *weights]
    results += [slot._replace(name=f"{slot.name}/new") for slot in changed]
    for slot in results:
        g.reserve(slot.name)
    nodes = Nodes(g, header["decoder"], file.arrays, program.shapes[1], whole=False)
    read = {name: states[place] for name, place in header["reads"].items()}
    outputs, new = nodes.write({target.name: before, **read}, iter(states))
    g.layer = ""
    first = 1 + len(weights)  # then comes the output that is fed back, after the recurrent states
    for value, slot in zip([*outputs[:first], *new, *outputs[first:]], results, strict=True):
        g.show(value, slot.name, slot.shape)
    return g


def _state_slots(header: dict[str, Any], program: DecoderProgram) -> list[Slot]:
    return [
        Slot(
            name,
            np.dtype(header["dtype"]),
            ("batch", *("timesteps" if size is None else size for size in shape)),
        )
        for name, shape in program.states
    ]


def _compare(program: DecoderProgram, encoder_path: Path, decoder_path: Path) -> None:
    """Compare both files with the program, for sources of two lengths.

    Raises:
        SeqkerasError: they differ.
    """
    runtime = import_optional("onnxruntime", extra="onnx")
    encoder, decoder = (
        runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for path in (encoder_path, decoder_path)
    )
    for timesteps in COMPARED:
        sources = random_sources(program, timesteps)
        state = program.begin(sources)
        arrays = encoder.run(None, sources)
        _check(state, arrays)
        names = [value.name for value in decoder.get_inputs()]
        before = random_targets(program)[0]
        logits, after, attention = program.step(before, state)
        outputs = decoder.run(None, dict(zip(names, [before, *arrays], strict=True)))
        weights = [attention] if attention is not None else []
        expected = [logits, *weights, *after]
        _check(expected[: len(outputs)], outputs)


def _check(expected: Sequence[Any], actual: Sequence[Any]) -> None:
    for target, array in zip(expected, actual, strict=True):
        difference = largest_difference(array, target, TOLERANCE["float32"], None)
        if difference is not None:
            raise SeqkerasError(
                f"The ONNX files do not return what the model returns: {difference:.3g} off. "
                "Nothing was written. This is a bug in seqkeras or in ONNX Runtime: please report "
                "it."
            )
