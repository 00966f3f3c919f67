"""Which kernel runs each recurrent layer on this machine, and why not a faster one."""

import itertools
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import keras

from seqkeras import kernels
from seqkeras._checks import bad_argument
from seqkeras._keras_graph._nested import recurrent_layers
from seqkeras.errors import ArgumentError
from seqkeras.layers._recurrent import Dispatched

_IN, _UNDER = " " * 4, " " * 8


@dataclass(frozen=True)
class Explanation:
    """What runs one recurrent layer.

    Attributes:
        layer: names of what it lies in, and its own: `encoder/lstm`.
        kind: its class, such as `seqkeras LSTM`.
        training: the kernel of `fit`: `cudnn`, `fused`, `aten`, `scan`; `keras` where an LSTM
            or GRU of Keras chooses for itself; `none` where what it was told to use cannot run it.
        inference: that of `predict`, which knows no recurrent dropout.
        why_not: for each kernel, in words, why `auto` does not take it in training, or None. The
            fastest comes first.
    """

    layer: str
    kind: str
    training: str
    inference: str
    why_not: Mapping[str, str | None]

    def __str__(self) -> str:
        lines = [f"{self.layer} ({self.kind})"]
        same = self.training == self.inference
        if self.training == "keras":
            lines.append("    Keras chooses by itself, and does not say how")
        elif same:
            lines.append(f"    runs as {self.training}")
        else:
            lines.append(f"    trains as {self.training}, predicts as {self.inference}")
        if self.kind.startswith("keras "):
            fastest = next(name for name, reason in self.why_not.items() if reason is None)
            return "\n".join([*lines, f"    accelerated it runs as {fastest}"])
        faster = itertools.takewhile(lambda one: one[0] != self.training, self.why_not.items())
        for name, reason in faster:
            text = f"{name}: {reason or 'could run it'}"
            lines.append(textwrap.fill(text, 88, initial_indent=_IN, subsequent_indent=_UNDER))
        return "\n".join(lines)


class Explanations(tuple[Explanation, ...]):
    """One `Explanation` for each recurrent layer; printed, a text for people."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "There are no recurrent layers."

    __repr__ = __str__


def explain(model: keras.Model | keras.layers.Layer) -> Explanations:
    """Tells which kernel runs each recurrent layer of a model on this machine, and why.

    Args:
        model: any Keras model, or a layer. It need not be built.

    Returns:
        A tuple of `Explanation`, in the order of the layers; printed, it is a text. Masks never
        decide: each kernel runs any.

    Raises:
        ArgumentError: what is given is no model and no layer.

    Example:
        >>> from seqkeras import layers
        >>> model = keras.Sequential(
        ...     [keras.Input((None, 2)), layers.LSTM(8, implementation="scan", name="memory")]
        ... )
        >>> found = explain(model)
        >>> found[0].layer, found[0].training
        ('memory', 'scan')
    """
    if not isinstance(model, keras.layers.Layer):
        raise bad_argument("model", model, "a Keras model or layer")
    whole = {model.name: model} if isinstance(model, keras.layers.RNN) else recurrent_layers(model)
    return Explanations(_explain_layer(path, layer) for path, layer in whole.items())


def _explain_layer(path: str, layer: keras.layers.RNN) -> Explanation:
    """What runs one recurrent layer."""
    here = kernels.here()
    training, inference = (kernels.Spec.of(layer, training=one) for one in (True, False))
    kind = f"{type(layer).__module__.partition('.')[0]} {type(layer).__name__}"
    return Explanation(
        path,
        kind,
        _kernel(layer, training, here),
        _kernel(layer, inference, here),
        kernels.why_not(training, here),
    )


def _kernel(layer: keras.layers.RNN, spec: kernels.Spec, here: kernels.Runtime) -> str:
    if not isinstance(layer, Dispatched):
        return "keras" if isinstance(layer, (keras.layers.LSTM, keras.layers.GRU)) else "scan"
    try:
        return kernels.choose(kernels.asked(layer), spec, here).name
    except ArgumentError:
        return "none"
