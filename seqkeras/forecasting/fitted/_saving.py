"""Save a fitted forecaster in one file: a JSON header, arrays and the network. No pickle."""

import json
from dataclasses import asdict
from numbers import Real
from pathlib import Path
from typing import Any

import keras
import numpy as np

from seqkeras._archive import array_to_texts, read_archive, texts_to_array, write_archive
from seqkeras._arrays import Array
from seqkeras._checks import check_flag, check_integer, check_one_of
from seqkeras._files import open_file, shortened, zip_damage
from seqkeras._keras_graph._network_file import NETWORK, load_network, network_bytes
from seqkeras.errors import ArgumentError, FileFormatError
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
from seqkeras.forecasting.frames._columns import SHORT_SERIES, ColumnNames
from seqkeras.forecasting.frames._covariates import Covariates, Known
from seqkeras.forecasting.frames._forms import Shape
from seqkeras.forecasting.frames._panel import Panel, dtype_of, restore_panel
from seqkeras.forecasting.networks._build import check_network, network_sizes
from seqkeras.forecasting.networks._covariate_scaler import CovariateScaler
from seqkeras.forecasting.networks._ensemble import members_of, networks_of
from seqkeras.forecasting.networks._inputs import NetworkInputs
from seqkeras.forecasting.networks._mixture import Mixture
from seqkeras.likelihoods import Likelihood
from seqkeras.training import TrainingLog
from seqkeras.windows import GroupedArray, StandardScaler

FILE_KIND = "seqkeras.Forecaster"
#: Formats 1 to 3 were zip files.
VERSION = 4
#: Replaces a `likelihood` object in the saved parameters; it stands for the fitted likelihood.
FITTED = "fitted"

#: Longest horizon in a file. The horizon of a recursive network cannot be checked against the shape
#: of its output, so that a damaged header could make forecasts endless.
MAX_HORIZON = 2**20

#: The dtype kind of each array.
DTYPE_KINDS = {
    "values": "f", "indptr": "i", "last": "i", "center": "f", "scale": "f", "constant": "i",
    "radius": "f", "factor": "f", "waiting": "i",
    "rows": "f", "static": "f", "categories": "i",
    "rows_center": "f", "rows_scale": "f", "static_center": "f", "static_scale": "f",
    "rows_reach": "f", "static_reach": "f",
}  # fmt: skip


