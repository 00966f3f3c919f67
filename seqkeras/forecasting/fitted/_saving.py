"""A fitted forecaster in one file: a JSON header, arrays and the network. No pickle."""

import json
import tempfile
import zipfile
from dataclasses import asdict
from numbers import Real
from pathlib import Path
from typing import Any

import keras
import numpy as np

from seqkeras._archive import array_to_texts, read_archive, texts_to_array, write_archive
from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument, check_flag, check_integer
from seqkeras._files import zip_damage
from seqkeras.errors import FileFormatError
from seqkeras.forecasting._settings import (
    Intervals,
    Network,
    Settings,
    Training,
    check_levels,
)
from seqkeras.forecasting.calendars import _calendar_features
from seqkeras.forecasting.calendars._calendar import Calendar, to_integers
from seqkeras.forecasting.fitted import _old_formats
from seqkeras.forecasting.fitted._fitted import Fitted
from seqkeras.forecasting.fitted._intervals import ConformalIntervals
from seqkeras.forecasting.frames._columns import ColumnNames
from seqkeras.forecasting.frames._covariates import Covariates, Known
from seqkeras.forecasting.frames._forms import Shape
from seqkeras.forecasting.frames._panel import Panel, dtype_of, restore_panel
from seqkeras.forecasting.networks._build import check_network, network_sizes
from seqkeras.forecasting.networks._ensemble import members_of, networks_of
from seqkeras.forecasting.networks._inputs import CovariateScaler, NetworkInputs
from seqkeras.likelihoods import Likelihood
from seqkeras.training import TrainingLog
from seqkeras.windows import GroupedArray, StandardScaler

KIND = "seqkeras.Forecaster"
#: Formats 1 to 3 were zip files.
VERSION = 4
#: The array with the bytes of the `.keras` file.
NETWORK = "network.keras"
#: More than any forecaster needs.
MAX_BYTES = 2**30

#: The dtype kind of each array.
KINDS = {
    "values": "f", "indptr": "i", "last": "i", "center": "f", "scale": "f",
    "radius": "f", "factor": "f", "waiting": "i",
    "rows": "f", "static": "f", "categories": "i",
    "rows_center": "f", "rows_scale": "f", "static_center": "f", "static_scale": "f",
}  # fmt: skip


def save(path: str | Path, params: dict[str, Any], fitted: Fitted) -> None:
    """Write a fitted forecaster; what is at `path` is replaced only by a complete file.

    Args:
        path: the file.
        params: parameters of the forecaster.
        fitted: what its fit found.

    Raises:
        ArgumentError: a parameter or an id is an object that JSON does not have.
    """
    header = {
        "params": _encode_params(params, len(fitted.logs)),
        "columns": asdict(fitted.panel.columns),
        "calendar": asdict(fitted.panel.calendar),
        "covariates": asdict(fitted.panel.covariates),
        "shape": asdict(fitted.panel.shape),
        "masked": fitted.inputs.masked,
        "likelihood": keras.saving.serialize_keras_object(fitted.likelihood),
        "ids_dtype": dtype_of(fitted.panel.ids),
        "horizon": fitted.horizon,
        "lookback": fitted.lookback,
        "levels": fitted.intervals.levels if fitted.intervals is not None else [],
        "follows": fitted.intervals is not None and fitted.intervals.follows,
        "season_length": fitted.season_length,
        "short_series": fitted.short_series,
        "best_epochs": [log.best_epoch for log in fitted.logs],
    }
    ids = fitted.panel.ids.tolist()
    arrays = _arrays(fitted)
    if all(type(identity) is int for identity in ids):
        arrays["ids"] = np.array(ids, np.int64)
    elif all(type(identity) is str for identity in ids):
        arrays["ids"] = texts_to_array("ids", ids)
    else:
        header["ids"] = ids
    arrays[NETWORK] = np.frombuffer(_network_bytes(fitted.model), np.uint8)
    plain = json.loads(json.dumps(header, default=_plain))
    write_archive(path, plain, arrays, kind=KIND, version=VERSION)


