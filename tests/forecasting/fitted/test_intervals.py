import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import DataError
from seqkeras.forecasting.fitted._intervals import ConformalIntervals, needed


@pytest.mark.parametrize("level", [50, 80, 95])
def test_intervals_cover_new_residuals_of_the_same_kind(level):
    random = np.random.default_rng(0)
    spread = np.array([0.5, 1.0, 4.0])
    intervals = ConformalIntervals.fit(random.laplace(size=(4000, 3)) * spread, levels=(level,))
    inside = np.abs(random.laplace(size=(4000, 3)) * spread) <= intervals.radius[0]
    np.testing.assert_allclose(inside.mean(axis=0), level / 100, atol=0.03)


@pytest.mark.parametrize("horizons", [1, 2, 5])
def test_intervals_from_few_horizons_cover_errors_whose_leads_depend_on_each_other(horizons):
    random = np.random.default_rng(0)
    level = random.normal(size=(2000, horizons + 1, 1))
    errors = level + 0.5 * random.normal(size=(2000, horizons + 1, 12))
    inside = [
        np.abs(new) <= ConformalIntervals.fit(old, levels=(80,), horizons=horizons).radius[0]
        for old, new in zip(errors[:, 1:], errors[:, 0], strict=True)
    ]
    assert 0.77 < np.mean(inside) < 0.86


def test_intervals_from_many_horizons_need_no_allowance_for_chance():
    residuals = np.random.default_rng(0).normal(size=(50, 4)) * [1, 2, 3, 4]
    plain, many = (
        ConformalIntervals.fit(residuals, levels=(80, 95), horizons=horizons).radius
        for horizons in (np.inf, 1e7)
    )
    np.testing.assert_allclose(many, plain, rtol=1e-6)


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
    with pytest.raises(DataError, match=r"at least 19, for an interval of 95 %. Got: 18"):
        ConformalIntervals.fit(np.ones((6, 3)), levels=(80, 95))


@given(st.floats(1, 99.9))
def test_needed_is_the_fewest_residuals_that_a_level_can_have(level):
    count = needed((level,))
    ConformalIntervals.fit(np.ones((count, 1)), levels=(level,))
    if count > 1:
        with pytest.raises(DataError):
            ConformalIntervals.fit(np.ones((count - 1, 1)), levels=(level,))


def test_a_lead_without_errors_has_no_width_unless_that_may_be_chance():
    residuals = np.random.default_rng(0).normal(size=(40, 2)) * [0, 1]
    assert ConformalIntervals.fit(residuals, levels=(80,)).radius[0, 0] == 0
    assert ConformalIntervals.fit(residuals, levels=(80,), horizons=2).radius[0, 0] > 0
    assert ConformalIntervals.fit(0 * residuals, levels=(80,), horizons=2).radius[0, 0] == 0


def test_a_series_of_few_horizons_has_wider_intervals_of_its_own():
    residuals = np.random.default_rng(0).normal(size=(9, 8))  # two horizons of each series
    numbers = np.repeat([0, 1], [9, 9])
    pooled = ConformalIntervals.fit(np.concatenate([residuals] * 2), levels=(80,), series=2)
    own = pooled.per_series(np.concatenate([residuals] * 2), numbers)
    np.testing.assert_allclose(own.factor, 1.35, rtol=0.04)


def test_residuals_that_are_missing_are_left_out():
    residuals = np.random.default_rng(0).normal(size=(200, 2))
    gaps = np.concatenate([residuals, np.full((300, 2), np.nan)])
    whole, fewer = (ConformalIntervals.fit(one, levels=(80,)) for one in (residuals, gaps))
    np.testing.assert_array_equal(whole.radius, fewer.radius)
    with pytest.raises(DataError, match="must be at least 99"):
        ConformalIntervals.fit(gaps[-210:], levels=(99,))
    with pytest.raises(DataError, match="values 2 timesteps ahead must be known"):
        ConformalIntervals.fit(residuals * [1, np.nan], levels=(80,))


