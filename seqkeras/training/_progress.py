"""Progress of long work: a bar on a terminal or in a notebook, lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any, Self

import keras
from tqdm.auto import tqdm

#: Seconds between two lines where there is no terminal.
LINE_SECONDS = 10.0


class Progress:
    """A bar on a terminal or in a notebook; elsewhere, as in the log of a job, lines on stderr.

    Args:
        total: number of parts of the work.
        label: text in front of the bar, and of each line.
        unit: name of the unit that the bar counts.
        done: number of parts that are done already, default 0.
        size: number of units in a part, default 1.
        is_hidden: show nothing, default False.
    """

    def __init__(
        self,
        total: int,
        label: str,
        unit: str,
        *,
        done: int = 0,
        size: int = 1,
        is_hidden: bool = False,
    ) -> None:
        self._label = label
        self._last_line = time.monotonic()
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=label,
            unit=unit,
            unit_scale=size if size > 1 else False,
            leave=False,
            disable=True if is_hidden else None,  # None: only on a terminal or in a notebook
        )
        self._writes_lines = self._bar.disable and not is_hidden

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def update(self, done: int) -> None:
        """Move the bar to this number of parts."""
        self._bar.update(done - self._bar.n)

    def report(self, step: str, values: dict[str, str]) -> None:
        """Show values in the bar, or in a line if `LINE_SECONDS` have passed since the last one.

        Args:
            step: what was done, such as "epoch 2/3", for the line.
            values: texts by name.
        """
        self._bar.set_postfix(values)
        now = time.monotonic()
        if self._writes_lines and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            texts = [step, *(f"{name}={value}" for name, value in values.items())]
            print(f"{self._label}: {', '.join(texts)}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()


def say(text: str) -> None:
    """Write a line to stderr, above any bar."""
    tqdm.write(text, file=sys.stderr)


class ProgressBar(keras.callbacks.Callback):
    """One bar over all batches of all epochs, on a terminal or in a notebook.

    Elsewhere, as in the log of a job, it writes a line to stderr at the end of an epoch, if some
    seconds have passed since the last one.

    Args:
        epochs: number of epochs of the training run.
        batches: number of batches of an epoch.
        label: text in front of the bar.
        first_epoch: number of epochs that are done already, default 0.
        tokens: number of tokens in a batch; the bar then counts tokens instead of batches, and
            shows tokens per second. Default: batches.
    """

    async_safe = True  # reads no logs of batches, so no backend has to wait for them

    def __init__(
        self, epochs: int, batches: int, label: str, *, first_epoch: int = 0, tokens: int = 0
    ) -> None:
        super().__init__()
        self._epochs = epochs
        self._batches = batches
        self._tokens = tokens
        self._progress = Progress(
            epochs * batches,
            label,
            "token" if tokens else "batch",
            done=first_epoch * batches,
            size=max(tokens, 1),
        )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remember where and when the epoch begins."""
        self._first_batch = epoch * self._batches
        self._start = time.monotonic() if self._tokens else 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Advance the bar to the batch."""
        self._progress.update(self._first_batch + batch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show the losses and metrics of the epoch."""
        values = {name: f"{value:.4f}" for name, value in (logs or {}).items()}
        if self._tokens:
            # The seconds include validation, as those of the epoch do.
            rate = self._tokens * self._batches / (time.monotonic() - self._start)
            values["tokens/s"] = f"{rate:.0f}"
        self._progress.report(f"epoch {epoch + 1}/{self._epochs}", values)

    def on_train_end(self, logs: Any = None) -> None:
        """Remove the bar."""
        self._progress.close()
