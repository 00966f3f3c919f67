"""LSTM, GRU and SimpleRNN that choose the kernel of their loop over time."""

import inspect
from typing import Any

import keras

from seqkeras import kernels
from seqkeras._checks import (
    Description,
    bad_argument,
    check_fraction,
    check_integer,
    check_one_of,
    check_probability,
)
from seqkeras.layers import _cells
from seqkeras.layers._resettable import Resettable
from seqkeras.layers._weight_drop import dropped_weights

_register = keras.saving.register_keras_serializable(package="seqkeras")


#: The value of each variant that leaves the cell of Keras as it is, if it is not 0 or False.
_OFF = {"num_proj": None, "cell_clip": None, "proj_clip": None}


class Dispatched(Resettable):
    """Base of the layers below, listed before the Keras layer.

    Args, in addition to those of Keras and of `Resettable`:
        implementation: which of several equivalent kernels runs the loop over time. `auto`, the
            default, chooses the fastest kernel that can run the call; `seqkeras.explain(model)`
            shows the choice, and why faster kernels cannot run. `cudnn`, `fused` and `scan` request
            a kernel, with an error where it cannot run. (0, 1 and 2 are passed to Keras, which
            orders the products within a cell by them; the kernel is then chosen by `auto`.)
        weight_drop: share of the recurrent weights that training sets to 0, drawn anew for each
            batch and the same at all of its timesteps; the others are scaled up (DropConnect on the
            recurrent weights, Merity et al. 2018, https://arxiv.org/abs/1708.02182). It runs on
            every kernel. Default: 0.

    Call arguments, in addition to those of Keras and of `Resettable`:
        branch: read each timestep from `initial_state`, as if it were the first. Returns
            `(batch, timesteps, units)` and no states; see `seqkeras.layers.branch`. A branch is not
            a kernel: `implementation` has no effect on it. Default: False.
    """

    cell: Any

    def __init__(
        self,
        units: int,
        *arguments: Any,
        implementation: str | int = "auto",
        weight_drop: float = 0.0,
        **options: Any,
    ) -> None:
        check_integer("units", units)
        for name in ("dropout", "recurrent_dropout"):
            check_probability(name, options.get(name, 0.0))
        if type(implementation) is int and 0 <= implementation <= 2:
            options["implementation"] = implementation
            implementation = "auto"
        super().__init__(units, *arguments, **options)
        self.implementation = check_one_of(
            "implementation", implementation, kernels.IMPLEMENTATIONS
        )
        self.weight_drop = check_fraction("weight_drop", weight_drop)
        if keras.backend.backend() == "tensorflow":
            # Keras sets `supports_jit` to False wherever there is a GPU, as if cuDNN ran the layer,
            # even with recurrent dropout, which cuDNN does not support.
            spec = kernels.Spec.of(self, training=True)
            self.supports_jit = kernels.why_not(spec, kernels.here())["cudnn"] is not None

    def _assert_input_compatibility(self, sequences: Any) -> None:
        """Refuse inputs that are no sequences, with advice that Keras' own message lacks."""
        shape = tuple(getattr(sequences, "shape", ()))
        if shape and len(shape) != 3:
            expected = f"of shape (batch, timesteps, features) for layer {self.name!r}"
            raise bad_argument(
                "sequences", Description(f"shape {shape}"), expected, _advice(sequences)
            )
        super()._assert_input_compatibility(sequences)

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
        reset: Any = None,
        sequences_mask: Any = None,
        branch: bool = False,
    ) -> Any:
        """Run over time or, with `branch`, run one step for each timestep from the same state."""
        if not branch:
            return super().call(sequences, initial_state, mask, training, reset, sequences_mask)
        self._check_branch(sequences, initial_state, mask=mask, reset=reset)
        return kernels.branch(self, sequences, initial_state)

    def inner_loop(
        self,
        sequences: Any,
        initial_state: Any,
        mask: Any = None,
        training: bool = False,
        reset: Any = None,
    ) -> Any:
        """Run over time on the kernel chosen for this call, in training with dropped weights."""
        with dropped_weights(self.cell, self.weight_drop if training else 0.0):
            return super().inner_loop(sequences, initial_state, mask, training, reset)

    def compute_output_spec(
        self, sequences: Any, initial_state: Any = None, *arguments: Any, **options: Any
    ) -> Any:
        """Return the shapes and dtypes of the outputs; a branch has one for every timestep."""
        if not options.pop("branch", False):
            return super().compute_output_spec(sequences, initial_state, *arguments, **options)
        self._check_branch(sequences, initial_state, **options)
        shape = (initial_state[0].shape[0], sequences.shape[1], self.cell.units)
        return keras.KerasTensor(shape, self.compute_dtype)

    def _check_branch(
        self, queries: Any, state: Any, mask: Any = None, reset: Any = None, **options: Any
    ) -> None:
        for name, flags in (("mask", mask), ("reset", reset)):
            if flags is not None:
                fix = "In a branch, no timestep follows another."
                raise bad_argument(name, Description("flags"), "omitted where branch=True", fix)
        kernels.check_branch(self, queries, state if state is not None else [])
        reason = kernels.why_not_branch(self)
        if reason is not None:
            fix = f"Here {reason}. Use seqkeras.layers.branch, which runs any layer."
            raise bad_argument("branch", True, f"False for layer {self.name!r}", fix)

    def get_config(self) -> dict[str, Any]:
        """Return the config of the Keras layer, with our options that are not at their default."""
        config = {**super().get_config(), **self._variants}
        if self.implementation != "auto":
            config["implementation"] = self.implementation
        if self.weight_drop:
            config["weight_drop"] = self.weight_drop
        return config

    def _take_cell(self, kind: type[keras.layers.Layer], **variants: Any) -> None:
        """Replace the Keras cell by our cell `kind`, if any variant is set."""
        options = {name: value for name, value in variants.items() if value != _OFF.get(name, 0)}
        if options:
            self._tracker.untrack(self.cell)
            self.cell = kind(**_arguments(self.cell), **options)  # checks their values
            self.state_size = list(kernels.state_sizes(self.cell))
        self._variants = {name: getattr(self.cell, name) for name in options}


