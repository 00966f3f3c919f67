"""A forecaster as a model that the service can run; a session is one of its series."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument, nearest
from seqkeras.forecasting import Forecaster
from seqkeras.runtime._cell_steps import State
from seqkeras.serve._refusal import RefusedError

#: Index of the array of a stepper's state that tells the series, and its column.
_PLACE, _KEY = 2, 2


class ServedForecaster:
    """The stepper of a forecaster. The id of a session is that of a series that was fitted.

    An observation is the target, then the covariates by column: one number for a past covariate,
    and for one known in advance its value now and over the horizon. An output is the forecast
    with its intervals.

    Args:
        forecaster: a fitted forecaster.

    Raises:
        ArgumentError: a covariate is text, which a row of numbers cannot hold.
    """

    kind = "forecaster"
    row_step = None
    input_dtype: np.dtype[Any] = np.dtype(np.float64)
    output_dtype: np.dtype[Any] = np.dtype(np.float64)

    def __init__(self, forecaster: Forecaster) -> None:
        self._stepper = stepper = forecaster.stepper()
        if stepper.categories:
            actual = Description(f"text in {', '.join(stepper.categories)}")
            expected = "a forecaster whose past and future covariates are numbers"
            raise bad_argument("program", actual, expected)
        self.name = "forecaster"
        self.fingerprint = stepper.fingerprint
        self._ids = {str(identity): identity for identity in stepper.ids}
        state = stepper.state()
        self._of_key = dict(zip(state[_PLACE][:, _KEY].tolist(), stepper.ids, strict=True))
        self.states = [(array.shape[1:], array.dtype) for array in state]
        self._begin = {identity: stepper.state([identity]) for identity in stepper.ids}
        self._sizes = {
            name: stepper.horizon + 1 if name in stepper.future_columns else 1
            for name in stepper.columns
        }
        self._target = forecaster.fitted_.panel.columns.target
        self.width = 1 + sum(self._sizes.values())
        levels = stepper.predict(ids=stepper.ids[:1], future=self._any_future())
        self._names = list(levels)
        self.outputs = len(self._names) * stepper.horizon

    @classmethod
    def load(cls, path: str) -> "ServedForecaster":
        """Read a file of `Forecaster.save`."""
        return cls(Forecaster.load(path))

    def initial_state(self, ids: Sequence[str]) -> State:
        states = [self._begin[self._series(name)] for name in ids]
        return tuple(np.concatenate(parts) for parts in zip(*states, strict=True))

    def read(self, x: Any) -> Array:
        numbers = self._by_name(x) if isinstance(x, Mapping) else x
        try:
            row = np.array([numbers], self.input_dtype)
        except (ValueError, TypeError, OverflowError):
            row = None
        if row is None or row.shape != (1, self.width):
            parts = ", ".join(f"{name} ({size})" for name, size in self._named().items())
            raise bad_argument("x", Description(repr(x)[:80]), f"{self.width} numbers: {parts}")
        return row

    def read_many(self, x: Sequence[Any]) -> Array:
        return np.concatenate([self.read(row) for row in x])

    def write(self, outputs: Array) -> Any:
        parts = outputs.reshape(len(self._names), -1).tolist()
        return dict(zip(self._names, parts, strict=True))

    def write_many(self, outputs: Array) -> list[Any]:
        return [self.write(row) for row in outputs]

    def step(self, x: Array, state: State) -> tuple[Array, State]:
        stepper = self._stepper
        ids = [self._of_key[key] for key in state[_PLACE][:, _KEY].tolist()]
        if len(set(ids)) < len(ids):  # several clients have a session of the same series
            return self._apart(x, state)
        stepper.restore(tuple(np.array(array) for array in state))
        now, ahead = self._covariates(x)
        forecast = stepper.step(x[:, 0], ids=ids, covariates=now, future=ahead)
        outputs = np.stack([forecast[name] for name in self._names], axis=1)
        return outputs.reshape(len(x), self.outputs), stepper.state(ids)

    def _apart(self, x: Array, state: State) -> tuple[Array, State]:
        """Step row by row, because a stepper has each series once."""
        rows = [slice(i, i + 1) for i in range(len(x))]
        steps = [self.step(x[row], tuple(array[row] for array in state)) for row in rows]
        outputs = np.concatenate([output for output, _ in steps])
        states = zip(*(after for _, after in steps), strict=True)
        return outputs, tuple(np.concatenate(parts) for parts in states)

    def scan(self, x: Array, state: State) -> tuple[Array, State]:
        outputs = []
        for row in x:
            output, state = self.step(row[np.newaxis], state)
            outputs.append(output)
        return np.concatenate(outputs), state

    def rollout(self, output: Array, state: State, steps: int, future: Any) -> Iterator[Any]:
        horizon = self._stepper.horizon
        if steps > horizon:
            raise bad_argument("steps", steps, f"at most the horizon, {horizon}")
        parts = output.reshape(len(self._names), -1)[:, :steps].T
        return (dict(zip(self._names, row, strict=True)) for row in parts.tolist())

    def describe(self) -> dict[str, Any]:
        inputs = [
            {"name": name, "shape": [size] if size > 1 else [], "dtype": "float64"}
            for name, size in self._named().items()
        ]
        outputs = [
            {"name": name, "shape": [self._stepper.horizon], "dtype": "float64"}
            for name in self._names
        ]
        return {
            "inputs": inputs,
            "outputs": outputs,
            "features": list(self._named()) if self.width == len(self._named()) else None,
            "window": None,
            "choices": [],
            "sessions": list(self._ids)[:100],
        }

    def _named(self) -> dict[str, int]:
        return {self._target: 1, **self._sizes}

    def _series(self, name: str) -> Any:
        if name not in self._ids:
            message = f"Session {name!r} is not a series of the forecaster. "
            fix = nearest(name, self._ids) or f"It has {len(self._ids)}, listed in /v1/model."
            raise RefusedError(404, "unknown_series", message + fix)
        return self._ids[name]

    def _by_name(self, x: Mapping[str, Any]) -> list[Any]:
        names = self._named()
        if set(x) != set(names):
            actual = Description(", ".join(sorted(x)) or "no names")
            raise bad_argument("x", actual, f"an object with the names {', '.join(names)}")
        numbers: list[Any] = []
        for name, size in names.items():
            values = x[name] if isinstance(x[name], list) else [x[name]]
            if len(values) != size:
                actual = Description(f"{len(values)} numbers")
                meaning = "now and over the horizon" if size > 1 else "now"
                raise bad_argument(f"x[{name!r}]", actual, f"{size} numbers, {meaning}")
            numbers.extend(values)
        return numbers

    def _covariates(self, x: Array) -> tuple[dict[str, Array] | None, dict[str, Array] | None]:
        """Return the covariates of a step, and of the horizon after it, by column."""
        now = {}
        ahead = {}
        start = 1
        for name, size in self._sizes.items():
            now[name] = x[:, start]
            if size > 1:
                ahead[name] = x[:, start + 1 : start + size]
            start += size
        return now or None, ahead or None

    def _any_future(self) -> dict[str, Array] | None:
        zeros = np.zeros(self._stepper.horizon)
        return dict.fromkeys(self._stepper.future_columns, zeros) or None
