"""Read forecasters that were saved in formats 1 to 3: zip files of a JSON header and arrays."""

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from seqkeras._arrays import Array
from seqkeras._keras_graph._network_file import check_unpacked_size
from seqkeras.errors import FileFormatError
from seqkeras.forecasting.frames._covariates import Covariates, Known
from seqkeras.forecasting.frames._forms import Shape

HEADER = "header.json"
ARRAYS = "arrays/"
FORMAT = "seqkeras.Forecaster"
NEWEST = 3
#: Refuse to unpack more bytes, as from a zip bomb; no file needs as many.
MAX_BYTES = 2**30

#: Parameters that were top-level in these formats, grouped by the object that now holds them.
_TRAINING = (
    "epochs", "patience", "batch_size", "learning_rate", "validation", "teacher_forcing",
    "progress",
)  # fmt: skip
_NETWORK = ("units", "cell", "normalization")


def read_zip(path: str | Path, *, network: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read a file, and return its header and arrays in the layout of format 4.

    Args:
        path: the file.
        network: name of the zip member with the network, and of the array to return it as.

    Raises:
        FileFormatError: the file is not a forecaster, too large, or from a later version.
    """
    with zipfile.ZipFile(path) as file:
        check_unpacked_size(file, str(path), MAX_BYTES)
        header = json.loads(file.read(HEADER))
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise FileFormatError(f"{path} is not a {FORMAT} file.")
        if header["version"] > NEWEST:
            raise FileFormatError(
                f"{path} was written by a later version of seqkeras (format {header['version']}). "
                "Update seqkeras: pip install -U seqkeras."
            )
        # np.frombuffer allocates no memory, however large the shapes in a damaged header are.
        arrays: dict[str, Array] = {
            name: np.frombuffer(file.read(ARRAYS + name), np.dtype(dtype)).reshape(shape)
            for name, (dtype, shape) in header["arrays"].items()
        }
        _upgrade(header, arrays)
        arrays[network] = np.frombuffer(file.read(network), np.uint8)
    return header, arrays


def _upgrade(header: dict[str, Any], arrays: dict[str, Array]) -> None:
    """Change a header and arrays of format 1 to 3 into those of format 4."""
    if header["version"] == 1:
        _add_covariates(header, arrays)
    if header["version"] <= 2:
        _add_adaptive_intervals(header, arrays)
    covariates = header["covariates"]
    if "words" in covariates:
        covariates["categories"] = covariates.pop("words")
    header["likelihood"] = header.get("head")
    flat = header["params"]
    header["short_series"] = flat["short_series"]
    header["params"] = _nested_params(flat)
    if header["likelihood"] is not None and header["params"]["likelihood"] is None:
        header["params"]["likelihood"] = "fitted"
    header["best_epochs"] = [log["best_epoch"] for log in header["logs"]]
    for number, log in enumerate(header["logs"]):
        for name in ("loss", "val_loss", "learning_rate"):
            arrays[f"log_{number}_{name}"] = np.array(log[name], np.float64)


def _add_covariates(header: dict[str, Any], arrays: dict[str, Array]) -> None:
    """Add the fields that format 1 lacked: it had no covariates, and only long frames."""
    empty = asdict(Covariates())
    header |= {"covariates": empty, "shape": asdict(Shape()), "masked": False}
    nothing = Known.nothing(arrays["indptr"])
    arrays |= {"rows": nothing.rows.values, "static": nothing.static}
    arrays |= {"categories": nothing.categories}
    names = ("rows_center", "rows_scale", "static_center", "static_scale")
    arrays |= dict.fromkeys(names, np.empty((1, 0)))


def _add_adaptive_intervals(header: dict[str, Any], arrays: dict[str, Array]) -> None:
    """Add the fields that format 2 lacked: one network, and the same intervals for all series."""
    header["params"]["intervals"] = "split"
    header["follows"] = False
    header["lookback"] = int(np.diff(arrays["indptr"])[0])
    header["logs"] = [{"learning_rate": (), **header["log"]}]
    series = len(arrays["indptr"]) - 1
    levels = len(header["levels"])
    arrays |= {"factor": np.ones((series, levels)), "waiting": np.zeros(series, np.int64)}


def _nested_params(flat: dict[str, Any]) -> dict[str, Any]:
    network = {name: flat[name] for name in _NETWORK if name in flat}
    return {
        "horizon": flat["horizon"],
        "lookback": flat["lookback"],
        "season_length": flat["season_length"],
        "network": network | {"architecture": flat["model"]},
        "likelihood": flat.get("head"),
        "intervals": {"levels": flat["levels"], "method": flat["intervals"]},
        "training": {name: flat[name] for name in _TRAINING if name in flat},
        "seed": flat["seed"],
    }
