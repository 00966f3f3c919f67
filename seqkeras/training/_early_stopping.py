"""Training one network: early stopping in order of time, and a quiet progress bar."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from seqkeras.errors import DataError
from seqkeras.likelihoods import Likelihood
from seqkeras.training._loss_plot import draw_losses
from seqkeras.training._progress import ProgressBar
from seqkeras.windows import Windows
from seqkeras.windows._dataset import Epochs

#: Training steps in an epoch at most.
MOST_STEPS = 100
#: Held-out windows that it is judged by at most, and intervals behind it; fewer where each takes
#: many answers of the network.
MOST_JUDGED, MOST_MEASURED = 50_000, 5_000


@dataclass(frozen=True)
class TrainingLog:
    """What happened in training.

    Attributes:
        loss: on the training windows, as a mean over the steps of each epoch: the mean absolute
            error in scaled units, or what the head has as its loss.
        val_loss: the same on the held-out windows, from before the first epoch on; empty without.
            Where answers are fed back, and there is no head, the mean absolute error over the
            whole horizon of a forecast.
        best_epoch: the number of epochs whose weights were kept; 0 is the untrained network.
        learning_rate: of each epoch.
    """

    loss: tuple[float, ...]
    val_loss: tuple[float, ...]
    best_epoch: int
    learning_rate: tuple[float, ...] = ()

    def plot(self, *, title: str = "") -> Any:
        """Draws the losses by epoch, and the epoch whose weights were kept.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        return draw_losses(self.loss, self.val_loss, self.best_epoch, title=title)


def train(
    model: keras.Model,
    windows: Windows,
    validation: Windows | None,
    *,
    epochs: int,
    patience: int,
    learning_rate: float | Sequence[float],
    progress: str | None,
    loss: Likelihood | None = None,
    measure: Callable[[keras.utils.PyDataset], float] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    first_epoch: int = 0,
) -> TrainingLog:
    """Trains in place, and leaves the weights of the best epoch on the held-out windows.

    Args:
        model: (batch, lookback, features) to (batch, steps), or to (batch, steps, 1) where windows
            have weights; is compiled here.
        windows: to train on; steps of weight 0 do not count. An epoch is at most `MOST_STEPS` of
            its batches, and the next one goes on behind them.
        validation: held-out windows that decide when to stop, or None: all epochs are run. Of more
            than `MOST_JUDGED` some are looked at, spread over all.
        epochs: at most.
        patience: epochs without a better held-out loss before training stops.
        learning_rate: of Adam at first; with `validation` it falls to a third whenever a third of
            the patience has passed in vain. Or one for each epoch.
        progress: label of the bar, or None for no bar. A bar is only drawn on a terminal.
        loss: of the answers; None is the absolute error.
        measure: what gives the held-out loss of windows, in place of that of the model.
        callbacks: further ones.
        first_epoch: how many epochs another training had before this one, which goes on from it.

    Raises:
        DataError: the loss became NaN or infinite.
    """
    rates = [learning_rate] if isinstance(learning_rate, float) else list(learning_rate)
    # Gradients of a recurrent network can explode: the norm is clipped (Pascanu et al. 2013).
    model.compile(keras.optimizers.Adam(rates[0], clipnorm=1.0), loss=_by_weight(loss))
    untrained = model.get_weights()
    batches, judged, before, last = _Steps(windows), None, [], first_epoch + epochs
    callbacks = [*callbacks, keras.callbacks.TerminateOnNaN()]
    if validation is None:
        callbacks += _given(rates, first_epoch)
    elif measure is None:
        judged = Judged(validation, MOST_JUDGED)
        before = [float(model.evaluate(judged, verbose=0))]
        callbacks += _stops_early(patience)
    else:
        look = partial(measure, Judged(validation, MOST_MEASURED))
        before = [look()]
        callbacks += [_Measured(look), *_stops_early(patience)]
    if progress is not None:
        callbacks.append(ProgressBar(last, len(batches), progress, first_epoch=first_epoch))
    history = model.fit(
        batches,
        epochs=last,
        initial_epoch=first_epoch,
        shuffle=False,  # the windows are; Keras would only change the order of batches
        validation_data=judged,
        verbose=0,
        callbacks=callbacks,
    ).history
    losses = tuple(float(loss) for loss in history["loss"])
    if not all(math.isfinite(loss) for loss in losses):
        raise DataError(
            f"Training diverged: the loss was not finite in epoch {first_epoch + len(losses)}. Use "
            f"a smaller learning_rate (it began at {rates[0]:.3g}), or look for extreme values in "
            "the series."
        )
    held_out = (*before, *(float(loss) for loss in history.get("val_loss", ())))
    best = held_out.index(min(held_out)) if before else len(losses)
    if best == 0:
        model.set_weights(untrained)
    used = history.get("learning_rate", rates * len(losses))
    return TrainingLog(losses, held_out, best, tuple(map(float, used)))


