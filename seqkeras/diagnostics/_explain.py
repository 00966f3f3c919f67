"""Explain which kernel runs each recurrent layer, and why a faster one is not used."""

import itertools
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from seqkeras import kernels
from seqkeras._checks import bad_argument
from seqkeras._html import html_table
from seqkeras._keras_graph import is_graph, recurrent_layers, self_and_sublayers
from seqkeras.errors import ArgumentError
from seqkeras.layers import ConditionalDecoder, Resettable, SequenceDecoder

_INDENT = " " * 4
_HANGING = " " * 8


@dataclass(frozen=True)
class Explanation:
    """Which kernels run one recurrent layer.

    Attributes:
        layer: path to the layer, such as `encoder/lstm`.
        kind: library and class, such as `seqkeras LSTM`.
        training: kernel in `fit`: `cudnn`, `fused`, `aten` or `scan`, which is also the loop of
            Keras; `keras` for an LSTM or GRU of Keras that cuDNN can run, where Keras chooses at
            each call; `none` if the kernel that the layer requires cannot run it.
        inference: kernel in `predict`, where recurrent dropout is off.
        why_not: for each kernel, the fastest first, why `auto` cannot use it in training, or None.
            For a layer of Keras, that of the layer of seqkeras in its place.
        replaced_by: for a layer of Keras, what puts it onto `seqkeras.layers`; otherwise empty.
    """

    layer: str
    kind: str
    training: str
    inference: str
    why_not: Mapping[str, str | None]
    replaced_by: str = ""

    def __str__(self) -> str:
        lines = [f"{self.layer} ({self.kind})"]
        if self.training == "keras":
            lines.append(
                f"{_INDENT}Keras chooses cudnn if a call and its mask allow it, otherwise its loop"
            )
        elif self.training == self.inference == "none":
            lines.append(f"{_INDENT}cannot run: the kernel that it requires does not support it")
        elif self.training == "none":
            lines.append(
                f"{_INDENT}cannot train: the kernel that it requires does not support it; "
                f"predicts on {self.inference}"
            )
        elif self.training == self.inference:
            lines.append(f"{_INDENT}runs on {self.training}")
        else:
            lines.append(f"{_INDENT}trains on {self.training}, predicts on {self.inference}")
        lines += [
            textwrap.fill(text, 88, initial_indent=_INDENT, subsequent_indent=_HANGING)
            for text in self._faster()
        ]
        return "\n".join(lines)

    def _faster(self) -> list[str]:
        """Return each kernel that is faster than the one for training, and why it is not used."""
        if not self.replaced_by:
            faster = itertools.takewhile(
                lambda item: item[0] != self.training, self.why_not.items()
            )
            return [f"{name}: {reason or 'could run it'}" for name, reason in faster]
        blocked = list(itertools.takewhile(lambda item: item[1] is not None, self.why_not.items()))
        fastest = list(self.why_not)[len(blocked)]
        reasons = [f"{name}: {reason}" for name, reason in blocked]
        if fastest != self.training:
            reasons.append(f"{self.replaced_by}, it runs on {fastest}")
        return reasons


