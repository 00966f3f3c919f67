"""A fitted forecaster in one file: a zip of a JSON header, arrays and the network. No pickle."""

import json
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from seqkeras._damage import zip_damage
from seqkeras._files import whole_file
from seqkeras.errors import DataError, FileFormatError
from seqkeras.forecasting._calendar import Calendar, to_integers
from seqkeras.forecasting._conformal import ConformalIntervals
from seqkeras.forecasting._frames import Columns, restore_panel
from seqkeras.forecasting._training import TrainingLog
from seqkeras.windows import GroupedArray, StandardScaler

FORMAT = "seqkeras.Forecaster"
VERSION = 1
HEADER, ARRAYS, NETWORK = "header.json", "arrays/", "network.keras"

#: The dtype of each array.
KINDS = {"values": "f", "indptr": "i", "last": "i", "center": "f", "scale": "f", "radius": "f"}

#: More than any forecaster needs; a file that would unpack to more is not unpacked at all.
MAX_BYTES = 2**30


def save(forecaster: Any, path: str | Path) -> None:
    """Writes `forecaster` to `path`; what is there is replaced only by a complete file."""
    with whole_file(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
        arrays = _arrays(forecaster)
        header = _header(forecaster, arrays)
        file.writestr(HEADER, json.dumps(header, indent=1, default=_plain))
        for name, array in arrays.items():
            file.writestr(ARRAYS + name, array.tobytes())
        file.writestr(NETWORK, _network_bytes(forecaster.model_))


def load(cls: type, path: str | Path, *, custom_objects: dict[str, Any] | None) -> Any:
    """Reads what `save` wrote.

    Raises:
        FileFormatError: the file is damaged, not a forecaster, or from a later version.
    """
    try:
        with zipfile.ZipFile(path) as file:
            header = _read_header(file, path)
            arrays = _read_arrays(file, header["arrays"])
            network = _read_network(file, custom_objects)
            return _restore(cls, header, arrays, network)
    except (FileFormatError, FileNotFoundError):
        raise
    except zip_damage() as error:
        raise FileFormatError(f"{path} is not a forecaster, or is damaged: {error}") from error


def _header(forecaster: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    params = forecaster.get_params(deep=False)
    panel = forecaster.panel_
    if not isinstance(params["model"], str):
        params["model"] = None  # the network itself takes its place in `load`
    return {
        "format": FORMAT,
        "version": VERSION,
        "params": params,
        "columns": asdict(panel.columns),
        "calendar": asdict(panel.calendar),
        "ids": panel.ids.tolist(),
        "ids_dtype": str(panel.ids.dtype),
        "horizon": forecaster.horizon_,
        "levels": [] if forecaster.intervals_ is None else forecaster.intervals_.levels,
        "season_length": forecaster.season_length_,
        "log": asdict(forecaster.log_),
        "arrays": {name: [array.dtype.str, array.shape] for name, array in arrays.items()},
    }


def _arrays(forecaster: Any) -> dict[str, np.ndarray]:
    panel, scaler, intervals = forecaster.panel_, forecaster.scaler_, forecaster.intervals_
    return {
        "values": panel.values.values,
        "indptr": panel.values.indptr,
        "last": to_integers(panel.last),
        "center": scaler.center_,
        "scale": scaler.scale_,
        **({} if intervals is None else {"radius": intervals.radius}),
    }


def _restore(cls: type, header: dict[str, Any], arrays: dict[str, Any], network: Any) -> Any:
    params = header["params"]
    if params["model"] is None:
        params["model"] = network
    params["levels"] = tuple(params["levels"])
    if isinstance(params["units"], list):
        params["units"] = tuple(params["units"])
    log = header["log"]
    values = GroupedArray(arrays["values"], arrays["indptr"])
    _check_parts(header, arrays, values, network)
    panel = restore_panel(
        Columns(**header["columns"]),
        Calendar(**header["calendar"]),
        ids=(header["ids"], header["ids_dtype"]),
        last=arrays["last"],
        values=values,
    )
    # Asked here, so that a frequency which is none is found now and not at the first forecast.
    panel.calendar.move(panel.last, 1)

    forecaster = cls(**params)
    forecaster.model_ = network
    forecaster.horizon_ = header["horizon"]
    forecaster.lookback_ = int(values.lengths[0])
    forecaster.season_length_ = header["season_length"]
    forecaster.log_ = TrainingLog(tuple(log["loss"]), tuple(log["val_loss"]), log["best_epoch"])
    levels = tuple(header["levels"])
    forecaster.intervals_ = ConformalIntervals(levels, arrays["radius"]) if levels else None
    forecaster.scaler_ = StandardScaler.from_state(arrays["center"], arrays["scale"])
    forecaster.panel_ = panel
    return forecaster


def _check_parts(
    header: dict[str, Any], arrays: dict[str, Any], values: GroupedArray, network: keras.Model
) -> None:
    """Raises where parts do not fit each other: found here, not at the first forecast."""
    series, horizon = len(header["ids"]), header["horizon"]
    shapes: dict[str, Any] = dict.fromkeys(("last", "center", "scale"), (series,))
    shapes["radius"] = (len(header["levels"]), horizon)
    wrong = {
        name: arr.shape for name, arr in arrays.items() if arr.shape != shapes.get(name, arr.shape)
    }
    lookback = int(values.lengths[0])
    reads = network.input_shape
    if wrong or len(values) != series or set(values.lengths.tolist()) != {lookback}:
        raise ValueError(f"its parts do not fit each other: {values}, {wrong}")
    if len(reads) != 3 or reads[1] not in (None, lookback) or not isinstance(horizon, int):
        raise ValueError(f"its network reads {reads}, for a lookback of {lookback}")


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's; other objects cannot be written."""
    if isinstance(value, np.generic):
        return value.item()
    raise DataError(
        f"A forecaster with {value!r} ({type(value).__name__}) among its parameters or ids cannot "
        "be saved. Use numbers or text."
    )


def _read_header(file: zipfile.ZipFile, path: str | Path) -> dict[str, Any]:
    size = sum(member.file_size for member in file.infolist())
    if size > MAX_BYTES:
        raise FileFormatError(f"{path} would unpack to {size} bytes; at most {MAX_BYTES} are read.")
    header = json.loads(file.read(HEADER))
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise FileFormatError(f"{path} is not a {FORMAT} file.")
    if header["version"] > VERSION:
        raise FileFormatError(
            f"{path} was written by a later version of seqkeras (format {header['version']}, this "
            f"one reads up to {VERSION}). Update seqkeras: pip install -U seqkeras."
        )
    return header


def _read_arrays(file: zipfile.ZipFile, table: dict[str, Any]) -> dict[str, Any]:
    # frombuffer takes no memory beyond the bytes that are there, whatever the header claims.
    arrays = {}
    for name, (dtype, shape) in table.items():
        arrays[name] = np.frombuffer(file.read(ARRAYS + name), np.dtype(dtype)).reshape(shape)
        if arrays[name].dtype.kind != KINDS[name] or not np.isfinite(arrays[name]).all():
            raise ValueError(f"array {name!r} holds {dtype}, or numbers that are not finite")
    return arrays


def _network_bytes(network: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        network.save(Path(folder) / NETWORK)
        return (Path(folder) / NETWORK).read_bytes()


def _read_network(file: zipfile.ZipFile, custom_objects: dict[str, Any] | None) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        path = file.extract(NETWORK, folder)
        return keras.saving.load_model(path, custom_objects, compile=False)
