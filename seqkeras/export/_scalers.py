"""Describe a fitted scaler by two arrays, the center and the scale of (x - center) / scale."""

from typing import Any, NamedTuple

import numpy as np

from seqkeras._checks import bad_argument
from seqkeras.errors import ArgumentError
from seqkeras.windows import StandardScaler

#: Scalers of scikit-learn that divide by `scale_`: which attribute is the center, and which option
#: says whether it is used.
CENTERS: dict[str, tuple[str, str | None]] = {
    "MaxAbsScaler": ("", None),
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
        scaler: a scaler of scikit-learn, a `windows.StandardScaler` of one series, or a pair.
        shape: shape of what is scaled; its last axis holds the features.

    Raises:
        ArgumentError: it is not such a scaler, or has another number of features.
    """
    try:
        center, scale = (
            np.atleast_1d(np.asarray(part, np.float64)) for part in _pair(name, scaler)
        )
    except (TypeError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise bad_argument(name, scaler, "a scaler, or a pair of numbers or arrays") from error
    allowed_shapes = {(1,), tuple(shape[-1:])}
    shapes_fit = {center.shape, scale.shape} <= allowed_shapes
    if not shapes_fit or not np.isfinite([*center, *scale]).all() or not scale.all():
        actual = f"a center of {center.shape} and a scale of {scale.shape}"
        features = shape[-1] if shape else 1
        expected = f"of {features} features, with finite numbers and no scale of 0"
        raise bad_argument(name, actual, expected)
    return Affine(center, scale)


def _pair(name: str, scaler: Any) -> tuple[Any, Any]:
    if isinstance(scaler, (tuple, list)) and len(scaler) == 2:
        return scaler[0], scaler[1]
    if isinstance(scaler, StandardScaler):
        centers, scales = scaler._state()
        if len(centers) != 1:
            fix = "Take one of them: scaler.take([number])."
            raise bad_argument(name, f"a scaler of {len(centers)} series", "of one series", fix)
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
    attribute, option = CENTERS[kind]
    # A fitted mean may exist without being used.
    is_centered = option is not None and getattr(scaler, option)
    center = getattr(scaler, attribute) if is_centered else 0.0
    return center, scale if scale is not None else 1.0
