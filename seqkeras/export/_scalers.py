"""Describe a fitted scaler by two arrays, the center and the scale of (x - center) / scale."""

from typing import Any, NamedTuple

import numpy as np

from seqkeras._checks import Description, bad_argument
from seqkeras.windows import StandardScaler

#: Scalers of scikit-learn that divide by `scale_`: the attribute that holds the center, and the
#: option that says whether it is used; None for a scaler without a center.
CENTERS: dict[str, tuple[str, str] | None] = {
    "MaxAbsScaler": None,
    "RobustScaler": ("center_", "with_centering"),
    "StandardScaler": ("mean_", "with_mean"),
}


class Affine(NamedTuple):
    """Scaling by (x - center) / scale, with one number for all features or one for each."""

    center: np.ndarray
    scale: np.ndarray

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Return raw numbers in the units of the model."""
        return np.asarray((raw - self.center) / self.scale)

    def undo(self, scaled: np.ndarray) -> np.ndarray:
        """Return numbers of the model in raw units, in float64."""
        return np.asarray(scaled * self.scale + self.center)


def affine_of(name: str, scaler: Any, shape: tuple[int, ...]) -> Affine:
    """Return center and scale of a fitted scaler.

    Args:
        name: name of the argument, for errors.
        scaler: a scaler of scikit-learn, a `windows.StandardScaler` of one series, or a pair
            `(center, scale)`.
        shape: shape of the array to scale; its last axis holds the features.

    Raises:
        ArgumentError: `scaler` is something else, has another number of features, or contains NaN,
            infinity or a scale of 0.
    """
    pair = _pair(name, scaler)
    try:
        center, scale = (np.atleast_1d(np.asarray(part, np.float64)) for part in pair)
    except (TypeError, ValueError) as error:
        raise bad_argument(name, scaler, "a scaler, or a pair of numbers or arrays") from error
    features = shape[-1] if shape else 1
    for part, array in (("center", center), ("scale", scale)):
        if array.shape not in ((1,), (features,)):
            expected = f"for {features} features"
            raise bad_argument(name, Description(f"a {part} of shape {array.shape}"), expected)
        not_finite = np.flatnonzero(~np.isfinite(array))
        if len(not_finite):
            number = not_finite[0]
            actual = Description(f"a {part} of {array[number]} for feature {number}")
            raise bad_argument(name, actual, "free of NaN and infinity")
    zeros = np.flatnonzero(scale == 0)
    if len(zeros):
        actual = Description(f"a scale of 0 for feature {zeros[0]}")
        raise bad_argument(name, actual, "one that does not divide by 0")
    return Affine(center, scale)


def _pair(name: str, scaler: Any) -> tuple[Any, Any]:
    if isinstance(scaler, (tuple, list)) and len(scaler) == 2:
        return scaler[0], scaler[1]
    if isinstance(scaler, StandardScaler):
        centers, scales = scaler._state()
        if len(centers) != 1:
            fix = "Pass the scaler of a single series: scaler.take([number])."
            actual = Description(f"a scaler of {len(centers)} series")
            raise bad_argument(name, actual, "of one series", fix)
        return centers[0], scales[0]
    kind = type(scaler).__name__
    scale = getattr(scaler, "scale_", None)
    if kind == "MinMaxScaler" and scale is not None:  # it computes x * scale_ + min_
        return -scaler.min_ / scale, 1 / scale
    if kind not in CENTERS or not hasattr(scaler, "n_features_in_"):
        expected = (
            "a fitted StandardScaler, MinMaxScaler, MaxAbsScaler or RobustScaler of scikit-learn, "
            "a windows.StandardScaler, or a pair (center, scale)"
        )
        raise bad_argument(name, scaler, expected)
    center = 0.0
    entry = CENTERS[kind]
    if entry is not None:
        attribute, option = entry
        if getattr(scaler, option):  # a fitted mean may exist without being used
            center = getattr(scaler, attribute)
    return center, scale if scale is not None else 1.0
