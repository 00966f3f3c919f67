"""Recurrent layers piled up: the only place where that is done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypedDict, Unpack

import keras

from seqkeras._checks import (
    bad_argument,
    check_flag,
    check_fraction,
    check_integer,
    check_one_of,
    nearest,
)
from seqkeras.errors import ArgumentError
from seqkeras.kernels import IMPLEMENTATIONS
from seqkeras.layers import Bidirectional, Cell, recurrent_layer

DEFAULT_UNITS = 64

#: The state of one layer.
States: TypeAlias = list[keras.KerasTensor]


class StackOptions(TypedDict, total=False):
    """The keywords that every builder takes for its recurrent layers.

    Attributes:
        units: width of the state, default 64; a tuple such as `(64, 32)` is a stack of two
            layers. Keras cells bring their own width.
        cell: `"lstm"` (default), `"gru"`, `"simple_rnn"`, a Keras RNN cell, or a list of cells,
            one for each layer of the stack.
        bidirectional: read the sequence both ways in every layer; each layer sees both
            directions of the layer below, so its output has `2 * units` features.
        dropout: share of each layer's inputs that training drops.
        recurrent_dropout: share of each layer's state that training drops. cuDNN cannot do this.
        implementation: which of several equal ways runs the loop over time: `"auto"` (default) is
            the fastest that can, `"cudnn"`, `"fused"` and `"scan"` name one.
            `seqkeras.explain(model)` tells what runs, and why.
        stateful: each batch continues where the batch before it ended; needs `batch_size`. The
            model then takes a dict of its `"inputs"` and of `"reset"`, flags `(batch, 1)` or
            `(batch, timesteps)` that clear the state of a row before it reads a timestep, or None.
        batch_size: fixed number of rows in a batch.
    """

    units: int | Sequence[int]
    cell: Cell | Sequence[Cell]
    bidirectional: bool
    dropout: float
    recurrent_dropout: float
    implementation: str
    stateful: bool
    batch_size: int | None


@dataclass(frozen=True)
class Stack:
    """A checked plan of a stack: one cell and one number of units for each layer."""

    cells: tuple[Cell, ...]
    units: tuple[int, ...]
    bidirectional: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    implementation: str = "auto"
    stateful: bool = False
    batch_size: int | None = None

    @classmethod
    def parse(cls, **options: Unpack[StackOptions]) -> "Stack":
        """Checks the stack keywords of a builder.

        Raises:
            ArgumentError: a keyword is unknown, or a value cannot work.
        """
        given: dict[str, Any] = dict(options)
        for name in given.keys() - StackOptions.__annotations__.keys():
            known = ", ".join(StackOptions.__annotations__)
            hint = nearest(name, StackOptions.__annotations__)
            hint = f" {hint}" if hint else ""
            raise ArgumentError(f"Unknown keyword {name!r}.{hint} The stack takes: {known}.")
        cells, units = _layers(given.pop("cell", "lstm"), given.pop("units", None))
        return cls(cells, units, **given)

    def __post_init__(self) -> None:
        check_flag("bidirectional", self.bidirectional)
        check_flag("stateful", self.stateful)
        check_fraction("dropout", self.dropout)
        check_fraction("recurrent_dropout", self.recurrent_dropout)
        check_one_of("implementation", self.implementation, IMPLEMENTATIONS)
        if self.batch_size is not None:
            check_integer("batch_size", self.batch_size)
        elif self.stateful:
            fix = "Each row of the batch keeps a state of its own, so their number must be fixed."
            raise bad_argument("batch_size", None, "given where stateful=True", fix)
        if self.stateful and self.bidirectional:
            fix = "The backward direction starts at the end of a sequence: it cannot be continued."
            raise bad_argument("bidirectional", True, "False where stateful=True", fix)

    def input(self, *shape: int | None, name: str = "inputs") -> keras.KerasTensor:
        """An input `(batch, *shape)` with the batch size of the plan."""
        return keras.Input(batch_shape=(self.batch_size, *shape), name=name)

    def model(
        self, x: keras.KerasTensor, read: Callable[..., keras.KerasTensor], name: str
    ) -> keras.Model:
        """The model from `x` to `read(reset)`, where `reset` are flags if the stack is stateful."""
        if not self.stateful:
            return keras.Model(x, read(None), name=name)
        reset = keras.Input(
            batch_shape=(self.batch_size, None), name="reset", dtype="bool", optional=True
        )
        return keras.Model({"inputs": x, "reset": reset}, read(reset), name=name)

    def __call__(
        self,
        x: keras.KerasTensor,
        *,
        return_sequences: bool,
        reset: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        """Runs `(batch, timesteps, features)` through the stack.

        Args:
            x: the sequences.
            return_sequences: give every timestep of the last layer, or its last output alone.
            reset: flags for every layer; of a stateful stack alone.

        Returns:
            `(batch, timesteps, units)` with `return_sequences`, else `(batch, units)`: the last
            output, which has read the whole sequence. Twice the units if bidirectional.
        """
        for level, layer in enumerate(self.layers(return_sequences=return_sequences), start=1):
            if self.bidirectional:
                layer = _both_ways(layer, name=f"bidirectional_{level}")
            x = layer(x) if reset is None else layer(x, reset=reset)
        return x

    def layers(
        self, name: str = "recurrent", *, return_sequences: bool, **options: Any
    ) -> list[keras.layers.RNN]:
        """The layers of the stack, the lowest first, named `recurrent_1` and so on."""
        depth = len(self.cells)
        return [
            recurrent_layer(
                cell,
                units=units,
                dropout=self.dropout,
                recurrent_dropout=self.recurrent_dropout,
                implementation=self.implementation,
                return_sequences=return_sequences or level < depth,
                stateful=self.stateful,
                name=f"{name}_{level}",
                **options,
            )
            for level, (cell, units) in enumerate(zip(self.cells, self.units, strict=True), start=1)
        ]

    def mirrored(self) -> "Stack":
        """The same plan with its layers in the opposite order, as a decoder has them."""
        return replace(self, cells=self.cells[::-1], units=self.units[::-1])


def recurrent_stack(
    x: keras.KerasTensor, *, return_sequences: bool = True, **options: Unpack[StackOptions]
) -> keras.KerasTensor:
    """Recurrent layers on top of `x`, as every builder piles them up.

    Args:
        x: `(batch, timesteps, features)`.
        return_sequences: give every timestep of the last layer, or its last output alone.
        **options: the stack keywords, see `StackOptions`.

    Returns:
        `(batch, timesteps, units)` or `(batch, units)`; twice the units if bidirectional.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> x = keras.Input((None, 3))
        >>> recurrent_stack(x, units=(64, 32), cell="gru", bidirectional=True).shape
        (None, None, 64)
    """
    return Stack.parse(**options)(x, return_sequences=return_sequences)


def run_from(
    layers: Sequence[keras.layers.RNN],
    x: keras.KerasTensor,
    states: Sequence[States] | None = None,
) -> tuple[keras.KerasTensor, list[States]]:
    """Runs sequences through layers of a stack that return their states, from given ones.

    Args:
        layers: the lowest first.
        x: `(batch, timesteps, features)`.
        states: initial ones of each layer; None: those of new sequences.

    Returns:
        What the last layer gives, and the states of each layer at the end.
    """
    ends = []
    for level, layer in enumerate(layers):
        x, *end = layer(x, initial_state=None if states is None else states[level])
        ends.append(end)
    return x, ends


def one_way(builder: str, stack: StackOptions) -> None:
    """Refuses what a builder cannot be that goes on from the last state of its stack.

    Raises:
        ArgumentError: the stack is to be stateful or bidirectional.
    """
    fixes = {
        "stateful": "A forecast reads its own window from its start. Use next_step for a model "
        "that continues from batch to batch.",
        "bidirectional": "It goes on from the newest value, and the backward direction ends at "
        "the oldest.",
    }
    for name, fix in fixes.items():
        if stack.get(name):
            raise bad_argument(name, True, f"False for {builder}", fix)


def _both_ways(layer: keras.layers.RNN, *, name: str) -> Bidirectional:
    # Bidirectional copies the layer through its config, where a user's own cell is only a name.
    cell = type(layer.cell)
    with keras.saving.custom_object_scope({cell.__name__: cell}):
        return Bidirectional(layer, name=name)


def _layers(cell: Any, units: Any) -> tuple[tuple[Cell, ...], tuple[int, ...]]:
    """One cell and one number of units for each layer."""
    cells = tuple(cell) if isinstance(cell, (list, tuple)) else (cell,)
    own = [one for one in cells if not isinstance(one, str)]
    if not cells:
        raise bad_argument("cell", cell, "a cell, or a list of one cell or more")
    if own and units is not None:
        fix = "A Keras cell brings its own units; leave units away, or give names of cells."
        raise bad_argument("units", units, "left away where cell is a Keras cell", fix)
    widths = _widths(DEFAULT_UNITS if units is None else units)
    if len(cells) == 1:
        cells *= len(widths)
    elif len(widths) == 1:
        widths *= len(cells)
    if len(cells) != len(widths):
        fix = f"{len(cells)} cells are given."
        raise bad_argument("units", units, "one number for each cell", fix)
    return cells, widths


def _widths(units: Any) -> tuple[int, ...]:
    if not isinstance(units, (list, tuple)):
        return (check_integer("units", units),)
    if not units:
        raise bad_argument("units", units, "an integer, or a tuple of one integer or more")
    return tuple(check_integer("units", one, fix=f"Got it in {units!r}.") for one in units)
