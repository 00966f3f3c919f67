"""The weight of the divergence, from epoch to epoch."""

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.models import autoencoder, many_to_one
from seqkeras.training import KLAnnealing

X = np.ones((4, 3, 1), "float32")


def test_the_weight_rises_to_that_of_the_layer():
    model = autoencoder(1, timesteps=3, latent=2, units=2, variational=True, kl_weight=0.5)
    model.compile("sgd", "mse")
    code = model.get_layer("encoder").get_layer("code")
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(float(code.weight.value))
    )
    model.fit(X, X, epochs=4, verbose=0, callbacks=[KLAnnealing(2), watch])
    assert seen == [0.0, 0.25, 0.5, 0.5]


def test_what_cannot_work_is_refused():
    with pytest.raises(ArgumentError, match="epochs must be an integer >= 1"):
        KLAnnealing(0)
    model = many_to_one(1, units=2)
    model.compile("sgd", "mse")
    with pytest.raises(ArgumentError, match="model must be a model with a GaussianCode layer"):
        model.fit(X, X[:, 0], verbose=0, callbacks=[KLAnnealing()])
