import keras
import numpy as np
import pytest

from helpers.arrays import assert_arrays_close, assert_arrays_equal
from helpers.models import sequential
from seqkeras.errors import DataError
from seqkeras.training import _early_stopping
from seqkeras.training._early_stopping import train
from seqkeras.windows import Windows, WindowSpec


def settings(**changes):
    return {"epochs": 8, "patience": 3, "learning_rate": 1e-2, "progress": None} | changes


@pytest.fixture(scope="module")
def wave():
    return np.sin(np.arange(200) / 5)


@pytest.fixture
def trained(wave):
    """Return a network after one epoch."""
    model = network()
    train(model, windows(wave), None, **settings(epochs=1))
    return model


def windows(values, **options):
    return Windows(values, WindowSpec(12, horizon=2), **options)


def network():
    """A network that TensorFlow traces quickly."""
    return sequential(keras.layers.Flatten(), keras.layers.Dense(2), shape=(12, 1))


def test_the_weights_of_the_best_epoch_are_kept(wave):
    model = network()
    validation = windows(wave[120:])
    log = train(model, windows(wave[:120], shuffle=True, seed=0), validation, **settings())
    assert log.best_epoch == int(np.argmin(log.val_loss)) > 0
    assert len(log.val_loss) == len(log.loss) + 1
    loss = model.evaluate(validation, verbose=0)
    assert loss == pytest.approx(min(log.val_loss), rel=1e-4)


def test_an_untrained_network_is_kept_when_training_only_harms(wave):
    model = network()
    before = model.get_weights()
    noise = np.random.default_rng(0).normal(0, 50, 120)
    constant = windows(np.zeros(60))  # the naive forecast is perfect here
    log = train(model, windows(noise), constant, **settings(patience=2))
    assert log.best_epoch == 0
    assert len(log.loss) < 8  # patience ended it
    assert_arrays_equal(before, model.get_weights())


def test_without_held_out_windows_all_epochs_are_run(wave):
    log = train(network(), windows(wave), None, **settings())
    assert (len(log.loss), log.val_loss, log.best_epoch) == (8, (), 8)


def test_a_loss_that_is_not_finite_is_an_error(wave):
    x = keras.Input((12, 1))
    model = keras.Model(x, keras.layers.Dense(2)(x[:, :, 0]) * float("inf"))
    with pytest.raises(DataError, match=r"Training diverged.*epoch 1.*learning_rate"):
        train(model, windows(wave), None, **settings())


@pytest.mark.backends
def test_epochs_of_a_few_steps_go_on_where_the_last_one_stopped(wave, monkeypatch):
    """Twenty batches are the same training, in four epochs of all or in ten of two."""

    def weights(most_steps, epochs):
        monkeypatch.setattr(_early_stopping, "MOST_STEPS", most_steps)
        keras.utils.set_random_seed(0)
        model = network()
        batches = windows(wave, batch_size=40, shuffle=True, seed=0)
        assert len(batches) == 5
        train(model, batches, None, **settings(epochs=epochs))
        return np.concatenate([weight.ravel() for weight in model.get_weights()])

    np.testing.assert_allclose(weights(2, 10), weights(100, 4), rtol=1e-4, atol=1e-6)


def test_an_epoch_is_judged_by_some_of_very_many_windows(wave, monkeypatch):
    monkeypatch.setattr(_early_stopping, "MOST_JUDGED", 30)
    model = network()
    held_out = windows(wave[40:])
    log = train(model, windows(wave), held_out, **settings())
    chosen = held_out.take(np.linspace(0, held_out.count - 1, 30).round().astype(int))
    assert min(log.val_loss) == pytest.approx(model.evaluate(*chosen, verbose=0), rel=1e-4)


def test_the_rate_falls_in_vain_epochs(wave):
    model = network()
    noise = np.random.default_rng(0).normal(size=60)
    log = train(model, windows(wave), windows(noise), **settings(patience=6, epochs=12))
    falls = np.divide(log.learning_rate[1:], log.learning_rate[:-1])
    np.testing.assert_allclose(falls, np.where(falls < 0.9, 1 / 3, 1), rtol=1e-5)
    assert log.learning_rate[0] == pytest.approx(1e-2)
    assert log.learning_rate[-1] < 4e-3


def test_a_training_goes_on_behind_the_epochs_of_another_with_rates_of_its_own(wave, trained):
    seen = []
    seeing = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    options = settings(epochs=3, learning_rate=[3e-3, 2e-3, 1e-3], callbacks=[seeing])
    log = train(trained, windows(wave), None, **options, first_epoch=1)
    assert seen == [1, 2, 3]
    assert log.learning_rate == pytest.approx([3e-3, 2e-3, 1e-3])


def test_a_training_that_goes_on_begins_with_a_new_adam(wave, trained):
    data, rest = windows(wave, shuffle=True, seed=0), settings(epochs=2, learning_rate=[2e-3, 1e-3])
    same = keras.models.clone_model(trained)
    same.set_weights(trained.get_weights())
    same.compile(keras.optimizers.Adam(2e-3, clipnorm=1.0), loss="mae")
    log = train(trained, data, None, **rest, first_epoch=1)
    rates = keras.callbacks.LearningRateScheduler(lambda epoch: [2e-3, 1e-3][epoch])
    same.fit(data, epochs=2, shuffle=False, callbacks=[rates], verbose=0)
    assert trained.optimizer.iterations == 2 * len(data) == same.optimizer.iterations
    assert log.best_epoch == 2
    assert_arrays_close(trained.get_weights(), same.get_weights(), atol=1e-6)
