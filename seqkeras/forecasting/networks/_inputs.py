"""From series to what a network reads, in training and for a forecast alike."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from seqkeras.errors import DataError
from seqkeras.forecasting.frames._covariates import Known
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.networks._missing import stand_in
from seqkeras.windows import GroupedArray, StandardScaler, Windows, WindowSpec

Floats = npt.NDArray[np.float32]

#: A scale in which every number is 0; finite, so that it can be kept in a file.
ENDLESS = 1e300


@dataclass(frozen=True)
class CovariateScaler:
    """Brings every column of numbers to mean 0 and deviation 1, over all series together.

    A column that never changes is 0 whatever comes later: the network has learned nothing of it,
    and would answer a new value with the random weights that it began with.

    Attributes:
        rows: of the features of timesteps. What is 0 or 1, sine or cosine is left as it is.
        static: of the numbers of series.
    """

    rows: StandardScaler
    static: StandardScaler

    @classmethod
    def fit(cls, panel: Panel) -> "CovariateScaler":
        """Learns from all rows of a panel."""
        rows = _learned(panel.known.rows.values)
        as_is = ~panel.covariates.is_number
        rows.center_[:, as_is], rows.scale_[:, as_is] = 0.0, 1.0
        return cls(rows, _learned(panel.known.static))

    def transform(self, known: Known) -> Known:
        """The covariates, scaled."""
        rows = GroupedArray(_scaled(self.rows, known.rows.values), known.rows.indptr)
        return replace(known, rows=rows, static=_scaled(self.static, known.static))

    def transform_ahead(self, ahead: npt.NDArray[np.float64]) -> Floats:
        """Features of timesteps, `(series, timesteps, features)`, scaled: all, or the last ones."""
        first = self.rows.center_.shape[1] - ahead.shape[2]
        return ((ahead - self.rows.center_[:, first:]) / self.rows.scale_[:, first:]).astype("f4")


@dataclass(frozen=True)
class Inputs:
    """How series become what a network reads.

    That is `"inputs"`, and what there is of `"future"`, `"static"` and `"categories"`. Channel 0 of
    `"inputs"` is the target. Where targets may be missing, channel 1 says whether there was one; in
    the place of a missing target stands that of one season before, or else the last before it, so
    that the naive forecast inside a network is one of values that there were. Covariates follow:
    past ones, then future ones, which are in `"future"` for the horizon.

    Attributes:
        scaler: of the covariates.
        season_length: timesteps of one season.
        masked: whether targets may be missing.
    """

    scaler: CovariateScaler
    season_length: int
    masked: bool

    def windows(
        self,
        panel: Panel,
        scaler: StandardScaler,
        lookback: int,
        steps: int,
        *,
        truth: bool = False,
        **options: Any,
    ) -> Windows:
        """Windows of the series of a panel; weights are 0 where a target is missing.

        Args:
            panel: the series.
            scaler: of their targets.
            lookback: timesteps that are read.
            steps: timesteps that are predicted.
            truth: whether the targets are an input as well, `"targets"` `(batch, steps)`, NaN where
                one is missing, as `seqkeras.training.unrolled` takes them.
            **options: of `Windows`.
        """
        target = scaler.transform(panel.values)
        known = self.scaler.transform(panel.known)
        rows = known.rows.values
        ahead = rows[:, rows.shape[1] - panel.covariates.future_width :]
        indptr = target.indptr
        alone = not self.masked and not rows.shape[1]
        # One column, so that each timestep of the horizon has a weight of its own.
        targets = target.values[:, np.newaxis] if self.masked else target.values
        known_ahead = {"future": ahead} if ahead.shape[1] else {}
        if truth:
            known_ahead["targets"] = target.values
        return Windows(
            target if alone else GroupedArray(self._channels(target.values, rows), indptr),
            WindowSpec(lookback, horizon=steps),
            targets=None if alone else GroupedArray(targets, indptr),
            future={name: GroupedArray(one, indptr) for name, one in known_ahead.items()} or None,
            static=_present({"static": known.static, "categories": known.categories}) or None,
            missing="mask" if self.masked else "raise",
            transform=_Form(self.season_length, self.masked),
            **options,
        )

    def context(
        self, panel: Panel, scaler: StandardScaler, ahead: npt.NDArray[np.float64]
    ) -> Floats | dict[str, Any]:
        """One window of each series, which all have as many rows as a lookback.

        Args:
            panel: the series.
            scaler: of their targets.
            ahead: `(series, horizon, features)`, what is known over the horizon, not scaled.

        Raises:
            DataError: targets are missing, and the network was trained without any.
        """
        if panel.has_missing and not self.masked:
            raise DataError(
                "Targets are missing, and the forecaster was fitted on series without any, so that "
                "its network cannot tell them from others. Fill them in, or fit on series with "
                "missing targets."
            )
        series = len(panel.ids)
        target = scaler.transform(panel.values).values.reshape(series, -1)
        rows = panel.known.rows.values.reshape(*target.shape, -1)
        static = _scaled(self.scaler.static, panel.known.static).astype(np.float32)
        return self.assemble(target, rows, ahead, static, panel.known.categories)

    def assemble(
        self,
        target: npt.NDArray[np.float64],
        rows: npt.NDArray[np.float64],
        ahead: npt.NDArray[np.float64],
        static: Floats,
        categories: npt.NDArray[np.int32],
    ) -> Floats | dict[str, Any]:
        """What the network reads, from the arrays of some series.

        Args:
            target: `(series, lookback)`, scaled; NaN where it is missing.
            rows: `(series, lookback, features)`, not scaled.
            ahead: `(series, horizon, features)`, not scaled.
            static: `(series, numbers)`, scaled.
            categories: `(series, words)`.
        """
        past = self._channels(target, self.scaler.transform_ahead(rows))
        if self.masked:
            past[..., 0] = stand_in(past[..., 0], self.season_length)
        future = self.scaler.transform_ahead(ahead)
        parts = {"future": future, "static": static, "categories": categories}
        extra = _present(parts)
        return {"inputs": past, **extra} if extra else past

    def to_train(self, network: keras.Model) -> keras.Model:
        """The network itself; where targets may be missing, a view that answers step by step.

        Keras weighs no parts of the last axis: `(batch, steps)` becomes `(batch, steps, 1)`.
        """
        if not self.masked or len(network.output_shape) == 3:
            return network
        return keras.Model(network.input, keras.ops.expand_dims(network.output, -1))

    def _channels(self, target: npt.NDArray[Any], rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        target = target[..., np.newaxis]
        observed = [~np.isnan(target)] if self.masked else []
        # float32, as batches are: what takes memory here is the panel itself.
        return np.concatenate([target, *observed, rows], axis=-1, dtype=np.float32)


@dataclass(frozen=True)
class _Form:
    """Puts batches into the form that a network reads; not a nested function, for pickle."""

    season_length: int
    masked: bool

    def __call__(self, x: Any, y: Any) -> tuple[Any, Any]:
        if not isinstance(x, dict):
            return x, y
        if self.masked:
            known = x.pop("past_mask")[..., 0]
            past = x["past"]
            past[..., 0] = stand_in(np.where(known, past[..., 0], np.nan), self.season_length)
            if "targets" in x:
                x["targets"] = np.where(x["targets_mask"], x["targets"], np.nan)
        x = {name: part for name, part in x.items() if not name.endswith("_mask")}
        if "targets" in x:
            x["targets"] = x["targets"][..., 0]
        x["inputs"] = x.pop("past")
        if "categories" in x:
            x["categories"] = x["categories"].astype(np.int32)
        return (x if len(x) > 1 else x["inputs"]), y


def pairs(windows: keras.utils.PyDataset) -> Iterator[tuple[Any, Floats]]:
    """Batches of windows in order: inputs, and targets `(batch, steps)`, NaN where missing."""
    for number in range(len(windows)):
        x, y, *weights = windows[number]
        if weights:
            y = np.where(weights[0] > 0, y[..., 0], np.nan)
        yield x, y


def _learned(values: npt.NDArray[np.float64]) -> StandardScaler:
    scaler = StandardScaler().fit(_as_one(values))
    constant = np.ptp(values, axis=0) <= 1e-12 * np.abs(scaler.center_[0])
    scaler.scale_[:, constant] = ENDLESS
    return scaler


def _as_one(values: npt.NDArray[Any]) -> GroupedArray:
    return GroupedArray(values, [0, len(values)])


def _scaled(scaler: StandardScaler, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return scaler.transform(_as_one(values)).values


def _present(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in parts.items() if part.shape[-1]}
