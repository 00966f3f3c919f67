"""Scalers of scikit-learn and ours, described by a center and a scale."""

import numpy as np
import pytest
from sklearn import preprocessing

from seqkeras import GroupedArray
from seqkeras.errors import ArgumentError, NotFittedError
from seqkeras.export._scalers import affine_of
from seqkeras.windows import StandardScaler

RAW = np.random.default_rng(0).normal([10.0, -300.0, 0.5], [2.0, 40.0, 0.1], (50, 3))


@pytest.mark.parametrize(
    "scaler",
    [
        preprocessing.StandardScaler(),
        preprocessing.StandardScaler(with_mean=False),
        preprocessing.StandardScaler(with_std=False),
        preprocessing.StandardScaler(with_mean=False, with_std=False),
        preprocessing.RobustScaler(),
        preprocessing.RobustScaler(with_centering=False),
        preprocessing.RobustScaler(with_scaling=False),
        preprocessing.MinMaxScaler((-1, 2)),
        preprocessing.MaxAbsScaler(),
    ],
    ids=repr,
)
def test_a_fitted_scaler_of_scikit_learn(scaler):
    expected = scaler.fit(RAW).transform(RAW)
    center, scale = affine_of("scaler", scaler, (3,))
    np.testing.assert_allclose((RAW - center) / scale, expected, rtol=1e-12, atol=1e-12)


def test_a_scaler_of_one_series():
    series = GroupedArray.from_series([RAW, RAW * 2])
    scaler = StandardScaler().fit(series)
    center, scale = affine_of("scaler", scaler.take([1]), (3,))
    np.testing.assert_allclose((RAW * 2 - center) / scale, scaler.transform(series)[1])
    with pytest.raises(ArgumentError, match=r"of one series.*2 series.*scaler.take"):
        affine_of("scaler", scaler, (3,))
    with pytest.raises(NotFittedError):
        affine_of("scaler", StandardScaler(), (3,))


def test_a_pair_of_numbers_or_of_arrays():
    assert [array.tolist() for array in affine_of("scaler", (1, 2), (3,))] == [[1.0], [2.0]]
    center, scale = affine_of("scaler", [[1, 2, 3], 4], (3,))
    assert center.tolist() == [1, 2, 3]
    assert scale.tolist() == [4]


@pytest.mark.parametrize(
    ("scaler", "message"),
    [
        (preprocessing.StandardScaler(), "must be a fitted StandardScaler, MinMaxScaler"),
        (preprocessing.MinMaxScaler(), "must be a fitted StandardScaler, MinMaxScaler"),
        (preprocessing.QuantileTransformer(n_quantiles=5).fit(RAW), "must be a fitted"),
        ("standard", "must be a fitted StandardScaler"),
        (([1.0, 2.0], 1.0), r"scaler must be for 3 features. Got: a center of shape \(2,\)\."),
        ((0.0, [1.0, 0.0, 0.0]), "does not divide by 0. Got: a scale of 0 for feature 1"),
        (([1.0, 2.0, np.nan], 1.0), "of NaN and infinity. Got: a center of nan for feature 2"),
    ],
)
def test_values_that_are_not_scalers_are_refused(scaler, message):
    with pytest.raises(ArgumentError, match=message):
        affine_of("scaler", scaler, (3,))
