"""Recurrent weights that training drops, on every kernel."""

import keras
import numpy as np
import pytest

from helpers.models import assert_close, built, randomized, to_numpy
from seqkeras import kernels, layers
from seqkeras.errors import ArgumentError

KINDS = [layers.LSTM, layers.GRU, layers.SimpleRNN]
X = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")


def dropping(kind, rate=0.5, units=4, **options):
    return randomized(built(kind(units, weight_drop=rate, **options), X.shape))


@pytest.mark.backends
@pytest.mark.parametrize("implementation", ["auto", "scan"])
def test_training_reads_a_kernel_with_some_weights_0_and_the_others_scaled(
    implementation, monkeypatch
):
    layer = dropping(layers.LSTM, units=16, return_sequences=True, implementation=implementation)
    whole = to_numpy(layer.cell.recurrent_kernel)
    seen = []
    run = kernels.run

    def watched(layer, *arguments):
        seen.append(to_numpy(layer.cell.recurrent_kernel))
        return run(layer, *arguments)

    monkeypatch.setattr(kernels, "run", watched)
    y = layer(X, training=True)
    (dropped,) = seen
    zeros = dropped == 0
    assert 0.4 < zeros.mean() < 0.6
    np.testing.assert_allclose(dropped[~zeros], 2 * whole[~zeros], rtol=1e-6)
    plain = built(layers.LSTM(16, return_sequences=True, implementation="scan"), X.shape)
    kernel, _, bias = (to_numpy(weight) for weight in layer.trainable_weights)
    plain.set_weights([kernel, dropped, bias])
    assert_close(y, plain(X))


@pytest.mark.parametrize("kind", KINDS)
def test_each_call_in_training_draws_anew_and_others_draw_nothing(kind):
    layer = dropping(kind)
    weights = [to_numpy(weight) for weight in layer.weights]
    first, second = (to_numpy(layer(X, training=True)) for _ in range(2))
    assert (first != second).any()
    without = randomized(built(kind(4), X.shape))
    without.set_weights(weights[: len(without.weights)])
    assert_close(layer(X), without(X))
    assert isinstance(layer.cell.recurrent_kernel, keras.Variable)


@pytest.mark.backends
def test_gradients_of_dropped_weights_are_0():
    model = keras.Sequential([keras.Input(X.shape[1:]), layers.GRU(16, weight_drop=0.5)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    before = to_numpy(model.layers[0].cell.recurrent_kernel)
    model.train_on_batch(X, np.ones((3, 16), "float32"))
    change = to_numpy(model.layers[0].cell.recurrent_kernel) - before
    assert 0.4 < (change == 0).mean() < 0.6


def test_both_directions_drop_weights():
    layer = layers.Bidirectional(layers.LSTM(4, weight_drop=0.5))
    y = [to_numpy(layer(X, training=True)) for _ in range(2)]
    assert (y[0] != y[1]).all()


def test_a_branch_drops_weights_too():
    layer = dropping(layers.LSTM)
    state = [np.ones((3, 4), "float32")] * 2
    assert "it has dropout" in kernels.why_not_branch(layer)
    assert layers.branch(layer, X[:, :2], state).shape == (3, 2, 4)


def test_the_rate_is_checked_and_saved():
    with pytest.raises(ArgumentError, match=r"weight_drop must be a number in \[0, 1\)"):
        layers.LSTM(4, weight_drop=1.0)
    assert layers.LSTM.from_config(layers.LSTM(4, weight_drop=0.3).get_config()).weight_drop == 0.3
    assert "weight_drop" not in layers.LSTM(4).get_config()
