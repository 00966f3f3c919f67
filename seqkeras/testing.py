"""Checks of what seqkeras promises, for your own builders too.

Each raises `AssertionError` with the promise that is broken, and returns nothing otherwise.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from seqkeras.forecasting import Forecaster, audit_leaks
from seqkeras.windows import GroupedArray


def check_forecaster(
    forecaster: Forecaster, df: pd.DataFrame, *, future: pd.DataFrame | None = None, **columns: Any
) -> None:
    """Fits copies of a forecaster, several times, and checks what every forecaster promises.

    A forecast depends on the newest observation (on the newest season, where no training was better
    than the seasonal naive forecast, and that was kept); a series alone gets the forecast that it
    gets among others; save and load change nothing; the same seed gives the same forecast, however
    often the object was fitted before; nothing before a cutoff changes with what comes after it
    (`seqkeras.forecasting.audit_leaks`).

    Args:
        forecaster: with a seed. It is not changed.
        df: as for `Forecaster.fit`.
        future: as for `Forecaster.predict`, where there are future covariates.
        **columns: id_col, time_col, target_col, freq and the rest, as for `Forecaster.fit`.

    Raises:
        AssertionError: a promise is broken.

    Example:
        >>> from seqkeras.forecasting import load_air_passengers
        >>> check_forecaster(Forecaster(6, epochs=2, seed=0), load_air_passengers())
    """
    assert forecaster.seed is not None, "check_forecaster needs a forecaster with a seed"
    fitted = clone(forecaster).fit(df, **columns)
    _check_newest_observation(fitted, future)
    _check_alone(fitted, future)
    _check_save_and_load(fitted, future)
    _check_fresh_weights(fitted, df, future, columns)
    _check_no_leak(forecaster, df, columns)


def _forecasts(fitted: Forecaster, future: pd.DataFrame | None) -> np.ndarray:
    """`(series * horizon, names)`, whatever form the frame had."""
    forecasts = fitted._forecast(None, future)[1]
    return np.stack([part.ravel() for part in forecasts.values()], axis=1)


def _copy(fitted: Forecaster) -> Forecaster:
    """The same parameters and the same fit, in another object."""
    other = clone(fitted)
    other.__dict__.update(fitted.__dict__)
    return other


def _with_context(fitted: Forecaster, values: np.ndarray) -> Forecaster:
    """The same forecaster, as if these had been the last rows of its series."""
    other = _copy(fitted)
    other.panel_ = replace(fitted.panel_, values=GroupedArray(values, fitted.panel_.values.indptr))
    return other


def _check_newest_observation(fitted: Forecaster, future: pd.DataFrame | None) -> None:
    series = fitted.panel_.values
    values = series.values.copy()
    # A network that no training improved is kept as it is: it repeats the newest season.
    newest = 1 if fitted.log_.best_epoch else fitted.season_length_
    for number, one in enumerate(series):
        known = np.flatnonzero(~np.isnan(one))[-newest:]
        values[series.indptr[number] + known] += fitted.scaler_.scale_[number]
    after, before = (_forecasts(one, future) for one in (_with_context(fitted, values), fitted))
    moved = after[:, 0] != before[:, 0]
    blind = np.flatnonzero(~moved)
    assert not len(blind), (
        f"forecast rows {blind[:5].tolist()} do not change when the newest observation does"
    )


def _check_alone(fitted: Forecaster, future: pd.DataFrame | None) -> None:
    together = _forecasts(fitted, future).reshape(len(fitted.panel_.ids), fitted.horizon, -1)
    for series in range(min(3, len(together))):
        one = _copy(fitted)
        one.panel_ = fitted.panel_.take([series])
        one.scaler_ = fitted.scaler_.take([series])
        np.testing.assert_allclose(
            _forecasts(one, future),
            together[series],
            rtol=1e-5,
            atol=1e-5 * float(fitted.scaler_.scale_[series]),
            err_msg=f"series {series} alone gets another forecast than among others",
        )


def _check_save_and_load(fitted: Forecaster, future: pd.DataFrame | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forecaster.zip"
        fitted.save(path)
        loaded = type(fitted).load(path)
    expected = fitted.predict(future=future)
    pd.testing.assert_frame_equal(loaded.predict(future=future), expected, rtol=1e-6)


def _check_fresh_weights(
    fitted: Forecaster, df: pd.DataFrame, future: pd.DataFrame | None, columns: dict[str, Any]
) -> None:
    first = _forecasts(fitted, future)
    again = _copy(fitted).fit(df, **columns)
    message = "a second fit does not start from fresh weights"
    np.testing.assert_allclose(_forecasts(again, future), first, rtol=1e-4, err_msg=message)


def _check_no_leak(forecaster: Forecaster, df: pd.DataFrame, columns: dict[str, Any]) -> None:
    report = audit_leaks(forecaster, df, **columns)
    leaking = report.index[report["leaks"]].tolist()
    assert not leaking, f"values that are held out leak into {', '.join(leaking)}"
