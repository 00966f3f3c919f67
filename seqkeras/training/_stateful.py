"""Training a stateful model over series that are longer than its batches."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keras

from seqkeras import kernels
from seqkeras._checks import Description, bad_argument, check_flag, check_integer
from seqkeras._keras_graph._shared_layers import compile_alike
from seqkeras.errors import ArgumentError
from seqkeras.layers import Resettable
from seqkeras.states import get_state, set_state
from seqkeras.states._named import clear_rows, rows_of, stateful_layers
from seqkeras.states._reform import takes_flags, with_flags
from seqkeras.training._backup import Backup, check_file, claimed, fit_epochs, take_stored_seed
from seqkeras.training._distribution import is_first, prepare, process_count
from seqkeras.training._fingerprint import checksum, fingerprint
from seqkeras.training._progress import ProgressBar
from seqkeras.windows._continued import ContinuedBatches
from seqkeras.windows._targets import check_targets


def fit_stateful(
    model: keras.Model,
    batches: ContinuedBatches,
    epochs: int,
    *,
    validation: ContinuedBatches | None = None,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    backup: str | os.PathLike[str] | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    progress: bool = True,
    distributed: bool = False,
) -> keras.callbacks.History:
    """Train a stateful model by truncated backpropagation through time.

    Each batch continues from the state at the end of the batch before it; gradients stop at the
    border between the two (Williams and Peng 1990, doi:10.1162/neco.1990.2.4.490). The state of a
    row is cleared where a new series begins in it, and every epoch starts with cleared states.
    Validation has its own states: the training states are restored after it.

    The model does not need a `reset` input, and the `reset_input` setting of the batches is
    ignored. For limits on models built from Keras' own stateful layers, see `ResetStates`.

    Args:
        model: a compiled, stateful model with as many rows as the batches.
        batches: training data, read from epoch 0: `StatefulBatches`, or
            `seqkeras.text.TokenBatches` with `partition="sequential"`. The object does not change.
        epochs: largest number of epochs.
        validation: data to validate on after each epoch. Default: no validation.
        patience: number of epochs without a better `val_loss` before training stops and the best
            weights are restored. Default: run all epochs and keep the last weights.
        checkpoint: `.keras` file for the model of the best epoch so far, by `val_loss`, or by
            `loss` without validation. An existing file is replaced. Default: none.
        backup: file that is written after each epoch and removed at the end. If it exists,
            training resumes from it: after the process was killed, call again with the same
            arguments to get the weights of an uninterrupted run; `epochs` may be larger. The
            backup of a run with other data, or with another model, loss or optimizer, is refused.
            Your own callbacks start from scratch. Default: none.
        callbacks: more Keras callbacks. Their `model` shares all layers with `model`, and may have
            a `reset` input.
        progress: show progress, default True: a bar on a terminal or in a notebook, elsewhere a
            line at the end of an epoch, at most every 10 seconds. So a short training shows nothing
            there.
        distributed: share the rows of each batch, with their states, among the processes of
            `seqkeras launch`, as `fit_distributed` does; for models that can read flags. Their
            number must divide `batch_size`, which is that of all together. Default: False.

    Returns:
        The history, as Keras' `fit` returns it, with all epochs of a resumed run.

    Raises:
        ArgumentError: the rows of the batches do not continue each other; the model is not
            compiled, not stateful, has another number of rows, or is distributed over devices;
            several processes cannot train it; the targets do not have the shape of its outputs; the
            states of Keras' own layers cannot be cleared as the batches require; the backup belongs
            to another training run, or is in use.
        FileFormatError: the backup is damaged.

    Example:
        >>> import numpy as np
        >>> from seqkeras import StatefulBatches, many_to_many
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
    stopping = early_stopping(patience, validation)
    writes = is_first(check_flag("distributed", distributed))
    best_file, backup_file = _check_files(checkpoint if writes else None, backup)
    with ExitStack() as stack:
        if backup_file is not None and writes:
            stack.enter_context(claimed(backup_file))
        training_model = stack.enter_context(_clearing_states(model))
        # Work on copies so that the caller's batches stay unchanged.
        has_reset = _has_reset_input(training_model)
        batches = batches.with_reset_input(has_reset)
        check_targets(training_model, batches)
        if validation is not None:
            validation = validation.with_reset_input(has_reset)
            check_targets(training_model, validation)
        # Build the optimizer now: otherwise its variables are created inside the first traced step,
        # and TensorFlow traces the step again without them.
        if not training_model.optimizer.built:
            training_model.optimizer.build(training_model.trainable_variables)
        run_backup = None
        take_stored_seed(batches, backup_file)
        _check_flags(training_model, batches, distributed)
        prepare(training_model, batches, distributed, validation=validation, epochs=epochs)
        if backup_file is not None:
            run = {**_description(batches, validation, stopping), **fingerprint(model)}
            run_backup = Backup(backup_file, run, stopping, distributed=distributed)
            run_backup.restore(training_model, epochs=epochs)
        first = run_backup.epochs_done if run_backup else 0
        own_callbacks = [
            None if has_reset else ResetStates(batches, validation),
            _KeepStates() if validation is not None else None,
            stopping,
            _best_model(model, best_file, validation, run_backup) if best_file else None,
            run_backup,
            _progress_bar(training_model, batches, epochs, first) if progress and writes else None,
        ]
        return fit_epochs(
            training_model,
            batches,
            run_backup,
            epochs=epochs,
            validation=validation,
            distributed=distributed,
            callbacks=[*callbacks, *own_callbacks],
        )


