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

from seqkeras import kernels
from seqkeras._checks import bad_argument, check_flag

_SAVED = "state_"

_register = keras.saving.register_keras_serializable(package="seqkeras")


class Resettable(keras.layers.RNN):
    """What the layers below share; stands before the Keras layer in their bases.

    Call arguments beside those of Keras:
        reset: flags `(batch, 1)` or `(batch, timesteps)`, or None. Where `reset[i, t]` is True,
            the state of row `i` is that of a new sequence before it reads timestep `t`. With
            `(batch, 1)` a batch runs on any kernel, cuDNN included; flags of later timesteps need
            `fused` or `scan`.

    Args beside those of Keras:
        save_state: keep the states in files that the model, or its weights, are saved to, and take
            them from there. A file without them loads as well. Plain Keras layers refuse a file of
            weights that has states.
    """

    def __init__(self, *arguments: Any, save_state: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.save_state = check_flag("save_state", save_state)

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
        # Keras on JAX lays the mask of a timestep over the wrong axes of an image.
        masked_images = mask is not None and len(sequences.shape) > 3
        if masked_images and reset is None:
            reset = ops.zeros((self._rows, 1), "bool")
        if masked_images or (reset is not None and reset.shape[1] != 1):
            return self._run_with_flags(sequences, state, mask, training, reset)
        if reset is not None:
            state = kernels.where_rows(reset, self.get_initial_state(self._rows), state)
        return super().call(sequences, initial_state=state, mask=mask, training=training)

    def inner_loop(
        self,
        sequences: Any,
        initial_state: Any,
        mask: Any = None,
        training: bool = False,
        reset: Any = None,
    ) -> Any:
        """Runs over time, on the kernel that is chosen for this call; see `kernels.run`."""
        return kernels.run(self, sequences, initial_state, mask, training, reset)

    def _run_with_flags(
        self, sequences: Any, state: Any, mask: Any, training: bool, reset: Any
    ) -> Any:
        """What Keras does around the loop, with flags that reach into it."""
        given, timesteps = ops.shape(reset)[1], ops.shape(sequences)[1]
        flags = ops.pad(reset, [[0, 0], [0, timesteps - given]])
        mask = None if mask is None else self._with_rows(mask)
        state = self.begin(sequences, state)
        output, *state = self.end(*self.inner_loop(sequences, state, mask, training, flags))
        for variable, value in zip(tree.flatten(self.states), tree.flatten(state), strict=True):
            variable.assign(value)
        return (output, *state) if self.return_state else output

    def begin(self, sequences: Any, state: Any) -> Any:
        """What Keras does before the loop: the state as the loop takes it, and dropout is drawn."""
        state = tree.map_structure(lambda x: ops.cast(x, self.cell.compute_dtype), state)
        self._maybe_config_dropout_masks(self.cell, sequences[:, 0, :], state)
        return state

    def end(self, last: Any, outputs: Any, state: Any) -> tuple[Any, ...]:
        """What Keras does after it: the output and the state, in the dtype of the layer."""
        self._maybe_reset_dropout_masks(self.cell)
        output = outputs if self.return_sequences else last
        found: list[Any] = tree.map_structure(
            lambda x: ops.cast(x, self.compute_dtype), [output, *state]
        )
        return tuple(found)

    def reset_state(self) -> None:
        """Makes the state of every row that of a new sequence."""
        # Keras can do so with the states of one cell alone, and knows no initial state but zeros.
        if self.states is not None:
            fresh = self.get_initial_state(self._rows)
            for variable, value in zip(tree.flatten(self.states), tree.flatten(fresh), strict=True):
                variable.assign(value)

    def get_config(self) -> dict[str, Any]:
        """The config of the Keras layer, and `save_state` if it is asked for."""
        config: dict[str, Any] = super().get_config()
        return {**config, "save_state": True} if self.save_state else config

    def save_own_variables(self, store: Any) -> None:
        """Writes the weights, and the states if asked."""
        super().save_own_variables(store)
        if self.save_state:
            for number, state in enumerate(tree.flatten(self.states or [])):
                store[f"{_SAVED}{number}"] = state

    def load_own_variables(self, store: Any) -> None:
        """Reads the weights, and the states if asked and there."""
        names = set(store.keys())
        saved = {name for name in names if name.startswith(_SAVED)}
        super().load_own_variables({name: store[name] for name in names - saved})
        if self.save_state and saved:
            states = tree.flatten(self.states or [])
            values = [store[f"{_SAVED}{number}"] for number in range(len(saved))]
            shapes = [tuple(value.shape) for value in values]
            if shapes != [tuple(state.shape) for state in states]:
                fix = "Load it with save_state=False, and the states are left out."
                got = f"states of shapes {shapes} in the file"
                expected = f"of shapes {[tuple(state.shape) for state in states]}"
                raise bad_argument(self.name, got, expected, fix)
            for state, value in zip(states, values, strict=True):
                state.assign(value)

    def _with_rows(self, x: Any) -> Any:
        """`x` with the number of rows that the state has, where the graph does not know it."""
        if x.shape[0] is not None:
            return x
        shape = ops.shape(x)
        return ops.reshape(x, (self._rows, *shape[1:]))

    @property
    def _rows(self) -> int:
        return int(tree.flatten(self.states)[0].shape[0])


def _check_flags(reset: Any, sequences: Any) -> Any:
    rows, timesteps = sequences.shape[:2]
    expected = f"of shape ({rows}, 1) or ({rows}, timesteps)"
    if len(reset.shape) != 2 or reset.shape[0] not in (rows, None):
        raise bad_argument("reset", f"shape {tuple(reset.shape)}", expected)
    if timesteps is not None and (reset.shape[1] or 0) > timesteps:
        fix = f"There are {timesteps} timesteps."
        raise bad_argument("reset", f"shape {tuple(reset.shape)}", expected, fix)
    return reset


@_register
class RNN(Resettable, keras.layers.RNN):
    """`keras.layers.RNN`, over any Keras cell, with `reset` in its call, see `Resettable`."""


@_register
class ConvLSTM1D(Resettable, keras.layers.ConvLSTM1D):
    """`keras.layers.ConvLSTM1D` with `reset` in its call, see `Resettable`."""


@_register
class ConvLSTM2D(Resettable, keras.layers.ConvLSTM2D):
    """`keras.layers.ConvLSTM2D` with `reset` in its call, see `Resettable`."""


@_register
class ConvLSTM3D(Resettable, keras.layers.ConvLSTM3D):
    """`keras.layers.ConvLSTM3D` with `reset` in its call, see `Resettable`."""
