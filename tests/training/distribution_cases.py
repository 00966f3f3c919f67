"""Trainings that several processes must do like one: `distribution_cases.py FOLDER`.

test_distribution.py runs this script in two processes, and the same trainings in its own.
"""

import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from seqkeras import (
    Forecaster,
    StatefulBatches,
    Training,
    Windows,
    WindowSpec,
    layers,
    many_to_many,
)
from seqkeras.anomaly import ForecastDetector
from seqkeras.errors import ArgumentError
from seqkeras.training import fit_distributed, fit_stateful, process_index

EPOCHS = 3
ROWS = 8  # of a batch
LOOKBACK = 6
WAVE = np.sin(np.arange(59) * 0.7) + np.linspace(0, 1, 59) ** 2


def windows(series=WAVE, **options):
    """Windows whose last batch has an odd number of rows."""
    made = Windows(series, WindowSpec(LOOKBACK, horizon=1), batch_size=ROWS, **options)
    assert made.count % ROWS % 2
    return made


def compiled(model, loss="mse", **options):
    model.compile(keras.optimizers.SGD(0.02, momentum=0.9), loss, **options)
    return model


def network(*parts, features=1, **options):
    model = keras.Sequential([keras.Input((LOOKBACK, features)), *parts, keras.layers.Dense(1)])
    return compiled(model, **options)


def lstm(**options):
    model = network(layers.LSTM(5), metrics=["mae"])
    batches = windows(shuffle=True, seed=3)
    return fitted(model, batches, validation=windows(WAVE[:31]), **options)


def gru_with_adam(**options):
    model = network(layers.GRU(5, return_sequences=True), layers.GRU(3, go_backwards=True))
    model.compile("adam", keras.losses.MeanAbsoluteError(reduction="mean_with_sample_weight"))
    weights = np.linspace(0, 2, len(WAVE))
    return fitted(model, windows(weights=weights, shuffle=True, seed=3), **options)


