"""A file with everything that a training run needs to resume."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from seqkeras._archive import Archive, read_archive, write_archive
from seqkeras._arrays import Array
from seqkeras._checks import bad_argument
from seqkeras._files import DAMAGE, locked
from seqkeras.errors import ArgumentError, FileFormatError
from seqkeras.kernels import processes
from seqkeras.kernels._randomness import random_state, set_random_state
from seqkeras.training._distribution import fit_model
from seqkeras.training._fingerprint import differences

KIND = "seqkeras.Backup"
VERSION = 1

#: Key of the learning rate in the description of a training run.
RATE = "optimizer learning_rate"

#: The integer attributes of `EarlyStopping` that the backup stores.
STOPPING = ("wait", "best_epoch", "stopped_epoch")


class History(keras.callbacks.Callback):
    """Records the logs of all completed epochs, also of a run that is interrupted later.

    Attributes:
        history: the values of each log, by name.
        epochs_done: number of epochs of this run that were complete when it was resumed.
        stopped: whether the run had already stopped by then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self.epochs_done = 0
        self.stopped = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record the logs of an epoch."""
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))


class Backup(History):
    """Writes a training run to a file after each epoch, and resumes the run from the file.

    The file holds the variables of the model (weights, states, seeds) and of its optimizer, the
    state of the random generators outside of them, the history, and the progress of early stopping
    and of `ReduceLROnPlateau`, as arrays and JSON. It is always complete, even if the process is
    killed.

    Args:
        path: path of the file.
        run: description of the training run in JSON, to distinguish it from others.
        stopping: early stopping of the run, if any; its callback must come before this one.
        plateau: callback that lowers the learning rate, if any; it must come before this one.
        first_epoch: number of the first epoch of the run, default 0.
        distributed: whether the processes of `seqkeras launch` train together; all of them read the
            file, and only the first one writes and removes it. Default: False.
    """

    def __init__(
        self,
        path: Path,
        run: dict[str, Any],
        stopping: keras.callbacks.EarlyStopping | None = None,
        plateau: keras.callbacks.ReduceLROnPlateau | None = None,
        first_epoch: int = 0,
        distributed: bool = False,
    ) -> None:
        super().__init__()
        self._distributed = distributed
        self._path = path
        self._run = run
        self._stopping = stopping
        self._plateau = plateau
        self._first_epoch = first_epoch
        self._stopping_state: dict[str, Any] = {}
        self._plateau_state: dict[str, Any] = {}
        self._random_state: dict[str, Array] = {}

    def restore(self, model: keras.Model, *, epochs: int | None = None) -> None:
        """Restore a model from the file, if it exists.

        Args:
            model: a compiled model.
            epochs: total number of epochs of the run, checked against the file. None: no check.

        Raises:
            FileFormatError: the file is damaged or from a later version.
            ArgumentError: the file belongs to another training run, or has more epochs, or not all
                processes that train together see it.
        """
        self._restore(model, epochs)
        if self._distributed and len(set(processes.collect(self.epochs_done))) > 1:
            fix = "Put it into a folder that all processes share."
            raise bad_argument("backup", str(self._path), "the same file in each process", fix)

    def _restore(self, model: keras.Model, epochs: int | None) -> None:
        if not self._path.exists():
            return
        archive = _read(self._path)
        header = archive.header
        arrays = archive.arrays
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        groups = {"model": model.variables, "optimizer": model.optimizer.variables}
        self._check_run(header["run"], model, arrays)
        if epochs is not None and epochs < header["epochs"]:
            expected = f"at least {header['epochs']}, the number of epochs in the backup"
            raise bad_argument("epochs", epochs, expected)
        for group, variables in groups.items():  # checked first, so an error changes no variable
            _check_shapes(self._path, group, variables, _listed(group, arrays))
        for group, variables in groups.items():
            for variable, value in zip(variables, _listed(group, arrays), strict=True):
                variable.assign(value)
        if self._stopping is not None and header["stopping"]:
            best = arrays["stopping/best"].tolist()
            self._stopping_state = {
                **header["stopping"],
                "best": best[0] if best else None,
                "best_weights": _listed("best", arrays) or None,
            }
        if self._plateau is not None and "plateau" in arrays:
            wait, cooldown, best = arrays["plateau"].tolist()
            self._plateau_state = {
                "wait": int(wait), "cooldown_counter": int(cooldown), "best": best
            }  # fmt: skip
        self._random_state = {
            name.removeprefix("random/"): array
            for name, array in arrays.items()
            if name.startswith("random/")
        }
        self.history = {name: arrays[f"history/{name}"].tolist() for name in header["history"]}
        self.stopped = header["stopped"]
        self.epochs_done = header["epochs"]

    def _check_run(
        self, run: dict[str, Any], model: keras.Model, arrays: Mapping[str, Array]
    ) -> None:
        new = dict(self._run)
        if RATE in new and run.get(RATE) != new[RATE] and _rate_is_stored(model, arrays):
            new[RATE] = run.get(RATE)  # a callback lowered the rate earlier in this process
        other = differences(run, new)
        if other:
            raise ArgumentError(
                f"backup must belong to this training run. Got: backup={str(self._path)!r} of a "
                f"run with {', '.join(other)}. Use another file, or delete it to start from "
                "scratch."
            )

    def on_train_begin(self, logs: Any = None) -> None:
        """Restore the callbacks that `fit` resets, and the random generators.

        The generators are restored here and not in `restore`, because Keras may draw from them in
        between, to build the model.
        """
        for name, value in self._stopping_state.items():
            setattr(self._stopping, name, value)
        for name, value in self._plateau_state.items():
            setattr(self._plateau, name, value)
        set_random_state(self._random_state)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the file."""
        super().on_epoch_end(epoch, logs)
        if self._distributed and processes.index() > 0:
            return
        header: dict[str, Any] = {
            "run": self._run,
            "epochs": epoch + 1 - self._first_epoch,
            "history": list(self.history),
            "stopped": bool(self.model.stop_training),
            "stopping": {},
        }
        arrays = {
            **_numbered("model", self.model.variables),
            **_numbered("optimizer", self.model.optimizer.variables),
            **{f"history/{name}": np.array(values) for name, values in self.history.items()},
            **{f"random/{name}": state for name, state in random_state().items()},
        }
        stopping = self._stopping
        if stopping is not None:
            header["stopping"] = {name: int(getattr(stopping, name)) for name in STOPPING}
            best = [stopping.best] if stopping.best is not None else []
            arrays["stopping/best"] = np.array(best, "float64")
            arrays |= _numbered("best", stopping.best_weights or [])
        plateau = self._plateau
        if plateau is not None:
            numbers = [plateau.wait, plateau.cooldown_counter, plateau.best]
            arrays["plateau"] = np.array(numbers, "float64")
        write_archive(self._path, header, arrays, kind=KIND, version=VERSION)

    def finish(self, history: keras.callbacks.History) -> None:
        """Give a history all epochs of the run, and remove the file."""
        history.history = self.history
        history.epoch = list(range(len(self.history["loss"])))
        remove(self._path, self._distributed)