def _advice(inputs: Any) -> str:
    """Return how to make sequences of inputs with another number of axes."""
    if len(inputs.shape) != 2:
        return "Use keras.layers.Reshape, or keras.layers.TimeDistributed around the layer."
    if "int" in keras.backend.standardize_dtype(inputs.dtype):
        return "For ids of tokens, put a keras.layers.Embedding before it."
    return (
        "Give return_sequences=True to a recurrent layer that comes before it, or add the axis "
        "that is missing, such as x[..., np.newaxis] for a single feature."
    )


def _arguments(cell: Any) -> dict[str, Any]:
    """Return the constructor arguments of a Keras cell; not every function fits in its config."""
    names = inspect.signature(type(cell).__init__).parameters.keys() - {"self", "kwargs"}
    names |= {"name", "trainable", "implementation"} & set(dir(cell))
    return {"dtype": cell.dtype_policy, **{name: getattr(cell, name) for name in names}}


@_register
class LSTM(Dispatched, keras.layers.LSTM):
    """`keras.layers.LSTM` on the fastest kernel available; see `Dispatched` and `Resettable`.

    It takes the arguments of these two and of Keras' layer, and the following.

    Args:
        zoneout_h: probability that a number of h keeps its old value in training; outside of
            training h is the expectation (Krueger et al. 2017, https://arxiv.org/abs/1606.01305).
            Default: 0.
        zoneout_c: the same for c. Default: 0.
        peephole: let the gates read c: i and f the old c, o the new c (Gers & Schmidhuber 2000).
            Default: False.
        normalization: layer normalization of the products with both kernels, and of c before it
            enters the output (Ba et al. 2016, https://arxiv.org/abs/1607.06450, eq. 20 to 22). Not
            with peepholes. Default: False.
        num_proj: width of h if it is a linear projection of the gated c, as in
            `tf.compat.v1.nn.rnn_cell.LSTMCell` (Sak et al. 2014, https://arxiv.org/abs/1402.1128);
            c keeps its `units`. Not with zoneout. Default: no projection.
        cell_clip: largest absolute value of c, clipped at each timestep. Default: none.
        proj_clip: largest absolute value of the projected h. Default: none.
    """

    def __init__(
        self,
        *arguments: Any,
        zoneout_h: float = 0.0,
        zoneout_c: float = 0.0,
        peephole: bool = False,
        normalization: bool = False,
        num_proj: int | None = None,
        cell_clip: float | None = None,
        proj_clip: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._take_cell(
            _cells.LSTMCell,
            zoneout_h=zoneout_h,
            zoneout_c=zoneout_c,
            peephole=peephole,
            normalization=normalization,
            num_proj=num_proj,
            cell_clip=cell_clip,
            proj_clip=proj_clip,
        )


@_register
class GRU(Dispatched, keras.layers.GRU):
    """`keras.layers.GRU` on the fastest kernel available; see `Dispatched` and `Resettable`.

    It takes the arguments of these two and of Keras' layer, and the following.

    Args:
        zoneout_h: probability that a number of h keeps its old value in training; outside of
            training h is the expectation (Krueger et al. 2017, https://arxiv.org/abs/1606.01305).
            Default: 0.
    """

    def __init__(self, *arguments: Any, zoneout_h: float = 0.0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._take_cell(_cells.GRUCell, zoneout_h=zoneout_h)


@_register
class SimpleRNN(Dispatched, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN` on the fastest kernel available; see `Dispatched`, `Resettable`.

    It takes the arguments of these two and of Keras' layer, and the following. It also applies its
    `activity_regularizer`, which Keras' layer drops.

    Args:
        zoneout_h: probability that a number of h keeps its old value in training; outside of
            training h is the expectation (Krueger et al. 2017, https://arxiv.org/abs/1606.01305).
            Default: 0.
    """

    def __init__(
        self,
        *arguments: Any,
        zoneout_h: float = 0.0,
        activity_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        # Keras' SimpleRNN accepts the argument, but ignores it.
        self.activity_regularizer = keras.regularizers.get(activity_regularizer)
        self._take_cell(_cells.SimpleRNNCell, zoneout_h=zoneout_h)


#: Our layer for each layer of Keras.
FASTER: dict[type[keras.layers.RNN], type[Dispatched]] = {
    keras.layers.LSTM: LSTM,
    keras.layers.GRU: GRU,
    keras.layers.SimpleRNN: SimpleRNN,
}