class Explanations(tuple[Explanation, ...]):
    """One `Explanation` for each recurrent layer, which prints as text."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "There are no recurrent layers."

    __repr__ = __str__

    def _repr_html_(self) -> str:
        header = ["layer", "kind", "training", "inference", "why no faster kernel"]
        rows = [
            (each.layer, each.kind, each.training, each.inference, "; ".join(each._faster()))
            for each in self
        ]
        return html_table("Kernels of the recurrent layers", rows, header)


def explain(model: keras.Model | keras.layers.Layer) -> Explanations:
    """Explain which kernel runs each recurrent layer of a model on this machine, and why.

    Args:
        model: any Keras model, or a layer. It need not be built.

    Returns:
        A tuple of `Explanation`, in the order of the layers, which prints as text. Masks do not
        affect the choice, because every kernel supports them. For a model that was compiled with
        `jit_compile=True`, the kernels of the compiled run.

    Raises:
        ArgumentError: `model` is not a Keras model or layer.

    Example:
        >>> from seqkeras import layers
        >>> model = keras.Sequential(
        ...     [keras.Input((None, 2)), layers.LSTM(8, implementation="scan", name="memory")]
        ... )
        >>> explanations = explain(model)
        >>> explanations[0].layer, explanations[0].training
        ('memory', 'scan')
    """
    if not isinstance(model, keras.layers.Layer):
        raise bad_argument("model", model, "a Keras model or layer")
    layers = {model.name: model} if isinstance(model, keras.layers.RNN) else recurrent_layers(model)
    here = _runtime(model)
    loops = _loops(model)
    # `accelerate` takes no other models.
    replaced_by = "after seqkeras.accelerate" if is_graph(model) else "as one of seqkeras.layers"
    return Explanations(
        _explain_layer(path, layer, here, loops.get(id(layer), ()), replaced_by)
        for path, layer in layers.items()
    )


def _loops(model: Any) -> dict[int, tuple[str, ...]]:
    """Return, by the id of each layer that a decoder runs in a loop of its own, when it does."""
    loops: dict[int, tuple[str, ...]] = {}
    for decoder in self_and_sublayers(model):
        if isinstance(decoder, ConditionalDecoder):
            loops |= {id(layer): ("inference",) for layer in decoder.layers}
        elif isinstance(decoder, SequenceDecoder) and decoder.has_loop:
            loops |= {id(layer): ("training", "inference") for layer in decoder.layers}
    return loops


def _runtime(model: Any) -> kernels.Runtime:
    """Return the runtime of `fit` and `predict`, traced if `compile` got `jit_compile=True`."""
    here = kernels.here()
    traced_for = {"tensorflow": "xla", "torch": "compiler"}.get(here.backend)
    is_model = isinstance(model, keras.Model) and model.compiled
    if traced_for and is_model and model.jit_compile and not model.run_eagerly:
        return here._replace(traced_for=traced_for)
    return here


def _explain_layer(
    path: str,
    layer: keras.layers.RNN,
    here: kernels.Runtime,
    loops: tuple[str, ...],
    replaced_by: str,
) -> Explanation:
    training = kernels.Spec.of(layer, training=True)
    inference = kernels.Spec.of(layer, training=False)
    why_not = kernels.why_not(training, here)
    kind = f"{type(layer).__module__.partition('.')[0]} {type(layer).__name__}"
    return Explanation(
        path,
        kind,
        "scan" if "training" in loops else _kernel(layer, training, here),
        "scan" if "inference" in loops else _kernel(layer, inference, here),
        _in_a_loop(why_not) if "training" in loops else why_not,
        "" if isinstance(layer, Resettable) else replaced_by,
    )


def _in_a_loop(why_not: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return why kernels cannot run a layer whose every timestep waits for an attention."""
    reason = "each timestep waits for the attention of the timestep before"
    return {name: None if name == "scan" else why or reason for name, why in why_not.items()}


def _kernel(layer: keras.layers.RNN, spec: kernels.Spec, here: kernels.Runtime) -> str:
    if not isinstance(layer, Resettable):
        return _kernel_of_keras(layer, here)
    try:
        return kernels.choose(kernels.asked(layer), spec, here).name
    except ArgumentError:
        return "none"


def _kernel_of_keras(layer: keras.layers.RNN, here: kernels.Runtime) -> str:
    """Return `keras` where Keras may choose cuDNN, and `scan` where it has only its loop."""
    if not isinstance(layer, (keras.layers.LSTM, keras.layers.GRU)):
        return "scan"
    # Keras runs a layer with recurrent dropout as the loop in inference, too.
    spec = kernels.Spec.of(layer, training=True)
    reasons = kernels.why_not(spec, here._replace(traced_for=None))
    is_plain = layer.use_bias and not layer.unroll
    return "keras" if is_plain and reasons["cudnn"] is None else "scan"
