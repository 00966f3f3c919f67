"""A progress bar for long trainings."""

from typing import Any

import keras
from tqdm import tqdm


class ProgressBar(keras.callbacks.Callback):
    """One tqdm bar over all batches of all epochs, only drawn on a terminal.

    Args:
        epochs: number of epochs of the training.
        batches: number of batches of an epoch.
        label: text in front of the bar.
        first_epoch: number of epochs that are done already, default 0.
    """

    async_safe = True  # reads no logs of batches, so no backend has to wait for them

    def __init__(self, epochs: int, batches: int, label: str, *, first_epoch: int = 0) -> None:
        super().__init__()
        self._batches = batches
        self._bar = tqdm(
            total=epochs * batches,
            initial=first_epoch * batches,
            desc=label,
            unit="batch",
            leave=False,
            disable=None,  # draws only on a terminal
        )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remember where the epoch begins."""
        self._first_batch = epoch * self._batches

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Advance the bar to the batch."""
        self._bar.update(self._first_batch + batch + 1 - self._bar.n)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show the losses and metrics of the epoch."""
        self._bar.set_postfix({name: f"{value:.4f}" for name, value in (logs or {}).items()})

    def on_train_end(self, logs: Any = None) -> None:
        """Remove the bar."""
        self._bar.close()