def _by_weight(loss: Likelihood | None) -> keras.losses.Loss:
    """By the sum of weights: a batch in which much is missing counts as much as another."""
    reduction = "mean_with_sample_weight"
    if loss is None:
        return keras.losses.MeanAbsoluteError(reduction=reduction)
    return _Weighed(loss, name=loss.name, reduction=reduction)


def _stops_early(patience: int) -> list[keras.callbacks.Callback]:
    slower = keras.callbacks.ReduceLROnPlateau(factor=1 / 3, patience=max(1, patience // 3))
    return [slower, keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True)]


def _given(rates: list[float], first_epoch: int) -> list[keras.callbacks.Callback]:
    """One rate for each epoch; a single one stays, as the optimizer has it."""
    if len(rates) == 1:
        return []
    return [keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch - first_epoch])]


class _Steps(Epochs):
    """Epochs of a few batches of windows, one behind the other: each window has its turn."""

    # Keras ends the training where `steps_per_epoch` of it come to the end of a data set.
    def __init__(self, windows: Windows) -> None:
        super().__init__(windows.seed)
        self._windows = windows

    def __len__(self) -> int:
        return min(len(self._windows), MOST_STEPS)

    def __getitem__(self, index: int) -> Any:
        self._ask(index)
        return self._windows.batch(*divmod(self.epoch * len(self) + index, len(self._windows)))


class Judged(keras.utils.PyDataset):
    """Held-out windows that are looked at: all, or of very many some, spread over all.

    Attributes:
        chosen: the numbers of these windows.
    """

    def __init__(self, windows: Windows, most: int) -> None:
        super().__init__(workers=1)
        self._windows, last = windows, windows.count - 1
        numbers = np.linspace(0, last, min(windows.count, most))
        self.chosen = numbers.round().astype(np.int64)

    def __len__(self) -> int:
        return math.ceil(len(self.chosen) / self._windows.batch_size)

    def __getitem__(self, index: int) -> Any:
        first = index * self._windows.batch_size
        return self._windows.take(self.chosen[first : first + self._windows.batch_size])


class _Measured(keras.callbacks.Callback):
    """Puts a held-out loss among the numbers of each epoch, for the callbacks behind it."""

    def __init__(self, measure: Callable[[], float]) -> None:
        super().__init__()
        self._measure = measure

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["val_loss"] = self._measure()


@keras.saving.register_keras_serializable(package="seqkeras")
class _Weighed(keras.losses.Loss):
    """The loss of a head, reduced in a way of its own; the head itself stays as it is."""

    def __init__(self, head: Any, **options: Any) -> None:
        super().__init__(**options)
        self.head = keras.saving.deserialize_keras_object(head) if isinstance(head, dict) else head

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.head.call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """What pickles of a trained model need."""
        return {**super().get_config(), "head": keras.saving.serialize_keras_object(self.head)}
