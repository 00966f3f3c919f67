"""Inputs and outputs of programs: their names, shapes and dtypes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument, bad_data, check_one_of


class Port(NamedTuple):
    """An input or an output of a program.

    Attributes:
        name: name in the model.
        shape: shape of one row at one timestep.
        dtype: the dtype that arrays are converted to.
        features: names of the features, or None if the program was saved without them.
        each_step: False for an input that does not change over time, such as a static covariate.
        below: for ids, the number of rows of the embedding: ids are 0 to below - 1. None: not ids.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    features: tuple[str, ...] | None = None
    each_step: bool = True
    below: int | None = None


def make_port(spec: Mapping[str, Any]) -> Port:
    """Build a port from its description in the header of a file."""
    names = spec.get("features")
    return Port(
        str(spec["name"]),
        tuple(spec["shape"]),
        np.dtype(check_one_of("dtype", spec["dtype"], ("float32", "float64", "int32", "bool"))),
        tuple(map(str, names)) if names is not None else None,
        bool(spec.get("each_step", True)),
        int(spec["below"]) if spec.get("below") is not None else None,
    )


def in_order(ports: Sequence[Port], argument: str, values: Any) -> list[Any]:
    """Return the values of several inputs, from a list or a dict, in the order of the ports.

    Raises:
        ArgumentError: names are missing or unknown, or there are too few or too many values.
    """
    names = [port.name for port in ports]
    if isinstance(values, Mapping):
        if set(values) != set(names):
            raise bad_argument(argument, sorted(map(str, values)), f"a dict of {names}")
        return [values[name] for name in names]
    if not isinstance(values, (list, tuple)) or len(values) != len(names):
        raise bad_argument(argument, type(values).__name__, f"a list or a dict of {names}")
    return list(values)


def check_ids(port: Port, x: Array) -> None:
    """Check that ids are within the embedding of their port, if it has one.

    Raises:
        DataError: an id is not.
    """
    if port.below is not None and x.size and not 0 <= x.min() <= x.max() < port.below:
        wrong = int(x[(x < 0) | (x >= port.below)].flat[0])
        raise bad_data(port.name, str(wrong), f"hold ids of 0 to {port.below - 1}")


def convert(port: Port, values: Any) -> Array:
    """Convert an input to the dtype of its port.

    Raises:
        ArgumentError: the dtype cannot hold a value.
    """
    if np.ma.isMaskedArray(values):
        fix = "Fill its gaps, or omit the step."
        raise bad_argument(port.name, Description("a masked array"), "an array without a mask", fix)
    try:
        x = np.asarray(values)
    except ValueError as error:
        raise bad_argument(port.name, values, f"an array of {port.dtype}") from error
    allowed_kinds = {"f": "fiub", "i": "iufb", "b": "b"}[port.dtype.kind]
    if x.dtype.kind not in allowed_kinds:
        raise bad_argument(
            port.name, Description(f"an array of {x.dtype}"), f"numbers, as {port.dtype}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        y = x.astype(port.dtype)
    if port.dtype.kind == "i":
        lost = y != x
    elif port.dtype.kind == "f":
        lost = np.isinf(y) & ~np.isinf(x)
    else:
        return y
    if lost.any():
        worst = x[lost].flat[0]
        raise bad_argument(port.name, worst, f"numbers that {port.dtype} can hold")
    return y
