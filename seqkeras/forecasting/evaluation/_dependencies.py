"""What the results of an evaluation depend on, as text."""

import functools
import inspect
import zlib
from collections.abc import Collection, Mapping
from types import CellType
from typing import Any

import keras
import numpy as np
import pandas as pd

from seqkeras.forecasting._forecaster import Forecaster
from seqkeras.forecasting.evaluation._space import readable
from seqkeras.forecasting.frames._checksum import panel_checksum
from seqkeras.forecasting.frames._columns import Columns
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.training._fingerprint import checksum, config_checksum

#: Packages whose objects `readable` tells apart.
_DESCRIBED = ("builtins", "keras", "numpy", "pandas", "seqkeras", "sklearn")


def inputs_of(forecaster: Forecaster, panel: Panel, columns: Columns) -> dict[str, str]:
    """Describe a forecaster and its data."""
    return {
        "data": panel_checksum(panel),
        "columns": described_columns(panel, columns),
        "parameters": described_parameters(forecaster),
    }


def described_columns(panel: Panel, columns: Columns) -> str:
    """Describe how the columns of a frame were read."""
    return (
        f"{panel.columns} {panel.covariates} {panel.calendar}"
        f" missing={columns.missing} short_series={columns.short_series}"
    )


def described_parameters(forecaster: Forecaster, omitted: Collection[str] = ()) -> str:
    """Describe the parameters of a forecaster, except some, and except what changes no number.

    Networks are told apart by their layers, and functions by their source.
    """
    params = forecaster.get_params()
    holders = {"network", "intervals", "training", "training__progress"}
    names = sorted(set(params) - set(omitted) - holders)
    chosen = {name: params[name] for name in names}
    return " ".join([readable(chosen), *_checksums(list(chosen.values()), {})])


def _checksums(value: Any, seen: dict[int, Any]) -> list[str]:
    """Return checksums of the networks and functions in a parameter, and of what these hold.

    Args:
        value: the parameter.
        seen: what was seen before, by identity: objects may hold themselves, or each other.
    """
    if id(value) in seen or isinstance(value, type):
        return []
    seen[id(value)] = value
    if isinstance(value, keras.Layer):
        return [f"{config_checksum(value):08x}"]
    if isinstance(value, pd.DataFrame | pd.Series):
        value = pd.util.hash_pandas_object(value).to_numpy()
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return [f"{checksum([value]):08x}"]
    sources, members = _members(value)
    texts = [*sources, readable(members)] if sources else []
    parts = [text for member in members for text in _checksums(member, seen)]
    return [*(f"{zlib.crc32(text.encode()):08x}" for text in texts), *parts]


def _members(value: Any) -> tuple[list[str], list[Any]]:
    """Return the source of a function or of the class of an object, and what they hold.

    Containers have no source.
    """
    if isinstance(value, Mapping):
        return [], list(value.values())
    if isinstance(value, set | frozenset):
        return [], sorted(value, key=readable)
    if isinstance(value, list | tuple | np.ndarray):
        return [], list(value)
    if isinstance(value, functools.partial):
        return [""], [value.func, *value.args, *value.keywords.values()]
    if inspect.ismethod(value):
        return [""], [value.__func__, value.__self__]
    if inspect.isfunction(value):
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]
        defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        return [_source(value)], [*defaults, *cells]
    if type(value).__module__.partition(".")[0] in _DESCRIBED:
        return [], []
    if isinstance(value, keras.losses.Loss):
        return [_source(type(value))], []  # `readable` has its config
    attributes = object.__getstate__(value)  # those in slots as well
    return [_source(type(value))], [attributes]


def _source(code: Any) -> str:
    try:
        return inspect.getsource(code)
    except (OSError, TypeError):  # typed at a prompt
        return ""
