"""Training with early stopping on held-out windows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras

from seqkeras._arrays import Array, evenly_spaced
from seqkeras.errors import DataError
from seqkeras.kernels._retracing import without_retracing_notes
from seqkeras.training._backup import Backup, History, remove
from seqkeras.training._distribution import agreed, fit_model, is_first, prepare
from seqkeras.training._fingerprint import checksum, fingerprint
from seqkeras.training._loss_plot import draw_losses
from seqkeras.training._progress import ProgressBar
from seqkeras.training._time_limit import TimeLimit
from seqkeras.windows import Windows
from seqkeras.windows._dataset import Epochs

#: Largest number of training steps in an epoch.
MOST_STEPS = 100
#: Largest number of held-out windows used for the loss.
MOST_JUDGED = 50_000
#: The same with a `measure`, which may run the network many times for each window.
MOST_MEASURED = 5_000


@dataclass(frozen=True)
class TrainingLog:
    """The losses and the outcome of a training run.

    Attributes:
        loss: loss on the training windows, averaged over the steps of each epoch.
        val_loss: loss on the held-out windows, starting before the first epoch; empty without
            held-out windows.
        best_epoch: the epoch whose weights were kept, from 1; 0 is the untrained network.
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
    """Ctrl-C after at least one epoch, so that there is a usable result.

    Attributes:
        result: the result so far, such as the training log.
    """

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


@without_retracing_notes()
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
    seconds: float | None = None,
    distributed: bool = False,
) -> TrainingLog:
    """Train a model in place, and keep the weights of the best epoch on held-out windows.

    Args:
        model: a model from the inputs of the windows to their targets. It is compiled here, unless
            `first_epoch` continues an earlier run. With weighted windows its outputs have one more
            axis than the targets, such as `(batch, steps, 1)`.
        windows: training data; steps of weight 0 do not count. An epoch has at most `MOST_STEPS`
            batches, and the next epoch continues after them.
        validation: held-out windows that decide when to stop, or None to run all epochs. At most
            `MOST_JUDGED` of them are used, evenly spaced.
        epochs: largest number of epochs.
        patience: number of epochs without a better held-out loss before training stops.
        learning_rate: initial learning rate of Adam; with `validation` it falls to a third whenever
            the held-out loss has not improved for a third of the patience. Or a sequence with the
            learning rate of each epoch.
        progress: label of the progress bar, or None for no bar.
        loss: loss of the outputs. Default: the absolute error.
        measure: function that computes the held-out loss from at most `MOST_MEASURED` windows.
            Default: the loss of the model.
        callbacks: more Keras callbacks.
        first_epoch: number of epochs of an earlier run with this model, which this run continues
            with a fresh Adam; default 0.
        backup: file that is written after each epoch. If it exists, training resumes from it. It
            is not removed at the end. Default: none.
        seconds: seconds after which training stops, also in the middle of an epoch. Default: no
            limit.
        distributed: train together with the other processes of `seqkeras launch`, without a limit
            of seconds. Default: False.

    Raises:
        DataError: the loss became NaN or infinite.
        ArgumentError: the backup belongs to another training run, or several processes cannot train
            the model.
        Interrupted: Ctrl-C after the first epoch. The model then has its best weights so far, or,
            with `first_epoch`, the weights from before this call. The result is the log.
    """
    rates = [learning_rate] if isinstance(learning_rate, float) else list(learning_rate)
    if first_epoch:
        _start_anew(model.optimizer, rates[0])
    else:
        _compile(model, rates[0], loss)
    prepare(model, windows, distributed, validation=validation, epochs=epochs)
    start = model.get_weights()
    batches = _ShortEpochs(windows)
    judge = _Judge(model, validation, patience, measure, distributed)
    record = _record(backup, model, batches, judge, epochs, first_epoch, distributed)
    done = first_epoch + record.epochs_done
    last_epoch = first_epoch + epochs
    own = judge.callbacks or _scheduled(rates, first_epoch)
    callbacks = [*callbacks, keras.callbacks.TerminateOnNaN(), *own, record]
    if seconds is not None:
        callbacks.append(TimeLimit(seconds))
    if progress is not None and is_first(distributed):
        callbacks.append(ProgressBar(last_epoch, len(batches), progress, first_epoch=done))
    try:
        fit_model(
            model,
            batches,
            distributed=distributed,
            epochs=last_epoch,
            initial_epoch=last_epoch if record.stopped else done,
            shuffle=False,  # `windows` shuffles itself; Keras would only reorder the batches
            validation_data=judge.judged,
            verbose=0,
            callbacks=callbacks,
        )
    except KeyboardInterrupt as interrupt:
        if not first_epoch and len(record.history.get("loss", ())) == record.epochs_done:
            raise  # no epoch has ended in this call; earlier ones are in the backup
        _ = record.model  # on JAX, this writes the trained values into the variables
        if first_epoch:
            model.set_weights(start)
        elif judge.stopping is not None:
            model.set_weights(judge.stopping.best_weights)
        raise Interrupted(_log(model, start, record.history, judge, rates)) from interrupt
    losses = record.history["loss"]
    if not all(math.isfinite(value) for value in losses):
        if backup is not None:
            remove(backup, distributed)
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
    """Return the log of a training run; restore the untrained weights if no epoch was better."""
    losses = tuple(history.get("loss", ()))
    held_out = (*judge.untrained_loss, *history.get("val_loss", ()))
    best_epoch = held_out.index(min(held_out)) if judge.untrained_loss else len(losses)
    if best_epoch == 0:
        model.set_weights(start)
    used_rates = history.get("learning_rate", rates * len(losses))
    return TrainingLog(losses, held_out, best_epoch, tuple(used_rates))


