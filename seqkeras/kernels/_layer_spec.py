"""The static facts of a recurrent layer that the choice of a kernel depends on."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops, tree

#: Keras' activation functions by name. Any other function is custom.
_ACTIVATIONS = {
    getattr(place, name): name
    for name in ("tanh", "sigmoid", "hard_sigmoid", "relu", "linear")
    for place in (keras.activations, ops)
    if hasattr(place, name)
}

#: Recognized by the class of the layer, because Keras does not export their cells.
_CONVOLUTIONS = (layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)


@dataclass(frozen=True)
class Spec:
    """A recurrent layer as kernels see it, and how it is called.

    Attributes:
        cell: `lstm`, `gru`, `gru_reset_after` or `simple_rnn`; None for any other cell.
        kind: class name of the cell, for messages.
        activation, recurrent_activation: Keras' names of the functions; None for custom functions.
        dtype: compute dtype of the layer, such as `float32`.
        recurrent_dropout: its rate in this call; 0.0 outside training.
        resets: whether states are cleared within a batch.
        zoneout, peephole, normalization, projection, clips: variants of the cell.
        use_cudnn: False if Keras' argument of that name is False.
        widths: the numbers of features and units of a built layer of a known cell; otherwise empty.
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
    projection: bool = False
    clips: bool = False
    use_cudnn: bool = True
    widths: tuple[int, ...] = ()

    @classmethod
    def of(cls, layer: Any, *, training: bool = False, resets: bool = False) -> "Spec":
        """Read the facts of a Keras or seqkeras recurrent layer."""
        cell = layer.cell
        return cls(
            cell=cell_name(cell),
            kind=type(cell).__name__,
            activation=_activation_name(getattr(cell, "activation", None)),
            recurrent_activation=_activation_name(
                # A cell without gates counts as having Keras' default.
                getattr(cell, "recurrent_activation", keras.activations.sigmoid)
            ),
            dtype=layer.compute_dtype,
            recurrent_dropout=getattr(cell, "recurrent_dropout", 0.0) if training else 0.0,
            resets=resets,
            zoneout=bool(getattr(cell, "zoneout", 0.0)),
            peephole=getattr(cell, "peephole", False),
            normalization=getattr(cell, "normalization", False),
            projection=getattr(cell, "num_proj", None) is not None,
            clips=getattr(cell, "cell_clip", None) is not None,
            use_cudnn=getattr(layer, "use_cudnn", True) is not False,
            widths=_widths(cell),
        )


def cell_name(cell: Any) -> str | None:
    """Return the kernels' name for a cell; None for any other class, including subclasses."""
    kind = type(cell)
    if getattr(kind, "fused_as", None):  # our cells name the Keras cell that they extend
        kind = kind.fused_as
    if kind is layers.LSTMCell:
        return "lstm"
    if kind is layers.GRUCell:
        return "gru_reset_after" if cell.reset_after else "gru"
    return "simple_rnn" if kind is layers.SimpleRNNCell else None


def _widths(cell: Any) -> tuple[int, ...]:
    if cell_name(cell) is None or not cell.built:
        return ()
    return int(cell.kernel.shape[0]), cell.units


def shows_state(layer: Any) -> bool:
    """Return whether the output is the first state of the cell, or of the last cell of a stack."""
    cell = layer.cell.cells[-1] if type(layer.cell) is layers.StackedRNNCells else layer.cell
    return cell_name(cell) is not None or isinstance(layer, _CONVOLUTIONS)


def shown_state(layer: Any, state: Any) -> Any:
    """Return the state that is also the output, for a layer whose `shows_state` is True."""
    is_stack = type(layer.cell) is layers.StackedRNNCells
    return tree.flatten(state[-1] if is_stack else state)[0]


def state_sizes(cell: Any) -> list[Any]:
    """Return the sizes of a cell's states, as a list even if there is only one."""
    sizes = cell.state_size
    return list(sizes) if isinstance(sizes, (list, tuple)) else [sizes]


def _activation_name(function: Any) -> str | None:
    return _ACTIVATIONS.get(function) if function is not None else "linear"
