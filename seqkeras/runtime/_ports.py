"""What a program reads and gives: names, shapes and dtypes, and arrays that fit them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument, check_one_of


class Port(NamedTuple):
    """An input or an output of a program.

    Attributes:
        name: as in the model.
        shape: of one row at one timestep.
        dtype: that it is converted to.
        features: names of its features, if they were given when the program was saved.
        each_step: False for what does not change over time, such as a static covariate.
        below: of ids, the number of rows of their table; ids are 0 to that, without it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    features: tuple[str, ...] | None = None
    each_step: bool = True
    below: int | None = None


def make_port(spec: Mapping[str, Any]) -> Port:
    """A port as it stands in the header of a file."""
    names = spec.get("features")
    return Port(
        str(spec["name"]),
        tuple(spec["shape"]),
        np.dtype(check_one_of("dtype", spec["dtype"], ("float32", "float64", "int32", "bool"))),
        None if names is None else tuple(map(str, names)),
        bool(spec.get("each_step", True)),
        None if spec.get("below") is None else int(spec["below"]),
    )


def converted(port: Port, given: Any) -> npt.NDArray[Any]:
    """`given` in the dtype of the program, or an error where numbers would be others after it."""
    if np.ma.isMaskedArray(given):
        fix = "Fill its gaps, or leave the step out."
        raise bad_argument(port.name, "a masked array", "an array without a mask", fix)
    try:
        x = np.asarray(given)
    except ValueError as error:
        raise bad_argument(port.name, given, f"an array of {port.dtype}") from error
    kinds = {"f": "fiub", "i": "iufb", "b": "b"}[port.dtype.kind]
    if x.dtype.kind not in kinds:
        raise bad_argument(port.name, f"an array of {x.dtype}", f"numbers, as {port.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        y = x.astype(port.dtype)
    if port.dtype.kind == "i":
        lost = y != x
    else:
        lost = np.isinf(y) & ~np.isinf(x) if y.dtype.kind == "f" else np.zeros(1, bool)
    if lost.any():
        worst = x[lost].flat[0]
        raise bad_argument(port.name, worst, f"numbers that {port.dtype} can hold")
    return y
