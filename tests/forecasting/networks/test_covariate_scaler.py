"""What a network reads of covariates stays within the reach of what `fit` saw."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.forecasters import flat_forecaster
from seqkeras.errors import FarValueWarning
from seqkeras.forecasting import Columns
from seqkeras.forecasting.networks._covariate_scaler import FAR, ColumnScaler
from seqkeras.windows import GroupedArray

ROWS = 60


def one_series(values):
    return GroupedArray(values, [0, len(values)])


def scaler_of(values, name="temp"):
    return ColumnScaler.fit((name,), one_series(np.asarray(values, np.float64)[:, np.newaxis]))


def read(scaler, value):
    return float(scaler.transform(np.array([[float(value)]])).astype(np.float32)[0, 0])


@pytest.mark.parametrize("jitter", [0, 1e-15, 1e-10, 1e-9, 2e-6, "noise", "float32"])
def test_a_column_that_differs_by_rounding_is_0_whatever_comes(jitter):
    values = np.full(ROWS, 20.1)
    if jitter == "noise":
        values += 1e-6 * np.random.default_rng(0).normal(size=ROWS)
    elif jitter == "float32":
        values = np.nextafter(values.astype(np.float32), np.float32(30) * (np.arange(ROWS) % 2))
    else:
        values += jitter * (np.arange(ROWS) % 2)
    scaler = scaler_of(values)
    assert [read(scaler, value) for value in (20.1, 21.1, -1e30)] == [0, 0, 0]


@examples(20)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20),
    st.floats(-1e30, 1e30),
)
def test_no_value_is_read_as_farther_than_three_times_the_farthest_of_fit(values, value):
    scaler = scaler_of(values)
    seen = np.abs(scaler.transform(np.array(values)[:, np.newaxis])).max()
    assert abs(read(scaler, value)) <= FAR * seen * (1 + 1e-6)


@examples(20)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20), st.floats(-2, 2))
def test_a_value_within_reach_is_read_as_deviations_from_the_mean(values, share):
    scaler = scaler_of(values)
    seen = np.abs(scaler.transform(np.array(values)[:, np.newaxis])).max()
    mean = np.mean(values)
    value = mean + share * np.abs(values - mean).max()
    expected = (value - mean) / np.std(values) if seen else 0
    assert read(scaler, value) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_columns_that_are_not_numbers_have_no_limit():
    values = np.array([[0.0, 0.0], [0.0, 4.0]])
    scaler = ColumnScaler.fit(("flag", "price"), one_series(values), np.array([False, True]))
    assert scaler.transform(np.array([[1.0, 4.0]])).tolist() == [[1, 1]]


def test_scalers_of_older_files_have_a_wide_reach():
    center, scale = np.array([[20.0, 0.1]]), np.array([[1e-6, 1e300]])
    scaler = ColumnScaler.restore(("temp", "flat"), center, scale, None)
    read = scaler.transform(np.array([[21.0, 5.0]])).astype(np.float32)
    assert read.tolist() == [[3000, 0]]


@pytest.fixture(scope="module")
def case():
    """A forecaster with covariates of every kind, and its future frame."""
    random = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2024-01-01", periods=ROWS),
                "y": np.arange(ROWS) % 7 + 10.0,
                "wind": random.normal(size=ROWS),
                "price": np.where(np.arange(ROWS) == 40, 10.5, 10.0),
                "promo": random.choice(["no", "yes"], ROWS),
                "size": size,
            }
        )
        for name, size in [("a", 1.0), ("b", 2.0)]
    ]
    df = pd.concat(frames, ignore_index=True)
    forecaster = flat_forecaster(
        3, lookback=8, units=4, epochs=1, levels=(), validation=0, seed=0, progress=False
    )
    columns = Columns(
        past=["wind"], future=["price", "promo"], static=["size"], calendar=["day_of_week"]
    )
    forecaster.fit(df, columns=columns)
    future = forecaster.future_frame().assign(price=10.0, promo="no")
    return forecaster, df, future


def test_values_that_fit_saw_raise_no_warning(case):
    forecaster, _, future = case
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forecaster.predict(future=future.assign(price=10.5))


def test_a_far_value_is_named_and_read_as_the_nearest_that_can_be(case):
    forecaster, _, future = case
    center = 10 + 0.5 / ROWS
    limit = center + FAR * (10.5 - center)
    message = r"Column 'price' has 20, far outside what fit saw: values at most 0\.492 from their "
    message += r"mean 10\.008333\. It is clipped to 11\.483333"
    with pytest.warns(FarValueWarning, match=message):
        far = forecaster.predict(future=future.assign(price=20.0))
    expected = forecaster.predict(future=future.assign(price=limit - 1e-9))
    pd.testing.assert_frame_equal(far, expected, rtol=1e-5)
    with pytest.warns(FarValueWarning, match="Column 'price' has 20"):
        stepped = forecaster.stepper().predict(future={"price": [20.0] * 3, "promo": ["no"] * 3})
    np.testing.assert_allclose(stepped["yhat"].ravel(), far.yhat, rtol=1e-5)


@pytest.mark.parametrize(("column", "value"), [("wind", 1e30), ("price", -1e4), ("size", 99.0)])
def test_each_kind_of_covariate_is_limited_and_named(case, column, value):
    forecaster, df, future = case
    with pytest.warns(FarValueWarning, match=f"Column '{column}' has"):
        forecast = forecaster.predict(df=df.assign(**{column: value}), future=future)
    assert forecast.yhat.between(0, 30).all()
