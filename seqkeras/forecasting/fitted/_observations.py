"""What a step brings, from mappings and arrays to numbers: checked, and without a frame."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument, nearest
from seqkeras.errors import DataError
from seqkeras.forecasting.frames._columns import ColumnNames
from seqkeras.forecasting.frames._covariates import Covariates, codes_of, plain
from seqkeras.forecasting.frames._rows import LARGEST, are_targets
from seqkeras.forecasting.networks._predict import are_counts

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Readings:
    """Reads values of series that are known by their ids.

    Attributes:
        columns: the names of the columns.
        numbers: the number of each series, by its id.
        covariates: what the covariates are.
        masked: whether targets may be missing.
        counts: whether targets are counts.
    """

    columns: ColumnNames
    numbers: dict[Any, int]
    covariates: Covariates
    masked: bool
    counts: bool

    def ids(self, given: Any) -> list[Any]:
        """The ids that are meant; None is all.

        Raises:
            ArgumentError: none is given, or one twice.
            DataError: a series is not known.
        """
        if given is None:
            return list(self.numbers)
        ids = given if isinstance(given, list) else self._listed(given)
        if not ids:
            raise bad_argument("ids", ids, "one id or more")
        known = [_is_key(one) and one in self.numbers for one in ids]
        if not all(known):
            wrong = ids[known.index(False)]
            raise DataError(
                f"{self.columns.name(wrong)} is not among the {len(self.numbers)} series that were "
                f"fitted. {nearest(wrong, self.numbers)}".rstrip()
            )
        if len(set(ids)) < len(ids):
            twice = next(one for one in ids if ids.count(one) > 1)
            raise bad_argument("ids", twice, "there once: a step brings one observation of each")
        return ids

    def series(self, ids: list[Any]) -> Integers:
        """The numbers of series."""
        return np.array([self.numbers[one] for one in ids], dtype=np.int64)

    def targets(self, values: Any, ids: Any) -> tuple[list[Any], Floats]:
        """The ids of an observation, and its targets.

        Raises:
            ArgumentError: values are not one number for each series.
            DataError: as `ids`; or a target that the forecaster could not have been fitted on.
        """
        if isinstance(values, Mapping):
            if ids is not None:
                raise bad_argument("ids", ids, "left away where values are by id")
            named = self.ids(list(values))
            return named, self._usable(_numbers("values", list(values.values())), named)
        named = self.ids(ids)
        found = _of_shape("values", _numbers("values", values), (len(named),))
        return named, self._usable(found, named)

    def rows(self, given: Any, ids: list[Any]) -> Floats:
        """Covariates of one timestep, `(series, features)`, without those of the calendar."""
        names = self.covariates.past + self.covariates.future
        return self._encoded("covariates", given, names, ids, (len(ids),))

    def ahead(self, given: Any, ids: list[Any], horizon: int) -> Floats:
        """Future covariates of the horizon, `(series, horizon, features)`, without the calendar."""
        shape = len(ids), horizon
        return self._encoded("future", given, self.covariates.future, ids, shape)

    def _listed(self, given: Any) -> list[Any]:
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise bad_argument("ids", given, "a list of ids")
        return [plain(one) for one in given]

    def _usable(self, values: Floats, ids: list[Any]) -> Floats:
        usable = are_targets(values, masked=self.masked)
        if self.counts:
            usable &= are_counts(values)
        if usable.all():
            return values
        wrong = int(np.argmin(usable))
        fix = "Nothing was taken."
        if np.isnan(values[wrong]) and not self.masked:
            fix = f"{fix} The forecaster was fitted on series without missing targets."
        kind = "a count" if self.counts else f"a finite number below {LARGEST:g}"
        raise DataError(
            f"{self.columns.name(ids[wrong])} has the target {values[wrong]:g}, and it must be "
            f"{kind}. {fix}"
        )

    def _encoded(
        self, argument: str, given: Any, names: tuple[str, ...], ids: list[Any], shape: Any
    ) -> Floats:
        """Covariates by name as features, `(*shape, features)`."""
        parts = [np.empty((*shape, 0))]
        for name, values in _named(argument, given, names).items():
            label = f"{argument}[{name!r}]"
            if isinstance(values, Mapping):
                values = [values[one] for one in self._all_of(label, values, ids)]
            words = self.covariates.categories.get(name)
            if words is None:
                found = _of_shape(label, _numbers(label, values), shape)
                _check_present(label, np.abs(found) < np.finfo(np.float32).max, found)
                parts.append(found[..., np.newaxis])
            else:
                found = _of_shape(label, np.asarray(values, dtype=object), shape)
                codes = _codes(label, found, words)
                parts.append(codes[..., np.newaxis] == 1 + np.arange(len(words)))
        return np.concatenate(parts, axis=-1, dtype=np.float64)

    def _all_of(self, label: str, values: Mapping[Any, Any], ids: list[Any]) -> list[Any]:
        if set(values) != set(ids):
            wrong = next(iter(set(values) ^ set(ids)))
            expected = f"a value for each series of the step; {wrong!r} is on one side alone"
            raise bad_argument(label, f"{len(values)} values", expected)
        return ids


def _named(argument: str, given: Any, names: tuple[str, ...]) -> dict[str, Any]:
    found = {} if given is None else given
    if not isinstance(found, Mapping) or set(found) != set(names):
        got = sorted(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
        expected = f"a dict of {list(names)}" if names else "left away: there are no such columns"
        raise bad_argument(argument, got, expected)
    return {name: found[name] for name in names}


def _numbers(label: str, values: Any) -> Floats:
    found = np.asarray(values)
    if found.dtype.kind not in "biuf":
        expected = "numbers, NaN for what is missing"
        raise bad_argument(label, f"dtype {found.dtype}", expected)
    return found.astype(np.float64)


def _of_shape(label: str, found: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """One value for each series, or a single one of all (of one series, if these are targets)."""
    if found.shape == shape:
        return found
    alike = found.shape == shape[1:] and (label != "values" or shape == (1,))
    if not alike:
        expected = f"of shape {shape}, one for each series"
        raise bad_argument(label, f"shape {found.shape}", expected)
    return np.broadcast_to(found, shape)


def _codes(label: str, values: npt.NDArray[Any], words: tuple[Any, ...]) -> npt.NDArray[np.int32]:
    found = values.ravel().tolist()
    present = np.array([one is not None and one == one for one in found])
    _check_present(label, present, values)
    return codes_of(found, words, label).reshape(values.shape)


def _check_present(label: str, present: npt.NDArray[np.bool_], values: npt.NDArray[Any]) -> None:
    if not present.all():
        wrong = plain(values.ravel()[int(np.argmin(present))])
        raise DataError(f"{label} holds {wrong!r}. Every covariate must have a finite value.")


def _is_key(one: Any) -> bool:
    return getattr(one, "__hash__", None) is not None
