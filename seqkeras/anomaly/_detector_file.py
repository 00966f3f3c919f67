"""Save a fitted detector in one file: a JSON header, arrays and the network. No pickle."""

import json
import os
from dataclasses import asdict
from typing import Any

import numpy as np

from seqkeras._archive import read_archive, write_archive
from seqkeras._arrays import Array
from seqkeras._checks import bad_argument
from seqkeras._files import shortened, zip_damage
from seqkeras._keras_graph._network_file import NETWORK, load_network, network_bytes
from seqkeras.anomaly._detector_like import DetectorLike
from seqkeras.anomaly._piece import Piece, piece_from_state
from seqkeras.anomaly._scorer_parts import from_parts, to_parts
from seqkeras.anomaly._series_reader import RowForm
from seqkeras.errors import FileFormatError
from seqkeras.forecasting import Columns, Training
from seqkeras.training import TrainingLog
from seqkeras.windows import GroupedArray

KIND = "seqkeras.Detector"
VERSION = 1


def save_detector(path: str | os.PathLike[str], detector: DetectorLike) -> None:
    """Write a fitted detector; an existing file is replaced only once the new one is complete.

    Raises:
        ArgumentError: a parameter or an id is an object that JSON cannot represent.
    """
    header, arrays = to_parts(detector.scorer_, detector.rule_)
    form = detector._form
    columns = detector._columns
    header |= {
        "class": type(detector).__name__,
        "params": {
            name: _encode(name, value) for name, value in detector.get_params(deep=False).items()
        },
        "columns": None if columns is None else {"id": columns.id, "time": columns.time},
        "causal": detector._is_causal,
        "names": form.names,
        "ids": form.ids,
        "is_panel": form.is_panel,
        "log": asdict(detector.log_),
    }
    arrays |= {
        "scores": detector._scores,
        "held_out": detector._is_held_out,
        "indptr": form.indptr,
        NETWORK: np.frombuffer(network_bytes(detector.model_), np.uint8),
    }
    if form.order is not None:
        arrays["order"] = form.order
    plain = json.loads(json.dumps(header, default=_plain))
    write_archive(path, plain, arrays, kind=KIND, version=VERSION)


def load_detector(path: str | os.PathLike[str], classes: dict[str, Any]) -> Any:
    """Read what `save_detector` wrote.

    Args:
        path: the file.
        classes: the classes that the detector may have, by name.

    Raises:
        FileFormatError: the file is damaged, no detector of these classes, or from a later version.
    """
    archive = read_archive(path, kind=KIND, version=VERSION)
    if archive.header.get("class") not in classes:
        kind = shortened(repr(archive.header.get("class")))
        raise FileFormatError(f"{path} must hold one of {sorted(classes)}. Got: {kind}.")
    damage: tuple[type[Exception], ...] = (OSError, *zip_damage())
    try:
        return _restore(archive.header, archive.arrays, classes)
    except damage as error:
        reason = shortened(error)
        raise FileFormatError(f"{path} is not a valid detector: {reason}") from error


def _restore(header: dict[str, Any], arrays: dict[str, Array], classes: dict[str, Any]) -> Any:
    params = {name: _decode(value) for name, value in header["params"].items()}
    detector = classes[header["class"]](**params)
    detector.settings()
    detector.scorer_, detector.rule_ = from_parts(header, arrays)
    detector.n_features_in_ = detector.scorer_.errors.features
    detector._form = RowForm(
        arrays["indptr"],
        names=_tuple(header["names"]),
        ids=_tuple(header["ids"]),
        order=arrays.get("order"),
        is_panel=header["is_panel"],
    )
    columns = header["columns"]
    detector._columns = None if columns is None else Columns(**columns)
    detector._is_causal = header["causal"]
    detector._scores = arrays["scores"]
    detector._is_held_out = arrays["held_out"]
    log = {name: _tuple(value) for name, value in header["log"].items()}
    detector.log_ = TrainingLog(**log)
    detector.model_ = load_network(arrays[NETWORK], None)
    # Parts that do not fit each other fail here, and not in the first call of a user.
    rows = np.zeros((detector.lookback + 1, detector.n_features_in_))
    detector.scorer_.scores(GroupedArray(rows, [0, len(rows)]))
    return detector


def _encode(name: str, value: Any) -> Any:
    """Return a parameter for JSON."""
    if isinstance(value, Training):
        return {"training": value.get_params()}
    if isinstance(value, Piece):
        # What a user's piece has learned elsewhere is no parameter.
        return {"piece": {"kind": type(value).__name__, **value.get_params()}}
    try:
        json.dumps(value, default=_plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise bad_argument(name, value, "a value that JSON can hold, to be saved") from error
    return {"tuple": list(value)} if isinstance(value, tuple) else value


def _decode(encoded: Any) -> Any:
    if not isinstance(encoded, dict):
        return encoded
    if "training" in encoded:
        return Training(**encoded["training"])
    return tuple(encoded["tuple"]) if "tuple" in encoded else piece_from_state(encoded["piece"])


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as a Python number."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r} cannot be saved")