def remove(path: Path, distributed: bool = False) -> None:
    """Remove a backup, and temporary files that a killed process left.

    Args:
        path: path of the file.
        distributed: whether all processes call this. The first one removes the file, and the others
            wait for it: their next training must not find it.
    """
    if not distributed or processes.index() == 0:
        _remove(path)
    if distributed:
        processes.collect(0.0)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    part = re.compile(rf"\.{re.escape(path.name)}\.\d+\.[0-9a-f]+\.part(\.\w*)?")
    for file in path.parent.iterdir():
        if part.fullmatch(file.name):
            file.unlink(missing_ok=True)


def check_file(name: str, file: str | os.PathLike[str] | None, suffix: str = "") -> Path | None:
    """Return the path of a file, after checking that it can be written."""
    if file is None:
        return None
    path = Path(file)
    if suffix and path.suffix != suffix:
        raise bad_argument(name, str(path), f"the name of a {suffix} file")
    if path.is_dir() or not path.parent.is_dir():
        raise bad_argument(name, str(path), "a file in a folder that exists")
    return path


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Lock a backup for this training run, where the system has locks.

    Raises:
        ArgumentError: another training run has locked the file.
    """
    fix = "Wait for it to end, or use another file."
    expected = "a file that no other training run is using"
    refusal = bad_argument("backup", str(path), expected, fix)
    with locked(path.with_name(f".{path.name}.lock"), refusal):
        yield


def stored_run(path: Path) -> dict[str, Any]:
    """Return the description of the training run in a backup; empty if there is no file.

    Raises:
        FileFormatError: the file is damaged or from a later version.
    """
    run: dict[str, Any] = _read(path).header["run"] if path.exists() else {}
    return run


def fit_epochs(
    model: keras.Model,
    batches: Any,
    backup: Backup | None,
    *,
    epochs: int,
    validation: Any,
    distributed: bool,
    callbacks: Iterable[keras.callbacks.Callback | None],
) -> keras.callbacks.History:
    """Train the epochs that a restored backup lacks, and remove it at the end.

    Args:
        model: a compiled model.
        batches: a data set with an `epoch`.
        backup: the backup, which is also among the callbacks; None to train all epochs.
        epochs: number of epochs, with those in the backup.
        validation: a data set to validate on, or None.
        distributed: whether all processes train together.
        callbacks: Keras callbacks; None is omitted.

    Returns:
        The history of all epochs.
    """
    batches.epoch = backup.epochs_done if backup else 0
    history: keras.callbacks.History = fit_model(
        model,
        batches,
        distributed=distributed,
        initial_epoch=epochs if backup and backup.stopped else batches.epoch,
        epochs=epochs,
        validation_data=validation,
        shuffle=False,
        verbose=0,
        callbacks=[callback for callback in callbacks if callback is not None],
    )
    if backup:
        backup.finish(history)
    return history


def take_stored_seed(batches: Any, path: Path | None) -> None:
    """Let batches whose seed was drawn take that of the run in a backup, if there is one."""
    seed = stored_run(path).get("seed") if path is not None else None
    if batches.draws_seed and seed is not None:  # None without shuffle
        batches.take_seed(seed)


def _rate_is_stored(model: keras.Model, arrays: Mapping[str, Array]) -> bool:
    """Return whether the current learning rate of a model is the rate stored in the file."""
    rate = model.optimizer.learning_rate
    places = [n for n, variable in enumerate(model.optimizer.variables) if variable is rate]
    stored = [arrays.get(f"optimizer/{place}") for place in places]
    return any(value is not None and value == ops.convert_to_numpy(rate) for value in stored)


def _numbered(group: str, values: Sequence[Any]) -> dict[str, Array]:
    return {f"{group}/{number}": _to_numpy(value) for number, value in enumerate(values)}


def _to_numpy(value: Any) -> Array:
    return value if isinstance(value, np.ndarray) else np.asarray(ops.convert_to_numpy(value))


def _names(group: str, arrays: Mapping[str, Array]) -> list[str]:
    count = sum(name.startswith(f"{group}/") for name in arrays)
    return [f"{group}/{number}" for number in range(count)]


def _listed(group: str, arrays: Mapping[str, Array]) -> list[Array]:
    # Copies, because PyTorch warns about the read-only arrays of an archive.
    return [arrays[name].copy() for name in _names(group, arrays)]


def _read(path: Path) -> Archive:
    fix = "Delete it to start from scratch, or use another file."
    try:
        archive = read_archive(path, kind=KIND, version=VERSION)
        _check_content(archive)
    except FileFormatError as error:
        raise FileFormatError(f"{str(error).rstrip('.')}. {fix}") from error
    except DAMAGE as error:
        raise FileFormatError(f"{path} is damaged: {error}. {fix}") from error
    return archive


def _check_content(archive: Archive) -> None:
    """Check that an archive has the content that `Backup` writes; raise an error of `DAMAGE`."""
    header = archive.header
    arrays = archive.arrays
    epochs = header["epochs"]
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"epochs={epochs!r}")
    for name in header["history"]:
        if arrays[f"history/{name}"].shape != (epochs,):
            raise ValueError(f"the history of {name!r} does not have {epochs} epochs")
    if not isinstance(header["run"], dict) or not isinstance(header["stopped"], bool):
        raise ValueError("run or stopped has the wrong type")
    for group in ("model", "optimizer", "best"):
        if not all(name in arrays for name in _names(group, arrays)):
            raise ValueError(f"the arrays {group}/0, {group}/1, ... are incomplete")
    if header["stopping"] and ({*header["stopping"]} != {*STOPPING} or not _has_best(arrays)):
        raise ValueError("the progress of early stopping is incomplete")
    if "plateau" in arrays and arrays["plateau"].shape != (3,):
        raise ValueError("the progress of the learning rate is incomplete")


def _has_best(arrays: Mapping[str, Array]) -> bool:
    return "stopping/best" in arrays and arrays["stopping/best"].shape in ((0,), (1,))


def _check_shapes(path: Path, group: str, variables: list[Any], values: list[Array]) -> None:
    shapes = [value.shape for value in values]
    expected = [tuple(variable.shape) for variable in variables]
    if shapes != expected:
        raise ArgumentError(
            f"backup must belong to this training run. Got: backup={str(path)!r} with {group} "
            f"variables of shapes {shapes}, while this model has {expected}. Use another file, or "
            "delete it to start from scratch."
        )
