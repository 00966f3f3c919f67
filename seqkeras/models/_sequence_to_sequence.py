"""Encoder and decoder: a sequence of symbols or numbers in, another one out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

import keras
from keras import ops

from seqkeras._checks import bad_argument, check_flag, check_integer, check_one_of
from seqkeras.layers import SequenceDecoder
from seqkeras.layers._memory_attention import MECHANISMS
from seqkeras.models._stack import Stack, StackOptions, both_ways


def sequence_to_sequence(
    source_size: int | None = None,
    target_size: int | None = None,
    *,
    source_features: int | None = None,
    target_features: int | None = None,
    embedding: int | None = None,
    attention: str | Mapping[str, Any] | None = "additive",
    context: str = "initial",
    teacher_forcing: float | None = None,
    feedback: str = "drawn",
    tied: bool = False,
    mask_zero: bool = True,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """Build a model that turns a sequence into another, such as a sentence into its translation.

    An encoder reads the source. Its final states are the initial states of the decoder, which
    predicts each symbol of the target from the symbols before it (Sutskever et al. 2014, arXiv
    1409.3215), and from what an attention reads among the outputs of the encoder. Where the states
    of the two have other widths, as with `bidirectional=True`, a Dense layer with tanh maps them.

    Both can be numbers in place of symbols: pass `source_features` instead of `source_size`, and
    `target_features` instead of `target_size`. The model then reads and predicts numbers, and is
    trained on the squared error.

    Args:
        source_size: number of ids of the source.
        target_size: number of ids of the target.
        source_features: features of each timestep of a source of numbers. Timesteps in which all
            are NaN are padding.
        target_features: features of each timestep of a target of numbers; padding likewise.
        embedding: width of the vectors of ids, for both. Default: the units of the first layer, 64
            with a Keras cell.
        attention: `"additive"` (default; Bahdanau et al. 2015, arXiv 1409.0473), which the old
            state queries; `"dot"` or `"general"` (Luong et al. 2015, arXiv 1508.04025), which the
            new state queries, so that the recurrent layers run on their kernels; a dict of
            arguments of `layers.AttentionCell`, such as `{"mechanism": "dot", "heads": 2}`; or
            None.
        context: what the decoder sees of the source without attention, `"initial"` (default) or
            `"every_step"` (Cho et al. 2014, arXiv 1406.1078); see `layers.SequenceDecoder`.
        teacher_forcing: probability that training feeds the true symbol before, instead of the
            model's own prediction, drawn for each timestep (Bengio et al. 2015, arXiv 1506.03099).
            `training.TeacherForcingSchedule` lowers it from epoch to epoch. Default: None, always
            the true one.
        feedback: the model's own prediction in training: `"drawn"` (default) from its
            distribution, or `"argmax"`.
        tied: use the vectors of target ids as the weights of the output layer too, default False.
        mask_zero: whether id 0 is padding, in both, default True.
        name: name of the model, default `"sequence_to_sequence"`.
        **stack: units, cell, recurrent_dropout, implementation, batch_size, input_projection,
            layer_options; see `StackOptions`. `bidirectional` is for the encoder only. `dropout`
            also applies to the inputs of the output layer. `stateful` is refused.

    Returns:
        An uncompiled functional model from `{"source": (batch, source_timesteps), "target":
        (batch, timesteps)}`, int32, to logits `(batch, timesteps, target_size)`. The target begins
        with a start symbol, and each logit belongs to the symbol after. Compile it with
        `seqkeras.text.TokenCrossEntropy`. Of its outputs, padding is masked.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> model = sequence_to_sequence(9000, 7000, units=32, cell="gru", bidirectional=True)
        >>> model.output_shape
        (None, None, 7000)
        >>> sequence_to_sequence(source_features=3, target_features=1, attention=None).output_shape
        (None, None, 1)
    """
    plan = Stack.parse(**stack)
    if plan.stateful:
        fix = "A source is read as a whole; nothing continues in the next batch."
        raise bad_argument("stateful", True, "False for sequence_to_sequence", fix)
    width = check_integer("embedding", embedding) if embedding is not None else plan.units[0]
    check_flag("mask_zero", mask_zero)
    source = _Side("source", source_size, source_features, width, mask_zero)
    target = _Side("target", target_size, target_features, width, mask_zero)
    ids = source.input(plan)
    x, mask = source.read(ids)
    memory, states = _encode(plan, plan.project(x), None if source.is_symbols else mask)
    one_way = replace(plan, bidirectional=False)
    layers = one_way.layers("decoder", return_sequences=True, return_state=True)
    decoder = SequenceDecoder(
        layers,
        target.size,
        embedding=width if target.is_symbols else None,
        attention=_attention_options(attention),
        context=context,
        teacher_forcing=teacher_forcing,
        feedback=feedback,
        tied=tied,
        dropout=plan.dropout,
        mask_zero=mask_zero,
        name="decoder",
    )
    targets = target.input(plan)
    outputs = decoder([targets, memory, mask, *_bridge(states, layers)])
    inputs = {"source": ids, "target": targets}
    return keras.Model(inputs, outputs, name=name or "sequence_to_sequence")


@dataclass(frozen=True)
class _Side:
    """The source or the target, of symbols or of numbers."""

    name: str
    ids: int | None
    features: int | None
    width: int
    mask_zero: bool

    def __post_init__(self) -> None:
        if (self.ids is None) == (self.features is None):
            expected = f"given where {self.name}_features is omitted, and only there"
            raise bad_argument(f"{self.name}_size", self.ids, expected)
        if self.ids is not None:
            check_integer(f"{self.name}_size", self.ids, minimum=2)
        else:
            check_integer(f"{self.name}_features", self.features)

    @property
    def is_symbols(self) -> bool:
        return self.ids is not None

    @property
    def size(self) -> int:
        return int(self.ids or self.features or 0)

    def input(self, plan: Stack) -> keras.KerasTensor:
        if self.is_symbols:
            return plan.input(None, name=self.name, dtype="int32")
        return plan.input(None, self.features, name=self.name)

    def read(self, x: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Return the vectors that the encoder reads, and the mask of timesteps that count."""
        if not self.is_symbols:
            is_missing = ops.isnan(x)
            mask = ops.logical_not(ops.all(is_missing, axis=-1))
            return ops.where(is_missing, ops.zeros_like(x), x), mask
        embed = keras.layers.Embedding(
            self.size, self.width, mask_zero=self.mask_zero, name=f"{self.name}_embedding"
        )
        counts = ops.not_equal(x, 0) if self.mask_zero else ops.ones_like(x, dtype="bool")
        return embed(x), counts


