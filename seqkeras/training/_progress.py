"""Progress of a long training."""

from typing import Any

import keras
from tqdm import tqdm


class ProgressBar(keras.callbacks.Callback):
    """One tqdm bar over all batches of all epochs, drawn on a terminal alone.

    Args:
        epochs: of the training.
        batches: of an epoch.
        label: in front of the bar.
        first_epoch: where a training goes on that was interrupted.
    """

    async_safe = True  # looks at no log of a batch, so no backend has to wait for one

    def __init__(self, epochs: int, batches: int, label: str, *, first_epoch: int = 0) -> None:
        super().__init__()
        self._batches = batches
        self._bar = tqdm(
            total=epochs * batches,
            initial=first_epoch * batches,
            desc=label,
            unit="batch",
            leave=False,
            disable=None,  # tqdm's word for "draw on a terminal alone"
        )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Takes note of where the epoch begins."""
        self._before = epoch * self._batches

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves on to the batch."""
        self._bar.update(self._before + batch + 1 - self._bar.n)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Shows the numbers of the epoch."""
        self._bar.set_postfix({name: f"{value:.4f}" for name, value in (logs or {}).items()})

    def on_train_end(self, logs: Any = None) -> None:
        """Removes the bar."""
        self._bar.close()
