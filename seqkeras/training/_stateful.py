"""Training a stateful model over series that are longer than its batches."""

import copy
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras

from seqkeras._checks import bad_argument, check_integer
from seqkeras.errors import ArgumentError
from seqkeras.states import get_state, set_state
from seqkeras.states._named import clear_rows, rows_of, stateful_layers
from seqkeras.training._backup import Backup
from seqkeras.training._progress import ProgressBar
from seqkeras.windows import StatefulBatches


def fit_stateful(
    model: keras.Model,
    batches: StatefulBatches,
    epochs: int,
    *,
    validation: StatefulBatches | None = None,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    backup: str | os.PathLike[str] | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    progress: bool = True,
) -> keras.callbacks.History:
    """Trains a stateful model in truncated backpropagation through time.

    Each batch goes on from the state that the batch before it left; gradients end at the border
    between the two (Williams and Peng 1990, doi:10.1162/neco.1990.2.4.490). Every epoch begins
    with cleared states. Validation has states of its own: those of the training are put back
    after it.

    Args:
        model: compiled, stateful, with as many rows as the batches.
        batches: what to train on.
        epochs: at most.
        validation: what to validate on after each epoch.
        patience: epochs without a better `val_loss` before training stops and the best weights
            are put back. Default: all epochs are run, and the last weights kept.
        checkpoint: `.keras` file that always holds the model of the best epoch so far, by
            `val_loss`, or by `loss` without validation. A file of that name is replaced.
        backup: file that is written after each epoch, and removed at the end. Where it exists,
            training goes on from it: after a process was killed, call again with the same
            arguments, and the weights become those of a run that was not. Callbacks of your own
            start anew.
        callbacks: more Keras callbacks.
        progress: draw a bar, if on a terminal.

    Returns:
        The history of Keras' `fit`, of all epochs.

    Raises:
        ArgumentError: the model is not compiled, not stateful or has other rows; a model without
            an input for the reset flags cannot be trained in the way that was asked.
        FileFormatError: the backup is damaged.

    Example:
        >>> import numpy as np
        >>> from seqkeras import many_to_many
        >>> wave = np.sin(np.arange(200.0))
        >>> batches = StatefulBatches(wave, batch_size=4, bptt_steps=10)
        >>> model = many_to_many(1, units=8, stateful=True, batch_size=4)
        >>> model.compile(optimizer="adam", loss="mse")
        >>> history = fit_stateful(model, batches, epochs=2)
        >>> len(history.history["loss"])
        2
    """
    _check_model(model, batches, "batches")
    epochs = check_integer("epochs", epochs)
    if validation is not None:
        _check_model(model, validation, "validation")
        validation = copy.copy(validation)  # so that reading it moves nothing of the caller's
    stopping = _stopping(patience, validation)
    best_file = _check_file("checkpoint", checkpoint, ".keras")
    backup_file = _check_file("backup", backup, "")
    saved = Backup(backup_file, _run(batches), stopping) if backup_file else None
    if saved:
        saved.restore(model)
    first = saved.epochs_done if saved else 0
    batches.epoch = first
    own = [
        ResetStates(batches, validation) if not _takes_reset(model) else None,
        _KeepStates() if validation else None,
        stopping,
        _best_model(best_file, validation, saved) if best_file else None,
        saved,
        ProgressBar(epochs, len(batches), "training", first_epoch=first) if progress else None,
    ]
    history = model.fit(
        batches,
        initial_epoch=epochs if saved and saved.stopped else first,
        epochs=epochs,
        validation_data=validation,
        shuffle=False,
        verbose=0,
        callbacks=[*callbacks, *(one for one in own if one is not None)],
    )
    if saved:
        history.history = saved.history
        history.epoch = list(range(len(saved.history["loss"])))
        saved.remove()
    return history