def masked(**options):
    """Timesteps that do not count, in the loss as well: each process has another number of them."""
    inputs = keras.Input((LOOKBACK, 1))
    sequences = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(
        keras.layers.Masking()(inputs)
    )
    model = compiled(keras.Model(inputs, keras.layers.Dense(1)(sequences)))
    series = np.where(np.arange(len(WAVE)) % 11 < np.arange(len(WAVE)) // 8, 0, WAVE)
    return fitted(model, windows(series, target_rows="next"), **options)


def dropout(**options):
    """Everything that draws: for rows, for timesteps of rows, and for weights."""
    model = network(
        keras.layers.GaussianNoise(0.1),
        layers.LSTM(ROWS, dropout=0.2, recurrent_dropout=0.3, return_sequences=True),
        keras.layers.SpatialDropout1D(0.2),
        layers.LSTM(4, zoneout_h=0.2, return_sequences=True),
        layers.GRU(ROWS // 2, weight_drop=0.3, recurrent_dropout=0.3, seed=1),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(3, kernel_regularizer="l2", activity_regularizer="l2"),
    )
    return fitted(model, windows(shuffle=True, seed=3), **options)


def stateful(**options):
    """Rows of several series one after the other, with padding at the end."""
    lengths = (20, 9, 14, 11, 7, 16, 5)
    series = [np.sin(np.arange(length) * 0.3 + number) for number, length in enumerate(lengths)]
    batches = StatefulBatches(series, batch_size=4, bptt_steps=4, shuffle=True, seed=2)
    model = compiled(many_to_many(1, units=(4, 3), dropout=0.2, stateful=True, batch_size=4))
    history = fit_stateful(
        model, batches, EPOCHS, validation=batches, patience=2, progress=False, **options
    )
    return results(model, history)


def stopped(**options):
    """Gets worse on the validation, so patience ends it, and the best weights are restored."""
    model = network(layers.SimpleRNN(4))
    validation = windows(-WAVE[:31])
    return fitted(model, windows(), epochs=20, validation=validation, patience=2, **options)


def forecaster(**options):
    """A forecaster of two series, one of which has gaps."""
    y = np.concatenate([WAVE, WAVE[::-1]])
    y[[20, 21, 80]] = np.nan
    days = pd.date_range("2024-01-01", periods=len(WAVE))
    df = pd.DataFrame({"unique_id": np.repeat(["a", "b"], len(WAVE)), "ds": [*days, *days], "y": y})
    training = Training(epochs=EPOCHS, batch_size=ROWS, progress=False, **options)
    model = Forecaster(horizon=2, lookback=LOOKBACK, network="recursive", training=training, seed=0)
    forecast = model.fit(df).predict().drop(columns=["unique_id", "ds"])
    log = model.log_
    return {"forecast": forecast.to_numpy(), "loss": log.loss, "val_loss": log.val_loss}


def detector(**options):
    """A detector, whose seed is that of process 0."""
    training = Training(epochs=EPOCHS, batch_size=ROWS, progress=False, **options)
    model = ForecastDetector(LOOKBACK, units=3, training=training, seed=process_index())
    model.fit(WAVE)
    log = model.log_
    return {"scores": model.decision_scores_, "loss": log.loss, "val_loss": log.val_loss}


#: All trainings that are not broken off.
CASES = [lstm, gru_with_adam, masked, dropout, stateful, stopped, forecaster, detector]


def killed(folder, *, distributed):
    """Continues from its backup after process 1 was killed in the third epoch."""
    model = network(layers.LSTM(4, recurrent_dropout=0.3))
    batches = windows(shuffle=True, seed=3)
    if not distributed:
        return fitted(model, batches, epochs=4, distributed=False)
    kill = _Kill(folder / "killed")
    history = fit_distributed(
        model, batches, 4, backup=folder / "backup", callbacks=[kill], progress=False
    )
    assert kill.epochs[0] == 2  # no epoch was lost that had been completed
    return results(model, history)


def refusals():
    """Return the messages about what several processes refuse, before any of them trains."""
    short = windows()
    short.batch_size = ROWS - 1
    other = windows(WAVE + process_index())
    normalized = network(keras.layers.Flatten(), keras.layers.BatchNormalization())
    units = 2 + process_index()
    messages = []
    for model, batches, epochs, validation in [
        (network(layers.LSTM(2)), short, 1, None),
        (network(layers.LSTM(2)), other, 1, None),
        (network(layers.LSTM(units)), windows(), 1, None),
        (network(layers.LSTM(2)), windows(), units, None),
        (network(layers.LSTM(2)), windows(), 1, windows(WAVE[:31] + process_index())),
        (normalized, windows(), 1, None),
    ]:
        try:
            fit_distributed(model, batches, epochs, validation=validation, progress=False)
        except ArgumentError as error:
            messages.append(str(error))
    return messages


def ended(*, distributed):
    """Ends after the second epoch, because process 1 asks for it in the middle of that one."""
    model = network(layers.LSTM(3))
    if not distributed:
        return fitted(model, windows(), epochs=2, distributed=False)
    history = fit_distributed(model, windows(), 5, callbacks=[_End()], progress=False)
    return results(model, history)


class _End(keras.callbacks.Callback):
    """Ends the training of process 1 within the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if process_index() == 1 and (self._epoch, batch) == (1, 1):
            self.model.stop_training = True


class _Kill(keras.callbacks.Callback):
    """Kills process 1 within the third epoch, unless it was killed before."""

    def __init__(self, told):
        super().__init__()
        self.epochs, self._told = [], told

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(epoch)

    def on_train_batch_end(self, batch, logs=None):
        if process_index() == 1 and (self.epochs[-1], batch) == (2, 1) and not self._told.exists():
            self._told.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def fitted(model, batches, epochs=EPOCHS, *, distributed, validation=None, patience=None):
    """Train with Keras' own `fit`, or in several processes."""
    if distributed:
        options = {"validation": validation, "patience": patience, "progress": False}
        return results(model, fit_distributed(model, batches, epochs, **options))
    callbacks = []
    if patience is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True)
        )
    options = {"validation_data": validation, "callbacks": callbacks, "verbose": 0}
    return results(model, model.fit(batches, epochs=epochs, shuffle=False, **options))


def results(model, history):
    """Return the history, the weights and the states as arrays."""
    weights = {str(number): np.array(w) for number, w in enumerate(model.get_weights())}
    states = {v.path: v.numpy() for v in model.non_trainable_variables if "seed" not in v.path}
    return {**history.history, **weights, **{name: np.array(v) for name, v in states.items()}}


def run(case, *arguments, distributed, seed=0):
    """Return the results of a case; `seed` is for the weights, and for dropout on PyTorch."""
    keras.utils.set_random_seed(seed)
    return case(*arguments, distributed=distributed)


def main(folder):
    """Write the results of each case to the folder, in each process."""
    (folder / f"refusals-{process_index()}").write_text("\n".join(refusals()))
    for case in [*CASES, ended, killed]:
        file = folder / f"{case.__name__}-{process_index()}.npz"
        if not file.exists():  # otherwise, this is the start after the kill
            arguments = [folder] if case is killed else []
            # The weights and generators of process 0 count, whatever the others have drawn.
            made = run(case, *arguments, distributed=True, seed=process_index())
            np.savez(file, **made)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