class _Judge:
    """How held-out windows decide about a training run; without any, it runs all epochs."""

    def __init__(
        self,
        model: keras.Model,
        validation: Windows | None,
        patience: int,
        measure: Callable[[keras.utils.PyDataset], float] | None,
        distributed: bool,
    ) -> None:
        self.patience = patience
        self.windows: Judged | None = None
        self.judged: Judged | None = None  # for `validation_data`; None with a `measure`
        self.untrained_loss: list[float] = []
        self.callbacks: list[keras.callbacks.Callback] = []
        self.stopping: keras.callbacks.EarlyStopping | None = None
        self.plateau: keras.callbacks.ReduceLROnPlateau | None = None
        if validation is None:
            return
        self.windows = Judged(validation, MOST_JUDGED if measure is None else MOST_MEASURED)
        if measure is None:
            self.judged = self.windows
            loss = float(model.evaluate(self.judged, verbose=0))
        else:
            compute = partial(measure, self.windows)
            loss = compute()
            self.callbacks.append(_Measured(compute, distributed))
        self.untrained_loss = [agreed(loss, distributed)]
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
    distributed: bool,
) -> History:
    """Return the callback that records the epochs, after restoring the backup if there is one."""
    if backup is None:
        return History()
    run = _description(model, batches, judge, epochs=epochs, first_epoch=first_epoch)
    record = Backup(backup, run, judge.stopping, judge.plateau, first_epoch, distributed)
    record.restore(model)
    batches.epoch = record.epochs_done
    return record


def _description(
    model: keras.Model, batches: "_ShortEpochs", judge: _Judge, **numbers: int
) -> dict[str, Any]:
    """Describe a training run in JSON, to distinguish its backup from others."""
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
    # Build the optimizer now: otherwise its variables are created inside the first traced step, and
    # TensorFlow traces the step again without them.
    model.optimizer.build(model.trainable_variables)


def _start_anew(optimizer: keras.optimizers.Optimizer, learning_rate: float) -> None:
    """Clear the moments and steps of Adam, without the new trace that compiling would cost."""
    for variable in optimizer.variables:
        variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    optimizer.learning_rate = learning_rate


def _by_weight(loss: keras.losses.Loss | None) -> keras.losses.Loss:
    # Divided by the sum of weights, so that a batch with many missing steps counts like any other.
    reduction = "mean_with_sample_weight"
    if loss is None:
        return keras.losses.MeanAbsoluteError(reduction=reduction)
    return WeightedLoss(loss, name=loss.name, reduction=reduction)


def _scheduled(rates: list[float], first_epoch: int) -> list[keras.callbacks.Callback]:
    if len(rates) == 1:  # the optimizer already has this rate
        return []
    return [keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch - first_epoch])]


class _ShortEpochs(Epochs):
    """Epochs of at most `MOST_STEPS` batches, which together pass over all windows in turn."""

    # Not Keras' `steps_per_epoch`, which ends training at the end of the data set.
    def __init__(self, windows: Windows) -> None:
        super().__init__(windows.seed)
        self._windows = windows
        self.advice = windows.advice

    def __len__(self) -> int:
        return min(len(self._windows), MOST_STEPS)

    def first_batch(self) -> Any:
        return self._windows.first_batch()

    def _resume(self, first_epoch: int) -> None:
        pass  # `_record` sets the epoch

    def __getitem__(self, index: int) -> Any:
        self._mark_requested(index)
        return self._windows.batch(*divmod(self.epoch * len(self) + index, len(self._windows)))


class Judged(keras.utils.PyDataset):
    """Batches of the held-out windows: all of them, or `most` evenly spaced ones.

    Args:
        windows: all held-out windows.
        most: largest number of windows to use.

    Attributes:
        chosen: numbers of the windows that are used.
    """

    def __init__(self, windows: Windows, most: int) -> None:
        super().__init__(workers=1)
        self._windows = windows
        self.chosen = evenly_spaced(windows.count, most)

    def __len__(self) -> int:
        return math.ceil(len(self.chosen) / self._windows.batch_size)

    def __getitem__(self, index: int) -> Any:
        first = index * self._windows.batch_size
        return self._windows.take(self.chosen[first : first + self._windows.batch_size])


class _Measured(keras.callbacks.Callback):
    """Adds a held-out loss to the logs of each epoch, for the callbacks after it."""

    def __init__(self, compute: Callable[[], float], distributed: bool) -> None:
        super().__init__()
        self._compute = compute
        self._distributed = distributed

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["val_loss"] = agreed(self._compute(), self._distributed)


@keras.saving.register_keras_serializable(package="seqkeras")
class WeightedLoss(keras.losses.Loss):
    """Wraps a loss to give it another reduction, without changing the loss itself."""

    def __init__(self, loss: Any, **options: Any) -> None:
        super().__init__(**options)
        self.loss = keras.saving.deserialize_keras_object(loss) if isinstance(loss, dict) else loss

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.loss.call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Return the config, which pickles of a trained model need."""
        return {**super().get_config(), "loss": keras.saving.serialize_keras_object(self.loss)}
