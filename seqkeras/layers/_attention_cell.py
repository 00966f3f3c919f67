"""A recurrent cell that reads a memory at every timestep."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops, tree

from seqkeras._checks import bad_argument, check_flag, check_integer, check_one_of
from seqkeras.layers._memory_attention import MemoryAttention

QUERIES = ("old", "new")


@keras.saving.register_keras_serializable(package="seqkeras")
class AttentionCell(keras.layers.Layer):
    """A cell around any recurrent cell, which attends to a memory at every timestep.

    A Keras cell with constants: run it as `seqkeras.layers.RNN(cell)(x, constants=[memory, mask])`,
    with a memory `(batch, memory_timesteps, width)`, such as the outputs of an encoder, and
    optionally its mask `(batch, memory_timesteps)`. What does not depend on the timestep is
    computed once, before the loop. With `return_attention=True`, the layer also returns the weights
    of each timestep.

    With the old state h as the query, the inner cell reads `[x, context]` (Bahdanau et al. 2015,
    arXiv 1409.0473). With the new one, it reads x, and then attends (Luong et al. 2015, arXiv
    1508.04025). Either way, the output is tanh(W [h, context]) with the new h.

    Args:
        cell: the inner cell, a Keras cell such as `keras.layers.GRUCell(8)`, or a list of cells
            for a stack, the lowest first. The query is the first state of the last cell.
        mechanism, units, heads, dropout, positions: see `MemoryAttention`.
        query: `"old"` (default) or `"new"`, the state that attends.
        input_feeding: whether the inner cell also reads the output of the timestep before (Luong
            et al. 2015). Default: False.
        output_units: width of the output. Default: that of the inner cell.

    Raises:
        ArgumentError: an argument cannot work, or does not fit the widths.

    Example:
        >>> import numpy as np
        >>> from seqkeras.layers import RNN
        >>> cell = AttentionCell(keras.layers.GRUCell(4), "additive")
        >>> x, memory = np.ones((2, 3, 5), "float32"), np.ones((2, 6, 7), "float32")
        >>> layer = RNN(cell, return_sequences=True)
        >>> outputs, weights = layer(x, constants=[memory], return_attention=True)
        >>> outputs.shape == (2, 3, 4), weights.shape == (2, 3, 6)
        (True, True)
    """

    def __init__(
        self,
        cell: Any,
        mechanism: str = "additive",
        *,
        units: int | None = None,
        heads: int = 1,
        query: str = "old",
        input_feeding: bool = False,
        dropout: float = 0.0,
        positions: int | None = None,
        output_units: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.cell = one_cell(cell)
        self.attention = MemoryAttention(
            mechanism,
            units=units,
            heads=heads,
            dropout=dropout,
            positions=positions,
            name="attention",
            dtype=self.dtype_policy,
        )
        self.query = check_one_of("query", query, QUERIES)
        self.input_feeding = check_flag("input_feeding", input_feeding)
        width = output_units if output_units is not None else output_width(self.cell)
        self.output_units = check_integer("output_units", width)
        self.readout = keras.layers.Dense(
            self.output_units, "tanh", name="readout", dtype=self.dtype_policy
        )
        #: Number of weights that `call` returns beside its output; None if it returns only that.
        self._weights_width: Any = None

    @property
    def output_size(self) -> Any:
        """Return the width of what `call` returns."""
        return self.output_units + (0 if self._weights_width is None else self._weights_width)

    @property
    def state_size(self) -> list[int]:
        """Return the sizes of the inner states, and of the previous output with input feeding."""
        sizes = tree.flatten(self.cell.state_size)
        return [*sizes, self.output_units] if self.input_feeding else sizes

    def input_width(self, width: int, memory_width: int) -> int:
        """Return the width that the inner cell reads for inputs of a width."""
        width += memory_width if self.query == "old" else 0
        return width + (self.output_units if self.input_feeding else 0)

    def build(self, input_shape: Any) -> None:
        """Create the weights, given the shapes of a timestep and of the constants."""
        if not tree.is_nested(input_shape[0]):
            fix = "Call seqkeras.layers.RNN(cell) with constants=[memory] or [memory, mask]."
            raise bad_argument("constants", None, "the memory that the cell reads", fix)
        (*_, width), (*_, memory_width), *_ = input_shape
        self._inner_width = self.input_width(width, memory_width)
        if not self.cell.built:
            self.cell.build((None, self._inner_width))
            self.cell.built = True
        query_width = tree.flatten(self.cell.state_size)[query_place(self.cell)]
        if self.query == "new":
            query_width = output_width(self.cell)
        self.attention.build((None, query_width), (None, None, memory_width))
        self.readout.build((None, output_width(self.cell) + memory_width))

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Return the initial states of the inner cell, and zeros as the previous output."""
        states = tree.flatten(self.cell.get_initial_state(batch_size=batch_size))
        if self.input_feeding:
            states.append(ops.zeros((batch_size, self.output_units), dtype=self.compute_dtype))
        return states

    @contextmanager
    def prepared(
        self, constants: Sequence[Any], training: bool = False, with_weights: bool = False
    ) -> Iterator[list[Any]]:
        """Compute what every timestep of a loop reads from `[memory]` or `[memory, mask]`.

        Args:
            constants: the memory, and its mask.
            training: whether dropout applies.
            with_weights: whether `call` appends the weights of the attention to its output until
                the context exits. Default: False.
        """
        memory, mask = constants if len(constants) > 1 else (constants[0], None)
        rows, timesteps = ops.shape(memory)[:2]
        states = self.get_initial_state(rows)
        self._weights_width = timesteps if with_weights else None
        try:
            with drawn_dropout(self.cell, self._inner_width, states, training):
                yield self.attention.prepare(memory, mask, training)
        finally:
            self._weights_width = None

    def call(self, inputs: Any, states: Any, constants: Any, training: bool = False) -> Any:
        """Run one timestep with the constants of `prepared`; return output and states."""
        (h, context, weights), states = self.advance(inputs, states, constants, training)
        output = states[-1] if self.input_feeding else self.read_out(h, context)
        return output if self._weights_width is None else joined([output, weights]), states

    def advance(
        self,
        inputs: Any,
        states: Sequence[Any],
        constants: Sequence[Any],
        training: bool = False,
    ) -> tuple[tuple[Any, Any, Any], list[Any]]:
        """Run one timestep up to the output.

        Args:
            inputs: `(batch, features)`.
            states: the states before.
            constants: those of `prepared`.
            training: whether dropout applies.

        Returns:
            The output of the inner cell, the context and the weights; and the new states.
        """
        states = list(states)
        fed = [states.pop()] if self.input_feeding else []
        context = None
        weights = None
        if self.query == "old":
            query = states[query_place(self.cell)]
            context, weights = self.attention.attend(query, constants)
            fed.insert(0, context)
        h, states = advance_cell(self.cell, joined([inputs, *fed]), states, training)
        if context is None:
            context, weights = self.attention.attend(h, constants)
        if self.input_feeding:
            states.append(self.read_out(h, context))
        return (h, context, weights), states

    def read_out(self, h: Any, context: Any) -> Any:
        """Return the output for an output of the inner cell and a context, or for many of them."""
        return self.readout(ops.concatenate([h, context], axis=-1))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate it."""
        names = ("mechanism", "units", "heads", "dropout", "positions")
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            **{name: getattr(self.attention, name) for name in names},
            "query": self.query,
            "input_feeding": self.input_feeding,
            "output_units": self.output_units,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AttentionCell":
        """Recreate the cell."""
        return cls(**{**config, "cell": keras.saving.deserialize_keras_object(config["cell"])})


def one_cell(cells: Any) -> Any:
    """Return a cell, or a list of cells as one cell."""
    if isinstance(cells, (list, tuple)) and len(cells) > 1:
        return keras.layers.StackedRNNCells(list(cells))
    cell = cells[0] if isinstance(cells, (list, tuple)) and cells else cells
    has_state = isinstance(cell, keras.layers.Layer) and hasattr(cell, "state_size")
    if not has_state or isinstance(cell, keras.layers.RNN):
        raise bad_argument("cell", cell, "a Keras cell with a state_size, or a list of cells")
    return cell


def output_width(cell: Any) -> int:
    """Return the width of the output of a cell."""
    return int(getattr(cell, "output_size", None) or tree.flatten(cell.state_size)[0])


def advance_cell(cell: Any, x: Any, states: Sequence[Any], training: bool) -> tuple[Any, list[Any]]:
    """Run one timestep of a cell with a flat list of states; return its output and new states."""
    sizes = cell.state_size
    packed = tree.pack_sequence_as(sizes, list(states)) if tree.is_nested(sizes) else list(states)
    # Without the argument, Keras passes what the layer around it was called with.
    takes_training = "training" in inspect.signature(cell.call).parameters
    options = {"training": training} if takes_training else {}
    output, new = cell(x, packed, **options)
    return output, tree.flatten(new)


def joined(arrays: Sequence[Any]) -> Any:
    """Return arrays side by side."""
    return ops.concatenate(arrays, axis=-1) if len(arrays) > 1 else arrays[0]


def parts(cell: Any) -> list[Any]:
    """Return the cells of a stack, the lowest first, or the cell itself."""
    return list(cell.cells) if isinstance(cell, keras.layers.StackedRNNCells) else [cell]


@contextmanager
def drawn_dropout(cell: Any, width: int, states: Sequence[Any], training: bool) -> Iterator[None]:
    """Draw the dropout of cells before a loop over time, and forget it afterwards.

    Args:
        cell: a cell, or a stack of cells, in which each timestep of a sequence drops the same.
        width: width of the inputs of the lowest cell.
        states: flat list of the states before the first timestep.
        training: whether dropout applies.
    """
    cells = [part for part in parts(cell) if hasattr(part, "get_dropout_mask")]
    if training:
        _draw(parts(cell), width, list(states))
    try:
        yield
    finally:
        for part in cells:
            part.reset_dropout_mask()
            part.reset_recurrent_dropout_mask()


def _draw(cells: Sequence[Any], width: int, states: list[Any]) -> None:
    for cell in cells:
        if hasattr(cell, "get_dropout_mask"):
            x = ops.zeros((ops.shape(states[0])[0], width), dtype=states[0].dtype)
            cell.get_dropout_mask(x)
            cell.get_recurrent_dropout_mask(states[0])
        del states[: len(tree.flatten(cell.state_size))]
        width = output_width(cell)


def query_place(cell: Any) -> int:
    """Return the place of the first state of the last cell among the flat states."""
    return len(tree.flatten([part.state_size for part in parts(cell)[:-1]]))
