"""A fitted detector that reads one row at a time and keeps a running state, without Keras."""

import copy
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from seqkeras._archive import read_archive, write_archive
from seqkeras._checks import Description, bad_argument, bad_data
from seqkeras._files import DAMAGE, shortened
from seqkeras.anomaly._memory_program import fingerprint_of
from seqkeras.anomaly._scorer import Scorer
from seqkeras.anomaly._scorer_parts import from_parts, to_parts
from seqkeras.anomaly._thresholds import Threshold
from seqkeras.errors import FileFormatError
from seqkeras.runtime._cell_steps import State
from seqkeras.runtime._packing import pack, unpack

KIND = "seqkeras.DetectorStepper"
VERSION = 1


class DetectorStepper:
    """One series of a detector, fed one row at a time; created by `Detector.stepper`.

    It begins before the first row of a series. Scores are those of `decision_function` for the rows
    up to now. Each series needs a stepper of its own; `copy.copy` makes one that begins at the same
    state.

    Attributes:
        names: names of the features; None if they have none.
        features: number of features of a row.
        fingerprint: checksum of the detector; a state belongs to one detector.
        threshold: the value that the next score is compared with.
        flagged: whether the score of the newest row was above the threshold.

    Example:
        >>> from seqkeras.anomaly import ForecastDetector
        >>> from seqkeras.forecasting import Training
        >>> x = np.sin(np.arange(300) / 5)
        >>> training = Training(epochs=1, progress=False)
        >>> detector = ForecastDetector(20, units=4, training=training, seed=0).fit(x)
        >>> stepper = detector.stepper()
        >>> for value in x:
        ...     score = stepper.step(value)
        >>> later = detector.stepper()
        >>> later.restore(stepper.unpack_state(stepper.pack_state(stepper.state())))
        >>> later.step(5.0) == stepper.step(5.0), stepper.flagged
        (True, True)
    """

    def __init__(self, scorer: Scorer, rule: Threshold, names: Sequence[str] | None = None) -> None:
        self._scorer = scorer
        self._rule = rule
        self.names = tuple(names) if names is not None else None
        self.features = scorer.errors.features
        self.fingerprint = fingerprint_of(*to_parts(scorer, rule))
        self._stream = scorer.stream()
        self._limit = rule.initial_state()
        self.flagged = False

    @property
    def threshold(self) -> float:
        return float(self._limit[0])

    def __repr__(self) -> str:
        return f"DetectorStepper({self.features} features, threshold {self.threshold:.4g})"

    def __copy__(self) -> Self:
        """Return a stepper with a state of its own; it shares the detector, which never changes."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied._stream = self._scorer.stream()
        copied.restore(self.state())
        return copied

    def __deepcopy__(self, memo: Any) -> Self:
        return self.__copy__()

    def step(self, x: Any) -> float:
        """Read the next row, and return its score; then `flagged` says whether it is an alarm.

        Args:
            x: a number, `(features,)`, or numbers by the name of the feature.

        Raises:
            ArgumentError: another number of features, or other names.
            DataError: a value is missing or infinite; the state stays as it was.
        """
        row = [x] if type(x) is float and self.features == 1 else self._read(x)
        if not math.isfinite(sum(row)):
            self._refuse(row)
        score = self._stream.step(row)
        self.flagged, self._limit = self._rule.step(score, self._limit)
        return score

    def state(self) -> State:
        """Return the state as a tuple of arrays with one row, as copies."""
        return self._limit[np.newaxis].copy(), *self._stream.state()

    def restore(self, state: State) -> None:
        """Continue from a state.

        Args:
            state: from `state` or `unpack_state` of a stepper of the same detector.

        Raises:
            ArgumentError: the arrays have other shapes or dtypes.
        """
        limit, *stream = self._checked(state)
        self._limit = limit[0].copy()
        self._stream.restore(tuple(stream))

    def pack_state(self, state: State) -> bytes:
        """Pack a state into bytes, for a file, a database or another process."""
        return pack(self._checked(state), self.fingerprint, 1)

    def unpack_state(self, data: bytes) -> State:
        """Unpack a state that `pack_state` packed.

        Raises:
            ArgumentError: `data` is not bytes.
            FileFormatError: the bytes are damaged, from another version, or from another detector.
        """
        fix = "A detector that was fitted again has other states: start its series again."
        return unpack(
            data, self._shapes, self.fingerprint, "this detector", kind="detector", fix=fix
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the detector into a file that `load_stepper` reads without Keras.

        The file holds no state of a series; see `pack_state`.
        """
        header, arrays = to_parts(self._scorer, self._rule)
        header["names"] = self.names
        write_archive(path, header, arrays, kind=KIND, version=VERSION)

    @property
    def _shapes(self) -> list[tuple[tuple[int, ...], Any]]:
        return [(array.shape[1:], array.dtype) for array in self.state()]

    def _checked(self, state: Any) -> State:
        expected = [((1, *shape), dtype) for shape, dtype in self._shapes]
        parts = state if isinstance(state, tuple) else ()
        actual = [(np.shape(part), getattr(part, "dtype", None)) for part in parts]
        if actual != expected:
            fix = "Take it from state or unpack_state."
            raise bad_argument("state", actual, f"a tuple of arrays of {expected}", fix)
        return parts

    def _read(self, x: Any) -> list[float]:
        if isinstance(x, Mapping):
            if self.names is None or set(x) != set(self.names):
                raise bad_argument("x", sorted(map(str, x)), f"values of {list(self.names or ())}")
            x = [x[name] for name in self.names]
        try:
            row = np.asarray(x, np.float64)
        except (TypeError, ValueError) as error:
            raise bad_data("x", str(error), "hold numbers") from error
        if row.ndim == 0:
            row = row[np.newaxis]
        if row.shape != (self.features,):
            actual = Description(f"shape {row.shape}")
            raise bad_argument("x", actual, f"of shape ({self.features},), one row")
        return row.tolist()

    def _refuse(self, row: list[float]) -> None:
        """Raise if a value is missing or infinite."""
        wrong = [number for number, value in enumerate(row) if not math.isfinite(value)]
        if wrong:
            name = self.names[wrong[0]] if self.names is not None else wrong[0]
            fix = "The state is unchanged: skip the row, or fill the gap."
            raise bad_data(f"Feature {name!r}", str(row[wrong[0]]), "be finite", fix)


def load_stepper(path: str | os.PathLike[str]) -> DetectorStepper:
    """Read a stepper that `DetectorStepper.save` wrote. Neither Keras nor pandas is imported.

    Raises:
        FileFormatError: the file is damaged, of another kind, or of a later version.

    Example:
        >>> from seqkeras.anomaly import ForecastDetector
        >>> from seqkeras.forecasting import Training
        >>> x = np.sin(np.arange(300) / 5)
        >>> training = Training(epochs=1, progress=False)
        >>> detector = ForecastDetector(20, units=4, training=training, seed=0).fit(x)
        >>> detector.stepper().save("pump.stepper")
        >>> load_stepper("pump.stepper").step(0.5) == detector.stepper().step(0.5)
        True
    """
    archive = read_archive(path, kind=KIND, version=VERSION)
    try:
        scorer, rule = from_parts(archive.header, archive.arrays)
        stepper = DetectorStepper(scorer, rule, archive.header["names"])
        # Parts that do not fit each other fail here, and not in the first step of a user.
        copy.copy(stepper).step(np.zeros(stepper.features))
    except DAMAGE as error:
        raise FileFormatError(f"{path} is not a valid detector: {shortened(error)}") from error
    return stepper
