"""A fit that was broken off goes on, or keeps its best weights so far."""

import shutil

import keras
import numpy as np
import pytest

from helpers.arrays import assert_arrays_equal
from helpers.examples import long_run_only
from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError, FileFormatError
from seqkeras.forecasting.fitting import _fit
from seqkeras.training import _early_stopping

EPOCHS = 6


def forecaster(**changes):
    options = {"units": 2, "epochs": EPOCHS, "learning_rate": 0.05, "seed": 3}
    options |= {"lookback": 14, "season_length": 7}
    return flat_forecaster(4, **{"progress": False, "levels": (), **options, **changes})


class Stop(keras.callbacks.Callback):
    """Raises KeyboardInterrupt, as Ctrl-C does, when an epoch of one of the trainings begins."""

    def __init__(self, training, epoch):
        super().__init__()
        self.training = training
        self.epoch = epoch
        self.count = 0

    def on_train_begin(self, logs=None):
        self.count += 1

    def on_epoch_begin(self, epoch, logs=None):
        if (self.count, epoch) == (self.training, self.epoch):
            raise KeyboardInterrupt


class Keep(keras.callbacks.Callback):
    """Keeps the weights after each epoch."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append([np.array(array) for array in self.model.get_weights()])


def train_with(callback):
    """Return a `train` whose calls get this callback too."""

    def train(*args, callbacks=(), **options):
        return _early_stopping.train(*args, callbacks=[*callbacks, callback], **options)

    return train


@pytest.fixture
def stop_at(monkeypatch):
    """`stop_at(training, epoch)`: where the trainings of the next fit stop; 0 is never."""

    def set_stop(training, epoch=0):
        monkeypatch.setattr(_fit, "train", train_with(Stop(training, epoch)))

    return set_stop


@pytest.fixture(scope="module")
def frame():
    import pandas as pd

    noise = np.random.default_rng(0).normal(0, 1, 90)  # so a training helps for several epochs
    values = 10 + np.sin(2 * np.pi * np.arange(90) / 7) + noise
    return pd.DataFrame({"ds": pd.date_range("2020-01-01", periods=90), "y": values})


@pytest.fixture(scope="module")
def unbroken(frame):
    """A forecaster, and its weights after each epoch."""
    kept = Keep()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_fit, "train", train_with(kept))
        fitted = forecaster().fit(frame)
    assert fitted.log_.best_epoch > 2  # so the second training has more than one epoch
    return fitted, kept.weights


@pytest.fixture(scope="module")
def broken_off(frame, tmp_path_factory):
    """The backup of a fit that was broken off in its second epoch."""
    backup = tmp_path_factory.mktemp("broken_off") / "b"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_fit, "train", train_with(Stop(1, 1)))
        with pytest.raises(KeyboardInterrupt):
            forecaster().fit(frame, backup=backup)
    return backup


def assert_same(actual, expected):
    assert actual.logs_ == expected.logs_
    assert_arrays_equal(actual.model_.get_weights(), expected.model_.get_weights())
    assert actual.predict().equals(expected.predict())


def test_a_fit_that_was_broken_off_goes_on_to_the_same_end(unbroken, frame, stop_at, tmp_path):
    """In the second and the last epoch of the first training, the first and last of the second.

    The end is that of a fit without a backup, so backups change nothing.
    """
    fitted, _ = unbroken
    log, backup = fitted.log_, tmp_path / "fit.backup"
    last = log.best_epoch + len(_fit.falling_rates(log)) - 1
    for stop in ((1, 1), (1, EPOCHS - 1), (2, log.best_epoch), (2, last)):
        stop_at(*stop)
        with pytest.raises(KeyboardInterrupt):
            forecaster().fit(frame, backup=backup)
        assert backup.exists()
    stop_at(1, 1)  # would raise if the first training, which is done, ran again
    assert_same(forecaster().fit(frame, backup=backup), fitted)
    assert list(tmp_path.iterdir()) == []


@long_run_only
def test_an_ensemble_without_a_seed_goes_on_with_the_seed_that_it_began_with(
    frame, stop_at, tmp_path
):
    options = {"architecture": ["multi_output"] * 2, "epochs": 2, "seed": None, "validation": 0}
    stop_at(2, 1)
    with pytest.raises(KeyboardInterrupt):
        forecaster(**options).fit(frame, backup=tmp_path / "b")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["b", "b.2"]
    seed = _fit.stored_run(tmp_path / "b")["seed"]
    stop_at(0)
    resumed = forecaster(**options).fit(frame, backup=tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
    assert_same(resumed, forecaster(**{**options, "seed": seed}).fit(frame))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 4}, "seed 3 (now 4)"),
        ({"learning_rate": 0.1}, "optimizer learning_rate"),
        ({"patience": 7}, "patience 25 (now 7)"),
        ({"units": 3}, "model "),
        ({"lookback": 16}, "data "),
    ],
    ids=str,
)
def test_the_backup_of_another_fit_is_refused(broken_off, frame, tmp_path, change, words):
    shutil.copy(broken_off, tmp_path / "b")
    with pytest.raises(ArgumentError) as caught:
        forecaster(**change).fit(frame, backup=tmp_path / "b")
    assert words in str(caught.value)


def test_other_rows_and_damaged_files_are_refused(broken_off, frame, tmp_path):
    shutil.copy(broken_off, tmp_path / "b")
    with pytest.raises(ArgumentError, match=r"data \d+ \(now \d+\)"):
        forecaster().fit(frame.assign(y=frame.y + 1e-3 * np.arange(90)), backup=tmp_path / "b")
    (tmp_path / "b").write_bytes((tmp_path / "b").read_bytes()[:-9])
    with pytest.raises(FileFormatError, match="damaged"):
        forecaster().fit(frame, backup=tmp_path / "b")
    with pytest.raises(ArgumentError, match="a file in a folder that exists"):
        forecaster().fit(frame, backup=tmp_path / "nowhere" / "b")


@pytest.mark.backends
def test_an_interruption_keeps_the_best_weights_so_far(unbroken, frame, stop_at):
    fitted, weights = unbroken
    epochs = min(fitted.log_.best_epoch + 1, EPOCHS - 1)
    stop_at(1, epochs)
    interrupted = forecaster(levels=(95,))
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(frame)
    log = interrupted.log_
    assert len(log.loss) == epochs
    assert log.val_loss == fitted.log_.val_loss[: epochs + 1]
    assert log.best_epoch == int(np.argmin(log.val_loss))
    forecast = interrupted.predict()
    assert np.isfinite(forecast[["yhat", "yhat-lo-95", "yhat-hi-95"]]).all(axis=None)
    network = interrupted.model_.get_layer("member_1")
    assert_arrays_equal(network.get_weights(), weights[log.best_epoch - 1])


def test_an_interruption_of_the_second_training_keeps_the_first(unbroken, frame, stop_at):
    fitted, weights = unbroken
    stop_at(2, fitted.log_.best_epoch)
    interrupted = forecaster()
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(frame)
    assert interrupted.logs_ == fitted.logs_
    best = weights[fitted.log_.best_epoch - 1]
    network = interrupted.model_.get_layer("member_1")
    assert_arrays_equal(network.get_weights(), best)


def test_an_interruption_before_the_end_of_the_first_epoch_keeps_what_was_there(
    frame, stop_at, tmp_path
):
    interrupted = forecaster(epochs=1, validation=0)
    stop_at(1, 0)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(frame, backup=tmp_path / "b")
    assert not hasattr(interrupted, "fitted_")
    stop_at(0)
    before = interrupted.fit(frame).fitted_
    stop_at(1, 0)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(frame, backup=tmp_path / "b")
    assert interrupted.fitted_ is before
    assert list(tmp_path.iterdir()) == []
