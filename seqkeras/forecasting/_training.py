"""Training one network: early stopping in order of time, and a quiet progress bar."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from seqkeras.errors import DataError
from seqkeras.heads import Head
from seqkeras.training import ProgressBar
from seqkeras.windows import Windows


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
    """

    loss: tuple[float, ...]
    val_loss: tuple[float, ...]
    best_epoch: int


def train(
    model: keras.Model,
    windows: Windows,
    validation: Windows | None,
    *,
    epochs: int,
    patience: int,
    learning_rate: float,
    progress: str | None,
    loss: Head | None = None,
    measure: Callable[[], float] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> TrainingLog:
    """Trains in place, and leaves the weights of the best epoch on the held-out windows.

    Args:
        model: (batch, lookback, features) to (batch, steps), or to (batch, steps, 1) where windows
            have weights; is compiled here.
        windows: to train on; steps of weight 0 do not count.
        validation: held-out windows that decide when to stop, or None: all epochs are run.
        epochs: at most.
        patience: epochs without a better held-out loss before training stops.
        learning_rate: of Adam.
        progress: label of the bar, or None for no bar. A bar is only drawn on a terminal.
        loss: of the answers; None is the absolute error.
        measure: what gives the held-out loss, in place of the loss on `validation`.
        callbacks: further ones.

    Raises:
        DataError: the loss became NaN or infinite.
    """
    # By the sum of weights: a batch in which much is missing counts as much as another.
    by_weight = "mean_with_sample_weight"
    if loss is None:
        loss = keras.losses.MeanAbsoluteError(reduction=by_weight)
    else:
        loss = _Weighed(loss, name=loss.name, reduction=by_weight)
    # Gradients of a recurrent network can explode: the norm is clipped (Pascanu et al. 2013).
    model.compile(keras.optimizers.Adam(learning_rate, clipnorm=1.0), loss=loss)
    untrained = model.get_weights()
    if measure is None and validation:
        before = [float(model.evaluate(validation, verbose=0))]
    else:
        before = [] if measure is None else [measure()]
    callbacks = [*callbacks, keras.callbacks.TerminateOnNaN()]
    if measure is not None:
        callbacks.append(_Measured(measure))
    if progress is not None:
        callbacks.append(ProgressBar(epochs, len(windows), progress))
    if before:
        early = keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True)
        callbacks.append(early)
    history = model.fit(
        windows, epochs=epochs, validation_data=validation, verbose=0, callbacks=callbacks
    ).history
    losses = tuple(float(loss) for loss in history["loss"])
    if not all(math.isfinite(loss) for loss in losses):
        raise DataError(
            f"Training diverged: the loss was not finite in epoch {len(losses)}. Use a smaller "
            f"learning_rate (now {learning_rate}), or look for extreme values in the series."
        )
    held_out = (*before, *(float(loss) for loss in history.get("val_loss", ())))
    best = held_out.index(min(held_out)) if before else len(losses)
    if best == 0:
        model.set_weights(untrained)
    return TrainingLog(losses, held_out, best)


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
