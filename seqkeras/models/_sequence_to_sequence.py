"""Encoder and decoder: a sequence in, another sequence out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack

import keras
from keras import ops

from seqkeras._checks import check_integer
from seqkeras.layers import SequenceDecoder
from seqkeras.models._stack import Stack, StackOptions, both_ways


def sequence_to_sequence(
    source_size: int,
    target_size: int,
    *,
    embedding: int | None = None,
    attention: str | None = "additive",
    context: str = "initial",
    tied: bool = False,
    mask_zero: bool = True,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """Build a model that turns a sequence of symbols into another, such as a translation."""
    plan = Stack.parse(**stack)
    source = plan.input(None, name="source", dtype="int32")
    target = plan.input(None, name="target", dtype="int32")
    width = check_integer("embedding", embedding) if embedding is not None else plan.units[0]
    vectors = keras.layers.Embedding(
        source_size, width, mask_zero=mask_zero, name="source_embedding"
    )(source)
    mask = ops.not_equal(source, 0) if mask_zero else ops.ones_like(source, dtype="bool")
    memory, states = encode(plan, vectors)
    one_way = replace(plan, bidirectional=False)
    layers = one_way.layers("decoder", return_sequences=True, return_state=True)
    decoder = SequenceDecoder(
        layers,
        target_size,
        embedding=width,
        attention={"mechanism": attention} if attention is not None else None,
        context=context,
        tied=tied,
        dropout=plan.dropout,
        mask_zero=mask_zero,
        name="decoder",
    )
    initial = bridge(states, layers)
    logits = decoder([target, memory, mask, *initial])
    return keras.Model(
        {"source": source, "target": target}, logits, name=name or "sequence_to_sequence"
    )


def encode(plan: Stack, x: Any) -> tuple[Any, list[list[Any]]]:
    """Run the encoder; return its outputs and the final states of each layer."""
    states = []
    layers = plan.layers("encoder", return_sequences=True, return_state=True)
    for level, layer in enumerate(layers, start=1):
        if plan.bidirectional:
            layer = both_ways(layer, name=f"encoder_bidirectional_{level}")
        x, *final = layer(x)
        states.append(final)
    return x, states


def bridge(states: Sequence[list[Any]], layers: Sequence[Any]) -> list[Any]:
    """Return the initial states of the decoder, mapped to their widths where they differ."""
    initial = []
    for level, (final, layer) in enumerate(zip(states, layers, strict=True), start=1):
        sizes = keras.tree.flatten(layer.cell.state_size)
        if len(final) == 2 * len(sizes):
            pairs = zip(final[: len(sizes)], final[len(sizes) :], strict=True)
            final = [ops.concatenate(pair, axis=-1) for pair in pairs]
        for number, (state, size) in enumerate(zip(final, sizes, strict=True), start=1):
            if state.shape[-1] != size:
                state = keras.layers.Dense(size, "tanh", name=f"bridge_{level}_{number}")(state)
            initial.append(state)
    return initial
