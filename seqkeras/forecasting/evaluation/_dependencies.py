"""What the results of an evaluation depend on, as text."""

import functools
import inspect
import zlib
from collections.abc import Collection
from typing import Any

import keras

from seqkeras.forecasting._forecaster import Forecaster
from seqkeras.forecasting.evaluation._space import readable
from seqkeras.forecasting.frames._checksum import panel_checksum
from seqkeras.forecasting.frames._columns import Columns
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.training._fingerprint import config_checksum


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


def _checksums(value: Any) -> list[str]:
    """Return checksums of the networks and functions in a parameter."""
    if isinstance(value, list | tuple):
        return [checksum for part in value for checksum in _checksums(part)]
    if isinstance(value, keras.Model):
        return [f"{config_checksum(value):08x}"]
    if isinstance(value, functools.partial):
        return _checksums([value.func, *value.args])
    if not inspect.isfunction(value):
        return []
    try:
        return [f"{zlib.crc32(inspect.getsource(value).encode()):08x}"]
    except (OSError, TypeError):  # typed at a prompt
        return []
