"""Raise the weight of the divergence of a variational autoencoder from epoch to epoch."""

from typing import Any

import keras

from seqkeras._checks import bad_argument, check_integer
from seqkeras._keras_graph import self_and_sublayers
from seqkeras.layers import GaussianCode

#: Epochs over which the weight rises from 0.
ANNEALING_EPOCHS = 10


class KLAnnealing(keras.callbacks.Callback):
    """A callback that raises the weight of the divergence evenly from 0 to its full value.

    A decoder that ignores the code makes the divergence 0, and training may stay there. With a low
    weight at first, the decoder learns to read the code before (Bowman et al. 2016, arXiv
    1511.06349). The loss rises with the weight: let early stopping begin after these epochs.

    Args:
        epochs: number of epochs after which the weight is that of the layer, default 10.

    Raises:
        ArgumentError: `epochs` is not a positive integer; or, when training starts, the model has
            no `layers.GaussianCode`.

    Example:
        >>> import numpy as np
        >>> from seqkeras.models import autoencoder
        >>> model = autoencoder(1, timesteps=5, latent=2, units=4, variational=True)
        >>> model.compile("adam", "mse")
        >>> x = np.zeros((8, 5, 1))
        >>> history = model.fit(x, x, epochs=2, verbose=0, callbacks=[KLAnnealing(epochs=1)])
    """

    def __init__(self, epochs: int = ANNEALING_EPOCHS) -> None:
        super().__init__()
        self.epochs = check_integer("epochs", epochs)

    def on_train_begin(self, logs: Any = None) -> None:
        """Find the layers."""
        layers = self_and_sublayers(self.model)
        self._layers = [layer for layer in layers if isinstance(layer, GaussianCode)]
        if not self._layers:
            fix = "autoencoder(..., variational=True) has one."
            expected = "a model with a GaussianCode layer"
            raise bad_argument("model", self.model.name, expected, fix)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the weight of this epoch."""
        for layer in self._layers:
            layer.weight.assign(layer.kl_weight * min(1.0, epoch / self.epochs))
