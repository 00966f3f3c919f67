"""Read the observations for a step from mappings and arrays, and check them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Booleans, Floats, Integers, without_mask
from seqkeras._checks import Description, bad_argument, bad_data, nearest
from seqkeras.forecasting.frames._columns import ColumnNames
from seqkeras.forecasting.frames._covariates import Covariates, codes_of, plain
from seqkeras.forecasting.frames._rows import IF_MISSING, LARGEST, are_targets
from seqkeras.forecasting.networks._inputs import are_counts


@dataclass(frozen=True)
class ObservationReader:
    """Reads observations of the fitted series, which it finds by their ids.

    Attributes:
        columns: names of the columns.
        numbers: index of each series, by its id.
        covariates: names and categories of the covariates.
        masked: whether targets may be missing.
        counts: whether targets are counts.
    """

    columns: ColumnNames
    numbers: dict[Any, int]
    covariates: Covariates
    masked: bool
    counts: bool

    def ids(self, ids: Any) -> list[Any]:
        """Return the ids as a list; None stands for all series.

        Raises:
            ArgumentError: `ids` is not a list of ids, is empty, or has an id twice.
            DataError: a series was not fitted.
        """
        if ids is None:
            return list(self.numbers)
        listed = ids if isinstance(ids, list) else self._listed(ids)
        if not listed:
            raise bad_argument("ids", listed, "one id or more")
        unknown = [identity for identity in listed if not self._is_known(identity)]
        if unknown:
            fix = nearest(unknown[0], self.numbers)
            expected = f"be among the {len(self.numbers)} series that were fitted"
            raise bad_data("ids", self.columns.label(unknown[0]), expected, fix)
        if len(set(listed)) < len(listed):
            twice = next(identity for identity in listed if listed.count(identity) > 1)
            raise bad_argument("ids", twice, "listed once, as a step reads one row per series")
        return listed

    def series(self, ids: list[Any]) -> Integers:
        """Return the indices of series."""
        return np.array([self.numbers[identity] for identity in ids], dtype=np.int64)

    def targets(self, values: Any, ids: Any) -> tuple[list[Any], Floats]:
        """Return the ids of an observation, and its targets.

        Raises:
            ArgumentError: `values` does not hold one number for each series.
            DataError: as `ids`, or the forecaster cannot read a target.
        """
        if isinstance(values, Mapping):
            if ids is not None:
                raise bad_argument("ids", ids, "omitted where values is a dict by id")
            listed = self.ids(list(values))
            return listed, self._usable(_numbers("values", list(values.values())), listed)
        listed = self.ids(ids)
        targets = _of_shape("values", _numbers("values", values), (len(listed),))
        return listed, self._usable(targets, listed)

    def rows(self, covariates: Any, ids: list[Any]) -> Floats:
        """Return covariates of one timestep, `(series, features)`, without the calendar."""
        names = self.covariates.past + self.covariates.future
        return self._encoded("covariates", covariates, names, ids, (len(ids),))

    def ahead(self, future: Any, ids: list[Any], horizon: int) -> Floats:
        """Return future covariates, `(series, horizon, features)`, without the calendar."""
        return self._encoded("future", future, self.covariates.future, ids, (len(ids), horizon))

    def _is_known(self, identity: Any) -> bool:
        is_hashable = getattr(identity, "__hash__", None) is not None
        return is_hashable and identity in self.numbers

    def _listed(self, ids: Any) -> list[Any]:
        if isinstance(ids, str) or not isinstance(ids, Iterable):
            raise bad_argument("ids", ids, "a list of ids")
        return [plain(identity) for identity in ids]

    def _usable(self, values: Floats, ids: list[Any]) -> Floats:
        usable = are_targets(values, masked=self.masked)
        if self.counts:
            usable &= are_counts(values)
        if usable.all():
            return values
        wrong = int(np.argmin(usable))
        fix = "The stepper was not changed."
        if np.isnan(values[wrong]) and not self.masked:
            fix = f"{fix} {IF_MISSING['unlearned']}"
        kind = "a count" if self.counts else f"a finite number below {LARGEST:g}"
        subject = f"The target of {self.columns.label(ids[wrong])}"
        raise bad_data(subject, f"{values[wrong]:g}", f"be {kind}", fix)

    def _form(self, ids: list[Any], shape: tuple[int, ...]) -> str:
        """Return how the values of a covariate are written."""
        value = f"[{shape[1]} values]" if len(shape) > 1 else "value"
        if self.columns.id is None:
            return value
        return f"{{{ids[0]!r}: {value}{', ...' if len(ids) > 1 else ''}}}"

    def _encoded(
        self,
        argument: str,
        by_name: Any,
        names: tuple[str, ...],
        ids: list[Any],
        shape: tuple[int, ...],
    ) -> Floats:
        """Encode covariates, passed by name, as features `(*shape, features)`."""
        parts = [np.empty((*shape, 0))]
        # Only an error needs the form of a value, and this runs in every step.
        form = partial(self._form, ids, shape)
        for name, values in _named(argument, by_name, names, form).items():
            label = f"{argument}[{name!r}]"
            if isinstance(values, Mapping):
                _check_ids(label, values, ids)
                values = [values[identity] for identity in ids]
            categories = self.covariates.categories.get(name)
            if categories is None:
                numbers = _of_shape(label, _numbers(label, values), shape)
                _check_present(label, np.abs(numbers) < np.finfo(np.float32).max, numbers)
                parts.append(numbers[..., np.newaxis])
            else:
                objects = _of_shape(label, np.asarray(without_mask(values), dtype=object), shape)
                codes = _codes(label, objects, categories)
                parts.append(codes[..., np.newaxis] == 1 + np.arange(len(categories)))
        return np.concatenate(parts, axis=-1, dtype=np.float64)


def _check_ids(label: str, values: Mapping[Any, Any], ids: list[Any]) -> None:
    if set(values) != set(ids):
        wrong = next(iter(set(values) ^ set(ids)))
        expected = f"a dict with the ids of the step; only one of the two has {wrong!r}"
        raise bad_argument(label, Description(f"{len(values)} values"), expected)


def _named(
    argument: str, by_name: Any, names: tuple[str, ...], form_of_value: Callable[[], str]
) -> dict[str, Any]:
    """Return the covariates by name.

    Args:
        argument: the name of the argument, for messages.
        by_name: the argument; None stands for no covariates.
        names: the names that it must have.
        form_of_value: returns the form of the value of a name, for messages.

    Raises:
        ArgumentError: `by_name` is not a dict of these names.
    """
    mapping = by_name if by_name is not None else {}
    if isinstance(mapping, Mapping) and set(mapping) == set(names):
        return {name: mapping[name] for name in names}
    actual = sorted(map(str, by_name)) if isinstance(by_name, Mapping) else by_name
    if not names:
        raise bad_argument(argument, actual, "omitted: fit had no such columns")
    value = form_of_value()
    form = ", ".join(f"{name!r}: {value}" for name in names)
    raise bad_argument(argument, actual, f"a dict of {list(names)}", f"Pass {argument}={{{form}}}.")


def _numbers(label: str, values: Any) -> Floats:
    numbers = np.asarray(without_mask(values))
    if numbers.dtype.kind not in "biuf":
        expected = "numbers, NaN for missing ones"
        raise bad_argument(label, Description(f"dtype {numbers.dtype}"), expected)
    return numbers.astype(np.float64)


def _of_shape(label: str, values: Array, shape: tuple[int, ...]) -> Array:
    """Return values in `shape`; values for all series are repeated, except for targets."""
    if values.shape == shape:
        return values
    is_same_for_all = values.shape == shape[1:] and (label != "values" or shape == (1,))
    if not is_same_for_all:
        expected = f"of shape {shape}, one for each series"
        raise bad_argument(label, Description(f"shape {values.shape}"), expected)
    return np.broadcast_to(values, shape)


def _codes(label: str, values: Array, categories: tuple[Any, ...]) -> npt.NDArray[np.int32]:
    flat = values.ravel().tolist()
    # `value == value` is False for NaN.
    present = np.array([value is not None and value == value for value in flat])
    _check_present(label, present, values)
    return codes_of(flat, categories, label).reshape(values.shape)


def _check_present(label: str, present: Booleans, values: Array) -> None:
    if not present.all():
        wrong = plain(values.ravel()[int(np.argmin(present))])
        raise bad_data(label, repr(wrong), "have a finite value in every row")
