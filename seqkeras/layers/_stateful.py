"""Stateful layers whose state can be cleared row by row, inside the graph.

Each is the Keras layer of the same name, with the same arguments, config and weights, and one more
argument of its call: `reset`. Three things that Keras leaves open hold on every backend:

- the states are among the `variables` of a model, so that JAX carries them through `fit`,
  `evaluate` and `predict`; they are not among its `weights`, which fit a stateless twin;
- neither a gradient nor a change in place reaches from one batch into another;
- a batch whose size the graph does not know, as that of a generator, has the rows of the state.
"""

from typing import Any

import keras
from keras import ops, tree

from seqkeras._checks import bad_argument

_register = keras.saving.register_keras_serializable(package="seqkeras")


class Resettable(keras.layers.RNN):
    """What the layers below share; stands before the Keras layer in their bases.

    Call arguments beside those of Keras:
        reset: flags `(batch, 1)` or `(batch, timesteps)`, or None. Where `reset[i, t]` is True,
            the state of row `i` is that of a new sequence before it reads timestep `t`. With
            `(batch, 1)` a batch runs on the kernel that Keras chooses, cuDNN included; flags of
            later timesteps need a plain loop over time.
    """

    @property
    def variables(self) -> list[Any]:
        """All variables, the states included; `weights` are those without."""
        # Keras keeps the states to itself, and what JAX does not see in here, it forgets.
        return [*super().variables, *tree.flatten(self.states or [])]

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
        reset: Any = None,
    ) -> Any:
        """Runs `(batch, timesteps, features)` from the kept state, and keeps the last."""
        if not self.stateful:
            if reset is not None:
                fix = "Only a state that is kept from batch to batch can be cleared."
                raise bad_argument("reset", "flags", "left away where stateful=False", fix)
            return super().call(
                sequences, initial_state=initial_state, mask=mask, training=training
            )
        sequences = self._with_rows(sequences)
        # Copies: PyTorch cannot go back through a variable that was written in between.
        kept = self.states if initial_state is None else initial_state
        state = tree.map_structure(ops.copy, kept)
        if reset is not None:
            reset = self._with_rows(ops.cast(_check_flags(reset, sequences), "bool"))
            if reset.shape[1] != 1:
                return self._step_by_step(sequences, state, mask, training, reset)
            state = _where(reset, self.get_initial_state(self._rows), state)
        return super().call(sequences, initial_state=state, mask=mask, training=training)

    def _step_by_step(
        self, sequences: Any, state: Any, mask: Any, training: bool, reset: Any
    ) -> Any:
        """A loop over time that looks at the flags before each step."""
        given, timesteps = ops.shape(reset)[1], ops.shape(sequences)[1]
        flags = ops.pad(ops.cast(reset, sequences.dtype), [[0, 0], [0, timesteps - given]])
        joined, fresh = [sequences], self.get_initial_state(self._rows)
        self._maybe_config_dropout_masks(self.cell, sequences[:, 0, :], state)
        cell = _ClearingCell(self.cell, fresh, training)
        if mask is not None:
            # Not in Keras, which takes back all of a masked timestep, the clearing too.
            cell = _MaskedClearingCell(self.cell, fresh, training, self.zero_output_for_mask)
            joined.append(ops.cast(self._with_rows(mask), sequences.dtype)[..., None])
            state = [*state, cell.fresh[-1]]
        loop = keras.layers.RNN(
            cell,
            return_sequences=self.return_sequences,
            return_state=True,
            go_backwards=self.go_backwards,
            unroll=self.unroll,
            dtype=self.dtype_policy,
            name=self.name,  # a name of its own would count among those of other layers
        )
        output, *state = loop(
            ops.concatenate([*joined, flags[..., None]], axis=-1), initial_state=state
        )
        self._maybe_reset_dropout_masks(self.cell)
        state = state if mask is None else state[:-1]
        for variable, value in zip(tree.flatten(self.states), tree.flatten(state), strict=True):
            variable.assign(value)
        return (output, *state) if self.return_state else output

    def reset_state(self) -> None:
        """Makes the state of every row that of a new sequence."""
        # Keras can do so with the states of one cell alone, and knows no initial state but zeros.
        if self.states is not None:
            fresh = self.get_initial_state(self._rows)
            for variable, value in zip(tree.flatten(self.states), tree.flatten(fresh), strict=True):
                variable.assign(value)

    def _with_rows(self, x: Any) -> Any:
        """`x` with the number of rows that the state has, where the graph does not know it."""
        if x.shape[0] is not None:
            return x
        shape = ops.shape(x)
        return ops.reshape(x, (self._rows, *shape[1:]))

    @property
    def _rows(self) -> int:
        return int(tree.flatten(self.states)[0].shape[0])


