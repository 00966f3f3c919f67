"""Ids of tokens in arrays: checks, padding, and whether they fit a model."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Booleans, Integers
from seqkeras._checks import Description, bad_argument, bad_data, check_integer

Ids: TypeAlias = npt.NDArray[np.int32]

MAX_ID = 2**31 - 1


class Sequences(NamedTuple):
    """Sequences of ids in one array.

    Attributes:
        ids: the ids of all sequences, one after the other.
        starts: `(sequences,)`, where each sequence begins.
        lengths: `(sequences,)`.
    """

    ids: Ids
    starts: Integers
    lengths: Integers

    def padded(self, numbers: Integers, timesteps: int) -> Ids:
        """Return sequences as `(batch, timesteps)`, with zeros after their ends."""
        used = self.used(numbers, timesteps)
        position = self.starts[numbers, np.newaxis] + np.arange(timesteps)
        return np.where(used, self.ids[np.where(used, position, 0)], 0).astype(np.int32)

    def used(self, numbers: Integers, timesteps: int) -> Booleans:
        """Return where `padded` has ids of the sequences, `(batch, timesteps)`."""
        return np.arange(timesteps) < self.lengths[numbers, np.newaxis]

    def with_token(self, token: int, place: Literal["before", "after"]) -> "Sequences":
        """Return the sequences with one more id before or after each of them."""
        ends = self.starts + self.lengths
        starts = self.starts + np.arange(len(self.starts))
        return Sequences(
            np.insert(self.ids, self.starts if place == "before" else ends, token),
            starts,
            self.lengths + 1,
        )


def pad(sequences: Sequence[Any], timesteps: int | None = None) -> tuple[Ids, Integers]:
    """Fill up sequences of ids with zeros at their ends.

    Args:
        sequences: sequences of ids, which may be empty.
        timesteps: length of the result. Default: that of the longest sequence.

    Returns:
        The ids `(batch, timesteps)` as int32, and the lengths `(batch,)`.

    Raises:
        ArgumentError: the sequences are not lists of integers, or one is longer than `timesteps`.

    Example:
        >>> ids, lengths = pad([[4, 3], [5], []])
        >>> ids.tolist(), lengths.tolist()
        ([[4, 3], [5, 0], [0, 0]], [2, 1, 0])
    """
    joined = join("sequences", sequences, lowest=0)
    longest = int(joined.lengths.max())
    if timesteps is None:
        timesteps = longest
    elif check_integer("timesteps", timesteps) < longest:
        expected = f"at least {longest}, the length of the longest sequence"
        raise bad_argument("timesteps", timesteps, expected)
    if not len(joined.ids):
        return np.zeros((len(sequences), timesteps), np.int32), joined.lengths
    return joined.padded(np.arange(len(sequences)), timesteps), joined.lengths


def join(name: str, sequences: Sequence[Any], *, lowest: int) -> Sequences:
    """Join sequences of ids.

    Args:
        name: name of the argument, for errors.
        sequences: lists or arrays of integers.
        lowest: the smallest id that may occur.

    Raises:
        ArgumentError: there are no sequences, or they do not consist of integers.
        DataError: an id is too small or too large.
    """
    expected = "a list of sequences of ids"
    if isinstance(sequences, (str, bytes, Mapping)) or not hasattr(sequences, "__len__"):
        raise bad_argument(name, sequences, expected)
    if not len(sequences):
        raise bad_argument(name, Description("no sequence"), expected)
    arrays = [_one_sequence(name, number, ids) for number, ids in enumerate(sequences)]
    lengths = np.array([len(ids) for ids in arrays], np.int64)
    joined = np.concatenate(arrays)
    starts = np.cumsum(lengths) - lengths
    wrong = np.flatnonzero((joined < lowest) | (joined > MAX_ID))
    if len(wrong):
        number = int(np.searchsorted(starts, wrong[0], side="right")) - 1
        fix = ""
        if joined[wrong[0]] == 0:
            fix = "Models mask the id 0. Make the vocabulary with pad='<pad>', which gets id 0."
        place = f"Sequence {number} of {name}"
        raise bad_data(place, f"the id {joined[wrong[0]]}", f"have ids from {lowest} on", fix)
    return Sequences(joined.astype(np.int32), starts, lengths)


def refuse_empty(subject: str, sequences: Sequences, what: str) -> None:
    """Raise an error if a sequence is empty.

    Args:
        subject: which sequences they are, such as `of sources`; may be empty.
        sequences: the sequences.
        what: what to remove, such as `pair`.

    Raises:
        DataError: a sequence is empty.
    """
    empty = np.flatnonzero(sequences.lengths == 0)
    if len(empty):
        fix = f"Remove the {what}." if len(empty) == 1 else f"Remove the {len(empty)} such {what}s."
        subject = f"Sequence {empty[0]} {subject}".strip()
        raise bad_data(subject, "no ids", "have at least 1 id", fix)


def check_text_ids(ids: Any) -> npt.NDArray[np.integer[Any]]:
    """Return the ids of a text as an array of integers, without a copy of an array.

    Raises:
        ArgumentError: they are not a one-dimensional array of integers.
        DataError: an id is negative or too large for int32.
    """
    array = _one_sequence("ids", None, ids)
    if len(array) and not 0 <= array.min() <= array.max() <= MAX_ID:
        raise bad_data("ids", f"{array.min()} to {array.max()}", f"be from 0 to {MAX_ID}")
    return array


def check_special(name: str, number: Any, token: str) -> int:
    """Return the id of a special token, which must not be that of the padding."""
    fix = f"Make the vocabulary with {token}='<{token}>', and pad='<pad>', which gets id 0."
    return check_integer(name, number, minimum=1, fix=fix)


def _one_sequence(name: str, number: int | None, ids: Any) -> npt.NDArray[Any]:
    place = "" if number is None else f"sequence {number} with "
    try:
        array = np.asarray(ids)
    except ValueError:  # lists of different lengths
        array = np.empty((0, 0))
    if array.ndim == 1 and not len(array):
        return np.empty(0, np.int32)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        expected = "ids" if number is not None else "a one-dimensional array or a list of ids"
        actual = Description(f"{place}{array.dtype} of shape {array.shape}")
        fix = (
            "Turn tokens into ids with vocabulary.ids(tokens)." if array.dtype.kind in "USO" else ""
        )
        raise bad_argument(name, actual, expected, fix)
    return array
