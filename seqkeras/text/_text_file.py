"""Save a fitted language model or translator in one file: a header and arrays. No pickle."""

import json
import os
from dataclasses import asdict
from typing import Any, NamedTuple

import keras
import numpy as np

from seqkeras._archive import read_archive, write_archive
from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument
from seqkeras._files import shortened, zip_damage
from seqkeras._keras_graph._network_file import NETWORK, load_network, network_bytes
from seqkeras.errors import FileFormatError
from seqkeras.text._vocabulary import Vocabulary
from seqkeras.training import TrainingLog

VERSION = 1
#: Replaces a function in the saved parameters.
FUNCTION = {"function": True}


class Parts(NamedTuple):
    """What a file holds.

    Attributes:
        params: the parameters of the estimator.
        model: the trained network.
        vocabularies: the vocabularies by name.
        facts: what else the fit has found, for JSON.
        log: the log of the training.
    """

    params: dict[str, Any]
    model: keras.Model
    vocabularies: dict[str, Vocabulary]
    facts: dict[str, Any]
    log: TrainingLog


def write_parts(path: str | os.PathLike[str], parts: Parts, *, kind: str) -> None:
    """Write a file; an existing one is replaced only once the new one is complete.

    Raises:
        ArgumentError: a parameter is an object that JSON cannot represent.
    """
    header = {
        "params": {name: _encode(name, value) for name, value in parts.params.items()},
        "facts": parts.facts,
        "log": asdict(parts.log),
    }
    # As arrays, because the header is limited.
    arrays = {
        name: np.frombuffer(vocabulary.to_json().encode(), np.uint8)
        for name, vocabulary in parts.vocabularies.items()
    }
    arrays[NETWORK] = np.frombuffer(network_bytes(parts.model), np.uint8)
    write_archive(path, header, arrays, kind=kind, version=VERSION)


def read_parts(
    path: str | os.PathLike[str], *, kind: str, tokens: Any, names: tuple[str, ...]
) -> Parts:
    """Read what `write_parts` wrote.

    Args:
        path: the file.
        kind: the kind that the file must have.
        tokens: the function that made the tokens, if one did; else None.
        names: the names that the vocabularies must have.

    Raises:
        ArgumentError: `tokens` is missing, or the file needs none.
        FileFormatError: the file is damaged, of another kind, or from a later version.
    """
    archive = read_archive(path, kind=kind, version=VERSION)
    damage: tuple[type[Exception], ...] = (OSError, *zip_damage())
    try:
        params = {name: _decode(value) for name, value in archive.header["params"].items()}
        needs_function = params["tokens"] == FUNCTION
    except damage as error:
        raise _damaged(path, error) from error
    if needs_function != callable(tokens):
        expected = "the function that made the tokens" if needs_function else "omitted"
        raise bad_argument("tokens", Description(repr(tokens)), f"{expected} for {path}")
    if needs_function:
        params["tokens"] = tokens
    try:
        return _restore(params, archive.header, archive.arrays, names)
    except damage as error:
        raise _damaged(path, error) from error


def _damaged(path: str | os.PathLike[str], error: Exception) -> FileFormatError:
    return FileFormatError(f"{path} is damaged: {shortened(error)}")


def _restore(
    params: dict[str, Any],
    header: dict[str, Any],
    arrays: dict[str, Array],
    names: tuple[str, ...],
) -> Parts:
    vocabularies = {name: Vocabulary.from_json(arrays[name].tobytes().decode()) for name in names}
    log: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in header["log"].items()
    }
    model = load_network(arrays[NETWORK], None)
    size = len(vocabularies[names[-1]])
    if model.output_shape[-1] != size:
        raise ValueError(f"its network has {model.output_shape[-1]} outputs for {size} tokens")
    return Parts(params, model, vocabularies, dict(header["facts"]), TrainingLog(**log))


def _encode(name: str, value: Any) -> Any:
    if callable(value):
        return FUNCTION
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise bad_argument(name, value, "a value that JSON can hold, to be saved") from error
    return {"tuple": list(value)} if isinstance(value, tuple) else value


def _decode(value: Any) -> Any:
    return tuple(value["tuple"]) if isinstance(value, dict) and "tuple" in value else value
