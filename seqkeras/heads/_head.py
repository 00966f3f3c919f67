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


class Head(keras.losses.Loss):
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

    @abstractmethod
    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each timestep, `(batch, steps)`."""

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
        return self._quantiles(self._checked(outputs), wanted)

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
        return self._sample(self._checked(outputs), count, np.random.default_rng(seed))

    @abstractmethod
    def _quantiles(self, outputs: Array, probabilities: Array) -> Array: ...

    @abstractmethod
    def _sample(self, outputs: Array, count: int, rng: np.random.Generator) -> Array: ...

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
