"""Training one network: early stopping in order of time, and a quiet progress bar."""

import math
from dataclasses import dataclass
from typing import Any

import keras

from seqkeras.errors import DataError
from seqkeras.forecasting import _charts
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
        best_epoch: the number of epochs whose weights were kept; 0 is the untrained network.
    """

    loss: tuple[float, ...]
    val_loss: tuple[float, ...]
    best_epoch: int

    def plot(self, *, title: str = "") -> Any:
        """Draws the losses by epoch, and the epoch whose weights were kept.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        return _charts.draw_losses(self.loss, self.val_loss, self.best_epoch, title=title)


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
    before = [float(model.evaluate(validation, verbose=0))] if validation else []
    callbacks = [keras.callbacks.TerminateOnNaN()]
    if progress is not None:
        callbacks.append(ProgressBar(epochs, len(windows), progress))
    if validation:
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
    best = held_out.index(min(held_out)) if validation else len(losses)
    if best == 0:
        model.set_weights(untrained)
    return TrainingLog(losses, held_out, best)


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
