import numpy as np
import pytest

from seqkeras.forecasting.networks._missing import stand_in

NAN = np.nan


@pytest.mark.parametrize(
    ("window", "season", "expected"),
    [
        ([1, 2, 3], 2, [1, 2, 3]),
        ([1, 2, 3, NAN, NAN, NAN], 2, [1, 2, 3, 2, 3, 2]),
        ([1, 2, 3, NAN, NAN], 1, [1, 2, 3, 3, 3]),
        ([NAN, NAN, 3, NAN, 5], 3, [3, 3, 3, 3, 5]),
        ([1, NAN, 3, 4, NAN, NAN, 7], 3, [1, 1, 3, 4, 4, 3, 7]),
        ([NAN, NAN], 5, [0, 0]),
    ],
)
def test_a_missing_value_is_that_of_the_season_before_or_the_last(window, season, expected):
    windows = np.array([window, window], dtype=np.float32)
    assert stand_in(windows, season).tolist() == [expected, expected]
    np.testing.assert_array_equal(windows[0], np.array(window, np.float32))  # as it was
