"""What a training needs to go on after a break, in one file that is whole at any moment."""

import glob
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from seqkeras._files import whole_file, zip_damage
from seqkeras.errors import ArgumentError, FileFormatError

VERSION = 1

#: What of early stopping changes from epoch to epoch.
STOPPING = ("wait", "best", "best_epoch", "stopped_epoch")


class Backup(keras.callbacks.Callback):
    """Writes down a training at the end of each epoch, and takes it up again.

    The file holds the variables of the model (weights, states, seeds) and of its optimizer, the
    history, and where early stopping stands; arrays and JSON, no pickle. It is written beside its
    place and then moved there, so that a process killed at any moment leaves a whole file.

    Args:
        path: of the file.
        run: what the training is, told apart from others by its JSON.
        stopping: the early stopping of the training, if any; runs before this callback.
    """

    def __init__(
        self, path: Path, run: dict[str, Any], stopping: keras.callbacks.EarlyStopping | None
    ) -> None:
        super().__init__()
        self._path, self._run, self._stopping = path, run, stopping
        self._saved: dict[str, Any] = {}
        self.history: dict[str, list[float]] = {}
        self.epochs_done = 0
        self.stopped = False

    def restore(self, model: keras.Model) -> None:
        """Puts a model where the file says, if there is one.

        Raises:
            FileFormatError: the file is damaged or of a later version.
            ArgumentError: it belongs to another training.
        """
        if not self._path.exists():
            return
        header, arrays = _read(self._path)
        if header["run"] != self._run:
            raise ArgumentError(
                f"backup must be of this training. Got: backup={str(self._path)!r} of "
                f"{header['run']}, while this is {self._run}. Give another file, or delete it to "
                "begin anew."
            )
        model.optimizer.build(model.trainable_variables)
        kinds = {"model": model.variables, "optimizer": model.optimizer.variables}
        for kind, variables in kinds.items():  # all are checked before any is assigned
            _check_shapes(self._path, kind, variables, _listed(kind, arrays))
        for kind, variables in kinds.items():
            for variable, value in zip(variables, _listed(kind, arrays), strict=True):
                variable.assign(value)
        if self._stopping is not None:
            self._saved = {**header["stopping"], "best_weights": _listed("best", arrays) or None}
        self.history, self.stopped = header["history"], header["stopped"]
        self.epochs_done = header["epochs"]

    def on_train_begin(self, logs: Any = None) -> None:
        """Takes up early stopping, which starts anew in each `fit`."""
        for name, value in self._saved.items():
            setattr(self._stopping, name, value)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the file."""
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        stopping = self._stopping
        header = {
            "version": VERSION,
            "run": self._run,
            "epochs": epoch + 1,
            "history": self.history,
            "stopped": bool(self.model.stop_training),
            "stopping": {name: getattr(stopping, name) for name in STOPPING} if stopping else {},
        }
        best = (stopping.best_weights if stopping else None) or []
        _write(
            self._path,
            header,
            _numbered("model", [v.numpy() for v in self.model.variables])
            | _numbered("optimizer", [v.numpy() for v in self.model.optimizer.variables])
            | _numbered("best", best),
        )

    def remove(self) -> None:
        """Removes the file, when there is nothing left to go on with."""
        parts = self._path.parent.glob(f".{glob.escape(self._path.name)}.*.part*")
        for file in (self._path, *parts):
            file.unlink(missing_ok=True)


def _numbered(kind: str, arrays: list[Any]) -> dict[str, Any]:
    return {f"{kind}/{number}": np.asarray(array) for number, array in enumerate(arrays)}


def _listed(kind: str, arrays: dict[str, Any]) -> list[Any]:
    count = sum(name.startswith(f"{kind}/") for name in arrays)
    return [arrays[f"{kind}/{number}"] for number in range(count)]


def _write(path: Path, header: dict[str, Any], arrays: dict[str, Any]) -> None:
    header = {**header, "arrays": sorted(arrays)}
    with whole_file(path) as part, open(part, "wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    damage: tuple[type[Exception], ...] = (OSError, *zip_damage())
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(str(arrays.pop("header")))
        if header["version"] == VERSION:
            _check_header(header)
            if header["arrays"] != sorted(arrays):
                raise ValueError("it lacks arrays, or has too many")
    except damage as error:
        raise FileFormatError(
            f"{path} is not the backup of a training, or is damaged ({error}). Delete it to begin "
            "anew, or give another file."
        ) from error
    if header["version"] != VERSION:
        raise FileFormatError(
            f"{path} is a backup of version {header['version']}; this seqkeras reads version "
            f"{VERSION}. Go on with the seqkeras that wrote it, or delete it to begin anew."
        )
    return header, arrays


def _check_header(header: dict[str, Any]) -> None:
    """Raises ValueError where a header is none that `Backup` writes."""
    epochs, history = header["epochs"], header["history"]
    lists = isinstance(history, dict) and all(isinstance(one, list) for one in history.values())
    if (
        not isinstance(epochs, int)
        or epochs < 1
        or not lists
        or not isinstance(header["run"], dict)
    ):
        raise ValueError("epochs, history or run make no sense")
    if not all(len(one) == epochs for one in history.values()):
        raise ValueError("the history is not as long as the epochs")
    if not isinstance(header["stopped"], bool) or set(header["stopping"]) not in (
        set(),
        {*STOPPING},
    ):
        raise ValueError("stopping makes no sense")


def _check_shapes(path: Path, kind: str, variables: list[Any], values: list[Any]) -> None:
    shapes, wanted = [v.shape for v in values], [tuple(v.shape) for v in variables]
    if shapes != wanted:
        raise ArgumentError(
            f"backup must be of this training. Got: backup={str(path)!r} with {kind} variables of "
            f"shapes {shapes}, while this model has {wanted}. Give another file, or delete it to "
            "begin anew."
        )
