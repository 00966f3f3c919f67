"""Stateful layers whose state can be cleared row by row, inside the graph."""

import inspect
from contextlib import nullcontext
from typing import Any

import keras
from keras import ops, tree

from seqkeras import kernels
from seqkeras._checks import Description, bad_argument, check_flag

_SAVED = "state_"

_register = keras.saving.register_keras_serializable(package="seqkeras")


class Resettable(keras.layers.RNN):
    """Base of our recurrent layers, listed before the Keras layer.

    Each is the Keras layer of the same name, with the same arguments, config and weights, and the
    call argument `reset`. On every backend and in every version of Keras:

    - the states are among the `variables` of a model, so that JAX carries them through `fit`,
      `evaluate` and `predict`. They are not among its `weights`, which therefore fit a stateless
      model;
    - gradients and in-place changes do not cross from one batch into another;
    - at masked timesteps the layer repeats the output of the last timestep that counted, even if
      that timestep was in the batch before, or before the `initial_state`;
    - a batch of a size unknown to the graph, such as one from a generator, is assumed to have as
      many rows as the state;
    - a mask passes through: with `return_sequences=True` the outputs carry the mask of the inputs,
      and a last output, which has read all timesteps that count, carries none. (Keras 3.16 sets
      `supports_masking` of its own layers to False, and drops the mask.)

    Call arguments, in addition to those of Keras:
        reset: flags `(batch, 1)` or `(batch, timesteps)`, or None (default). Where `reset[i, t]` is
            True, row `i` starts a new sequence: its state is initialized again before it reads
            timestep `t`. With `(batch, 1)` a batch runs on any kernel, cuDNN included; flags of
            later timesteps need `fused` or `scan`.
        sequences_mask: the mask that the sequences carry, set by Keras. It applies if no `mask` is
            passed, also next to `initial_state` and `reset`, where Keras' own layers drop it. False
            reads every timestep.

    Args, in addition to those of Keras:
        save_state: save the states in the files of the model or of its weights, and load them from
            there. A file without them loads as well. Plain Keras layers refuse a file of weights
            that contains states. Default: False.
    """

    #: Last output of a stateful layer with a cell of your own, whose states need not include the
    #: output; None for cells of Keras and seqkeras.
    last_output: Any = None

    def __init__(self, *arguments: Any, save_state: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.save_state = check_flag("save_state", save_state)
        self.supports_masking = True  # Keras 3.16 sets it to False

    @property
    def variables(self) -> list[Any]:
        """Return all variables, including the states, which `weights` omits."""
        # Keras omits the states, and on JAX it only updates the variables in this list.
        return [*super().variables, *self.stored]

    @property
    def stored(self) -> list[Any]:
        """Return the variables that are stored between batches: the states and `last_output`."""
        states = tree.flatten(self.states or [])
        return states if self.last_output is None else [*states, self.last_output]

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Create the weights, the states and, for a cell of your own, the last output."""
        if self.stateful and sequences_shape[0] is None:
            shape = tuple(sequences_shape)
            actual = Description(f"inputs of shape {shape} for layer {self.name!r}")
            rows = f"batch_shape=(rows, {', '.join(map(str, shape[1:]))})"
            fix = f"Each row keeps its own state: use keras.Input({rows})."
            raise bad_argument("batch_size", actual, "known where stateful=True", fix)
        super().build(sequences_shape, initial_state_shape)
        if not self.stateful or self.last_output is not None or kernels.shows_state(self):
            return
        size = getattr(self.cell, "output_size", None) or tree.flatten(self.state_size)[0]
        zeros = ops.zeros((self._rows, size))
        variable = keras.Variable(
            zeros, trainable=False, dtype=self.variable_dtype, name="last_output"
        )
        # Bypass Keras, which would track the variable as a weight.
        object.__setattr__(self, "last_output", variable)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask of the outputs: that of the inputs, or None for a last output."""
        mask = tree.flatten(previous_mask)[0] if self.return_sequences else None
        if not self.return_state:
            return mask
        return [mask, *(None for _ in tree.flatten(self.state_size))]

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
        reset: Any = None,
        sequences_mask: Any = None,
    ) -> Any:
        """Run `(batch, timesteps, features)`; if stateful, from the stored state, and update it."""
        mask = mask_of_call(mask, sequences_mask)
        _check_mask(mask, sequences)
        try:
            return self._run(sequences, initial_state, mask, training, reset)
        except BaseException:
            self.forget_dropout()  # the next call may have another number of rows
            raise

    def _run(self, sequences: Any, initial_state: Any, mask: Any, training: Any, reset: Any) -> Any:
        if not self.stateful:
            if reset is not None:
                fix = "Only a stateful layer has a state to clear."
                raise bad_argument(
                    "reset", Description("flags"), "omitted where stateful=False", fix
                )
            return super().call(
                sequences, initial_state=initial_state, mask=mask, training=training
            )
        sequences = self._with_rows(sequences)
        self._check_rows(sequences)
        # Copies: PyTorch cannot differentiate through a variable that is assigned after the read.
        state = tree.map_structure(
            ops.copy, initial_state if initial_state is not None else self.states
        )
        if reset is not None:
            reset = self._with_rows(ops.cast(_check_flags(reset, sequences), "bool"))
            # A cleared row has no last output to repeat at masked timesteps.
            clears_output = mask is not None and self.last_output is not None
            if reset.shape[1] != 1 or clears_output:
                return self._run_with_flags(sequences, state, mask, training, reset)
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
        """Run over time on the kernel chosen for this call; see `kernels.run`."""
        result = kernels.run(self, sequences, initial_state, mask, training, reset)
        if self.last_output is not None:
            self.last_output.assign(result[0])
        return result

    def _run_with_flags(
        self, sequences: Any, state: Any, mask: Any, training: bool, reset: Any
    ) -> Any:
        """Run as `keras.layers.RNN.call` does, and pass flags for each timestep to the loop."""
        missing = ops.shape(sequences)[1] - ops.shape(reset)[1]
        flags = ops.pad(reset, [[0, 0], [0, missing]])
        mask = self._with_rows(mask) if mask is not None else None
        state = self.begin(sequences, state)
        output, *state = self.end(*self.inner_loop(sequences, state, mask, training, flags))
        self._assign_states(state)
        return (output, *state) if self.return_state else output

    def begin(self, sequences: Any, state: Any) -> Any:
        """Return the state in the dtype of the loop, and draw dropout, as Keras does beforehand."""
        state = tree.map_structure(lambda x: ops.cast(x, self.cell.compute_dtype), state)
        self._maybe_config_dropout_masks(self.cell, sequences[:, 0, :], state)
        return state

    def end(self, last: Any, outputs: Any, state: Any) -> tuple[Any, ...]:
        """Return output and state in the dtype of the layer, as Keras does after the loop."""
        self.forget_dropout()
        output = outputs if self.return_sequences else last
        results: list[Any] = tree.map_structure(
            lambda x: ops.cast(x, self.compute_dtype), [output, *state]
        )
        return tuple(results)

    def forget_dropout(self) -> None:
        """Discard the dropout masks that `begin` drew; the next call draws new ones."""
        self._maybe_reset_dropout_masks(self.cell)

    def reset_state(self) -> None:
        """Clear the state of every row."""
        # Keras' own method only clears the states of a single cell, and only to zeros.
        if self.states is not None:
            self._assign_states(self.get_initial_state(self._rows))
        if self.last_output is not None:
            self.last_output.assign(ops.zeros(self.last_output.shape))

    def get_config(self) -> dict[str, Any]:
        """Return the config of the Keras layer, with `save_state` if it is set."""
        config: dict[str, Any] = super().get_config()
        return {**config, "save_state": True} if self.save_state else config

    def save_own_variables(self, store: Any) -> None:
        """Write the weights, and with `save_state` the states."""
        super().save_own_variables(store)
        if self.save_state:
            for number, state in enumerate(self.stored):
                store[f"{_SAVED}{number}"] = state

    def load_own_variables(self, store: Any) -> None:
        """Read the weights, and with `save_state` the states if the file has them."""
        names = set(store.keys())
        state_names = {name for name in names if name.startswith(_SAVED)}
        super().load_own_variables({name: store[name] for name in names - state_names})
        if self.save_state and state_names:
            self._load_states([store[f"{_SAVED}{number}"] for number in range(len(state_names))])

    def _load_states(self, values: list[Any]) -> None:
        shapes = [tuple(value.shape) for value in values]
        own_shapes = [tuple(state.shape) for state in self.stored]
        if shapes != own_shapes:
            actual = f"states of shapes {shapes} in the file"
            fix = "Build the layer with save_state=False, which ignores the states of the file."
            raise bad_argument(self.name, Description(actual), f"of shapes {own_shapes}", fix)
        for state, value in zip(self.stored, values, strict=True):
            state.assign(value)

    def _assign_states(self, values: Any) -> None:
        for state, value in zip(tree.flatten(self.states), tree.flatten(values), strict=True):
            state.assign(value)

    def _check_rows(self, sequences: Any) -> None:
        rows = sequences.shape[0]
        if rows != self._rows:
            actual = Description(f"{rows} rows for layer {self.name!r}")
            raise bad_argument("sequences", actual, self._expected, self._ways_out(rows))

    def _with_rows(self, x: Any) -> Any:
        """Give `x` the number of rows of the state if the graph does not know how many it has."""
        if x.shape[0] is not None:
            return x
        refusal = (
            f"sequences of layer {self.name!r} must be {self._expected}. {self._ways_out('...')} "
            "Got rows:"
        )
        return kernels.with_rows(x, self._rows, refusal)

    @property
    def _expected(self) -> str:
        return f"{self._rows} rows, the batch size of its state"

    def _ways_out(self, rows: int | str) -> str:
        """Return how to read a batch of another number of rows."""
        return (
            f"Use batch_size={self._rows} and data of whole batches, or convert the model: "
            f"seqkeras.states.as_stateful(model, batch_size={rows})."
        )

    @property
    def _rows(self) -> int:
        return int(tree.flatten(self.states)[0].shape[0])


