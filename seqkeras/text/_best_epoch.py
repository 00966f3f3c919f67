"""Training that keeps the weights of the epoch with the best held-out loss."""

import math
from collections.abc import Callable
from typing import Any

import keras

from seqkeras._arrays import Array
from seqkeras.errors import DataError
from seqkeras.training import TrainingLog


class BestEpoch(keras.callbacks.Callback):
    """Records the losses of each epoch, keeps the best weights, and stops training in time.

    The losses are nats of a token, without label smoothing. They replace those of the logs, so that
    callbacks after this one show the same numbers.

    Args:
        model: the model whose weights are kept; the trained one may be another that shares them.
        patience: epochs without a better held-out loss before training stops. Without held-out
            data, the last epoch counts as the best.
    """

    def __init__(self, model: keras.Model, patience: int) -> None:
        super().__init__()
        self.loss: list[float] = []
        self.val_loss: list[float] = []
        self.learning_rate: list[float] = []
        self.weights: list[Array] = []
        self.best_epoch = 0
        self._kept = model
        self._patience = patience

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record the epoch; stop if there was no better one for too long."""
        trained = self.model  # on JAX, this writes the trained values into the variables
        for name, losses in (("loss", self.loss), ("val_loss", self.val_loss)):
            if name in logs:
                logs[name] = math.log(logs[name.replace("loss", "perplexity")])
                losses.append(logs[name])
        self.learning_rate.append(float(trained.optimizer.learning_rate))
        if not math.isfinite(self.loss[-1]):
            trained.stop_training = True
        elif not self.val_loss or self.val_loss[-1] <= min(self.val_loss):
            self.best_epoch = len(self.loss)
            self.weights = self._kept.get_weights()
        elif len(self.loss) - self.best_epoch >= self._patience:
            trained.stop_training = True

    def log(self) -> TrainingLog:
        """Return the log, after the best weights are back in the model."""
        self._kept.set_weights(self.weights)
        return TrainingLog(
            tuple(self.loss), tuple(self.val_loss), self.best_epoch, tuple(self.learning_rate)
        )


def train_to_best(best: BestEpoch, fit: Callable[[list[BestEpoch]], object]) -> bool:
    """Train, and return whether Ctrl-C ended the training after its first epoch.

    Args:
        best: the callback that keeps the best weights.
        fit: function that trains with these callbacks.

    Raises:
        DataError: the loss became NaN or infinite.
        KeyboardInterrupt: Ctrl-C before an epoch has ended.
    """
    interrupted = False
    try:
        fit([best])
    except KeyboardInterrupt:
        if not best.weights:
            raise
        interrupted = True
    if not best.weights or not math.isfinite(best.loss[-1]):
        raise DataError(
            f"Training diverged: the loss was not finite in epoch {len(best.loss)}. Use a smaller "
            "learning_rate."
        )
    return interrupted
