"""A limit of the time that training takes."""

import time
from typing import Any

import keras


class TimeLimit(keras.callbacks.Callback):
    """Stop training after some seconds, after the batch that is being trained on.

    Args:
        seconds: seconds after the start of training; the first step includes its compilation.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> x = keras.ops.ones((8, 1))
        >>> limit = TimeLimit(1e-9)
        >>> history = model.fit(x, x, epochs=100, batch_size=1, verbose=0, callbacks=[limit])
        >>> len(history.epoch)
        1
    """

    async_safe = True  # reads no logs of batches, so no backend has to wait for them

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def on_train_begin(self, logs: Any = None) -> None:
        """Remember when training begins."""
        self._end = time.monotonic() + self._seconds

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stop training if the time is over."""
        if time.monotonic() >= self._end:
            self.model.stop_training = True
