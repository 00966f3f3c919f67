"""Training of a model without states over several processes."""

import copy
import os
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import keras

from seqkeras._checks import bad_argument, check_flag, check_integer
from seqkeras.states._named import stateful_layers
from seqkeras.training._backup import Backup, check_file, claimed, fit_epochs, take_stored_seed
from seqkeras.training._distribution import is_first, prepare
from seqkeras.training._fingerprint import checksum, fingerprint
from seqkeras.training._progress import ProgressBar
from seqkeras.training._stateful import early_stopping
from seqkeras.windows._dataset import Epochs
from seqkeras.windows._targets import check_once

#: Largest number of batches that tell a training run from others.
MOST_COMPARED = 100


def fit_distributed(
    model: keras.Model,
    batches: Epochs,
    epochs: int,
    *,
    validation: keras.utils.PyDataset | None = None,
    patience: int | None = None,
    backup: str | os.PathLike[str] | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    progress: bool = True,
) -> keras.callbacks.History:
    """Train a model in several processes, which share the rows of each batch.

    Every process runs the same script, as `seqkeras launch -n 2 train.py` starts it, and calls this
    function with the same arguments. Each computes its part of the rows of a batch; losses,
    gradients, metrics and dropout are those of the whole batch. So the result is that of one
    process, up to rounding, and afterwards each process has the whole of it. In a script that was
    started by itself, this is `fit`.

    The backend must be JAX or PyTorch. Several processes also train stateful models, with
    `fit_stateful(..., distributed=True)`, and a `Forecaster`, with `Training(distributed=True)`.

    Args:
        model: a built and compiled model, the same in each process; the weights of the first one
            count. On PyTorch, losses that layers add must be means over rows.
        batches: training data, read from epoch 0: `Windows`, or another data set of seqkeras. Its
            `batch_size` must be a multiple of the number of processes. The object does not change.
        epochs: largest number of epochs.
        validation: a data set to validate on after each epoch. Default: no validation.
        patience: number of epochs without a better `val_loss` before training stops and the best
            weights are restored. Default: run all epochs and keep the last weights.
        backup: file that the first process writes after each epoch and removes at the end. If it
            exists, training resumes from it, as in `fit_stateful`; the number of processes may be
            another one. All processes must be able to read it. Default: none.
        callbacks: more Keras callbacks. Each process calls its own, with the same logs.
        progress: let the first process show progress, default True.

    Returns:
        The history, as Keras' `fit` returns it, with all epochs of a resumed run.

    Raises:
        ArgumentError: the model is stateful; the backend is TensorFlow and there are several
            processes; these cannot share a batch evenly, have other models, epochs or first
            batches, or cannot train the model on PyTorch; the backup belongs to another training
            run, is in use, or is not seen by all processes; another argument has the wrong type.
        FileFormatError: the backup is damaged.

    Example:
        >>> import numpy as np
        >>> from seqkeras import Windows, WindowSpec, many_to_one
        >>> wave = np.sin(np.arange(200.0))
        >>> windows = Windows(wave, WindowSpec(8, horizon=1), shuffle=True)
        >>> model = many_to_one(1, outputs=1, units=8)
        >>> model.compile(optimizer="adam", loss="mse")
        >>> history = fit_distributed(model, windows, epochs=2)
        >>> len(history.history["loss"])
        2
    """
    _check(model, batches, validation)
    epochs = check_integer("epochs", epochs)
    check_flag("progress", progress)
    stopping = early_stopping(patience, validation)
    file = check_file("backup", backup)
    batches = copy.copy(batches)
    with ExitStack() as stack:
        if file is not None and is_first(True):
            stack.enter_context(claimed(file))
        take_stored_seed(batches, file)
        prepare(model, batches, True, validation=validation, epochs=epochs)
        run_backup = None
        if file is not None:
            run = _description(model, batches, validation, stopping)
            run_backup = Backup(file, run, stopping, distributed=True)
            run_backup.restore(model, epochs=epochs)
        first = run_backup.epochs_done if run_backup else 0
        shows = progress and is_first(True)
        bar = ProgressBar(epochs, len(batches), "training", first_epoch=first) if shows else None
        own_callbacks = [stopping, run_backup, bar]
        return fit_epochs(
            model,
            batches,
            run_backup,
            epochs=epochs,
            validation=validation,
            distributed=True,
            callbacks=[*callbacks, *own_callbacks],
        )


def _check(model: Any, batches: Any, validation: Any) -> None:
    if not isinstance(model, keras.Model) or not (model.compiled and model.built):
        fix = 'Give it an Input, and call model.compile(optimizer="adam", loss="mse").'
        raise bad_argument("model", model, "a keras.Model that is built and compiled", fix)
    fix = "Use seqkeras.Windows(series, spec, batch_size=...)."
    if not isinstance(batches, Epochs):
        raise bad_argument("batches", type(batches).__name__, "a data set of seqkeras", fix)
    if validation is not None and not isinstance(validation, keras.utils.PyDataset):
        raise bad_argument("validation", type(validation).__name__, "a data set", fix)
    fix = "Use fit_stateful(..., distributed=True)."
    if getattr(batches, "continues", False):
        raise bad_argument("batches", batches, "batches that do not continue each other", fix)
    if stateful_layers(model):
        raise bad_argument("model", model.name, "without states between batches", fix)
    check_once(batches, model)


def _description(
    model: keras.Model,
    batches: Any,
    validation: Any,
    stopping: keras.callbacks.EarlyStopping | None,
) -> dict[str, Any]:
    """Describe a training run in JSON, to distinguish its backup from others."""
    return {
        "batches": len(batches),
        "batch_size": batches.batch_size,
        "data": checksum(_some(batches)),
        "seed": batches.seed,
        "validation": checksum(_some(validation)) if validation is not None else None,
        "patience": stopping.patience if stopping is not None else None,
        **fingerprint(model),
    }


def _some(batches: Any) -> Iterable[Any]:
    return (batches[index] for index in range(min(len(batches), MOST_COMPARED)))