class ResetStates(keras.callbacks.Callback):
    """Clears states between batches, in models of stock Keras layers.

    Models of the builders do not need it: they take the flags as an input and clear their states
    in the graph, on every backend. This callback does the same from outside, one batch at a time,
    for batches made with `reset_input=False`. On JAX it cannot work: Keras hides the states of its
    own layers there, and every batch starts from zeros.

    Args:
        batches: what is trained on.
        validation: what is validated on.

    Raises:
        ArgumentError: when training begins, if the flags cannot be obeyed from outside: series
            begin within a batch, several steps are run in one execution, or on JAX.

    Example:
        >>> import numpy as np
        >>> stock = keras.Sequential([
        ...     keras.Input(batch_shape=(2, None, 1)),
        ...     keras.layers.LSTM(8, stateful=True, return_sequences=True),
        ...     keras.layers.Dense(1),
        ... ])
        >>> stock.compile(optimizer="adam", loss="mse")
        >>> batches = StatefulBatches(
        ...     np.sin(np.arange(99.0)), batch_size=2, bptt_steps=7, reset_input=False
        ... )
        >>> history = stock.fit(batches, shuffle=False, callbacks=[ResetStates(batches)], verbose=0)
    """

    def __init__(self, batches: StatefulBatches, validation: StatefulBatches | None = None) -> None:
        super().__init__()
        self._batches, self._validation = batches, validation

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks that it can work."""
        for name, batches in [("batches", self._batches), ("validation", self._validation)]:
            if batches is not None and batches.resets(0).shape[1] > 1:
                got = "series that begin within a batch"
                raise bad_argument(name, got, "made with pack=False for a stock Keras model")
        if keras.backend.backend() == "jax":
            raise ArgumentError(
                "model must have seqkeras layers on the JAX backend: Keras hides the states of its "
                "own from JAX, and every batch would start from zeros. Use the builders, or "
                "seqkeras.layers.LSTM, GRU, SimpleRNN and RNN with a reset input."
            )
        if self.model.steps_per_execution != 1:
            fix = "In between, states cannot be cleared from outside."
            raise bad_argument("steps_per_execution", self.model.steps_per_execution, "1", fix)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Clears the rows in which a series begins."""
        self._clear(self._batches.resets(batch))

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Clears the rows in which a series begins."""
        if self._validation is not None:
            self._clear(self._validation.resets(batch))

    def _clear(self, flags: Any) -> None:
        if not flags.any():
            return
        for layer in stateful_layers(self.model).values():
            clear_rows(layer, flags)


class _KeepStates(keras.callbacks.Callback):
    """Puts the states of the training back after each validation."""

    def on_test_begin(self, logs: Any = None) -> None:
        self._kept = get_state(self.model)

    def on_test_end(self, logs: Any = None) -> None:
        set_state(self.model, self._kept)


class _BestModel(keras.callbacks.Callback):
    """Keeps the model of the best epoch in a file, which is whole at any moment."""

    def __init__(self, path: Path, monitor: str, before: list[float]) -> None:
        super().__init__()
        self._path, self._monitor = path, monitor
        self._best = min(before, default=float("inf"))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs[self._monitor] < self._best:
            self._best = logs[self._monitor]
            # Not `whole_file`: of a process that was killed, the next one takes the same name.
            part = self._path.with_name(f"{self._path.stem}.part.keras")
            self.model.save(part)
            os.replace(part, self._path)


def _stopping(
    patience: int | None, validation: StatefulBatches | None
) -> keras.callbacks.EarlyStopping | None:
    if patience is None:
        return None
    if validation is None:
        fix = "Training stops when the loss on validation no longer falls."
        raise bad_argument("patience", patience, "left away without validation", fix)
    return keras.callbacks.EarlyStopping(
        "val_loss", patience=check_integer("patience", patience), restore_best_weights=True
    )


def _best_model(path: Path, validation: StatefulBatches | None, saved: Backup | None) -> _BestModel:
    monitor = "loss" if validation is None else "val_loss"
    return _BestModel(path, monitor, saved.history.get(monitor, []) if saved else [])


def _check_file(name: str, given: str | os.PathLike[str] | None, suffix: str) -> Path | None:
    """A path that can be written to: found out now, and not after the first epoch."""
    if given is None:
        return None
    path = Path(given)
    if suffix and path.suffix != suffix:
        raise bad_argument(name, str(path), f"the name of a {suffix} file")
    if path.is_dir() or not path.parent.is_dir():
        raise bad_argument(name, str(path), "a file in a folder that exists")
    return path


def _run(batches: StatefulBatches) -> dict[str, int]:
    """What tells one training from another in its backup."""
    return {
        "batches": len(batches),
        "batch_size": batches.batch_size,
        "bptt_steps": batches.bptt_steps,
        "steps": batches.steps,
    }


def _takes_reset(model: keras.Model) -> bool:
    return any(tensor.name == "reset" for tensor in getattr(model, "inputs", None) or ())


def _check_model(model: keras.Model, batches: StatefulBatches, name: str) -> None:
    if not isinstance(batches, StatefulBatches):
        raise bad_argument(name, type(batches).__name__, "StatefulBatches")
    if not isinstance(model, keras.Model) or not (model.compiled and model.built):
        fix = "Give it an Input with a batch_shape, and call model.compile(...)."
        raise bad_argument("model", model, "a keras.Model that is built and compiled", fix)
    layers = list(stateful_layers(model).values())
    if not layers:
        fix = "Build it with stateful=True, batch_size=...; weights of a stateless twin fit it."
        raise bad_argument("model", model.name, "stateful", fix)
    rows = rows_of(layers[0])
    if rows != batches.batch_size:
        expected = f"of batch_size {rows}, as the model is"
        raise bad_argument(name, batches, expected)
    if batches.reset_input != _takes_reset(model):
        has = "has no input for reset flags" if batches.reset_input else "takes reset flags"
        fix = f"The model {has}; make the batches with reset_input={not batches.reset_input}."
        expected = f"made with reset_input={not batches.reset_input} for this model"
        raise bad_argument(name, batches, expected, fix)
