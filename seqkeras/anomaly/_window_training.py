"""Training of a detector's network on windows, with early stopping on held-out rows."""

from collections.abc import Callable
from typing import Any

import keras

from seqkeras.anomaly._detector import TrainingSeries
from seqkeras.forecasting import Training
from seqkeras.training import TrainingLog
from seqkeras.training._early_stopping import train
from seqkeras.windows import GroupedArray, Windows, WindowSpec

#: Windows in a training step, unless `Training` says otherwise.
BATCH_SIZE = 32
#: The same where they are judged.
_JUDGED_BATCH = 256
#: Windows that an epoch reads, if there are as many.
_WINDOWS = 1024


def train_on_windows(
    model: keras.Model,
    series: TrainingSeries,
    x: GroupedArray,
    y: GroupedArray,
    *,
    lookback: int,
    training: Training,
    seed: int,
    loss: keras.losses.Loss | None = None,
    transform: Callable[[Any, Any], tuple[Any, Any]] | None = None,
) -> TrainingLog:
    """Train a network in place on windows of `lookback` rows.

    Args:
        model: from `(batch, lookback, inputs)` to `(batch, lookback, outputs)`.
        series: which rows are held out.
        x: inputs of each row of the series.
        y: targets of the same rows.
        lookback: rows of a window.
        training: how to train.
        seed: seed of the order of windows.
        loss: loss of the outputs. None: the absolute error.
        transform: changes batches; see `Windows`.
    """
    trained = series.train(x)
    held_out = series.tail(x, lookback)
    total = int(WindowSpec(lookback, horizon=0).counts(trained.lengths).sum())
    stride = min(max(1, total // _WINDOWS), max(1, lookback // 2))
    options: dict[str, Any] = {
        "spec": WindowSpec(lookback, horizon=0, stride=stride),
        "target_rows": "lookback",
        "transform": transform,
    }
    size = training.batch_size or BATCH_SIZE
    windows = Windows(
        trained, targets=series.train(y), batch_size=size, shuffle=True, seed=seed, **options
    )
    judged = None
    if held_out is not None:
        targets = series.tail(y, lookback)
        judged = Windows(held_out, targets=targets, batch_size=_JUDGED_BATCH, **options)
    return train(
        model,
        windows,
        judged,
        epochs=int(training.epochs),
        patience=int(training.patience),
        learning_rate=float(training.learning_rate),
        progress="training" if training.progress else None,
        loss=loss,
        seconds=training.seconds,
        distributed=training.distributed,
    )
