"""Work in parts that an engine computes, and that are stored in a folder, to be done only once."""

import builtins
import hashlib
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from seqkeras import errors
from seqkeras._archive import read_archive, write_archive
from seqkeras._arrays import Array
from seqkeras._checks import bad_argument
from seqkeras._files import DAMAGE, locked
from seqkeras._warnings import repeat_warnings
from seqkeras.engines._engine import Engine
from seqkeras.errors import ArgumentError, FileFormatError
from seqkeras.training._progress import Progress

KIND = "seqkeras.Part"
VERSION = 1


#: Packages that compute numbers, beside Keras and its backend.
_PACKAGES = ("numpy", "pandas", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Result:
    """The result of a part, in a form that can be stored.

    Attributes:
        arrays: arrays by name.
        facts: anything that JSON can hold.
    """

    arrays: Mapping[str, Array]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """Work in parts.

    The versions of the packages that compute the numbers count as inputs as well.

    Attributes:
        label: what is done, such as `"backtest"`.
        unit: what a part is, such as `"fold"`.
        function: computes a part.
        parts: the parts by name, such as `"fold 1"`.
        inputs: what the results depend on, as text by name: other inputs must differ in it.
    """

    label: str
    unit: str
    function: Callable[[Any], Result]
    parts: Mapping[str, Any]
    inputs: Mapping[str, str]

    def run(
        self,
        engine: Engine,
        folder: str | os.PathLike[str] | None = None,
        *,
        is_hidden: bool = False,
    ) -> list[Result]:
        """Return the results of all parts, in their order, and repeat their warnings.

        Args:
            engine: where the parts are computed.
            folder: folder in which the result of each part is stored as soon as it is ready, and
                from which those of an earlier call with the same inputs are read. None: nothing is
                stored.
            is_hidden: show no progress.

        Raises:
            ArgumentError: the folder cannot be used, is in use, or has results of other inputs.
            FileFormatError: a file in the folder is damaged.
            WorkerError: a worker process ended. Parts that were ready are stored.
            Exception: what computing a part raised, with a note about the part.
        """
        if folder is None:
            results = self._run(engine, None, {}, is_hidden)
        else:
            path = _folder(folder)
            with locked(path / f".{self.label}.lock", _in_use(path)):
                results = self._run(engine, path, self._stored(path), is_hidden)
        lists = [results[name].facts["warnings"] for name in self.parts]
        repeat_warnings(_warning(entry) for entries in lists for entry in entries)
        return [results[name] for name in self.parts]

    @property
    def _all_inputs(self) -> dict[str, str]:
        return {**self.inputs, "versions": _versions()}

    def _run(
        self, engine: Engine, folder: Path | None, results: dict[str, Result], is_hidden: bool
    ) -> dict[str, Result]:
        names = [name for name in self.parts if name not in results]
        total = len(self.parts)
        parts = [self.parts[name] for name in names]
        with (
            Progress(
                total, self.label, self.unit, done=len(results), is_hidden=is_hidden
            ) as progress,
            # Closed at once, also after an error, to end what still runs.
            closing(engine.outcomes(partial(_recorded, self.function), parts)) as outcomes,
        ):
            for number, outcome in outcomes:
                name = names[number]
                try:
                    result = outcome.get(names, str(engine))
                except Exception as error:
                    error.add_note(self._note(name, len(results), folder))
                    raise
                if folder is not None:
                    self._store(folder, name, result)
                results[name] = result
                progress.update(len(results))
                progress.report(f"{self.unit} {len(results)}/{total}", {})
        return results

    def _note(self, name: str, done: int, folder: Path | None) -> str:
        note = f"This happened in {name} of the {self.label}, which has {len(self.parts)} parts."
        if folder is None:
            return note
        return f"{note} {done} are stored in {str(folder)!r}, and the next call continues there."

    def _path(self, folder: Path, name: str) -> Path:
        names = list(self.parts)
        return folder / f"{self.label}-{1 + names.index(name):0{len(str(len(names)))}}.result"

    def _store(self, folder: Path, name: str, result: Result) -> None:
        header = {"part": name, "inputs": self._all_inputs, "facts": dict(result.facts)}
        path = self._path(folder, name)
        write_archive(path, header, result.arrays, kind=KIND, version=VERSION)

    def _stored(self, folder: Path) -> dict[str, Result]:
        """Return the results in the folder.

        Raises:
            ArgumentError: they belong to other inputs.
            FileFormatError: a file is damaged.
        """
        paths = {name: self._path(folder, name) for name in self.parts}
        return {name: self._read(path, name) for name, path in paths.items() if path.exists()}

    def _read(self, path: Path, name: str) -> Result:
        archive = read_archive(path, kind=KIND, version=VERSION)
        try:
            inputs = {"part": str(archive.header["part"]), **archive.header["inputs"]}
            result = Result(archive.arrays, dict(archive.header["facts"]))
            for entry in result.facts["warnings"]:
                _warning(entry)
        except DAMAGE as error:
            raise FileFormatError(f"{path} is damaged: {error}. Delete it.") from error
        own = {"part": name, **self._all_inputs}
        other = [name for name in inputs | own if inputs.get(name) != own.get(name)]
        if other:
            raise ArgumentError(
                f"folder must be empty, or that of an earlier {self.label} with the same inputs. "
                f"Got: folder={str(path.parent)!r}, where {path.name} was computed with other "
                f"{', '.join(other)}. Use another folder, or delete its files."
            )
        return result


def _folder(folder: str | os.PathLike[str]) -> Path:
    """Return the folder, which is created."""
    expected = "a folder in which files can be written"
    if not isinstance(folder, str | os.PathLike):
        raise bad_argument("folder", folder, expected)
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fix = f"{error.strerror or error}."
        raise bad_argument("folder", str(folder), expected, fix) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise bad_argument("folder", str(folder), expected, "Change its permissions.")
    return path


def _versions() -> str:
    """Return the versions of the packages that compute numbers in this process."""
    loaded = ["seqkeras"]
    if "keras" in sys.modules:
        loaded += ["keras", sys.modules["keras"].config.backend()]
    versions = [f"{name} {sys.modules[name].__version__}" for name in loaded]
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions.append(f"{name} {version(name)}")
    return ", ".join(versions)


def _in_use(folder: Path) -> ArgumentError:
    fix = "Wait for it to end, or use another folder."
    return bad_argument("folder", str(folder), "a folder that no other call is using", fix)


def _recorded(function: Callable[[Any], Result], part: Any) -> Result:
    """Compute a part, and add the warnings to its facts."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        result = function(part)
    entries = [
        {
            "category": warning.category.__name__,
            "message": str(warning.message),
            "filename": warning.filename,
            "lineno": warning.lineno,
        }
        for warning in warned
    ]
    return Result(result.arrays, {**result.facts, "warnings": entries})


def _warning(entry: Mapping[str, Any]) -> warnings.WarningMessage:
    """Return a recorded warning; one of another package than ours is a UserWarning."""
    name = str(entry["category"])
    kind: Any = getattr(errors, name, getattr(builtins, name, None))
    if not (isinstance(kind, type) and issubclass(kind, Warning)):
        kind = UserWarning
    message = kind(str(entry["message"]))
    return warnings.WarningMessage(message, kind, str(entry["filename"]), int(entry["lineno"]))


def checksum(arrays: Iterable[Array]) -> str:
    """Return the SHA-256 of arrays, in hexadecimal digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def groups(sizes: Iterable[int], size: int) -> list[range]:
    """Return ranges of neighbors whose sizes add up to at least `size`, except the last range.

    Example:
        >>> groups([3, 1, 1, 9, 1], 4)
        [range(0, 2), range(2, 4), range(4, 5)]
    """
    ranges = []
    first = 0
    total = 0
    stop = 0
    for stop, own in enumerate(sizes, 1):
        total += own
        if total >= size:
            ranges.append(range(first, stop))
            first = stop
            total = 0
    if first < stop:
        ranges.append(range(first, stop))
    return ranges
