"""The stepper of a detector as a model that the service can run; an output is a score."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument
from seqkeras.anomaly import DetectorStepper, load_stepper
from seqkeras.runtime._cell_steps import State

#: Names of the numbers of an output.
OUTPUTS = ("score", "threshold", "flagged")


class ServedDetector:
    """A detector that scores the rows of each session as a series of its own.

    An observation is one row of all features. An output is its score, the threshold that the score
    was compared with, and whether it is above. Scores cannot be fed back, so there is no rollout.

    Args:
        stepper: a stepper at the start of a series; it is copied.
    """

    kind = "detector"
    input_dtype: np.dtype[Any] = np.dtype(np.float64)
    output_dtype: np.dtype[Any] = np.dtype(np.float64)
    outputs = len(OUTPUTS)
    row_step = None

    def __init__(self, stepper: DetectorStepper) -> None:
        self.name = "detector"
        self.fingerprint = stepper.fingerprint
        self.width = stepper.features
        self._names = list(stepper.names) if stepper.names is not None else None
        self._begin = stepper.state()
        self._stepper = stepper.__copy__()
        self.states = [(array.shape[1:], array.dtype) for array in self._begin]

    @classmethod
    def load(cls, path: str) -> "ServedDetector":
        """Read a file of `DetectorStepper.save`, without Keras."""
        return cls(load_stepper(path))

    def initial_state(self, ids: Sequence[str]) -> State:
        return tuple(np.repeat(array, len(ids), axis=0) for array in self._begin)

    def read(self, x: Any) -> Array:
        if isinstance(x, Mapping):
            if self._names is None or set(x) != set(self._names):
                actual = Description(", ".join(sorted(x)) or "no names")
                expected = f"an object with the names {', '.join(self._names or ())}"
                raise bad_argument("x", actual, expected)
            x = [x[name] for name in self._names]
        try:
            row = np.array([x], np.float64)
        except (ValueError, TypeError, OverflowError):
            row = None
        if row is None or row.shape != (1, self.width) or not np.isfinite(row).all():
            raise bad_argument("x", Description(repr(x)[:80]), f"{self.width} finite numbers")
        return row

    def read_many(self, x: Sequence[Any]) -> Array:
        return np.concatenate([self.read(row) for row in x])

    def write(self, outputs: Array) -> Any:
        score, threshold, flagged = outputs.tolist()
        return {"score": score, "threshold": threshold, "flagged": bool(flagged)}

    def step(self, x: Array, state: State) -> tuple[Array, State]:
        outputs = np.empty((len(x), self.outputs))
        after = []
        for number, row in enumerate(x):
            self._stepper.restore(tuple(array[number : number + 1] for array in state))
            outputs[number] = self._score(row)
            after.append(self._stepper.state())
        return outputs, tuple(np.concatenate(parts) for parts in zip(*after, strict=True))

    def scan(self, x: Array, state: State) -> tuple[Array, State]:
        self._stepper.restore(state)
        outputs = np.array([self._score(row) for row in x])
        return outputs, self._stepper.state()

    def rollout(self, output: Array, state: State, steps: int, future: Any) -> Iterator[Any]:
        actual = Description("a detector, whose outputs are scores")
        raise bad_argument("rollout", actual, "asked of a program or a forecaster")

    def describe(self) -> dict[str, Any]:
        return {
            "inputs": [{"name": "row", "shape": [self.width], "dtype": "float64"}],
            "outputs": [{"name": name, "shape": [], "dtype": "float64"} for name in OUTPUTS],
            "features": self._names,
            "window": None,
            "choices": [],
        }

    def _score(self, row: Array) -> tuple[float, float, bool]:
        threshold = self._stepper.threshold
        score = self._stepper.step(row)
        return score, threshold, self._stepper.flagged