def mask_of_call(mask: Any, sequences_mask: Any) -> Any:
    """Return the mask of a call: the mask that is passed, or that of the sequences.

    If a call has one tensor, Keras passes its mask as `mask`. If it has several, Keras passes the
    mask of the argument `sequences` as `sequences_mask`.
    """
    if mask is not None or sequences_mask is False:
        return mask
    return sequences_mask


def _check_mask(mask: Any, sequences: Any) -> None:
    mask = mask[0] if isinstance(mask, (list, tuple)) else mask
    if mask is None:
        return
    rows, timesteps = sequences.shape[:2]
    shape = tuple(mask.shape)
    fits = len(shape) in (2, 3) and shape[0] in (rows, 1, None) and shape[1] in (timesteps, None)
    if not fits and None not in (rows, timesteps):
        expected = f"of shape ({rows}, {timesteps}), True for each timestep that counts"
        raise bad_argument("mask", Description(f"shape {shape}"), expected)


def _check_flags(reset: Any, sequences: Any) -> Any:
    rows, timesteps = sequences.shape[:2]
    expected = f"of shape ({rows}, 1) or ({rows}, timesteps)"
    if len(reset.shape) != 2 or reset.shape[0] not in (rows, None):
        raise bad_argument("reset", Description(f"shape {tuple(reset.shape)}"), expected)
    if timesteps is not None and (reset.shape[1] or 0) > timesteps:
        fix = f"There are {timesteps} timesteps."
        raise bad_argument("reset", Description(f"shape {tuple(reset.shape)}"), expected, fix)
    return reset


