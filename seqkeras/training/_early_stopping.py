"""Training with early stopping on held-out windows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from seqkeras._arrays import Array
from seqkeras.errors import DataError
from seqkeras.training._backup import Backup, History, remove
from seqkeras.training._fingerprint import checksum, fingerprint
from seqkeras.training._loss_plot import draw_losses
from seqkeras.training._progress import ProgressBar
from seqkeras.windows import Windows
from seqkeras.windows._dataset import Epochs

#: Largest number of training steps in an epoch.
MOST_STEPS = 100
#: Largest number of held-out windows for the loss.
MOST_JUDGED = 50_000
#: The same where each window takes many outputs of the network, as with a `measure`.
MOST_MEASURED = 5_000


@dataclass(frozen=True)
class TrainingLog:
    """The losses and the outcome of a training.

    Attributes:
        loss: loss on the training windows, averaged over the steps of each epoch.
        val_loss: loss on the held-out windows, from before the first epoch on; empty without
            held-out windows.
        best_epoch: number of epochs after which the weights were kept; 0 is the untrained network.
        learning_rate: learning rate of each epoch.
    """

    loss: tuple[float, ...]
    val_loss: tuple[float, ...]
    best_epoch: int
    learning_rate: tuple[float, ...] = ()

    def plot(self, *, title: str = "") -> Any:
        """Plot the losses by epoch, and mark the epoch whose weights were kept.

        Args:
            title: title of the figure, default none.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        return draw_losses(self.loss, self.val_loss, self.best_epoch, title=title)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after which there is something to go on with.

    Attributes:
        result: what there is.
    """

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


def train(
    model: keras.Model,
    windows: Windows,
    validation: Windows | None,
    *,
    epochs: int,
    patience: int,
    learning_rate: float | Sequence[float],
    progress: str | None,
    loss: keras.losses.Loss | None = None,
    measure: Callable[[keras.utils.PyDataset], float] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    first_epoch: int = 0,
    backup: Path | None = None,
) -> TrainingLog:
    """Train a model in place, and keep the weights of the best epoch on held-out windows.

    Args:
        model: from the inputs of the windows to their targets; is compiled here, unless a training
            is continued. With weighted windows it has one more axis than the targets, such as
            `(batch, steps, 1)`.
        windows: training data; steps of weight 0 do not count. An epoch has at most `MOST_STEPS`
            batches, and the next one continues after them.
        validation: held-out windows that decide when to stop, or None to run all epochs. At most
            `MOST_JUDGED` are used, evenly spaced over all.
        epochs: maximal number of epochs.
        patience: number of epochs without a better held-out loss before training stops.
        learning_rate: initial learning rate of Adam; with `validation` it falls to a third whenever
            the held-out loss has not improved for a third of the patience. Or one for each epoch.
        progress: label of the progress bar, or None for no bar.
        loss: loss of the outputs. Default: the absolute error.
        measure: function that computes the held-out loss from windows, at most `MOST_MEASURED`.
            Default: the loss of the model.
        callbacks: more Keras callbacks.
        first_epoch: number of epochs of an earlier training of this model that this one continues
            with a new Adam, default 0.
        backup: file that is written after each epoch, and from which this training resumes if it
            exists; it stays. Default: none.

    Raises:
        DataError: the loss became NaN or infinite.
        ArgumentError: the backup is of another training.
        Interrupted: Ctrl-C after the first epoch. The model has its best weights so far; those
            from before this training if it continues another one. The result is the log.
    """
    rates = [learning_rate] if isinstance(learning_rate, float) else list(learning_rate)
    if first_epoch:
        _start_anew(model.optimizer, rates[0])
    else:
        _compile(model, rates[0], loss)
    start = model.get_weights()
    batches = _ShortEpochs(windows)
    judge = _Judge(model, validation, patience, measure)
    record = _record(backup, model, batches, judge, epochs, first_epoch)
    done = first_epoch + record.epochs_done
    last_epoch = first_epoch + epochs
    own = judge.callbacks or _scheduled(rates, first_epoch)
    callbacks = [*callbacks, keras.callbacks.TerminateOnNaN(), *own, record]
    if progress is not None:
        callbacks.append(ProgressBar(last_epoch, len(batches), progress, first_epoch=done))
    try:
        model.fit(
            batches,
            epochs=last_epoch,
            initial_epoch=last_epoch if record.stopped else done,
            shuffle=False,  # the windows are shuffled; Keras would only reorder their batches
            validation_data=judge.judged,
            verbose=0,
            callbacks=callbacks,
        )
    except KeyboardInterrupt as interrupt:
        if not first_epoch and len(record.history.get("loss", ())) == record.epochs_done:
            raise  # no epoch has ended; what was done before is in the backup
        _ = record.model  # on JAX, this writes the trained values into the variables
        if first_epoch:
            model.set_weights(start)
        elif judge.stopping is not None:
            model.set_weights(judge.stopping.best_weights)
        raise Interrupted(_log(model, start, record.history, judge, rates)) from interrupt
    losses = record.history["loss"]
    if not all(math.isfinite(value) for value in losses):
        if backup is not None:
            remove(backup)
        raise _diverged(first_epoch + len(losses), rates[0])
    return _log(model, start, record.history, judge, rates)


def _diverged(epoch: int, learning_rate: float) -> DataError:
    return DataError(
        f"Training diverged: the loss was not finite in epoch {epoch}. Use a smaller learning_rate "
        f"(it began at {learning_rate:.3g}), or look for extreme values in the series."
    )


def _log(
    model: keras.Model,
    start: list[Array],
    history: dict[str, list[float]],
    judge: "_Judge",
    rates: list[float],
) -> TrainingLog:
    """Return the log of a training; put untrained weights back where none were better."""
    losses = tuple(history.get("loss", ()))
    held_out = (*judge.untrained_loss, *history.get("val_loss", ()))
    best_epoch = held_out.index(min(held_out)) if judge.untrained_loss else len(losses)
    if best_epoch == 0:
        model.set_weights(start)
    used_rates = history.get("learning_rate", rates * len(losses))
    return TrainingLog(losses, held_out, best_epoch, tuple(used_rates))


class _Judge:
    """How held-out windows decide about a training; without any, nothing does."""

    def __init__(
        self,
        model: keras.Model,
        validation: Windows | None,
        patience: int,
        measure: Callable[[keras.utils.PyDataset], float] | None,
    ) -> None:
        self.patience = patience
        self.windows: Judged | None = None
        self.judged: Judged | None = None  # what Keras judges by the loss
        self.untrained_loss: list[float] = []
        self.callbacks: list[keras.callbacks.Callback] = []
        self.stopping: keras.callbacks.EarlyStopping | None = None
        self.plateau: keras.callbacks.ReduceLROnPlateau | None = None
        if validation is None:
            return
        self.windows = Judged(validation, MOST_JUDGED if measure is None else MOST_MEASURED)
        if measure is None:
            self.judged = self.windows
            self.untrained_loss = [float(model.evaluate(self.judged, verbose=0))]
        else:
            compute = partial(measure, self.windows)
            self.untrained_loss = [compute()]
            self.callbacks.append(_Measured(compute))
        self.plateau = keras.callbacks.ReduceLROnPlateau(
            factor=1 / 3, patience=max(1, patience // 3)
        )
        self.stopping = keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True)
        self.callbacks += [self.plateau, self.stopping]


def _record(
    backup: Path | None,
    model: keras.Model,
    batches: "_ShortEpochs",
    judge: _Judge,
    epochs: int,
    first_epoch: int,
) -> History:
    """Return what records the epochs, after going back to where the backup stands."""
    if backup is None:
        return History()
    run = _description(model, batches, judge, epochs=epochs, first_epoch=first_epoch)
    record = Backup(backup, run, judge.stopping, judge.plateau, first_epoch)
    record.restore(model)
    batches.epoch = record.epochs_done
    return record


def _description(
    model: keras.Model, batches: "_ShortEpochs", judge: _Judge, **numbers: int
) -> dict[str, Any]:
    """Describe a training in JSON, to tell its backup from others."""
    judged = judge.windows
    return {
        **numbers,
        "patience": judge.patience,
        "seed": batches.seed,
        "data": checksum(batches[index] for index in range(len(batches))),
        "validation": checksum(judged[index] for index in range(len(judged))) if judged else None,
        **fingerprint(model),
    }


def _compile(model: keras.Model, learning_rate: float, loss: keras.losses.Loss | None) -> None:
    # Gradients of a recurrent network can explode: the norm is clipped (Pascanu et al. 2013).
    model.compile(keras.optimizers.Adam(learning_rate, clipnorm=1.0), loss=_by_weight(loss))
    # TensorFlow would trace the training step a second time, without the creation of variables.
    model.optimizer.build(model.trainable_variables)


def _start_anew(optimizer: keras.optimizers.Optimizer, learning_rate: float) -> None:
    """Forget the moments and steps of Adam; to compile anew would trace the training step anew."""
    for variable in optimizer.variables:
        variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    optimizer.learning_rate = learning_rate


def _by_weight(loss: keras.losses.Loss | None) -> keras.losses.Loss:
    # Divided by the sum of weights: a batch with many missing steps counts as much as another.
    reduction = "mean_with_sample_weight"
    if loss is None:
        return keras.losses.MeanAbsoluteError(reduction=reduction)
    return WeightedLoss(loss, name=loss.name, reduction=reduction)


def _scheduled(rates: list[float], first_epoch: int) -> list[keras.callbacks.Callback]:
    if len(rates) == 1:  # the optimizer has it already
        return []
    return [keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch - first_epoch])]


class _ShortEpochs(Epochs):
    """Epochs of at most `MOST_STEPS` batches, which together pass over all windows in turn."""

    # Keras' own `steps_per_epoch` ends the training at the end of a data set.
    def __init__(self, windows: Windows) -> None:
        super().__init__(windows.seed)
        self._windows = windows
        self.advice = windows.advice

    def __len__(self) -> int:
        return min(len(self._windows), MOST_STEPS)

    def first_batch(self) -> Any:
        return self._windows.first_batch()

    def _resume(self, first_epoch: int) -> None:
        pass  # `train` sets the epoch

    def __getitem__(self, index: int) -> Any:
        self._ask(index)
        return self._windows.batch(*divmod(self.epoch * len(self) + index, len(self._windows)))


class Judged(keras.utils.PyDataset):
    """The held-out windows that are used: all, or evenly spaced ones.

    Args:
        windows: all held-out windows.
        most: largest number of windows to use.

    Attributes:
        chosen: the numbers of the windows that are used.
    """

    def __init__(self, windows: Windows, most: int) -> None:
        super().__init__(workers=1)
        self._windows = windows
        numbers = np.linspace(0, windows.count - 1, min(windows.count, most))
        self.chosen = numbers.round().astype(np.int64)

    def __len__(self) -> int:
        return math.ceil(len(self.chosen) / self._windows.batch_size)

    def __getitem__(self, index: int) -> Any:
        first = index * self._windows.batch_size
        return self._windows.take(self.chosen[first : first + self._windows.batch_size])


class _Measured(keras.callbacks.Callback):
    """Adds a held-out loss to the logs of each epoch, for the callbacks after it."""

    def __init__(self, compute: Callable[[], float]) -> None:
        super().__init__()
        self._compute = compute

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["val_loss"] = self._compute()


@keras.saving.register_keras_serializable(package="seqkeras")
class WeightedLoss(keras.losses.Loss):
    """Another loss, with its own reduction; the other loss stays as it is."""

    def __init__(self, loss: Any, **options: Any) -> None:
        super().__init__(**options)
        self.loss = keras.saving.deserialize_keras_object(loss) if isinstance(loss, dict) else loss

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.loss.call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Return the config, which pickles of a trained model need."""
        return {**super().get_config(), "loss": keras.saving.serialize_keras_object(self.loss)}