def test_a_series_of_its_own_noise_has_a_width_of_its_own():
    random = np.random.default_rng(0)
    size = np.repeat([1.0, 5.0], 400)
    residuals = random.normal(size=(800, 2)) * size[:, np.newaxis]
    pooled = ConformalIntervals.fit(residuals, levels=(80, 95), series=3)
    own = pooled.per_series(residuals, np.repeat([0, 2], 400))
    np.testing.assert_array_equal(pooled.factor, 1)
    np.testing.assert_array_equal(own.factor[1], 1)  # it had no residuals
    new = np.abs(random.normal(size=(2, 4000, 2)) * [[[1]], [[5]]])
    for series, errors in zip([0, 2], new, strict=True):
        width = own.widths(own.factor[[series]], 2)[0]
        inside = (errors[:, np.newaxis] <= width).mean(axis=(0, 2))
        np.testing.assert_allclose(inside, [0.8, 0.95], atol=0.04)


def test_a_series_with_too_few_residuals_for_a_level_keeps_the_width_of_all():
    numbers = np.repeat([0, 1], [30, 10])
    residuals = np.random.default_rng(0).normal(size=(40, 1)) * (1 + numbers[:, np.newaxis])
    factor = (
        ConformalIntervals.fit(residuals, levels=(80, 95), series=2)
        .per_series(residuals, numbers)
        .factor
    )
    assert factor[1, 0] > 1  # ten are enough for 80 %
    assert factor[1, 1] == 1  # and too few for 95 %


def sequences():
    """Errors of some series, one forecast after the other, here and there unknown."""
    return st.tuples(st.integers(0, 2**16), st.integers(1, 30), st.integers(1, 3)).map(
        lambda drawn: (
            np.random.default_rng(drawn[0])
            .choice([0.1, 0.9, 1.1, 3.0, np.nan], size=(drawn[2], drawn[1], 4))
            .astype(float)
        )
    )


PLAIN = ConformalIntervals.fit(np.linspace(-1, 1, 200).reshape(50, 4), levels=(80, 50), series=3)


@given(sequences())
def test_in_the_long_run_as_much_is_outside_as_was_promised(errors):
    """What is outside too often is exactly what the logarithm of the width has grown."""
    numbers = np.repeat(np.arange(len(errors)), errors.shape[1])
    flat = errors.reshape(-1, 4)
    after, factors = PLAIN.follow(flat, numbers)
    widths = PLAIN.radius * factors[:, :, np.newaxis]
    known = ~np.isnan(flat)
    outside = (np.abs(flat)[:, np.newaxis] > widths).sum(axis=2) / known.sum(axis=1).clip(1)[
        :, None
    ]
    surplus = np.where(known.any(axis=1)[:, None], outside - [0.2, 0.5], 0)
    grown = np.log(after.factor[: len(errors)])
    free = (np.abs(np.log(factors)) < np.log(20)).all() and (np.abs(grown) < np.log(20)).all()
    if free:
        total = surplus.reshape(len(errors), -1, 2).sum(axis=1)
        np.testing.assert_allclose(total, grown, atol=1e-9)
    assert np.all((after.factor <= 20) & (after.factor >= 1 / 20))


@given(sequences(), st.integers(0, 30))
def test_series_are_followed_alone_and_in_parts_alike(errors, cut):
    numbers = np.repeat(np.arange(len(errors)), errors.shape[1])
    flat, early = errors.reshape(-1, 4), np.tile(np.arange(errors.shape[1]), len(errors)) < cut
    whole, _ = PLAIN.follow(flat, numbers)
    first, _ = PLAIN.follow(flat[early], numbers[early])
    parts, _ = first.follow(flat[~early], numbers[~early])
    np.testing.assert_allclose(parts.factor, whole.factor)
    alone, _ = PLAIN.follow(errors[0], np.zeros(len(errors[0]), int))
    np.testing.assert_allclose(alone.factor[0], whole.factor[0])


@given(sequences())
def test_what_was_followed_is_still_nested(errors):
    after, _ = PLAIN.follow(errors.reshape(-1, 4), np.zeros(errors.shape[0] * errors.shape[1], int))
    wide, narrow = np.moveaxis(after.widths(after.factor, 3), 1, 0)
    assert wide.shape == (3, 3)
    assert np.all(wide >= narrow)
