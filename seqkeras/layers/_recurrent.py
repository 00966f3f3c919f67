"""LSTM, GRU and SimpleRNN of Keras, whose loop over time runs on a kernel that can be asked for."""

import inspect
from typing import Any

import keras

from seqkeras import kernels
from seqkeras._checks import bad_argument, check_one_of
from seqkeras.layers import _cells
from seqkeras.layers._resettable import Resettable

_register = keras.saving.register_keras_serializable(package="seqkeras")


class Dispatched(Resettable):
    """What the layers below share; stands before the Keras layer in their bases.

    Args beside those of Keras and of `Resettable`:
        implementation: which of several equal ways runs the loop over time.
            `auto`, the default, takes the fastest that can; `seqkeras.explain(model)` tells which
            that is, and why the faster ones cannot. `cudnn`, `fused` and `scan` name one, and are
            an error where it cannot run. (The numbers 0, 1 and 2 are Keras' orders of the
            products within a cell, and leave this `auto`.)

    Call arguments beside those of Keras and of `Resettable`:
        branch: each timestep is read from `initial_state`, as if it were the first. Gives
            `(batch, timesteps, units)`, and no states; see `seqkeras.layers.branch`. It is no
            kernel: `implementation` does not choose for it.
    """

    def __init__(self, *arguments: Any, implementation: str | int = "auto", **options: Any) -> None:
        if type(implementation) is int and 0 <= implementation <= 2:
            options["implementation"], implementation = implementation, "auto"
        super().__init__(*arguments, **options)
        self.implementation = check_one_of(
            "implementation", implementation, kernels.IMPLEMENTATIONS
        )
        if keras.backend.backend() == "tensorflow":
            # Keras takes it for cuDNN's wherever there is a GPU, with recurrent dropout also.
            spec = kernels.Spec.of(self, training=True)
            self.supports_jit = kernels.why_not(spec, kernels.here())["cudnn"] is not None

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
        reset: Any = None,
        branch: bool = False,
    ) -> Any:
        """Runs over time; or, with `branch`, one step for each timestep from the same state."""
        if not branch:
            return super().call(sequences, initial_state, mask, training, reset)
        self._check_branch(sequences, initial_state, mask=mask, reset=reset)
        return kernels.branch(self, sequences, initial_state)

    def compute_output_spec(
        self, sequences: Any, initial_state: Any = None, *arguments: Any, **options: Any
    ) -> Any:
        """What Keras says of the outputs; of a branch, that there is one for every timestep."""
        if not options.pop("branch", False):
            return super().compute_output_spec(sequences, initial_state, *arguments, **options)
        self._check_branch(sequences, initial_state, **options)
        shape = (initial_state[0].shape[0], sequences.shape[1], self.cell.units)
        return keras.KerasTensor(shape, self.compute_dtype)

    def _check_branch(
        self, queries: Any, state: Any, mask: Any = None, reset: Any = None, **options: Any
    ) -> None:
        for name, given in (("mask", mask), ("reset", reset)):
            if given is not None:
                fix = "No timestep comes after another."
                raise bad_argument(name, "flags", "left away where branch=True", fix)
        kernels.check_branch(self, queries, [] if state is None else state)
        reason = kernels.why_not_branch(self)
        if reason is not None:
            fix = f"Here {reason}. seqkeras.layers.branch runs any layer."
            raise bad_argument("branch", True, f"False for layer {self.name!r}", fix)

    def get_config(self) -> dict[str, Any]:
        """The config of the Keras layer, and what is asked for beside it."""
        config = {**super().get_config(), **self._variants}
        asked = self.implementation
        return config if asked == "auto" else {**config, "implementation": asked}

    cell: Any

    def _take_cell(self, kind: type[keras.layers.Layer], **variants: Any) -> None:
        """Puts a cell with variants in the place of the Keras cell, if any of them is asked for."""
        asked = {name: value for name, value in variants.items() if value not in (0, False)}
        if asked:
            self._tracker.untrack(self.cell)
            self.cell = kind(**_arguments(self.cell), **asked)  # checks them, too
        self._variants = {name: getattr(self.cell, name) for name in asked}


def _arguments(cell: Any) -> dict[str, Any]:
    """What a Keras cell was made with, not by its config: functions need not be serializable."""
    names = inspect.signature(type(cell).__init__).parameters.keys() - {"self", "kwargs"}
    names |= {"name", "trainable", "implementation"} & set(dir(cell))
    return {"dtype": cell.dtype_policy, **{name: getattr(cell, name) for name in names}}


@_register
class LSTM(Dispatched, keras.layers.LSTM):
    """`keras.layers.LSTM` on the fastest kernel there is; see `Dispatched` and `Resettable`.

    Beside the arguments of those it takes the following.

    Args:
        zoneout_h: probability that a number of h keeps its old value in training; elsewhere h is
            the expectation (Krueger et al. 2017, https://arxiv.org/abs/1606.01305).
        zoneout_c: the same for c.
        peephole: the gates see c: i and f the old one, o the new one (Gers & Schmidhuber 2000).
        normalization: both products, and c where it is shown, are normalized over the units (Ba
            et al. 2016, https://arxiv.org/abs/1607.06450, eq. 20 to 22). Not with peepholes.
    """

    def __init__(
        self,
        *arguments: Any,
        zoneout_h: float = 0.0,
        zoneout_c: float = 0.0,
        peephole: bool = False,
        normalization: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._take_cell(
            _cells.LSTMCell,
            zoneout_h=zoneout_h,
            zoneout_c=zoneout_c,
            peephole=peephole,
            normalization=normalization,
        )


@_register
class GRU(Dispatched, keras.layers.GRU):
    """`keras.layers.GRU` on the fastest kernel there is; see `Dispatched` and `Resettable`.

    Beside the arguments of those it takes the following.

    Args:
        zoneout_h: probability that a number of h keeps its old value in training; elsewhere h is
            the expectation (Krueger et al. 2017, https://arxiv.org/abs/1606.01305).
    """

    def __init__(self, *arguments: Any, zoneout_h: float = 0.0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._take_cell(_cells.GRUCell, zoneout_h=zoneout_h)


@_register
class SimpleRNN(Dispatched, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN` on the fastest kernel there is; see `Dispatched`.

    Beside the arguments of that it takes the following.

    Args:
        zoneout_h: probability that a number of h keeps its old value in training; elsewhere h is
            the expectation (Krueger et al. 2017, https://arxiv.org/abs/1606.01305).
    """

    def __init__(self, *arguments: Any, zoneout_h: float = 0.0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._take_cell(_cells.SimpleRNNCell, zoneout_h=zoneout_h)


#: The layer here for each of Keras.
FASTER: dict[type[keras.layers.RNN], type[Dispatched]] = {
    keras.layers.LSTM: LSTM,
    keras.layers.GRU: GRU,
    keras.layers.SimpleRNN: SimpleRNN,
}
