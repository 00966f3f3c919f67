"""A fit that was broken off goes on, or keeps its best weights so far."""

import keras
import numpy as np
import pytest

from helpers.arrays import assert_arrays_equal
from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError, FileFormatError
from seqkeras.forecasting.fitting import _fit
from seqkeras.training import _early_stopping

EPOCHS = 6


def forecaster(**changes):
    options = {"units": 2, "epochs": EPOCHS, "learning_rate": 0.05, "lookback": 14, "seed": 3}
    return flat_forecaster(4, **{"progress": False, **options, **changes})


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


@pytest.fixture
def stop_at(monkeypatch):
    """`stop_at(training, epoch)`: the trainings of the next fit get a `Stop`; 0 is never."""
    real = _early_stopping.train

    def set_stop(training, epoch=0):
        stop = Stop(training, epoch)
        monkeypatch.setattr(
            _fit,
            "train",
            lambda *args, callbacks=(), **options: real(
                *args, callbacks=[*callbacks, stop], **options
            ),
        )

    return set_stop


@pytest.fixture(scope="module")
def frame():
    import pandas as pd

    noise = np.random.default_rng(0).normal(0, 1, 90)  # so a training helps for several epochs
    values = 10 + np.sin(2 * np.pi * np.arange(90) / 7) + noise
    return pd.DataFrame({"ds": pd.date_range("2020-01-01", periods=90), "y": values})


@pytest.fixture(scope="module")
def unbroken(frame):
    fitted = forecaster().fit(frame)
    assert fitted.log_.best_epoch > 2  # so the second training has more than one epoch
    return fitted


@pytest.fixture
def first_training(monkeypatch, frame):
    """Return a function that fits without the second training: its weights are the best ones."""

    def fit(**changes):
        with monkeypatch.context() as patch:
            patch.setattr(_fit, "falling_rates", lambda log: ())
            return forecaster(**changes).fit(frame)

    return fit


def assert_same(actual, expected):
    assert actual.logs_ == expected.logs_
    assert_arrays_equal(actual.model_.get_weights(), expected.model_.get_weights())
    assert actual.predict().equals(expected.predict())


STOPS = {
    "first training, second epoch": lambda log: (1, 1),
    "first training, last epoch": lambda log: (1, EPOCHS - 1),
    "second training, first epoch": lambda log: (2, log.best_epoch),
    "second training, last epoch": lambda log: (
        2, log.best_epoch + len(_fit.falling_rates(log)) - 1
    ),
}  # fmt: skip


@pytest.mark.backends
@pytest.mark.parametrize("stop", STOPS)
def test_a_fit_that_was_broken_off_goes_on_to_the_same_end(
    unbroken, frame, stop_at, stop, tmp_path
):
    stop_at(*STOPS[stop](unbroken.log_))
    with pytest.raises(KeyboardInterrupt):
        forecaster().fit(frame, backup=tmp_path / "fit.backup")
    assert (tmp_path / "fit.backup").exists()
    stop_at(0)
    assert_same(forecaster().fit(frame, backup=tmp_path / "fit.backup"), unbroken)
    assert list(tmp_path.iterdir()) == []


def test_a_backup_changes_nothing(unbroken, frame, tmp_path):
    assert_same(forecaster().fit(frame, backup=tmp_path / "fit.backup"), unbroken)
    assert list(tmp_path.iterdir()) == []


def test_an_ensemble_without_a_seed_goes_on_with_the_seed_that_it_began_with(
    frame, stop_at, tmp_path
):
    options = {"architecture": ["multi_output"] * 2, "epochs": 2, "seed": None}
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
def test_the_backup_of_another_fit_is_refused(frame, stop_at, tmp_path, change, words):
    stop_at(1, 1)
    with pytest.raises(KeyboardInterrupt):
        forecaster().fit(frame, backup=tmp_path / "b")
    stop_at(0)
    with pytest.raises(ArgumentError) as caught:
        forecaster(**change).fit(frame, backup=tmp_path / "b")
    assert words in str(caught.value)


def test_other_rows_and_damaged_files_are_refused(unbroken, frame, stop_at, tmp_path):
    stop_at(1, 1)
    with pytest.raises(KeyboardInterrupt):
        forecaster().fit(frame, backup=tmp_path / "b")
    stop_at(0)
    with pytest.raises(ArgumentError, match=r"data \d+ \(now \d+\)"):
        forecaster().fit(frame.assign(y=frame.y + 1e-3 * np.arange(90)), backup=tmp_path / "b")
    (tmp_path / "b").write_bytes((tmp_path / "b").read_bytes()[:-9])
    with pytest.raises(FileFormatError, match="damaged"):
        forecaster().fit(frame, backup=tmp_path / "b")
    with pytest.raises(ArgumentError, match="a file in a folder that exists"):
        forecaster().fit(frame, backup=tmp_path / "nowhere" / "b")


@pytest.mark.backends
def test_an_interruption_keeps_the_best_weights_so_far(unbroken, frame, stop_at, first_training):
    epochs = min(unbroken.log_.best_epoch + 1, EPOCHS - 1)
    stop_at(1, epochs)
    interrupted = forecaster()
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(frame)
    stop_at(0)
    log = interrupted.log_
    assert len(log.loss) == epochs
    assert log.val_loss == unbroken.log_.val_loss[: epochs + 1]
    assert log.best_epoch == int(np.argmin(log.val_loss))
    forecast = interrupted.predict()
    assert np.isfinite(forecast[["yhat", "yhat-lo-95", "yhat-hi-95"]]).all(axis=None)
    expected = first_training(epochs=epochs)
    assert_arrays_equal(interrupted.model_.get_weights(), expected.model_.get_weights())


def test_an_interruption_of_the_second_training_keeps_the_first(
    unbroken, frame, stop_at, first_training
):
    stop_at(2, unbroken.log_.best_epoch)
    interrupted = forecaster()
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(frame)
    stop_at(0)
    assert interrupted.logs_ == unbroken.logs_
    expected = first_training()
    assert_arrays_equal(interrupted.model_.get_weights(), expected.model_.get_weights())


def test_an_interruption_before_the_end_of_the_first_epoch_keeps_what_was_there(
    frame, stop_at, tmp_path
):
    interrupted = forecaster(epochs=1)
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