def _check_flags(model: keras.Model, batches: ContinuedBatches, distributed: bool) -> None:
    """Check that processes that train together can clear the states of a model by flags."""
    if not distributed or process_count() == 1 or _has_reset_input(model):
        return
    fix = (
        "Convert it with seqkeras.states.as_stateful(model, "
        f"batch_size={batches.batch_size}), and compile the copy."
    )
    expected = "one whose layers read flags where distributed=True"
    raise bad_argument("model", model.name, expected, fix)


class ResetStates(keras.callbacks.Callback):
    """Clears states between batches, from outside the model.

    `fit_stateful` adds this callback for models without a `reset` input to which it cannot add
    one, such as models of Keras' own layers. With Keras' `fit`, add it yourself, and use batches
    with `reset_input=False`. It cannot clear a state in the middle of a batch, and it does not work
    on JAX: Keras hides the states of its own layers there, so every batch starts from zeros. On the
    CPU, TensorFlow cannot compile Keras' own layers for batches of one row.

    Args:
        batches: training data.
        validation: validation data. Default: none.

    Raises:
        ArgumentError: when training begins, if states cannot be cleared from outside, because
            series begin within a batch, one execution runs several steps, or the backend is JAX; or
            if TensorFlow cannot compile the model.

    Example:
        >>> import numpy as np
        >>> from seqkeras import StatefulBatches
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

    def __init__(
        self, batches: ContinuedBatches, validation: ContinuedBatches | None = None
    ) -> None:
        super().__init__()
        self._batches = batches
        self._validation = validation

    def on_train_begin(self, logs: Any = None) -> None:
        """Check that states can be cleared from outside."""
        for name, batches in [("batches", self._batches), ("validation", self._validation)]:
            if batches is not None and batches.resets(0).shape[1] > 1:
                value = "series that begin within a batch"
                expected = "made with pack=False for a model of Keras' own layers"
                fix = (
                    "Pass pack=False to StatefulBatches, or convert the model with "
                    "seqkeras.states.as_stateful(model, batch_size)."
                )
                raise bad_argument(name, Description(value), expected, fix)
        if keras.backend.backend() == "jax":
            raise self._needs_our_layers(
                "on the JAX backend: Keras hides the states of its own layers from JAX, so every "
                "batch would start from zeros"
            )
        if self._batches.batch_size == 1 and _loops_over_unknown_rows(self.model):
            raise self._needs_our_layers(
                "for batches of one row on TensorFlow: Keras does not tell it how many rows a "
                "batch has, so it cannot compile the loops of Keras' own layers"
            )
        if self.model.steps_per_execution != 1:
            expected = "1, so that states can be cleared between the steps"
            fix = "Omit it in model.compile(...)."
            raise bad_argument("steps_per_execution", self.model.steps_per_execution, expected, fix)

    def _needs_our_layers(self, reason: str) -> ArgumentError:
        return ArgumentError(
            f"model must have seqkeras layers {reason}. Got: model={self.model.name!r}. Convert it "
            "with seqkeras.states.as_stateful(model, batch_size)."
        )

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Clear the rows in which a series begins."""
        self._clear(self._batches.resets(batch))

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Clear the rows in which a series begins."""
        if self._validation is not None:
            self._clear(self._validation.resets(batch))

    def _clear(self, flags: Any) -> None:
        if not flags.any():
            return
        for layer in stateful_layers(self.model).values():
            clear_rows(layer, flags)


def _loops_over_unknown_rows(model: keras.Model) -> bool:
    """Return whether TensorFlow compiles loops of Keras' own layers, whose states must keep shape.

    A state of several rows states their number. That of one row could be repeated for any number.
    """
    if kernels.here()[:2] != ("tensorflow", "cpu") or model.run_eagerly:
        return False  # on a GPU, the layers may run without a loop
    layers = stateful_layers(model).values()
    return not any(isinstance(layer, Resettable) or layer.unroll for layer in layers)


class _KeepStates(keras.callbacks.Callback):
    """Restores the training states after each validation."""

    def on_test_begin(self, logs: Any = None) -> None:
        self._state = get_state(self.model)

    def on_test_end(self, logs: Any = None) -> None:
        set_state(self.model, self._state)


class _BestModel(keras.callbacks.Callback):
    """Saves the model of the best epoch, replacing the file atomically."""

    def __init__(
        self, model: keras.Model, path: Path, monitor: str, earlier_values: list[float]
    ) -> None:
        super().__init__()
        self._given_model = model
        self._path = path
        self._monitor = monitor
        self._best = min(earlier_values, default=float("inf"))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs[self._monitor] < self._best:
            self._best = logs[self._monitor]
            # Not `whole_file`, whose temporary name is random: with a fixed name, the next process
            # replaces the temporary file that a killed process left.
            part = self._path.with_name(f"{self._path.stem}.part.keras")
            _ = self.model  # on JAX, this writes the trained values into the variables
            try:
                self._given_model.save(part)
                os.replace(part, self._path)
            finally:
                part.unlink(missing_ok=True)


@contextmanager
def _clearing_states(model: keras.Model) -> Iterator[keras.Model]:
    """Yield a model that shares the variables of `model` and accepts reset flags.

    If that is impossible or unnecessary, yield `model` itself.
    """
    # A subclass may override `compile`, and `compile_alike` cannot repeat what it does.
    overrides_compile = type(model).compile is not keras.Model.compile
    if _has_reset_input(model) or not takes_flags(model) or overrides_compile:
        yield model
        return
    with with_flags(model) as flagged:
        compile_alike(model, flagged)
        yield flagged


def _progress_bar(
    model: keras.Model, batches: ContinuedBatches, epochs: int, first_epoch: int
) -> ProgressBar:
    """Return a bar that counts batches, or the tokens of a model that reads ids."""
    reads_ids = any("int" in tensor.dtype for tensor in model.inputs)
    tokens = batches.batch_size * batches.bptt_steps if reads_ids else 0
    return ProgressBar(epochs, len(batches), "training", first_epoch=first_epoch, tokens=tokens)


def early_stopping(
    patience: int | None, validation: keras.utils.PyDataset | None
) -> keras.callbacks.EarlyStopping | None:
    """Return the callback that stops after some epochs without a better `val_loss`, or None.

    Raises:
        ArgumentError: there is a patience, but no validation.
    """
    if patience is None:
        return None
    if validation is None:
        fix = "Pass validation=; patience counts epochs without a better val_loss."
        raise bad_argument("patience", patience, "omitted without validation", fix)
    return keras.callbacks.EarlyStopping(
        "val_loss", patience=check_integer("patience", patience), restore_best_weights=True
    )


def _best_model(
    model: keras.Model, path: Path, validation: ContinuedBatches | None, run_backup: Backup | None
) -> _BestModel:
    monitor = "val_loss" if validation is not None else "loss"
    earlier_values = run_backup.history.get(monitor, []) if run_backup else []
    return _BestModel(model, path, monitor, earlier_values)


def _description(
    batches: ContinuedBatches,
    validation: ContinuedBatches | None,
    stopping: keras.callbacks.EarlyStopping | None,
) -> dict[str, Any]:
    """Describe a training run in JSON, to distinguish its backup from others."""
    return {
        "batches": len(batches),
        "batch_size": batches.batch_size,
        "bptt_steps": batches.bptt_steps,
        "steps": batches.steps,
        "data": checksum(batches.in_order()),
        "shuffle": batches.shuffle,
        "seed": batches.seed if batches.shuffle else None,
        "validation": checksum(validation.in_order()) if validation is not None else None,
        "patience": stopping.patience if stopping is not None else None,
    }


def _check_files(
    checkpoint: str | os.PathLike[str] | None, backup: str | os.PathLike[str] | None
) -> tuple[Path | None, Path | None]:
    """Return the paths of both files, after checking that they can be written and differ."""
    best_file = check_file("checkpoint", checkpoint, ".keras")
    backup_file = check_file("backup", backup)
    if best_file and backup_file and best_file.resolve() == backup_file.resolve():
        raise bad_argument("checkpoint", str(best_file), "a different file from the backup")
    return best_file, backup_file


def _input_names(model: keras.Model) -> list[str]:
    return [tensor.name for tensor in getattr(model, "inputs", None) or ()]


def _has_reset_input(model: keras.Model) -> bool:
    return "reset" in _input_names(model)


def _check_batches(batches: ContinuedBatches, name: str) -> None:
    if not isinstance(batches, ContinuedBatches):
        expected = "StatefulBatches, or TokenBatches with partition='sequential'"
        raise bad_argument(name, type(batches).__name__, expected)
    if not batches.continues:
        fix = "Use partition='sequential', so that each row continues the row of the batch before."
        raise bad_argument(name, batches, "batches that continue each other", fix)


def _check_model(model: keras.Model, batches: ContinuedBatches, name: str) -> None:
    _check_batches(batches, name)
    if not isinstance(model, keras.Model) or not (model.compiled and model.built):
        raise bad_argument(
            "model", model, "a keras.Model that is built and compiled", _missing(model)
        )
    strategy = kernels.distribution(model)
    if strategy is not None:
        actual = Description(f"model={model.name!r}, built in the scope of {strategy}")
        fix = "The rows of a batch would be spread over devices, and their states with them."
        raise bad_argument("model", actual, "built outside of a distribution strategy", fix)
    layers = list(stateful_layers(model).values())
    if not layers:
        fix = (
            "Convert it with seqkeras.states.as_stateful(model, "
            f"batch_size={batches.batch_size}), and compile the copy."
        )
        raise bad_argument("model", model.name, "stateful", fix)
    rows = rows_of(layers[0])
    if rows != batches.batch_size:
        raise bad_argument(name, batches, f"of batch_size {rows}, like the model")
    inputs = _input_names(model)
    if "reset" in inputs and set(inputs) != {"sequence", "reset"}:
        expected = "a model with exactly the inputs 'sequence' and 'reset'"
        raise bad_argument("model", Description(f"the inputs {inputs}"), expected)


def _missing(model: Any) -> str:
    """Return what to do with a model so that it can be trained."""
    if not isinstance(model, keras.Model):
        return "Build one, for example with seqkeras.many_to_many."
    steps = [
        "Give it an Input with a batch_shape." if not model.built else "",
        'Call model.compile(optimizer="adam", loss="mse").' if not model.compiled else "",
    ]
    return " ".join(filter(None, steps))
