"""Ids of tokens as they are passed in: rows of unequal lengths, checked against a vocabulary."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from seqkeras._checks import Description, bad_argument

_ROWS = "rows of ids: a list of 1-D arrays or lists of integers, or an array (batch, timesteps)"


def id_rows(name: str, value: Any) -> list[npt.NDArray[np.int32]]:
    """Return each row of ids as an int32 array.

    Args:
        name: name of the argument.
        value: a list of 1-D arrays or of lists, of any lengths, or an array `(batch, timesteps)`.

    Raises:
        ArgumentError: there is no row, or a row does not hold whole numbers.
    """
    if isinstance(value, (str, bytes)) or not (isinstance(value, Iterable) or ops.is_tensor(value)):
        fix = "A vocabulary turns text into ids."
        raise bad_argument(name, Description(type(value).__name__), _ROWS, fix)
    rows = [_row(name, row) for row in (_array(value) if ops.is_tensor(value) else value)]
    if not rows:
        raise bad_argument(name, Description("no row"), _ROWS)
    return rows


def _row(name: str, value: Any) -> npt.NDArray[np.int32]:
    try:
        row = _array(value)
    except ValueError as error:
        raise bad_argument(name, value, _ROWS) from error
    if not row.size and row.ndim == 1:
        return np.zeros(0, "int32")
    if row.ndim != 1:
        fix = "Put a single row into a list."
        raise bad_argument(name, Description(f"a row of {row.ndim} dimensions"), _ROWS, fix)
    if row.dtype.kind not in "iu":
        fix = "A vocabulary turns text into ids."
        raise bad_argument(name, Description(f"a row of {row.dtype}"), _ROWS, fix)
    if row.max() > np.iinfo("int32").max or row.min() < np.iinfo("int32").min:
        raise bad_argument(name, Description(f"ids up to {row.max()}"), "ids that fit int32")
    return row.astype("int32")


def _array(value: Any) -> npt.NDArray[Any]:
    return ops.convert_to_numpy(value) if ops.is_tensor(value) else np.asarray(value)


def check_ids(
    name: str, ids: npt.NDArray[np.int32], limit: int | None, masks_zero: bool = False
) -> None:
    """Check that a model can read all ids.

    Raises:
        ArgumentError: an id is below 0, not below `limit`, or 0 in a model that masks it.
    """
    is_wrong = ids < 0
    if limit is not None:
        is_wrong = is_wrong | (ids >= limit)
    if is_wrong.any():
        below = f" and below {limit}" if limit is not None else ""
        actual = Description(f"id {ids[is_wrong][0]}")
        raise bad_argument(name, actual, f"ids from 0{below}, those that the model reads")
    if masks_zero and not ids.all():
        fix = "Id 0 is padding for this model. Pass rows of unequal lengths as a list, unpadded."
        raise bad_argument(name, Description("id 0"), "ids above 0", fix)


def id_limit(graph: Any, tensor: Any) -> int | None:
    """Return how many ids the embeddings of an input have vectors for, or None if unknown."""
    readers = graph.readers(tensor)
    return min((layer.input_dim for layer in readers if hasattr(layer, "input_dim")), default=None)


def padded(rows: list[npt.NDArray[np.int32]], width: int) -> npt.NDArray[np.int32]:
    """Return rows as one array `(batch, width)`, with zeros after their ends."""
    result = np.zeros((len(rows), width), "int32")
    for into, row in zip(result, rows, strict=True):
        into[: len(row)] = row
    return result


def id_set(name: str, value: Any, vocabulary_size: int) -> npt.NDArray[np.int32]:
    """Return an id, or several, as a sorted array without repeats.

    Raises:
        ArgumentError: a value is no id of the vocabulary.
    """
    expected = (
        f"an id or several, each from 0 and below {vocabulary_size}, the size of the vocabulary"
    )
    ids = np.atleast_1d(np.asarray([] if value is None else value))
    if not ids.size:
        return np.zeros(0, "int32")
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise bad_argument(name, value, expected)
    if ids.min() < 0 or ids.max() >= vocabulary_size:
        raise bad_argument(name, value, expected)
    return np.unique(ids).astype("int32")
