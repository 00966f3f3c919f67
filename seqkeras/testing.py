"""Checks of the promises of seqkeras, also for forecasters with your own builders.

A check raises `AssertionError` with the broken promise, and returns nothing if all are kept.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from seqkeras.forecasting import Columns, Forecaster, audit_leaks
from seqkeras.windows import GroupedArray


def check_forecaster(
    forecaster: Forecaster,
    df: pd.DataFrame,
    *,
    columns: Columns | None = None,
    future: pd.DataFrame | None = None,
) -> None:
    """Fit copies of a forecaster several times, and check the promises of every forecaster.

    - A forecast depends on the newest observation (or on the newest season, if training did not
      beat the seasonal naive forecast and the untrained network was kept).
    - A series gets the same forecast by itself as among others.
    - Save and load do not change the forecast.
    - The same seed gives the same forecast, however often the object was fitted before.
    - Nothing before a cutoff depends on rows after it (`seqkeras.forecasting.audit_leaks`).

    Args:
        forecaster: a forecaster with a seed. It does not change.
        df: as for `Forecaster.fit`.
        columns: as for `Forecaster.fit`.
        future: as for `Forecaster.predict`; required with future covariates.

    Raises:
        AssertionError: a promise is broken.

    Example:
        >>> from seqkeras.forecasting import Training, load_air_passengers
        >>> training = Training(epochs=1, validation=0)
        >>> forecaster = Forecaster(6, intervals=(), training=training, seed=0)
        >>> check_forecaster(forecaster, load_air_passengers())
    """
    assert forecaster.seed is not None, "check_forecaster needs a forecaster with a seed"
    fitted = clone(forecaster).fit(df, columns=columns)
    _check_newest_observation(fitted, future)
    _check_single_series(fitted, future)
    _check_save_and_load(fitted, future)
    _check_fresh_weights(fitted, df, future, columns)
    _check_no_leak(forecaster, df, columns)


def _forecasts(forecaster: Forecaster, future: pd.DataFrame | None) -> np.ndarray:
    """Return forecasts as an array `(series * horizon, names)`."""
    request = forecaster.fitted_.request(None, future)
    forecasts = forecaster.fitted_.forecast(request)
    return np.stack([part.ravel() for part in forecasts.values()], axis=1)


def _with(forecaster: Forecaster, **changes: Any) -> Forecaster:
    """Return a copy in which some attributes of `fitted_` are replaced."""
    other = clone(forecaster)
    other.fitted_ = replace(forecaster.fitted_, **changes)
    return other


def _check_newest_observation(forecaster: Forecaster, future: pd.DataFrame | None) -> None:
    fitted = forecaster.fitted_
    targets = fitted.panel.values
    values = targets.values.copy()
    # If the untrained network was kept, the forecast repeats the newest season.
    newest = 1 if forecaster.log_.best_epoch else fitted.season_length
    for number, series in enumerate(targets):
        known = np.flatnonzero(~np.isnan(series))[-newest:]
        values[targets.indptr[number] + known] += fitted.scaler.scale_[number]
    changed = replace(fitted.panel, values=GroupedArray(values, targets.indptr))
    after = _forecasts(_with(forecaster, panel=changed), future)
    before = _forecasts(forecaster, future)
    blind = np.flatnonzero(after[:, 0] == before[:, 0])
    assert not len(blind), (
        f"forecast rows {blind[:5].tolist()} do not change when the newest observation does"
    )


def _check_single_series(forecaster: Forecaster, future: pd.DataFrame | None) -> None:
    fitted = forecaster.fitted_
    together = _forecasts(forecaster, future).reshape(len(fitted.panel.ids), fitted.horizon, -1)
    for series in range(min(3, len(together))):
        single = _with(
            forecaster,
            panel=fitted.panel.take([series]),
            scaler=fitted.scaler.take([series]),
            intervals=_intervals_of(fitted, series),
        )
        np.testing.assert_allclose(
            _forecasts(single, future),
            together[series],
            rtol=1e-5,
            atol=1e-5 * float(fitted.scaler.scale_[series]),
            err_msg=f"series {series} gets another forecast by itself than among others",
        )


def _intervals_of(fitted: Any, series: int) -> Any:
    intervals = fitted.intervals
    if intervals is None:
        return None
    factor = intervals.factor[[series]]
    return replace(intervals, factor=factor, waiting=intervals.waiting[[series]])


def _check_save_and_load(forecaster: Forecaster, future: pd.DataFrame | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forecaster"
        forecaster.save(path)
        loaded = type(forecaster).load(path)
    expected = forecaster.predict(future=future)
    pd.testing.assert_frame_equal(loaded.predict(future=future), expected, rtol=1e-6)


def _check_fresh_weights(
    forecaster: Forecaster, df: pd.DataFrame, future: pd.DataFrame | None, columns: Columns | None
) -> None:
    first = _forecasts(forecaster, future)
    again = _with(forecaster).fit(df, columns=columns)
    message = "a second fit does not start from fresh weights"
    np.testing.assert_allclose(_forecasts(again, future), first, rtol=1e-4, err_msg=message)


def _check_no_leak(forecaster: Forecaster, df: pd.DataFrame, columns: Columns | None) -> None:
    report = audit_leaks(forecaster, df, columns=columns)
    leaking = report.index[report["leaks"]].tolist()
    assert not leaking, f"held-out values leak into {', '.join(leaking)}"
