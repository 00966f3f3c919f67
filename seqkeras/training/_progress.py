"""Progress of long trainings."""

import sys
import time
from typing import Any

import keras
from tqdm.auto import tqdm

#: Seconds between two lines where there is no terminal.
LINE_SECONDS = 10.0


class ProgressBar(keras.callbacks.Callback):
    """One bar over all batches of all epochs, on a terminal or in a notebook.

    Elsewhere, as in the log of a job, it writes a line to stderr at the end of an epoch, if some
    seconds have passed since the last one.

    Args:
        epochs: number of epochs of the training.
        batches: number of batches of an epoch.
        label: text in front of the bar.
        first_epoch: number of epochs that are done already, default 0.
    """

    async_safe = True  # reads no logs of batches, so no backend has to wait for them

    def __init__(self, epochs: int, batches: int, label: str, *, first_epoch: int = 0) -> None:
        super().__init__()
        self._epochs = epochs
        self._batches = batches
        self._label = label
        self._last_line = time.monotonic()
        self._bar = tqdm(
            total=epochs * batches,
            initial=first_epoch * batches,
            desc=label,
            unit="batch",
            leave=False,
            disable=None,  # draws on a terminal and in a notebook
        )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remember where the epoch begins."""
        self._first_batch = epoch * self._batches

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Advance the bar to the batch."""
        self._bar.update(self._first_batch + batch + 1 - self._bar.n)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show the losses and metrics of the epoch."""
        values = {name: f"{value:.4f}" for name, value in (logs or {}).items()}
        self._bar.set_postfix(values)
        now = time.monotonic()
        if self._bar.disable and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            losses = ", ".join(f"{name}={value}" for name, value in values.items())
            line = f"{self._label}: epoch {epoch + 1}/{self._epochs}, {losses}"
            print(line, file=sys.stderr, flush=True)

    def on_train_end(self, logs: Any = None) -> None:
        """Remove the bar."""
        self._bar.close()