def _attention_options(attention: Any) -> dict[str, Any] | None:
    """Return the arguments of the attention cell."""
    if attention is None or isinstance(attention, Mapping):
        return dict(attention) if attention is not None else None
    mechanism = check_one_of("attention", attention, MECHANISMS)
    return {"mechanism": mechanism, "query": "old" if mechanism == "additive" else "new"}


def _encode(plan: Stack, x: Any, mask: Any) -> tuple[Any, list[list[Any]]]:
    """Run the encoder; return its outputs and the final states of each layer.

    Args:
        plan: the stack.
        x: what it reads.
        mask: timesteps that count. None: the mask that `x` carries.
    """
    states = []
    layers = plan.layers("encoder", return_sequences=True, return_state=True)
    for layer in layers:
        if plan.bidirectional:
            layer = both_ways(layer, name=f"{layer.name}_both_ways")
        x, *final = layer(x, mask=mask)
        states.append(final)
    return x, states


def _bridge(states: Sequence[list[Any]], layers: Sequence[Any]) -> list[Any]:
    """Return the initial states of the decoder, mapped to their widths where they differ."""
    initial = []
    for level, (final, layer) in enumerate(zip(states, layers, strict=True), start=1):
        sizes = keras.tree.flatten(layer.cell.state_size)
        if len(final) > len(sizes):  # of two directions
            pairs = zip(final[: len(sizes)], final[len(sizes) :], strict=True)
            final = [ops.concatenate(pair, axis=-1) for pair in pairs]
        for number, (state, size) in enumerate(zip(final, sizes, strict=True), start=1):
            if state.shape[-1] != size:
                state = keras.layers.Dense(size, "tanh", name=f"bridge_{level}_{number}")(state)
            initial.append(state)
    return initial
