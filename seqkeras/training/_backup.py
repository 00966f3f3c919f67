"""A file with everything that a training needs to resume."""

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from seqkeras._archive import Archive, read_archive, write_archive
from seqkeras._arrays import Array
from seqkeras._files import DAMAGE
from seqkeras.errors import ArgumentError, FileFormatError

KIND = "seqkeras.Backup"
VERSION = 1

#: The whole numbers in which early stopping keeps where it stands.
STOPPING = ("wait", "best_epoch", "stopped_epoch")


class Backup(keras.callbacks.Callback):
    """Writes a training to a file at the end of each epoch, and resumes it from there.

    The file holds the variables of the model (weights, states, seeds) and of its optimizer, the
    history and the progress of early stopping, as arrays and JSON. It is complete at any moment,
    also after a kill.

    Args:
        path: path of the file.
        run: description of the training in JSON, which tells it from others.
        stopping: early stopping of the training, if any; it must run before this callback.
    """

    def __init__(
        self, path: Path, run: dict[str, Any], stopping: keras.callbacks.EarlyStopping | None
    ) -> None:
        super().__init__()
        self._path = path
        self._run = run
        self._stopping = stopping
        self._stopping_state: dict[str, Any] = {}
        self.history: dict[str, list[float]] = {}
        self.epochs_done = 0
        self.stopped = False

    def restore(self, model: keras.Model) -> None:
        """Restore a model from the file, if it exists.

        Raises:
            FileFormatError: the file is damaged or of a later version.
            ArgumentError: it belongs to another training.
        """
        if not self._path.exists():
            return
        archive = _read(self._path)
        header = archive.header
        arrays = archive.arrays
        if header["run"] != self._run:
            raise ArgumentError(
                f"backup must be of this training. Got: backup={str(self._path)!r} of "
                f"{header['run']}, while this is {self._run}. Use another file, or delete it to "
                "start from scratch."
            )
        model.optimizer.build(model.trainable_variables)
        groups = {"model": model.variables, "optimizer": model.optimizer.variables}
        for group, variables in groups.items():  # all are checked before any is assigned
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
        self.history = {name: arrays[f"history/{name}"].tolist() for name in header["history"]}
        self.stopped = header["stopped"]
        self.epochs_done = header["epochs"]

    def on_train_begin(self, logs: Any = None) -> None:
        """Resume early stopping, which starts from scratch in each `fit`."""
        for name, value in self._stopping_state.items():
            setattr(self._stopping, name, value)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the file."""
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        header: dict[str, Any] = {
            "run": self._run,
            "epochs": epoch + 1,
            "history": list(self.history),
            "stopped": bool(self.model.stop_training),
            "stopping": {},
        }
        arrays = {
            **_numbered("model", self.model.variables),
            **_numbered("optimizer", self.model.optimizer.variables),
            **{f"history/{name}": np.array(values) for name, values in self.history.items()},
        }
        stopping = self._stopping
        if stopping is not None:
            header["stopping"] = {name: int(getattr(stopping, name)) for name in STOPPING}
            best = [stopping.best] if stopping.best is not None else []
            arrays["stopping/best"] = np.array(best, "float64")
            arrays |= _numbered("best", stopping.best_weights or [])
        write_archive(self._path, header, arrays, kind=KIND, version=VERSION)

    def remove(self) -> None:
        """Remove the file, and parts of it that a killed process left."""
        parts = self._path.parent.glob(f".{glob.escape(self._path.name)}.*.part*")
        for file in (self._path, *parts):
            file.unlink(missing_ok=True)


def _numbered(group: str, values: Sequence[Any]) -> dict[str, Array]:
    return {f"{group}/{number}": _to_numpy(value) for number, value in enumerate(values)}


def _to_numpy(value: Any) -> Array:
    return value if isinstance(value, np.ndarray) else np.asarray(ops.convert_to_numpy(value))


def _names(group: str, arrays: Mapping[str, Array]) -> list[str]:
    count = sum(name.startswith(f"{group}/") for name in arrays)
    return [f"{group}/{number}" for number in range(count)]


def _listed(group: str, arrays: Mapping[str, Array]) -> list[Array]:
    # Copies: PyTorch warns about arrays that are read-only.
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
    """Raise an error of `DAMAGE` unless this is what `Backup` writes."""
    header = archive.header
    arrays = archive.arrays
    epochs = header["epochs"]
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"epochs={epochs!r}")
    for name in header["history"]:
        if arrays[f"history/{name}"].shape != (epochs,):
            raise ValueError(f"the history of {name!r} does not have {epochs} epochs")
    if not isinstance(header["run"], dict) or not isinstance(header["stopped"], bool):
        raise ValueError("run or stopped has another type")
    for group in ("model", "optimizer", "best"):
        if not all(name in arrays for name in _names(group, arrays)):
            raise ValueError(f"the arrays {group}/0, {group}/1, ... are incomplete")
    if header["stopping"] and ({*header["stopping"]} != {*STOPPING} or not _has_best(arrays)):
        raise ValueError("the progress of early stopping is incomplete")


def _has_best(arrays: Mapping[str, Array]) -> bool:
    return "stopping/best" in arrays and arrays["stopping/best"].shape in ((0,), (1,))


def _check_shapes(path: Path, group: str, variables: list[Any], values: list[Array]) -> None:
    shapes = [value.shape for value in values]
    expected = [tuple(variable.shape) for variable in variables]
    if shapes != expected:
        raise ArgumentError(
            f"backup must be of this training. Got: backup={str(path)!r} with {group} variables of "
            f"shapes {shapes}, while this model has {expected}. Use another file, or delete it to "
            "start from scratch."
        )
