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


def check_forecaster(forecaster: Forecaster, df: pd.DataFrame, **columns: Any) -> None:
    """Fits copies of a forecaster, several times, and checks what every forecaster promises.

    A forecast depends on the newest observation (on the newest season, where no training was better
    than the seasonal naive forecast, and that was kept); a series alone gets the forecast that it
    gets among others; save and load change nothing; the same seed gives the same forecast, however
    often the object was fitted before; nothing before a cutoff changes with what comes after it
    (`seqkeras.forecasting.audit_leaks`).

    Args:
        forecaster: with a seed. It is not changed.
        df: a long frame, as for `Forecaster.fit`.
        **columns: id_col, time_col, target_col, freq, as for `Forecaster.fit`.

    Raises:
        AssertionError: a promise is broken.

    Example:
        >>> from seqkeras.forecasting import load_air_passengers
        >>> check_forecaster(Forecaster(6, epochs=2, seed=0), load_air_passengers())
    """
    assert forecaster.seed is not None, "check_forecaster needs a forecaster with a seed"
    fitted = clone(forecaster).fit(df, **columns)
    _check_newest_observation(fitted)
    _check_alone(fitted)
    _check_save_and_load(fitted)
    _check_fresh_weights(fitted, df, columns)
    _check_no_leak(forecaster, df, columns)


def _forecasts(fitted: Forecaster) -> np.ndarray:
    return fitted.predict().filter(regex="^yhat").to_numpy()


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


def _check_newest_observation(fitted: Forecaster) -> None:
    values = fitted.panel_.values.values.copy()
    # A network that no training improved is kept as it is: it repeats the newest season.
    newest = 1 if fitted.log_.best_epoch else fitted.season_length_
    for back in range(1, newest + 1):
        values[fitted.panel_.values.indptr[1:] - back] += fitted.scaler_.scale_
    moved = _forecasts(_with_context(fitted, values))[:, 0] != _forecasts(fitted)[:, 0]
    blind = np.flatnonzero(~moved)
    assert not len(blind), (
        f"forecast rows {blind[:5].tolist()} do not change when the newest observation does"
    )


def _check_alone(fitted: Forecaster) -> None:
    together = _forecasts(fitted).reshape(len(fitted.panel_.ids), fitted.horizon, -1)
    for series in range(min(3, len(together))):
        one = _copy(fitted)
        one.panel_ = fitted.panel_.take([series])
        one.scaler_ = fitted.scaler_.take([series])
        np.testing.assert_allclose(
            _forecasts(one),
            together[series],
            rtol=1e-5,
            atol=1e-5 * float(fitted.scaler_.scale_[series]),
            err_msg=f"series {series} alone gets another forecast than among others",
        )


def _check_save_and_load(fitted: Forecaster) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forecaster.zip"
        fitted.save(path)
        loaded = type(fitted).load(path)
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict(), rtol=1e-6)


def _check_fresh_weights(fitted: Forecaster, df: pd.DataFrame, columns: dict[str, Any]) -> None:
    first = _forecasts(fitted)
    again = _copy(fitted).fit(df, **columns)
    message = "a second fit does not start from fresh weights"
    np.testing.assert_allclose(_forecasts(again), first, rtol=1e-4, err_msg=message)


def _check_no_leak(forecaster: Forecaster, df: pd.DataFrame, columns: dict[str, Any]) -> None:
    report = audit_leaks(forecaster, df, **columns)
    leaking = report.index[report["leaks"]].tolist()
    assert not leaking, f"values that are held out leak into {', '.join(leaking)}"
