"""Translate the decoder of an encoder-decoder: what its first step reads, and one step."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from keras import tree

from seqkeras.export._plain_layers import dense, embedding, token_vectors
from seqkeras.export._recurrent_layers import recurrent
from seqkeras.export._trace import Trace, Value
from seqkeras.layers import AttentionCell, MemoryAttention, SequenceDecoder, TokenVectors
from seqkeras.layers._attention_cell import query_place


class DecoderStep(NamedTuple):
    """One step of a decoder, as a part of a program.

    Attributes:
        outputs: the logits or numbers, then the weights of the attention and the output that the
            next step reads, where the decoder has these.
        reads: for each value that the step reads besides the target before and the states of its
            recurrent layers, its place in the whole state.
        fed: width of the output that the next step reads; None without input feeding.
    """

    outputs: list[Value]
    reads: dict[str, int]
    fed: int | None


def first_state(
    trace: Trace, decoder: SequenceDecoder, read: list[Value]
) -> tuple[list[Value], dict[str, Value]]:
    """Add what the encoder computes for all steps to its trace.

    Args:
        trace: the trace of the encoder.
        decoder: the decoder.
        read: what the decoder reads besides the targets: memory, mask and states.

    Returns:
        The states of the recurrent layers before the first step, and, by name, what each step reads
        of the source.
    """
    memory, mask, *states = read
    cell = decoder.attention_cell
    if cell is None:
        if decoder.context != "every_step":
            return states, {}
        return states, {"context": states[decoder.context_place]}
    constants = {"memory": memory, "mask": mask}
    kernel = cell.attention.key_kernel
    if kernel is not None:
        constants["keys"] = trace.add(
            "dense",
            [memory],
            f"{decoder.name}/keys",
            weights={"kernel": kernel},
            activation="linear",
        )
    return states, constants


def target_port(decoder: SequenceDecoder, dtype: str) -> dict[str, Any]:
    """Return the description of what a step reads, an id or numbers, for the header of a file."""
    size = decoder.vocabulary_size
    if size is not None:
        return {"name": "ids", "shape": [], "dtype": "int32", "below": size}
    return {"name": "numbers", "shape": [decoder.target_size], "dtype": dtype}


def decoder_step(
    trace: Trace, decoder: SequenceDecoder, target: dict[str, Any], constants: list[str]
) -> DecoderStep:
    """Add one step of a decoder to a trace.

    Args:
        trace: an empty trace of single steps.
        decoder: the decoder.
        target: description of what it reads, from `target_port`.
        constants: names of what each step reads of the source, from `first_state`.
    """
    rank = 2 + len(target["shape"])
    before = Value(trace.reserve_name(target["name"]), rank, has_time_axis=True)
    x = _embed(trace, decoder, before)
    states = tree.flatten([layer.cell.state_size for layer in decoder.layers])
    cell = decoder.attention_cell
    fed = cell.output_units if cell is not None and cell.input_feeding else None
    first = len(states) + (fed is not None)
    reads = {name: place for place, name in enumerate(constants, start=first)}
    if cell is None:
        y = _without_attention(trace, decoder, x, reads)
        return DecoderStep([_predict(trace, decoder, y)], reads, fed)
    if fed is not None:
        reads["fed"] = len(states)
    if cell.query == "old":
        reads["query"] = query_place(cell.cell)
    y, weights = _with_attention(trace, decoder, cell, x, reads)
    outputs = [_predict(trace, decoder, y), weights]
    return DecoderStep(outputs if fed is None else [*outputs, y], reads, fed)


def _without_attention(
    trace: Trace, decoder: SequenceDecoder, x: Value, reads: Iterable[str]
) -> Value:
    context = [_source(trace, name) for name in reads]
    y = _run(trace, decoder, _joined(trace, decoder, [x, *context]))
    return _joined(trace, decoder, [y, *context])


def _with_attention(
    trace: Trace, decoder: SequenceDecoder, cell: AttentionCell, x: Value, reads: Iterable[str]
) -> tuple[Value, Value]:
    """Return the output of the attention cell, and the mean weights of its heads."""
    values = {name: _source(trace, name) for name in reads}
    fed = [values["fed"]] if "fed" in values else []
    if "query" in values:
        context, weights = _attend(trace, cell.attention, values["query"], values)
        y = _run(trace, decoder, _joined(trace, decoder, [x, context, *fed]))
    else:
        y = _run(trace, decoder, _joined(trace, decoder, [x, *fed]))
        context, weights = _attend(trace, cell.attention, y, values)
    return dense(trace, cell.readout, _joined(trace, decoder, [y, context])), weights


def _attend(
    trace: Trace, layer: MemoryAttention, query: Value, values: dict[str, Value]
) -> tuple[Value, Value]:
    """Return the context, and the mean weights of the heads."""
    stored = {role: getattr(layer, role) for role in ("query_kernel", "score_vector")}
    memory = values["memory"]
    weights = trace.add(
        "attention_weights",
        [query, values.get("keys", memory), values["mask"]],
        layer.name,
        weights={role: weight for role, weight in stored.items() if weight is not None},
        mechanism=layer.mechanism,
        heads=layer.heads,
    )
    context = trace.add("attention_context", [weights, memory], f"{layer.name}/context")
    return context, trace.add("attention_mean", [weights], f"{layer.name}/mean")


def _run(trace: Trace, decoder: SequenceDecoder, x: Value) -> Value:
    y: Any = x
    for layer in decoder.layers:
        y, *_ = recurrent(trace, layer, y, {})
    return y


def _embed(trace: Trace, decoder: SequenceDecoder, before: Value) -> Value:
    layer = decoder.embedding
    if layer is None:
        is_missing = trace.add("is_nan", [before], f"{decoder.name}/is_missing")
        read = [is_missing, trace.constant(0.0), before]
        return trace.add("where", read, f"{decoder.name}/read")
    if isinstance(layer, TokenVectors):
        return token_vectors(trace, layer, before, reverse=False)
    return embedding(trace, layer, before)


def _predict(trace: Trace, decoder: SequenceDecoder, features: Value) -> Value:
    if decoder.to_vectors is not None:
        features = dense(trace, decoder.to_vectors, features)
    if decoder.head is not None:
        return dense(trace, decoder.head, features)
    return token_vectors(trace, decoder.embedding, features, reverse=True)


def _joined(trace: Trace, decoder: SequenceDecoder, values: list[Value]) -> Value:
    if len(values) == 1:
        return values[0]
    return trace.add("concatenate", values, f"{decoder.name}/joined", axis=-1)


def _source(trace: Trace, name: str) -> Value:
    return Value(trace.reserve_name(name), rank=3, has_time_axis=True)
