import numpy as np
import pytest

from seqkeras.errors import DataError
from seqkeras.forecasting import Columns
from seqkeras.forecasting.frames._reading import read_panel
from seqkeras.forecasting.networks._covariate_scaler import CovariateScaler
from seqkeras.forecasting.networks._inputs import (
    NetworkInputs,
    fill_missing_targets,
    pairs,
)
from seqkeras.windows import StandardScaler

NAN = np.nan


def prepared(df, columns=None):
    panel = read_panel(df, columns)
    inputs = NetworkInputs(CovariateScaler.fit(panel), season_length=3, masked=panel.has_missing)
    return panel, inputs, StandardScaler().fit(panel.values)


@pytest.fixture
def covered(panel):
    """Covariates of every kind, and a tenth of the targets missing."""
    random = np.random.default_rng(0)
    covered = panel.assign(
        wind=50 + 9 * random.normal(size=len(panel)),
        weather=random.choice(["sun", "rain"], len(panel)),
        area=panel.unique_id.map({"a": 1.0, "b": 2.0, "c": 3.0}),
        kind=panel.unique_id,
    )
    return covered.assign(y=covered.y.where(random.random(len(panel)) > 0.1))


NAMES = Columns(
    past=["wind"], future=["weather"], static=["area", "kind"], calendar=["day_of_week"]
)


def test_a_forecast_reads_what_a_training_window_reads(covered):
    panel, inputs, scaler = prepared(covered, NAMES)
    windows = inputs.windows(panel, scaler, 10, 4, batch_size=1000)
    trained, _, _ = windows[0]
    counts = panel.values.lengths - 13
    series = np.repeat(np.arange(3), counts)
    rows = 10 + np.arange(len(series)) - np.repeat(np.cumsum(counts) - counts, counts)
    forecast = inputs.context(
        panel.before(series, rows, 10), scaler.take(series), panel.ahead(series, rows, 4)
    )
    assert set(trained) == set(forecast) == {"inputs", "future", "static", "categories"}
    for name in trained:
        assert trained[name].dtype == forecast[name].dtype
        np.testing.assert_array_equal(trained[name], forecast[name])


def test_a_constant_covariate_is_zero_whatever_comes_later(panel):
    df = panel.assign(price=0.1, size=7.0)
    names = Columns(future=["price"], static=["size"])
    fitted, inputs, scaler = prepared(df, names)
    ahead = np.full((3, 4, 1), 1e30)
    later = read_panel(df.assign(price=-5.0, size=9.0), columns=names).tail(10)
    trained = inputs.windows(fitted, scaler, 10, 4)[0][0]
    for context in (trained, inputs.context(later, scaler, ahead)):
        assert not context["inputs"][..., 1].any()
        assert not context["future"].any()
        assert not context["static"].any()


def test_columns_are_the_target_its_flag_and_covariates(covered):
    panel, inputs, scaler = prepared(covered, NAMES)
    x, y, weights = inputs.windows(panel, scaler, 10, 4, batch_size=1)[0]
    first = covered[covered.unique_id == "a"].y.to_numpy()
    known = ~np.isnan(first[:10])
    np.testing.assert_array_equal(x["inputs"][0, :, 1], known)
    scaled = (first - scaler.center_[0]) / scaler.scale_[0]
    np.testing.assert_allclose(x["inputs"][0, known, 0], scaled[:10][known], rtol=1e-5)
    assert np.isfinite(x["inputs"]).all()
    assert (y.shape, weights.shape) == ((1, 4, 1), (1, 4))
    np.testing.assert_array_equal(weights[0] > 0, ~np.isnan(first[10:14]))


def test_missing_targets_are_nan_in_pairs(covered):
    panel, inputs, scaler = prepared(covered)
    windows = inputs.windows(panel, scaler, 10, 4, batch_size=1000)
    ((x, y),) = pairs(windows)
    assert isinstance(x, np.ndarray)
    assert x.shape[1:] == (10, 2)
    assert np.isnan(y).sum() == (windows[0][2] == 0).sum() > 0


def test_numbers_are_scaled_but_not_categories_sines_and_cosines(covered):
    panel, inputs, _ = prepared(covered, NAMES)
    known = inputs.scaler.transform(panel.known)
    wind, *others = known.rows.values.T
    assert (abs(wind.mean()), wind.std()) == (pytest.approx(0, abs=1e-9), pytest.approx(1))
    np.testing.assert_array_equal(others, panel.known.rows.values.T[1:])
    np.testing.assert_allclose(known.static.std(), 1)


def test_without_covariates_and_missing_targets_a_network_reads_one_array(panel):
    fitted, inputs, scaler = prepared(panel)
    x, y = inputs.windows(fitted, scaler, 10, 4, batch_size=8)[0]
    assert (x.shape, y.shape) == ((8, 10, 1), (8, 4))


def test_a_network_trained_without_missing_targets_gets_none(panel):
    _, inputs, scaler = prepared(panel)
    gone = read_panel(
        panel.assign(y=panel.y.where(panel.index % 9 > 0)), columns=Columns(missing="mask")
    )
    with pytest.raises(DataError, match="fitted on series without missing targets"):
        inputs.context(gone.tail(10), scaler, np.empty((3, 4, 0)))


@pytest.mark.parametrize(
    ("window", "season", "expected"),
    [
        ([1, 2, 3], 2, [1, 2, 3]),
        ([1, 2, 3, NAN, NAN, NAN], 2, [1, 2, 3, 2, 3, 2]),
        ([1, 2, 3, NAN, NAN], 1, [1, 2, 3, 3, 3]),
        ([NAN, NAN, 3, NAN, 5], 3, [5, 5, 3, 3, 5]),
        ([NAN, NAN, NAN, 4, 5], 2, [5, 4, 5, 4, 5]),
        ([1, NAN, 3, 4, NAN, NAN, 7], 3, [1, 1, 3, 4, 4, 3, 7]),
        ([NAN, NAN], 5, [0, 0]),
    ],
)
def test_a_missing_target_is_filled_from_the_nearest_season_or_the_last_value(
    window, season, expected
):
    windows = np.array([window, window], dtype=np.float32)
    assert fill_missing_targets(windows, season).tolist() == [expected, expected]
    np.testing.assert_array_equal(windows[0], np.array(window, np.float32))  # unchanged


def test_a_causal_fill_reads_later_values_only_before_the_first():
    windows = np.array([[NAN, 1, NAN, 3, 4, 5]], np.float32)
    assert fill_missing_targets(windows, 3, causal=True).tolist() == [[1, 1, 1, 3, 4, 5]]
