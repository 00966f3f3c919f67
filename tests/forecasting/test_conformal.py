import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import DataError
from seqkeras.forecasting._conformal import ConformalIntervals, needed


@pytest.mark.parametrize("level", [50, 80, 95])
def test_intervals_cover_new_residuals_of_the_same_kind(level):
    random = np.random.default_rng(0)
    spread = np.array([0.5, 1.0, 4.0])
    intervals = ConformalIntervals.fit(random.laplace(size=(4000, 3)) * spread, levels=(level,))
    inside = np.abs(random.laplace(size=(4000, 3)) * spread) <= intervals.radius[0]
    np.testing.assert_allclose(inside.mean(axis=0), level / 100, atol=0.03)


@given(st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True), st.integers(0, 99))
def test_a_higher_level_is_never_narrower(levels, seed):
    residuals = np.random.default_rng(seed).normal(size=(60, 5))
    radius = ConformalIntervals.fit(residuals, levels=tuple(sorted(levels))).radius
    assert np.all(np.diff(radius, axis=0) >= 0)


def test_the_radius_is_the_textbook_quantile_for_one_lead():
    residuals = np.arange(1.0, 20.0)[:, np.newaxis]  # 19 residuals: the 95 % rank is the 19th
    intervals = ConformalIntervals.fit(residuals, levels=(80, 95))
    np.testing.assert_allclose(intervals.radius[:, 0], [16, 19])


def test_too_few_residuals_are_refused_with_the_number_needed():
    with pytest.raises(DataError, match=r"18 held-out residuals.*95 % needs 19"):
        ConformalIntervals.fit(np.ones((6, 3)), levels=(80, 95))


@given(st.floats(1, 99.9))
def test_needed_is_the_fewest_residuals_that_a_level_can_have(level):
    count = needed((level,))
    ConformalIntervals.fit(np.ones((count, 1)), levels=(level,))
    if count > 1:
        with pytest.raises(DataError):
            ConformalIntervals.fit(np.ones((count - 1, 1)), levels=(level,))


def test_a_lead_without_errors_has_no_width():
    residuals = np.random.default_rng(0).normal(size=(40, 2)) * [0, 1]
    assert ConformalIntervals.fit(residuals, levels=(80,)).radius[0, 0] == 0


def test_residuals_that_are_missing_are_left_out():
    residuals = np.random.default_rng(0).normal(size=(200, 2))
    gaps = np.concatenate([residuals, np.full((300, 2), np.nan)])
    whole, fewer = (ConformalIntervals.fit(one, levels=(80,)) for one in (residuals, gaps))
    np.testing.assert_array_equal(whole.radius, fewer.radius)
    with pytest.raises(DataError, match="too few"):
        ConformalIntervals.fit(gaps[-210:], levels=(99,))
    with pytest.raises(DataError, match="missing 2 timesteps ahead"):
        ConformalIntervals.fit(residuals * [1, np.nan], levels=(80,))
