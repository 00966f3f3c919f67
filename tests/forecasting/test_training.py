import keras
import numpy as np
import pytest

from seqkeras.errors import DataError
from seqkeras.forecasting._training import train
from seqkeras.models import multi_output
from seqkeras.windows import Windows, WindowSpec


def settings(**changes):
    return {"epochs": 8, "patience": 3, "learning_rate": 1e-2, "progress": None} | changes


@pytest.fixture
def wave():
    return np.sin(np.arange(200) / 5)


def windows(values, **options):
    return Windows(values, WindowSpec(12, horizon=2), **options)


def test_the_weights_of_the_best_epoch_are_kept(wave):
    model = multi_output(lookback=12, horizon=2, units=4)
    validation = windows(wave[120:])
    log = train(model, windows(wave[:120], shuffle=True, seed=0), validation, **settings())
    assert log.best_epoch == int(np.argmin(log.val_loss)) > 0
    assert len(log.val_loss) == len(log.loss) + 1
    loss = model.evaluate(validation, verbose=0)
    assert loss == pytest.approx(min(log.val_loss), rel=1e-4)


def test_an_untrained_network_is_kept_when_training_only_harms(wave):
    model = multi_output(lookback=12, horizon=2, units=4)
    before = model.get_weights()
    noise = np.random.default_rng(0).normal(0, 50, 120)
    constant = windows(np.zeros(60))  # the naive forecast is perfect here
    log = train(model, windows(noise), constant, **settings(patience=2))
    assert log.best_epoch == 0
    assert len(log.loss) < 8  # patience ended it
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_without_held_out_windows_all_epochs_are_run(wave):
    model = multi_output(lookback=12, horizon=2, units=4)
    log = train(model, windows(wave), None, **settings())
    assert (len(log.loss), log.val_loss, log.best_epoch) == (8, (), 8)


def test_a_loss_that_is_not_finite_is_an_error(wave):
    x = keras.Input((12, 1))
    model = keras.Model(x, keras.layers.Dense(2)(x[:, :, 0]) * float("inf"))
    with pytest.raises(DataError, match=r"Training diverged.*epoch 1.*learning_rate"):
        train(model, windows(wave), None, **settings())
