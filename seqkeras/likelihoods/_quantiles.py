"""Quantiles, one for each output."""

from typing import Any

import keras
import numpy as np
from keras import ops

from seqkeras._arrays import Floats
from seqkeras._checks import bad_argument
from seqkeras.likelihoods._likelihood import Likelihood


@keras.saving.register_keras_serializable(package="seqkeras")
class Quantiles(Likelihood):
    """Quantiles, trained by the pinball loss (Koenker & Bassett 1978), that never cross.

    Outputs are sorted before use, in training too, which cannot make the quantiles worse
    (Chernozhukov, Fernandez-Val & Galichon 2010, arXiv 0704.3649).

    Args:
        probabilities: probabilities of the quantiles, increasing, between 0 and 1.
        name, reduction, dtype: as for any Keras loss.

    Raises:
        ArgumentError: `probabilities` are not increasing, or not between 0 and 1.

    Example:
        >>> likelihood = Quantiles([0.1, 0.5, 0.9])
        >>> likelihood.quantiles([[3.0, 1.0, 2.0]], [0.5, 0.7]).tolist()
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
            expected = "a list of increasing numbers between 0 and 1"
            raise bad_argument("probabilities", probabilities, expected)
        self.probabilities = tuple(map(float, array))
        self.outputs = len(self.probabilities)

    def _loss(self, target: Any, outputs: Any) -> Any:
        quantiles = ops.sort(outputs, axis=-1)
        probabilities = ops.convert_to_tensor(self.probabilities, dtype=quantiles.dtype)
        error = ops.expand_dims(target, -1) - quantiles
        # Double the usual loss, so that the loss of the median is the absolute error.
        losses = 2 * ops.maximum(probabilities * error, (probabilities - 1) * error)
        return ops.mean(losses, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate the likelihood."""
        return {**super().get_config(), "probabilities": list(self.probabilities)}

    def _at(self, outputs: Floats, probabilities: Floats) -> Floats:
        # Interpolate linearly between quantiles; beyond the outermost ones, return these.
        places = np.interp(probabilities, self.probabilities, np.arange(self.outputs))
        shape = np.broadcast_shapes(outputs.shape[:-1], places.shape)
        places = np.broadcast_to(places, shape)[..., np.newaxis]
        quantiles = np.broadcast_to(np.sort(outputs, axis=-1), (*shape, self.outputs))
        below = places.astype(np.int64)
        above = np.minimum(below + 1, self.outputs - 1)
        low = np.take_along_axis(quantiles, below, axis=-1)
        high = np.take_along_axis(quantiles, above, axis=-1)
        return np.asarray(low + (places - below) * (high - low))[..., 0]
