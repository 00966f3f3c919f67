"""What the results of an evaluation depend on, as text."""

import functools
import inspect
import zlib
from collections.abc import Collection, Mapping
from typing import Any

import keras
import numpy as np

from seqkeras.forecasting._forecaster import Forecaster
from seqkeras.forecasting.evaluation._space import readable
from seqkeras.forecasting.frames._checksum import panel_checksum
from seqkeras.forecasting.frames._columns import Columns
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.training._fingerprint import checksum, config_checksum


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
    return " ".join([readable(chosen), *_checksums(list(chosen.values()))])


def _checksums(value: Any, outer: tuple[int, ...] = ()) -> list[str]:
    """Return checksums of the networks and functions in a parameter, and of what these hold.

    Args:
        value: the parameter.
        outer: identities of the functions and objects that hold it, as one may hold itself.
    """
    if id(value) in outer or isinstance(value, type):
        return []
    outer = (*outer, id(value))
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [text for part in value for text in _checksums(part, outer)]
    if isinstance(value, keras.Model):
        return [f"{config_checksum(value):08x}"]
    if isinstance(value, np.ndarray):
        return [f"{checksum([value]):08x}"]
    if isinstance(value, functools.partial):
        return _held([value.func, *value.args, *value.keywords.values()], outer)
    if inspect.ismethod(value):
        return _held([value.__func__, vars(value.__self__)], outer)
    if inspect.isfunction(value):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        return [*_source(value), *_held([*defaults, *cells], outer)]
    if callable(value) and not isinstance(value, keras.losses.Loss | keras.Layer):
        return [*_source(type(value)), *_held([getattr(value, "__dict__", {})], outer)]
    return []


def _held(values: list[Any], outer: tuple[int, ...]) -> list[str]:
    """Return text and checksums of what a function or an object holds."""
    return [readable(values), *_checksums(values, outer)]


def _source(code: Any) -> list[str]:
    try:
        return [f"{zlib.crc32(inspect.getsource(code).encode()):08x}"]
    except (OSError, TypeError):  # typed at a prompt
        return []
