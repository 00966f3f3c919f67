"""What the choice of a kernel depends on: static facts of a layer, and of where it runs."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

#: Functions of Keras by their name; what is not here is a function of the user's own.
_ACTIVATIONS = {
    getattr(place, name): name
    for name in ("tanh", "sigmoid", "hard_sigmoid", "relu", "linear")
    for place in (keras.activations, ops)
    if hasattr(place, name)
}


@dataclass(frozen=True)
class Spec:
    """A recurrent layer as a kernel sees it, in one way of calling it.

    Attributes:
        cell: `lstm`, `gru`, `gru_reset_after` or `simple_rnn`; None for a cell of another kind.
        kind: the name of the cell's class, for reasons.
        activation, recurrent_activation: names in Keras; None for functions of one's own.
        dtype: what the layer computes in, such as `float32`.
        recurrent_dropout: its rate in this way of calling; 0.0 outside training.
        resets: states are cleared within a batch.
        zoneout, peephole, normalization: variants of the cell.
        use_cudnn: what Keras' own argument of that name says.
    """

    cell: str | None
    kind: str
    activation: str | None = "tanh"
    recurrent_activation: str | None = "sigmoid"
    dtype: str = "float32"
    recurrent_dropout: float = 0.0
    resets: bool = False
    zoneout: bool = False
    peephole: bool = False
    normalization: bool = False
    use_cudnn: bool = True

    @classmethod
    def of(cls, layer: Any, *, training: bool = False, resets: bool = False) -> "Spec":
        """The facts of a recurrent layer, Keras' own or ours."""
        cell = layer.cell
        return cls(
            cell=cell_name(cell),
            kind=type(cell).__name__,
            activation=activation_name(getattr(cell, "activation", None)),
            recurrent_activation=recurrent_activation_name(cell),
            dtype=layer.compute_dtype,
            recurrent_dropout=getattr(cell, "recurrent_dropout", 0.0) if training else 0.0,
            resets=resets,
            zoneout=bool(getattr(cell, "zoneout", 0.0)),
            peephole=getattr(cell, "peephole", False),
            normalization=getattr(cell, "normalization", False),
            use_cudnn=getattr(layer, "use_cudnn", True) is not False,
        )


def activation_name(function: Any) -> str | None:
    """The name that Keras has for a function; None for one that is not known here."""
    return "linear" if function is None else _ACTIVATIONS.get(function)


def recurrent_activation_name(cell: Any) -> str | None:
    """The name of the function of a cell's gates; `sigmoid` for a cell without any."""
    return activation_name(getattr(cell, "recurrent_activation", keras.activations.sigmoid))


def cell_name(cell: Any) -> str | None:
    """The name of a cell that kernels know; None for another class, a subclass included."""
    kind = type(cell)
    if getattr(kind, "fused_as", None):  # a cell of seqkeras says what it is
        kind = kind.fused_as
    if kind is layers.LSTMCell:
        return "lstm"
    if kind is layers.GRUCell:
        return "gru_reset_after" if cell.reset_after else "gru"
    return "simple_rnn" if kind is layers.SimpleRNNCell else None


def masked_output(layer: Any, backend: str) -> str:
    """What Keras on this backend shows at a masked timestep."""
    if layer.zero_output_for_mask:
        return "zero"
    return "hold_state" if backend == "jax" and not layer.unroll else "hold_output"