class _ClearingCell:
    """A cell that reads the flags from its last feature, and clears rows before its step."""

    def __init__(self, cell: Any, fresh: Any, training: bool) -> None:
        self.cell, self.fresh = cell, fresh
        self.options = {"training": training} if cell._call_has_training_arg else {}
        self.state_size, self.compute_dtype = cell.state_size, cell.compute_dtype
        self.output_size = getattr(cell, "output_size", None)

    def __call__(self, joined: Any, state: Any) -> Any:
        state = _where(joined[:, -1:] > 0.5, self.fresh, state)
        return self.step(joined[:, :-1], state)

    call = __call__  # what Keras looks for in a cell

    def step(self, inputs: Any, state: Any) -> Any:
        return self.cell(inputs, state, **self.options)


class _MaskedClearingCell(_ClearingCell):
    """The same with a mask in the last feature but one; its last state is the output before."""

    def __init__(self, cell: Any, fresh: Any, training: bool, zero_output: bool) -> None:
        super().__init__(cell, fresh, training)
        self.zero_output = zero_output
        size = self.output_size or tree.flatten(cell.state_size)[0]
        rows = tree.flatten(fresh)[0].shape[0]
        self.fresh = [*fresh, ops.zeros((rows, size), cell.compute_dtype)]

    def step(self, inputs: Any, state: Any) -> Any:
        *before, shown = state
        output, after = super().step(inputs[:, :-1], before)
        used = inputs[:, -1:] > 0.5
        shown = ops.where(used, output, ops.zeros_like(shown) if self.zero_output else shown)
        return shown, [*_where(used, after, before), shown]


def _check_flags(reset: Any, sequences: Any) -> Any:
    rows, timesteps = sequences.shape[:2]
    expected = f"of shape ({rows}, 1) or ({rows}, timesteps)"
    if len(reset.shape) != 2 or reset.shape[0] not in (rows, None):
        raise bad_argument("reset", f"shape {tuple(reset.shape)}", expected)
    if timesteps is not None and (reset.shape[1] or 0) > timesteps:
        fix = f"There are {timesteps} timesteps."
        raise bad_argument("reset", f"shape {tuple(reset.shape)}", expected, fix)
    return reset


def _where(flags: Any, new: Any, old: Any) -> Any:
    """`new` in the rows where `flags`, `(batch, 1)`, are True, else `old`; shaped as `old` is."""
    chosen = [
        ops.where(ops.reshape(flags, (-1, *[1] * (len(other.shape) - 1))), one, other)
        for one, other in zip(tree.flatten(new), tree.flatten(old), strict=True)
    ]
    return tree.pack_sequence_as(old, chosen)


@_register
class LSTM(Resettable, keras.layers.LSTM):
    """`keras.layers.LSTM` with `reset` in its call, see `Resettable`."""


@_register
class GRU(Resettable, keras.layers.GRU):
    """`keras.layers.GRU` with `reset` in its call, see `Resettable`."""


@_register
class SimpleRNN(Resettable, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN` with `reset` in its call, see `Resettable`."""


@_register
class RNN(Resettable, keras.layers.RNN):
    """`keras.layers.RNN`, over any Keras cell, with `reset` in its call, see `Resettable`."""