@_register
class RNN(Resettable, keras.layers.RNN):
    """`keras.layers.RNN` over any Keras cell, with `reset` in its call; see `Resettable`.

    Call arguments, in addition to those of Keras and of `Resettable`:
        constants: tensors that the cell reads at every timestep, as in Keras 2: a list, or one
            tensor. The cell is built with a list of the shape of a timestep and the shapes of the
            constants, and is called as `cell(inputs, states, constants=[...])`. Not for several
            cells.
        return_attention: for an `AttentionCell`, whether to return also its weights, after the
            output and any states: `(batch, timesteps, memory_timesteps)`, or with
            `return_sequences=False` those of the last timestep `(batch, memory_timesteps)`. At
            masked timesteps, they repeat those of the last timestep that counted, as the output
            does. Not for stateful layers. Default: False.

    Example:
        >>> import numpy as np
        >>> class Shifted(keras.layers.SimpleRNNCell):
        ...     def build(self, shapes):
        ...         super().build(shapes[0])
        ...
        ...     def call(self, inputs, states, constants):
        ...         return super().call(inputs + constants[0], states)
        >>> x, shift = np.ones((2, 5, 3), "float32"), np.ones((2, 3), "float32")
        >>> RNN(Shifted(4))(x, constants=[shift]).shape == (2, 4)
        True
    """

    #: The constants of the current call.
    constants: list[Any] | None = None

    def build(
        self, sequences_shape: Any, initial_state_shape: Any = None, constants_shape: Any = None
    ) -> None:
        """Create the weights and states."""
        if constants_shape is not None:
            self._check_one_cell()
        if constants_shape is not None and not self.cell.built:
            is_list = isinstance(constants_shape, list)
            shapes = constants_shape if is_list else [constants_shape]
            step_shape = (sequences_shape[0], *sequences_shape[2:])
            self.cell.build([step_shape, *shapes])
            self.cell.built = True
        super().build(sequences_shape, initial_state_shape)

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
        reset: Any = None,
        sequences_mask: Any = None,
        constants: Any = None,
        return_attention: bool = False,
    ) -> Any:
        """Run over time, with constants that the cell reads at every timestep."""
        arguments = (sequences, initial_state, mask, training, reset, sequences_mask)
        if check_flag("return_attention", return_attention):
            self._check_attention(constants)
        if constants is None:
            return super().call(*arguments)
        self._check_one_cell()
        with self._prepared(tree.flatten(constants), training, return_attention) as ready:
            # Stored for `kernels.run`: the code of Keras in between does not pass them on.
            object.__setattr__(self, "constants", ready)
            try:
                outputs = super().call(*arguments)
            finally:
                object.__setattr__(self, "constants", None)
        if not return_attention:
            return outputs
        joined, *states = outputs if self.return_state else [outputs]
        width = self.cell.output_units
        return (joined[..., :width], *states, joined[..., width:])

    def compute_output_spec(self, *arguments: Any, **options: Any) -> Any:
        """Return the shapes and dtypes of the outputs, states and weights of the attention."""
        outputs = super().compute_output_spec(*arguments, **options)
        passed = inspect.signature(self.call).bind(*arguments, **options).arguments
        if not passed.get("return_attention", False):
            return outputs
        self._check_attention(passed.get("constants"))
        output, *states = outputs if self.return_state else [outputs]
        memory = tree.flatten(passed["constants"])[0]
        shape = (*output.shape[:-1], memory.shape[1])
        return (output, *states, keras.KerasTensor(shape, self.compute_dtype))

    def _prepared(self, constants: list[Any], training: bool, with_weights: bool) -> Any:
        # An AttentionCell computes once what all timesteps read.
        prepare = getattr(self.cell, "prepared", None)
        return prepare(constants, training, with_weights) if prepare else nullcontext(constants)

    def _check_attention(self, constants: Any) -> None:
        if not hasattr(self.cell, "prepared"):
            expected = f"False for the cell {type(self.cell).__name__}"
            fix = "Only an AttentionCell has weights to return."
            raise bad_argument("return_attention", True, expected, fix)
        if self.stateful:
            raise bad_argument("return_attention", True, "False where stateful=True")
        if constants is None:
            raise bad_argument("constants", None, "[memory, mask], to return the attention to it")

    def _check_one_cell(self) -> None:
        if isinstance(self.cell, keras.layers.StackedRNNCells):
            actual = Description(f"tensors for the {len(self.cell.cells)} cells of {self.name!r}")
            fix = "Use a layer for each cell."
            raise bad_argument("constants", actual, "omitted for several cells", fix)


@_register
class ConvLSTM1D(Resettable, keras.layers.ConvLSTM1D):
    """`keras.layers.ConvLSTM1D` with `reset` in its call; see `Resettable`."""


@_register
class ConvLSTM2D(Resettable, keras.layers.ConvLSTM2D):
    """`keras.layers.ConvLSTM2D` with `reset` in its call; see `Resettable`."""


@_register
class ConvLSTM3D(Resettable, keras.layers.ConvLSTM3D):
    """`keras.layers.ConvLSTM3D` with `reset` in its call; see `Resettable`."""