def save(path: str | Path, params: dict[str, Any], fitted: Fitted) -> None:
    """Write a fitted forecaster; an existing file is replaced only once the new one is complete.

    Args:
        path: the file.
        params: parameters of the forecaster.
        fitted: the result of its fit.

    Raises:
        ArgumentError: a parameter or an id is an object that JSON cannot represent.
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
        "mixture": asdict(fitted.mixture) if fitted.mixture is not None else None,
    }
    arrays = _arrays(fitted)
    header["ids"] = _store(arrays, "ids", fitted.panel.ids.tolist())
    if isinstance(header["ids_dtype"], dict):
        categories = header["ids_dtype"]["categories"]
        header["ids_dtype"]["categories"] = _store(arrays, "ids_categories", categories)
    stored = header["covariates"]["categories"]
    for number, (name, values) in enumerate(stored.items()):
        stored[name] = _store(arrays, f"categories_{number}", list(values))
    arrays[NETWORK] = np.frombuffer(network_bytes(fitted.model), np.uint8)
    # Convert NumPy scalars to Python numbers, at any depth.
    plain = json.loads(json.dumps(header, default=_plain))
    write_archive(path, plain, arrays, kind=FILE_KIND, version=VERSION)


def load(
    path: str | Path, *, custom_objects: dict[str, Any] | None
) -> tuple[dict[str, Any], Fitted]:
    """Read what `save` wrote.

    Returns:
        The parameters of the forecaster, and the result of its fit.

    Raises:
        FileFormatError: the file is damaged, not a forecaster, from a later version, or needs
            `custom_objects`.
    """
    damage: tuple[type[Exception], ...] = (OSError, *zip_damage())
    try:
        header, arrays = _read(path)
        return _restore(header, arrays, custom_objects)
    except (FileFormatError, FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except damage as error:
        raise FileFormatError(
            f"{path} is not a forecaster, is damaged, or needs custom_objects: {shortened(error)}"
        ) from error


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, Array]]:
    with open_file(path) as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        return _old_formats.read_zip(path, network=NETWORK)
    archive = read_archive(path, kind=FILE_KIND, version=VERSION)
    arrays = dict(archive.arrays)
    header = archive.header
    header["ids"] = _stored(arrays, header["ids"])
    if isinstance(header["ids_dtype"], dict):
        header["ids_dtype"]["categories"] = _stored(arrays, header["ids_dtype"]["categories"])
    categories = header["covariates"]["categories"]
    for name, values in categories.items():
        categories[name] = _stored(arrays, values)
    return header, arrays


def _store(arrays: dict[str, Array], name: str, values: list[Any]) -> Any:
    """Store values of one type as an array, because the header is limited, and return a reference.

    Return values of several types unchanged.
    """
    kinds = {type(value) for value in values}
    if kinds == {str}:
        arrays[name] = texts_to_array(name, values)
    elif kinds == {float}:
        arrays[name] = np.array(values, np.float64)
    elif kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        arrays[name] = np.array(values, np.int64)
    else:
        return values
    return {"array": name}


def _stored(arrays: dict[str, Array], reference: Any) -> Any:
    """Return the values that `_store` referred to."""
    if not isinstance(reference, dict):
        return reference
    array = arrays.pop(reference["array"])
    return array_to_texts(array) if array.dtype == np.uint8 else array.tolist()


def _encode_params(params: dict[str, Any], networks: int) -> dict[str, Any]:
    """Return the parameters for JSON, with placeholders for fitted objects without a name."""
    encoded = params | {"network": _encode_network(params["network"], networks)}
    if isinstance(params["likelihood"], Likelihood):
        encoded["likelihood"] = FITTED
    for name in ("intervals", "training"):
        if isinstance(params[name], Intervals | Training):
            encoded[name] = params[name].get_params()
    return encoded


def _encode_network(network: Any, networks: int) -> Any:
    if isinstance(network, Network):
        options = network.get_params(deep=False)
        return options | {"architecture": _encode_architecture(network.architecture, networks)}
    return _encode_architecture(network, networks)


def _encode_architecture(architecture: Any, networks: int) -> Any:
    """Return the architecture, with None for each network without a name."""
    names = [member if isinstance(member, str) else None for member in members_of(architecture)]
    if all(names):
        return architecture
    # The architecture may have been changed since the fit; then its networks cannot be restored.
    is_as_fitted = isinstance(architecture, list | tuple) and len(names) == networks
    return names if is_as_fitted else None


def _decode_params(
    encoded: dict[str, Any], network: keras.Model, likelihood: Likelihood | None
) -> dict[str, Any]:
    """Return parameters, with the fitted networks and likelihood in place of placeholders."""
    params = dict(encoded)
    params["network"] = _decode_network(params["network"], network)
    if params["likelihood"] == FITTED:
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


def _decode_network(encoded: Any, network: keras.Model) -> Any:
    options = dict(encoded) if isinstance(encoded, dict) else {"architecture": encoded}
    architecture = options["architecture"]
    if architecture is None:
        options["architecture"] = network
    elif isinstance(architecture, list) and None in architecture:
        pairs = zip(architecture, networks_of(network), strict=True)
        options["architecture"] = [name if name is not None else member for name, member in pairs]
    if isinstance(options.get("units"), list):
        options["units"] = tuple(options["units"])
    is_named = any(isinstance(member, str) for member in members_of(options["architecture"]))
    # The other options of `Network` apply only to named architectures.
    if isinstance(encoded, dict) and is_named:
        return Network(**options)
    return options["architecture"]


def _arrays(fitted: Fitted) -> dict[str, Array]:
    panel = fitted.panel
    arrays = {
        "values": panel.values.values,
        "indptr": panel.values.indptr,
        "last": to_integers(panel.last),
        "center": fitted.scaler.center_,
        "scale": fitted.scaler.scale_,
        "constant": fitted.scaler.constant_.astype(np.int64),
        "rows": panel.known.rows.values,
        "static": panel.known.static,
        "categories": panel.known.categories,
    }
    arrays |= fitted.inputs.scaler.arrays
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
    panel = _checked_panel(header, arrays)
    likelihood = _restore_likelihood(header["likelihood"], custom_objects)
    network = load_network(arrays[NETWORK], custom_objects)
    sizes = network_sizes(
        panel.covariates,
        lookback=header["lookback"],
        horizon=header["horizon"],
        season_length=header["season_length"],
        masked=header["masked"],
        outputs=likelihood.outputs if likelihood is not None else 1,
    )
    check_network(network, sizes)
    covariates = CovariateScaler.restore(panel.covariates, arrays)
    fitted = Fitted(
        model=network,
        horizon=header["horizon"],
        lookback=header["lookback"],
        season_length=header["season_length"],
        logs=_restore_logs(header["best_epochs"], arrays),
        mixture=_restore_mixture(header.get("mixture")),
        likelihood=likelihood,
        intervals=_restore_intervals(header, arrays),
        scaler=StandardScaler.from_state(arrays["center"], arrays["scale"], arrays.get("constant")),
        inputs=NetworkInputs(covariates, header["season_length"], header["masked"]),
        panel=panel,
        short_series=header["short_series"],
    )
    return _decode_params(header["params"], network, likelihood), fitted


def _restore_mixture(numbers: dict[str, float] | None) -> Mixture | None:
    if numbers is None:
        return None
    return Mixture(**{name: float(number) for name, number in numbers.items()})


def _restore_logs(best_epochs: list[int], arrays: dict[str, Array]) -> tuple[TrainingLog, ...]:
    if not best_epochs:
        raise ValueError("it has no training logs")

    def numbers(log: int, name: str) -> tuple[float, ...]:
        array = arrays[_log_name(log, name)]
        if array.dtype.kind != "f" or array.ndim != 1:
            raise ValueError(f"its {name} has dtype {array.dtype} and shape {array.shape}")
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


def _checked_panel(header: dict[str, Any], arrays: dict[str, Array]) -> Panel:
    """Return the series, after checking that all parts of the file fit each other."""
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
    # Build a forecast frame now, so that damaged metadata fails here and not in `predict`.
    panel.shaped_forecast({"yhat": np.zeros((len(panel.ids), 1))})
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
        raise ValueError(f"{names!r} is not a list of column names")
    return tuple(names)


def _check_header(header: dict[str, Any]) -> None:
    for name in ("horizon", "lookback", "season_length"):
        check_integer(name, header[name])
    if header["horizon"] > MAX_HORIZON:
        raise ValueError(f"its horizon is longer than {MAX_HORIZON} steps")
    check_levels(tuple(header["levels"]))
    for name in ("masked", "follows"):
        check_flag(name, header[name])
    check_one_of("short_series", header["short_series"], SHORT_SERIES)
    names = list(header["columns"].values())
    if len(set(names)) < len(names):
        raise ValueError(f"column names repeat: {names}")


def _check_arrays(arrays: dict[str, Array]) -> None:
    """Check the dtype of each array, and that no array but `values` contains NaN."""
    for name, kind in DTYPE_KINDS.items():
        if name not in arrays:
            continue
        usable = np.isfinite(arrays[name])
        if name == "values":
            usable |= np.isnan(arrays[name])
        if arrays[name].dtype.kind != kind or not usable.all():
            dtype = arrays[name].dtype
            raise ValueError(
                f"array {name!r} must hold finite numbers of kind {kind!r}, not {dtype}"
            )


def _check_shapes(
    header: dict[str, Any],
    arrays: dict[str, Array],
    values: GroupedArray,
    covariates: Covariates,
) -> None:
    """Check that the arrays have the shapes and ranges that the header requires."""
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
    # Older files lack these arrays.
    newer = {
        "constant": (series,),
        "rows_reach": (1, width),
        "static_reach": (1, static),
    }
    shapes |= {name: shape for name, shape in newer.items() if name in arrays}
    wrong = {name: arrays[name].shape for name in shapes if arrays[name].shape != shapes[name]}
    if wrong or len(values) != series:
        raise ValueError(f"its arrays have other shapes than the header states: {values}, {wrong}")
    codes = arrays["categories"]
    if ((codes < 0) | (codes >= np.array(covariates.sizes, np.int64))).any():
        raise ValueError(f"its static categories must have codes below {covariates.sizes}")
    waiting = arrays["waiting"] if levels else np.zeros(series, np.int64)
    if ((waiting < 0) | (waiting >= horizon)).any():
        raise ValueError(f"waiting must be from 0 to {horizon - 1}, not up to {waiting.max()}")
    needed = header["lookback"]
    if header["follows"]:
        needed += horizon
    if (values.lengths < needed).any():
        raise ValueError(f"series must have {needed} rows: {values}")


def _plain(value: Any) -> Any:
    """Convert a NumPy scalar to a Python number; raise for other objects."""
    if isinstance(value, np.generic):
        return value.item()
    raise ArgumentError(
        f"Cannot save {value!r} ({type(value).__name__}): parameters and ids must be numbers or "
        "text."
    )


def _restore_likelihood(config: Any, custom_objects: dict[str, Any] | None) -> Likelihood | None:
    if config is None:
        return None
    likelihood = keras.saving.deserialize_keras_object(config, custom_objects, safe_mode=True)
    if not isinstance(likelihood, Likelihood):
        raise ValueError(f"its likelihood is a {type(likelihood).__name__}")
    return likelihood
