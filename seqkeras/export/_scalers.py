"""What a scaler does, as two arrays: the center and the scale of (x - center) / scale."""

from typing import Any

import numpy as np

from seqkeras._checks import bad_argument
from seqkeras.errors import ArgumentError
from seqkeras.windows import StandardScaler

#: Scalers of scikit-learn that divide by `scale_`: where the center is, and whether it is used.
CENTERS: dict[str, tuple[str, str | None]] = {
    "MaxAbsScaler": ("", None),
    "RobustScaler": ("center_", "with_centering"),
    "StandardScaler": ("mean_", "with_mean"),
}


def affine_of(name: str, scaler: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Center and scale of a fitted scaler, each of one number, or of one for each feature.

    Args:
        name: of the argument.
        scaler: of scikit-learn, a `windows.StandardScaler` of one series, or a pair.
        shape: of what is scaled; the last axis are the features.

    Raises:
        ArgumentError: it is no such scaler, or has another number of features.
    """
    try:
        center, scale = (np.atleast_1d(np.asarray(one, np.float64)) for one in _pair(name, scaler))
    except (TypeError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise bad_argument(name, scaler, "a scaler, or a pair of numbers or arrays") from error
    wide = {one.shape for one in (center, scale)} - {(1,), tuple(shape[-1:])}
    if wide or not np.isfinite([*center, *scale]).all() or not scale.all():
        got = f"a center of {center.shape} and a scale of {scale.shape}"
        expected = f"of {shape[-1] if shape else 1} features, with finite numbers and no scale of 0"
        raise bad_argument(name, got, expected)
    return center, scale


def _pair(name: str, scaler: Any) -> tuple[Any, Any]:
    if isinstance(scaler, (tuple, list)) and len(scaler) == 2:
        return scaler[0], scaler[1]
    if isinstance(scaler, StandardScaler):
        centers, scales = scaler._state()
        if len(centers) != 1:
            fix = "Take one of them: scaler.take([number])."
            raise bad_argument(name, f"a scaler of {len(centers)} series", "of one series", fix)
        return centers[0], scales[0]
    kind, scale = type(scaler).__name__, getattr(scaler, "scale_", None)
    if kind == "MinMaxScaler" and scale is not None:  # x * scale_ + min_
        return -scaler.min_ / scale, 1 / scale
    if kind not in CENTERS or not hasattr(scaler, "n_features_in_"):
        expected = (
            "a fitted StandardScaler, MinMaxScaler, MaxAbsScaler or RobustScaler of scikit-learn, "
            "a windows.StandardScaler, or a pair (center, scale)"
        )
        raise bad_argument(name, scaler, expected)
    attribute, option = CENTERS[kind]
    # A mean may be there and not be used.
    centered = option is not None and getattr(scaler, option)
    return getattr(scaler, attribute) if centered else 0.0, 1.0 if scale is None else scale