def load(
    path: str | Path, *, custom_objects: dict[str, Any] | None
) -> tuple[dict[str, Any], Fitted]:
    """Read what `save` wrote.

    Returns:
        The parameters of the forecaster, and what its fit found.

    Raises:
        FileFormatError: the file is damaged, not a forecaster, or from a later version.
    """
    try:
        header, arrays = _read(path)
        return _restore(header, arrays, custom_objects)
    except (FileFormatError, FileNotFoundError):
        raise
    except zip_damage() as error:
        raise FileFormatError(f"{path} is not a forecaster, or is damaged: {error}") from error


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, Array]]:
    with open(path, "rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        return _old_formats.read_zip(path, network=NETWORK, max_bytes=MAX_BYTES)
    archive = read_archive(path, kind=KIND, version=VERSION, max_bytes=MAX_BYTES)
    arrays = dict(archive.arrays)
    header = archive.header
    if "ids" in arrays:
        ids = arrays.pop("ids")
        header["ids"] = ids.tolist() if ids.dtype == np.int64 else array_to_texts(ids)
    return header, arrays


def _encode_params(params: dict[str, Any], networks: int) -> dict[str, Any]:
    """Return the parameters as JSON; None stands for networks and likelihoods without a name."""
    encoded = params | {"network": _encode_network(params["network"], networks)}
    if isinstance(params["likelihood"], Likelihood):
        encoded["likelihood"] = None
    for name in ("intervals", "training"):
        if isinstance(params[name], Intervals | Training):
            encoded[name] = params[name].get_params()
    return encoded


def _encode_network(network: Any, networks: int) -> Any:
    if isinstance(network, Network):
        options = network.get_params(deep=False)
        return options | {"architecture": _names(network.architecture, networks)}
    return _names(network, networks)


def _names(architecture: Any, networks: int) -> Any:
    """Return the architecture, with None for what has no name."""
    names = [member if isinstance(member, str) else None for member in members_of(architecture)]
    if all(names):
        return architecture
    # After the fit, another list may have been set.
    is_as_fitted = isinstance(architecture, list | tuple) and len(names) == networks
    return names if is_as_fitted else None


def _restore_params(
    encoded: dict[str, Any], network: keras.Model, likelihood: Likelihood | None
) -> dict[str, Any]:
    """Return parameters, with the fitted network and likelihood where there was no name."""
    params = dict(encoded)
    params["network"] = _restore_network(params["network"], network)
    if params["likelihood"] is None:
        params["likelihood"] = likelihood
    if isinstance(params["intervals"], dict):
        options = params["intervals"]
        params["intervals"] = Intervals(**options | {"levels": tuple(options["levels"])})
    elif params["intervals"] is not None:
        params["intervals"] = tuple(params["intervals"])
    if params["training"] is not None:
        params["training"] = Training(**params["training"])
    Settings.parse(**params)
    return params


def _restore_network(encoded: Any, network: keras.Model) -> Any:
    options = dict(encoded) if isinstance(encoded, dict) else {"architecture": encoded}
    architecture = options["architecture"]
    if architecture is None:
        options["architecture"] = network
    elif isinstance(architecture, list) and None in architecture:
        pairs = zip(architecture, networks_of(network), strict=True)
        options["architecture"] = [name if name is not None else member for name, member in pairs]
    if isinstance(options.get("units"), list):
        options["units"] = tuple(options["units"])
    if not any(isinstance(member, str) for member in members_of(options["architecture"])):
        return options["architecture"]
    return Network(**options) if isinstance(encoded, dict) else options["architecture"]


def _arrays(fitted: Fitted) -> dict[str, Array]:
    panel = fitted.panel
    scalers = fitted.inputs.scaler
    arrays = {
        "values": panel.values.values,
        "indptr": panel.values.indptr,
        "last": to_integers(panel.last),
        "center": fitted.scaler.center_,
        "scale": fitted.scaler.scale_,
        "rows": panel.known.rows.values,
        "static": panel.known.static,
        "categories": panel.known.categories,
        "rows_center": scalers.rows.center_,
        "rows_scale": scalers.rows.scale_,
        "static_center": scalers.static.center_,
        "static_scale": scalers.static.scale_,
    }
    if fitted.intervals is not None:
        for name in ("radius", "factor", "waiting"):
            arrays[name] = getattr(fitted.intervals, name)
    for number, log in enumerate(fitted.logs):
        for name in ("loss", "val_loss", "learning_rate"):
            arrays[_log_name(number, name)] = np.array(getattr(log, name), np.float64)
    return arrays


def _log_name(number: int, name: str) -> str:
    return f"log_{number}_{name}"


def _restore(
    header: dict[str, Any], arrays: dict[str, Array], custom_objects: dict[str, Any] | None
) -> tuple[dict[str, Any], Fitted]:
    _check_arrays(arrays)
    panel = _restore_panel(header, arrays)
    likelihood = _restore_likelihood(header["likelihood"], custom_objects)
    network = _restore_model(arrays[NETWORK], custom_objects)
    sizes = network_sizes(
        panel.covariates,
        lookback=header["lookback"],
        horizon=header["horizon"],
        season_length=header["season_length"],
        masked=header["masked"],
        outputs=likelihood.outputs if likelihood is not None else 1,
    )
    check_network(network, sizes)
    covariates = CovariateScaler(
        StandardScaler.from_state(arrays["rows_center"], arrays["rows_scale"]),
        StandardScaler.from_state(arrays["static_center"], arrays["static_scale"]),
    )
    fitted = Fitted(
        model=network,
        horizon=header["horizon"],
        lookback=header["lookback"],
        season_length=header["season_length"],
        logs=_restore_logs(header["best_epochs"], arrays),
        likelihood=likelihood,
        intervals=_restore_intervals(header, arrays),
        scaler=StandardScaler.from_state(arrays["center"], arrays["scale"]),
        inputs=NetworkInputs(covariates, header["season_length"], header["masked"]),
        panel=panel,
        short_series=header["short_series"],
    )
    return _restore_params(header["params"], network, likelihood), fitted


def _restore_logs(best_epochs: list[int], arrays: dict[str, Array]) -> tuple[TrainingLog, ...]:
    if not best_epochs:
        raise ValueError("it has no training log")

    def numbers(log: int, name: str) -> tuple[float, ...]:
        array = arrays[_log_name(log, name)]
        if array.dtype.kind != "f" or array.ndim != 1:
            raise ValueError(f"its {name} is {array.dtype} {array.shape}")
        return tuple(array.tolist())

    return tuple(
        TrainingLog(
            loss=numbers(log, "loss"),
            val_loss=numbers(log, "val_loss"),
            best_epoch=check_integer("best_epoch", best_epoch, minimum=0),
            learning_rate=numbers(log, "learning_rate"),
        )
        for log, best_epoch in enumerate(best_epochs)
    )


def _restore_intervals(
    header: dict[str, Any], arrays: dict[str, Array]
) -> ConformalIntervals | None:
    if not header["levels"]:
        return None
    parts = {name: arrays[name] for name in ("radius", "factor", "waiting")}
    return ConformalIntervals(tuple(header["levels"]), **parts, follows=header["follows"])


def _restore_panel(header: dict[str, Any], arrays: dict[str, Array]) -> Panel:
    """Return the series, after checking that all parts fit each other."""
    values = GroupedArray(arrays["values"], arrays["indptr"])
    rows = GroupedArray(arrays["rows"], arrays["indptr"])
    known = Known(rows, arrays["static"], arrays["categories"])
    covariates = _restore_covariates(header["covariates"])
    _check_header(header)
    _check_shapes(header, arrays, values, covariates)
    panel = restore_panel(
        ColumnNames(**header["columns"]),
        Calendar(**header["calendar"]),
        ids=(header["ids"], header["ids_dtype"]),
        last=arrays["last"],
        values=values,
        known=known,
        covariates=covariates,
        shape=Shape.restore(**header["shape"]),
    )
    # Make a forecast frame now, so that what fails then is found when loading.
    panel.shaped_forecast({"yhat": np.zeros((len(panel.ids), header["horizon"]))})
    return panel


def _restore_covariates(header: dict[str, Any]) -> Covariates:
    names = {name: _texts(header[name]) for name in ("past", "future", "static", "calendar")}
    _calendar_features.check_known(names["calendar"])
    categories = {name: tuple(values) for name, values in header["categories"].items()}
    for values in categories.values():
        if not all(isinstance(value, str | Real) for value in values):
            raise ValueError("its categories are neither text nor numbers")
    return Covariates(**names, categories=categories)


def _texts(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{names!r} are not names of columns")
    return tuple(names)


def _check_header(header: dict[str, Any]) -> None:
    for name in ("horizon", "lookback", "season_length"):
        check_integer(name, header[name])
    check_levels(tuple(header["levels"]))
    for name in ("masked", "follows"):
        check_flag(name, header[name])
    if header["short_series"] not in ("raise", "skip"):
        raise ValueError(f"its short_series is {header['short_series']!r}")
    names = list(header["columns"].values())
    if len(set(names)) < len(names):
        raise ValueError(f"its columns are {names}")


def _check_arrays(arrays: dict[str, Array]) -> None:
    """Check the dtypes of the arrays, and that only targets may be missing."""
    for name, kind in KINDS.items():
        if name not in arrays:
            continue
        usable = np.isfinite(arrays[name])
        if name == "values":
            usable |= np.isnan(arrays[name])
        if arrays[name].dtype.kind != kind or not usable.all():
            dtype = arrays[name].dtype
            raise ValueError(f"array {name!r} holds {dtype}, or numbers that are not finite")


def _check_shapes(
    header: dict[str, Any],
    arrays: dict[str, Array],
    values: GroupedArray,
    covariates: Covariates,
) -> None:
    """Check that the parts fit each other."""
    series = len(header["ids"])
    horizon = header["horizon"]
    levels = len(header["levels"])
    rows = len(values.values)
    width = covariates.past_width + covariates.future_width
    categories = len(covariates.sizes)
    static = len(covariates.static) - categories
    shapes: dict[str, tuple[int, ...]] = {
        "last": (series,),
        "center": (series,),
        "scale": (series,),
        "values": (rows,),
        "indptr": (series + 1,),
        "rows": (rows, width),
        "rows_center": (1, width),
        "rows_scale": (1, width),
        "static": (series, static),
        "static_center": (1, static),
        "static_scale": (1, static),
        "categories": (series, categories),
    }
    if levels:
        shapes |= {"radius": (levels, horizon), "factor": (series, levels), "waiting": (series,)}
    wrong = {name: arrays[name].shape for name in shapes if arrays[name].shape != shapes[name]}
    if wrong or len(values) != series:
        raise ValueError(f"its parts do not fit each other: {values}, {wrong}")
    waiting = arrays["waiting"] if levels else np.zeros(series, np.int64)
    if ((waiting < 0) | (waiting >= horizon)).any():
        raise ValueError(f"its forecasts wait for up to {waiting.max()} rows")
    needed = header["lookback"]
    if header["follows"]:
        needed += horizon
    if (values.lengths < needed).any():
        raise ValueError(f"its series are shorter than {needed} rows: {values}")


def _plain(value: Any) -> Any:
    """Convert NumPy's numbers to Python's; other objects cannot be written."""
    if isinstance(value, np.generic):
        return value.item()
    raise bad_argument(
        "The parameters and ids of a saved forecaster",
        Description(f"{value!r} ({type(value).__name__})"),
        "numbers or text",
    )


def _restore_likelihood(config: Any, custom_objects: dict[str, Any] | None) -> Likelihood | None:
    if config is None:
        return None
    likelihood = keras.saving.deserialize_keras_object(config, custom_objects, safe_mode=True)
    if not isinstance(likelihood, Likelihood):
        raise ValueError(f"its likelihood is a {type(likelihood).__name__}")
    return likelihood


def _network_bytes(network: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        network.save(Path(folder) / NETWORK)
        return (Path(folder) / NETWORK).read_bytes()


def _restore_model(data: Array, custom_objects: dict[str, Any] | None) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NETWORK
        path.write_bytes(data.tobytes())
        with zipfile.ZipFile(path) as file:
            _old_formats.check_size(file, "its network", MAX_BYTES)
        return keras.saving.load_model(path, custom_objects, compile=False)
