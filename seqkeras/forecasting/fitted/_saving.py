"""A fitted forecaster in one file: a zip of a JSON header, arrays and the network. No pickle."""

import json
import tempfile
import zipfile
from dataclasses import asdict
from numbers import Real
from pathlib import Path
from typing import Any

import keras
import numpy as np

from seqkeras._checks import check_flag, check_integer
from seqkeras._files import whole_file, zip_damage
from seqkeras.errors import DataError, FileFormatError
from seqkeras.forecasting.calendars import _calendar_features
from seqkeras.forecasting.calendars._calendar import Calendar, to_integers
from seqkeras.forecasting.fitted._intervals import ConformalIntervals, check_levels
from seqkeras.forecasting.fitting._fit import Fitted
from seqkeras.forecasting.frames._columns import ColumnNames
from seqkeras.forecasting.frames._covariates import Covariates, Known
from seqkeras.forecasting.frames._forms import Shape
from seqkeras.forecasting.frames._panel import Panel, dtype_of, restore_panel
from seqkeras.forecasting.networks._build import NetworkSizes, check_network
from seqkeras.forecasting.networks._ensemble import members_of, networks_of
from seqkeras.forecasting.networks._inputs import CovariateScaler, Inputs
from seqkeras.likelihoods import Likelihood
from seqkeras.training._early_stopping import TrainingLog
from seqkeras.windows import GroupedArray, StandardScaler

FORMAT = "seqkeras.Forecaster"
VERSION = 3
HEADER, ARRAYS, NETWORK = "header.json", "arrays/", "network.keras"

#: The dtype of each array.
DTYPES = {
    "values": "f", "indptr": "i", "last": "i", "center": "f", "scale": "f",
    "radius": "f", "factor": "f", "waiting": "i",
    "rows": "f", "static": "f", "categories": "i",
    "rows_center": "f", "rows_scale": "f", "static_center": "f", "static_scale": "f",
}  # fmt: skip

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
            panel = _restore_panel(header, arrays)
            head = _read_head(header.get("head"), custom_objects)
            network = _read_network(file, custom_objects)
            return _restore(cls, header, arrays, panel, network, head)
    except (FileFormatError, FileNotFoundError):
        raise
    except zip_damage() as error:
        raise FileFormatError(f"{path} is not a forecaster, or is damaged: {error}") from error


