"""A scorer and its threshold as plain data, for files without pickle."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from seqkeras._arrays import Array
from seqkeras.anomaly._forecast_errors import ForecastErrors
from seqkeras.anomaly._forecast_inputs import ForecastInputs
from seqkeras.anomaly._linear_forecast import LinearForecast
from seqkeras.anomaly._memory_program import in_memory_program
from seqkeras.anomaly._piece import piece_from_state
from seqkeras.anomaly._principal_windows import PrincipalWindows
from seqkeras.anomaly._row_scaler import RowScaler
from seqkeras.anomaly._scorer import Scorer
from seqkeras.anomaly._thresholds import Threshold
from seqkeras.anomaly._window_errors import WindowErrors, WindowInputs
from seqkeras.runtime import Program

Header = dict[str, Any]
Arrays = dict[str, Array]

#: Classes of plain values, which are stored field by field.
_CLASSES = (
    ForecastErrors, ForecastInputs, LinearForecast, PrincipalWindows, RowScaler, Scorer,
    WindowErrors, WindowInputs,
)  # fmt: skip
_BY_NAME = {cls.__name__: cls for cls in _CLASSES}


def to_parts(scorer: Scorer, rule: Threshold) -> tuple[Header, Arrays]:
    """Return a scorer and its threshold as a header for JSON, and arrays by name."""
    arrays: Arrays = {}
    header = {
        "scorer": _describe("scorer", scorer, arrays),
        "rule": _describe("rule", rule, arrays),
    }
    return header, arrays


def from_parts(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> tuple[Scorer, Threshold]:
    """Return what `to_parts` has described.

    Raises:
        ValueError, TypeError, KeyError: the parts do not fit each other.
    """
    scorer = _restore("scorer", header["scorer"], arrays)
    rule = _restore("rule", header["rule"], arrays)
    if not isinstance(scorer, Scorer) or not isinstance(rule, Threshold):
        raise ValueError("it has no scorer and threshold")
    return scorer, rule


def _describe(name: str, value: Any, arrays: Arrays) -> Any:
    """Return a value for JSON; its arrays go into `arrays`, under names that begin with `name`."""
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, Program):
        program, weights = value._parts[:2]
        arrays.update({f"{name}/{key}": array for key, array in weights.items()})
        return {"program": program}
    if type(value) in _CLASSES:
        parts = {
            field.name: _describe(f"{name}/{field.name}", getattr(value, field.name), arrays)
            for field in fields(value)
        }
        return {"class": type(value).__name__, "fields": parts}
    if hasattr(value, "to_state"):
        state = value.to_state()
        parts = {key: _describe(f"{name}/{key}", part, arrays) for key, part in state.items()}
        return {"piece": parts}
    return value


def _restore(name: str, described: Any, arrays: Mapping[str, Array]) -> Any:
    """Return the value that `_describe` has described."""
    if not isinstance(described, dict):
        return described
    if "array" in described:
        return arrays[described["array"]]
    if "program" in described:
        prefix = f"{name}/"
        weights = {
            key.removeprefix(prefix): array
            for key, array in arrays.items()
            if key.startswith(prefix)
        }
        return in_memory_program(described["program"], weights)
    if "class" in described:
        cls = _BY_NAME[described["class"]]
        parts = {
            key: _restore(f"{name}/{key}", part, arrays)
            for key, part in described["fields"].items()
        }
        return cls(**parts)
    state = {
        key: _restore(f"{name}/{key}", part, arrays) for key, part in described["piece"].items()
    }
    return piece_from_state(state)
