"""A head: the loss that a network is trained on, and what its outputs say of the future."""

from abc import abstractmethod
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from seqkeras._checks import bad_argument, check_integer

Array = npt.NDArray[np.float64]
#: What is added to a width, so that no density is infinite.
LEAST_WIDTH = 1e-3


class Likelihood(keras.losses.Loss):
    """A loss of Keras, that also knows what the outputs mean that it trains.

    Of each timestep a network gives `outputs` numbers. All are points on the axis of the target:
    the first is where the distribution lies (of `Quantiles`, each is a quantile), and how far
    another is above the first is a width. So a network may add the same naive forecast to all of
    them, and undo its normalization in all of them alike.

    As a loss it takes targets `(batch, steps)` and outputs `(batch, steps, outputs)`, and gives the
    loss of each timestep, `(batch, steps)`, to be reduced as `reduction` says.
    """

    #: Numbers for each timestep.
    outputs: int
    #: Whether targets are counts, which no scale and no shift may change.
    counts = False

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each timestep, `(batch, steps)`; targets may be `(batch, steps, 1)`.

        Raises:
            ArgumentError: the outputs are not `(batch, steps, outputs)`.
        """
        if len(y_pred.shape) != 3 or y_pred.shape[-1] != self.outputs:
            expected = f"of shape (batch, steps, {self.outputs})"
            raise bad_argument("y_pred", f"shape {tuple(y_pred.shape)}", expected)
        target = y_true[..., 0] if len(y_true.shape) == len(y_pred.shape) else y_true
        return self._loss(ops.cast(target, y_pred.dtype), y_pred)

    @abstractmethod
    def _loss(self, target: Any, outputs: Any) -> Any: ...

    def quantiles(self, outputs: npt.ArrayLike, probabilities: npt.ArrayLike) -> Array:
        """Quantiles of what the outputs say.

        Args:
            outputs: `(..., outputs)`, as the network gave them.
            probabilities: `(n,)`, each between 0 and 1.

        Returns:
            `(..., n)`; along the last axis they do not fall where the probabilities rise.

        Raises:
            ArgumentError: a probability is not between 0 and 1, or the last axis of `outputs` is
                not as long as the head needs.
        """
        wanted = np.asarray(probabilities, dtype=np.float64)
        if wanted.ndim != 1 or not np.all((wanted > 0) & (wanted < 1)):
            raise bad_argument("probabilities", probabilities, "a list of numbers between 0 and 1")
        return self._at(self._checked(outputs)[..., np.newaxis, :], wanted)

    def point(self, outputs: npt.ArrayLike) -> Array:
        """The median, `(...)`: the forecast with the least absolute error."""
        return self.quantiles(outputs, [0.5])[..., 0]

    def sample(self, outputs: npt.ArrayLike, count: int, *, seed: int | None = None) -> Array:
        """Draws from what the outputs say, each timestep by itself.

        Args:
            outputs: `(..., outputs)`.
            count: draws of each timestep.
            seed: of the draws; None is different each time.

        Returns:
            `(count, ...)`.
        """
        count = check_integer("count", count)
        array = self._checked(outputs)
        drawn = np.random.default_rng(seed).random((count, *array.shape[:-1]))
        return self._at(array, drawn)

    def at(self, outputs: npt.ArrayLike, probabilities: npt.ArrayLike) -> Array:
        """The quantile of each timestep at a probability of its own.

        Args:
            outputs: `(..., outputs)`.
            probabilities: `(...)`, or a shape that goes with it, each from 0 to below 1.

        Returns:
            `(...)`.
        """
        return self._at(self._checked(outputs), np.asarray(probabilities, dtype=np.float64))

    @abstractmethod
    def _at(self, outputs: Array, probabilities: Array) -> Array:
        """Quantiles; both arguments go with one another, but for the last axis of `outputs`."""

    def _checked(self, outputs: npt.ArrayLike) -> Array:
        array = np.asarray(outputs, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != self.outputs:
            expected = f"an array whose last axis has {self.outputs}"
            raise bad_argument("outputs", f"shape {array.shape}", expected)
        return array


def width(outputs: Any, place: int) -> Any:
    """How far an output is above the first, made positive; of tensors."""
    return ops.softplus(outputs[..., place] - outputs[..., 0]) + LEAST_WIDTH


def width_of_array(outputs: Array, place: int) -> Array:
    """`width`, of arrays."""
    return np.logaddexp(0.0, outputs[..., place] - outputs[..., 0]) + LEAST_WIDTH
