"""The base class of likelihoods: a loss that also turns outputs into quantiles and samples."""

from abc import abstractmethod
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from seqkeras._arrays import Floats
from seqkeras._checks import Description, bad_argument, check_integer

#: Added to every width, to keep densities finite.
LEAST_WIDTH = 1e-3


class Likelihood(keras.losses.Loss):
    """A Keras loss that can also turn the outputs it trains into quantiles and samples.

    A network returns `outputs` numbers for each timestep, all on the scale of the target. For
    `Quantiles`, each is a quantile. For a distribution, the first is its location, and the distance
    of each other number above the first determines a width. So a network may add the same naive
    forecast to all of them, and reverse its normalization in all of them in the same way.

    The loss takes targets `(batch, steps)` and outputs `(batch, steps, outputs)`. It returns the
    loss of each timestep, `(batch, steps)`, reduced according to `reduction`.
    """

    #: Number of outputs for each timestep.
    outputs: int
    #: Whether targets are counts, which must not be scaled or shifted.
    counts = False

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each timestep, `(batch, steps)`.

        Args:
            y_true: targets, `(batch, steps)` or `(batch, steps, 1)`.
            y_pred: outputs of a network, `(batch, steps, outputs)`.

        Raises:
            ArgumentError: `y_pred` has another shape.
        """
        if len(y_pred.shape) != 3 or y_pred.shape[-1] != self.outputs:
            expected = f"of shape (batch, steps, {self.outputs})"
            raise bad_argument("y_pred", Description(f"shape {tuple(y_pred.shape)}"), expected)
        target = y_true[..., 0] if len(y_true.shape) == len(y_pred.shape) else y_true
        return self._loss(ops.cast(target, y_pred.dtype), y_pred)

    @abstractmethod
    def _loss(self, target: Any, outputs: Any) -> Any: ...

    def quantiles(self, outputs: npt.ArrayLike, probabilities: npt.ArrayLike) -> Floats:
        """Return quantiles of the predicted distributions.

        Args:
            outputs: `(..., outputs)`, as the network returned them.
            probabilities: `(n,)`, each between 0 and 1.

        Returns:
            `(..., n)`. A quantile is never below that of a lower probability.

        Raises:
            ArgumentError: a probability is not between 0 and 1, or the last axis of `outputs` has
                the wrong length.
        """
        array = np.asarray(probabilities, dtype=np.float64)
        if array.ndim != 1 or not np.all((array > 0) & (array < 1)):
            raise bad_argument("probabilities", probabilities, "a list of numbers between 0 and 1")
        return self._at(self._checked(outputs)[..., np.newaxis, :], array)

    def point(self, outputs: npt.ArrayLike) -> Floats:
        """Return the median, `(...)`: the forecast with the least absolute error."""
        return self.quantiles(outputs, [0.5])[..., 0]

    def sample(self, outputs: npt.ArrayLike, count: int, *, seed: int | None = None) -> Floats:
        """Draw from the predicted distributions, independently for each timestep.

        Args:
            outputs: `(..., outputs)`.
            count: number of draws for each timestep.
            seed: seed of the draws. Default: different draws each time.

        Returns:
            `(count, ...)`.
        """
        count = check_integer("count", count)
        array = self._checked(outputs)
        probabilities = np.random.default_rng(seed).random((count, *array.shape[:-1]))
        return self._at(array, probabilities)

    def at(self, outputs: npt.ArrayLike, probabilities: npt.ArrayLike) -> Floats:
        """Return one quantile for each timestep, at its own probability.

        Args:
            outputs: `(..., outputs)`.
            probabilities: `(...)` or a shape that broadcasts to it, each in [0, 1).

        Returns:
            `(...)`.
        """
        return self._at(self._checked(outputs), np.asarray(probabilities, dtype=np.float64))

    @abstractmethod
    def _at(self, outputs: Floats, probabilities: Floats) -> Floats:
        """Return quantiles; the arguments broadcast, except for the last axis of `outputs`."""

    def _checked(self, outputs: npt.ArrayLike) -> Floats:
        array = np.asarray(outputs, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != self.outputs:
            expected = f"an array whose last axis has length {self.outputs}"
            raise bad_argument("outputs", Description(f"shape {array.shape}"), expected)
        return array


def width(outputs: Any, place: int) -> Any:
    """Return the distance of the output at `place` above the first, made positive; for tensors."""
    return ops.softplus(outputs[..., place] - outputs[..., 0]) + LEAST_WIDTH


def width_of_array(outputs: Floats, place: int) -> Floats:
    """Return the same as `width`, for NumPy arrays."""
    return np.logaddexp(0.0, outputs[..., place] - outputs[..., 0]) + LEAST_WIDTH