def _header(forecaster: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    params = forecaster.get_params(deep=False)
    panel, intervals = forecaster.panel_, forecaster.intervals_
    params["model"] = _names(params["model"], len(forecaster.logs_))
    if isinstance(params["head"], Likelihood):
        params["head"] = None  # that which is fitted takes its place
    return {
        "format": FORMAT,
        "version": VERSION,
        "params": params,
        "columns": asdict(panel.columns),
        "calendar": asdict(panel.calendar),
        "covariates": asdict(panel.covariates),
        "shape": asdict(panel.shape),
        "masked": forecaster.inputs_.masked,
        "head": keras.saving.serialize_keras_object(forecaster.head_),
        "ids": panel.ids.tolist(),
        "ids_dtype": dtype_of(panel.ids),
        "horizon": forecaster.horizon_,
        "lookback": forecaster.lookback_,
        "levels": [] if intervals is None else intervals.levels,
        "follows": intervals is not None and intervals.follows,
        "season_length": forecaster.season_length_,
        "logs": [asdict(log) for log in forecaster.logs_],
        "arrays": {name: [array.dtype.str, array.shape] for name, array in arrays.items()},
    }


def _names(model: Any, networks: int) -> Any:
    """The model, with None for what has no name: in `load` its network takes its place."""
    names = [one if isinstance(one, str) else None for one in members_of(model)]
    if all(names):
        return model
    # Another list may have been set since the fit.
    return names if isinstance(model, list | tuple) and len(names) == networks else None


def _restore_model(params: dict[str, Any], network: keras.Model) -> None:
    """Puts networks where there were builders and models; what is not for them is left away."""
    model = params["model"]
    if isinstance(model, list):
        if None in model:
            pairs = zip(model, networks_of(network), strict=True)
            params["model"] = [own if name is None else name for name, own in pairs]
    elif model is None:
        params["model"] = network
    if not any(isinstance(one, str) for one in members_of(params["model"])):
        params |= dict.fromkeys(("units", "cell", "normalization"))


def _arrays(forecaster: Any) -> dict[str, np.ndarray]:
    panel, scaler, intervals = forecaster.panel_, forecaster.scaler_, forecaster.intervals_
    known, scalers = panel.known, forecaster.inputs_.scaler
    return {
        "values": panel.values.values,
        "indptr": panel.values.indptr,
        "last": to_integers(panel.last),
        "center": scaler.center_,
        "scale": scaler.scale_,
        "rows": known.rows.values,
        "static": known.static,
        "categories": known.categories,
        "rows_center": scalers.rows.center_,
        "rows_scale": scalers.rows.scale_,
        "static_center": scalers.static.center_,
        "static_scale": scalers.static.scale_,
        **({} if intervals is None else _interval_arrays(intervals)),
    }


def _interval_arrays(intervals: ConformalIntervals) -> dict[str, np.ndarray]:
    return {name: getattr(intervals, name) for name in ("radius", "factor", "waiting")}


def _restore(
    cls: Any,
    header: dict[str, Any],
    arrays: dict[str, Any],
    panel: Panel,
    network: keras.Model,
    head: Likelihood | None,
) -> Any:
    params = header["params"]
    if params.get("head") is None:
        params["head"] = head
    _restore_model(params, network)
    params["levels"] = tuple(params["levels"])
    if isinstance(params["units"], list):
        params["units"] = tuple(params["units"])
    outputs = 1 if head is None else head.outputs
    sizes = NetworkSizes.of(panel.covariates, masked=header["masked"], outputs=outputs)
    check_network(network, header["lookback"], header["horizon"], sizes)
    covariates = CovariateScaler(
        StandardScaler.from_state(arrays["rows_center"], arrays["rows_scale"]),
        StandardScaler.from_state(arrays["static_center"], arrays["static_scale"]),
    )
    fitted = Fitted(
        model=network,
        horizon=header["horizon"],
        lookback=header["lookback"],
        season_length=header["season_length"],
        logs=tuple(_restore_log(log) for log in header["logs"]),
        head=head,
        intervals=_restore_intervals(header, arrays),
        scaler=StandardScaler.from_state(arrays["center"], arrays["scale"]),
        inputs=Inputs(covariates, header["season_length"], header["masked"]),
        panel=panel,
    )
    forecaster = cls(**params)
    forecaster._check_parameters()
    return forecaster._take(fitted)


def _restore_intervals(header: dict[str, Any], arrays: dict[str, Any]) -> ConformalIntervals | None:
    if not header["levels"]:
        return None
    parts = {name: arrays[name] for name in ("radius", "factor", "waiting")}
    return ConformalIntervals(tuple(header["levels"]), **parts, follows=header["follows"])


def _restore_panel(header: dict[str, Any], arrays: dict[str, Any]) -> Panel:
    """The series, after a look at whether all parts fit each other."""
    values = GroupedArray(arrays["values"], arrays["indptr"])
    _add_missing_parts(header, arrays, values)
    known = Known(
        GroupedArray(arrays["rows"], arrays["indptr"]), arrays["static"], arrays["categories"]
    )
    _check_plain(header)
    _check_parts(header, arrays, values)
    panel = restore_panel(
        ColumnNames(**header["columns"]),
        Calendar(**header["calendar"]),
        ids=(header["ids"], header["ids_dtype"]),
        last=arrays["last"],
        values=values,
        known=known,
        covariates=_restore_covariates(header["covariates"]),
        shape=Shape.restore(**header["shape"]),
    )
    # Asked here, so that what cannot be answered is found now and not at the first forecast.
    panel.shaped_forecast({"yhat": np.zeros((len(panel.ids), header["horizon"]))})
    return panel


def _add_missing_parts(
    header: dict[str, Any], arrays: dict[str, Any], values: GroupedArray
) -> None:
    """What earlier versions of the format did not have."""
    if header["version"] <= 2:
        # Intervals were the same for all series, and only a lookback of each was kept.
        header["params"]["intervals"], header["follows"] = "split", False
        header["lookback"] = int(values.lengths[0])
        header["logs"] = [{"learning_rate": (), **header["log"]}]
        series, levels = len(values), len(header["levels"])
        arrays |= {"factor": np.ones((series, levels)), "waiting": np.zeros(series, np.int64)}
    if header["version"] > 1:
        return
    # There were no covariates, only long frames.
    header |= {"covariates": asdict(Covariates()), "shape": asdict(Shape()), "masked": False}
    nothing = Known.nothing(values.indptr)
    arrays |= {"rows": nothing.rows.values, "static": nothing.static}
    arrays |= {"categories": nothing.categories}
    nobody = np.empty((1, 0))
    names = ("rows_center", "rows_scale", "static_center", "static_scale")
    arrays |= dict.fromkeys(names, nobody)


def _restore_log(log: dict[str, Any]) -> TrainingLog:
    lists = {name: tuple(log[name]) for name in ("loss", "val_loss", "learning_rate")}
    return TrainingLog(**lists, best_epoch=log["best_epoch"])


def _restore_covariates(header: dict[str, Any]) -> Covariates:
    names = {name: _texts(header[name]) for name in ("past", "future", "static", "calendar")}
    _calendar_features.check_known(names["calendar"])
    # Older files call the categories words.
    stored = header["categories"] if "categories" in header else header["words"]
    categories = {name: tuple(values) for name, values in stored.items()}
    if not all(
        isinstance(value, (str, Real)) for values in categories.values() for value in values
    ):
        raise ValueError("its categories are neither text nor numbers")
    return Covariates(**names, categories=categories)


def _texts(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{names!r} are not names of columns")
    return tuple(names)


def _check_plain(header: dict[str, Any]) -> None:
    """Raises for numbers that are none, and for columns of one name."""
    for name in ("horizon", "lookback", "season_length"):
        check_integer(name, header[name])
    check_levels(tuple(header["levels"]))
    for name in ("masked", "follows"):
        check_flag(name, header[name])
    names = list(header["columns"].values())
    if len(set(names)) < len(names):
        raise ValueError(f"its columns are {names}")
    for log in header["logs"]:
        check_integer("best_epoch", log["best_epoch"], minimum=0)
        for name in ("loss", "val_loss", "learning_rate"):
            np.asarray([*log[name]], dtype=np.float64)


def _check_parts(header: dict[str, Any], arrays: dict[str, Any], values: GroupedArray) -> None:
    """Raises where parts do not fit each other: found here, not at the first forecast."""
    series, horizon = len(header["ids"]), header["horizon"]
    covariates, lookback = _restore_covariates(header["covariates"]), header["lookback"]
    width = covariates.past_width + covariates.future_width
    words = len(covariates.sizes)
    shapes: dict[str, Any] = dict.fromkeys(("last", "center", "scale"), (series,))
    shapes |= {"values": (len(values.values),), "indptr": (series + 1,)}
    shapes |= dict.fromkeys(("rows_center", "rows_scale"), (1, width))
    shapes |= dict.fromkeys(("static_center", "static_scale"), (1, len(covariates.static) - words))
    shapes |= {"static": (series, len(covariates.static) - words), "categories": (series, words)}
    shapes |= {"rows": (len(values.values), width), "radius": (len(header["levels"]), horizon)}
    shapes |= {"factor": (series, len(header["levels"])), "waiting": (series,)}
    wrong = {
        name: arr.shape for name, arr in arrays.items() if arr.shape != shapes.get(name, arr.shape)
    }
    if wrong or len(values) != series:
        raise ValueError(f"its parts do not fit each other: {values}, {wrong}")
    waiting = arrays.get("waiting", np.zeros(series, np.int64))
    if ((waiting < 0) | (waiting >= horizon)).any():
        raise ValueError(f"its forecasts wait for up to {waiting.max()} rows")
    must = lookback + horizon * header["follows"]
    if (values.lengths < must).any():
        raise ValueError(f"its series are shorter than {must} rows: {values}")


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
        usable = np.isfinite(arrays[name])
        if name == "values":
            usable |= np.isnan(arrays[name])  # a target that is missing
        if arrays[name].dtype.kind != DTYPES[name] or not usable.all():
            raise ValueError(f"array {name!r} holds {dtype}, or numbers that are not finite")
    return arrays


def _read_head(config: Any, custom_objects: dict[str, Any] | None) -> Likelihood | None:
    if config is None:
        return None
    head = keras.saving.deserialize_keras_object(config, custom_objects, safe_mode=True)
    if not isinstance(head, Likelihood):
        raise ValueError(f"its head is a {type(head).__name__}")
    return head


def _network_bytes(network: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        network.save(Path(folder) / NETWORK)
        return (Path(folder) / NETWORK).read_bytes()


def _read_network(file: zipfile.ZipFile, custom_objects: dict[str, Any] | None) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        path = file.extract(NETWORK, folder)
        return keras.saving.load_model(path, custom_objects, compile=False)
