"""Quantiles, each an output of its own."""

from typing import Any

import keras
import numpy as np
from keras import ops

from seqkeras._checks import bad_argument
from seqkeras.likelihoods._likelihood import Array, Likelihood


@keras.saving.register_keras_serializable(package="seqkeras")
class Quantiles(Likelihood):
    """Quantiles by the pinball loss (Koenker & Bassett 1978), which never cross.

    Outputs are sorted before anything else is done with them, in training too, which cannot make
    them worse (Chernozhukov, Fernandez-Val & Galichon 2010, arXiv 0704.3649).

    Args:
        probabilities: of the quantiles, rising, between 0 and 1.
        name, reduction, dtype: as of any loss of Keras.

    Raises:
        ArgumentError: `probabilities` are not as above.

    Example:
        >>> head = Quantiles([0.1, 0.5, 0.9])
        >>> head.quantiles([[3.0, 1.0, 2.0]], [0.5, 0.7]).tolist()
        [[2.0, 2.5]]
    """

    def __init__(
        self,
        probabilities: Any = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95),
        name: str = "quantiles",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        array = np.asarray(probabilities, dtype=np.float64)
        rising = array.ndim == 1 and array.size > 0 and bool(np.all(np.diff(array) > 0))
        if not (rising and array[0] > 0 and array[-1] < 1):
            expected = "a list of rising numbers between 0 and 1"
            raise bad_argument("probabilities", probabilities, expected)
        self.probabilities = tuple(map(float, array))
        self.outputs = len(self.probabilities)

    def _loss(self, target: Any, outputs: Any) -> Any:
        """The mean of the pinball losses of all quantiles."""
        found = ops.sort(outputs, axis=-1)
        probabilities = ops.convert_to_tensor(self.probabilities, dtype=found.dtype)
        error = ops.expand_dims(target, -1) - found
        # Twice the usual, so that the loss of the median is the absolute error.
        losses = 2 * ops.maximum(probabilities * error, (probabilities - 1) * error)
        return ops.mean(losses, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return {**super().get_config(), "probabilities": list(self.probabilities)}

    def _at(self, outputs: Array, probabilities: Array) -> Array:
        """Linear between the quantiles there are; beyond the outermost, these."""
        places = np.interp(probabilities, self.probabilities, np.arange(self.outputs))
        shape = np.broadcast_shapes(outputs.shape[:-1], places.shape)
        places = np.broadcast_to(places, shape)[..., np.newaxis]
        known = np.broadcast_to(np.sort(outputs, axis=-1), (*shape, self.outputs))
        below = places.astype(np.int64)
        above = np.minimum(below + 1, self.outputs - 1)
        low, high = (np.take_along_axis(known, one, axis=-1) for one in (below, above))
        return np.asarray(low + (places - below) * (high - low))[..., 0]
