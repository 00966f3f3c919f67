import numpy as np
import pandas as pd
import pytest

from seqkeras.forecasting.calendars import _calendar_features
from seqkeras.forecasting.calendars._calendar import Calendar, to_integers
from seqkeras.forecasting.calendars._clock import BLOCK, Clock

NAMES = ("day_of_week", "month", "time_of_day")


@pytest.mark.parametrize(
    ("start", "freq", "zone"),
    [
        ("2024-01-31", "ME", None),
        ("2024-03-30", "D", "Europe/Berlin"),
        ("2024-03-30", "h", "Europe/Berlin"),
        ("2024-01-01", "15min", None),
    ],
    ids=[
        "months",
        "days over daylight saving",
        "hours over daylight saving",
        "quarters of an hour",
    ],
)
def test_features_are_those_of_the_timestamps(start, freq, zone):
    times = pd.date_range(start, periods=2 * BLOCK + 10, freq=freq, tz=zone)
    calendar = Calendar.of(times, np.array([0, len(times)]))
    clock = Clock(calendar, str(times.dtype), NAMES)
    begin = np.repeat(to_integers(times[:1]), 4)
    count = np.array([0, 7, BLOCK - 1, BLOCK + 3])
    features = clock.features(begin, count, 5)
    for row, steps in zip(features, count, strict=True):
        ahead = times[steps + 1 : steps + 6]
        expected = _calendar_features.encode(NAMES, ahead, calendar)
        np.testing.assert_allclose(row, expected, atol=1e-12)
    assert clock.timestamps(begin, count).equals(times[count])


def test_without_features_there_are_none():
    clock = Clock(Calendar("int64", "2"), "int64", ())
    begin = np.array([10, 20])
    count = np.array([0, 3])
    assert clock.features(begin, count, 4).shape == (2, 4, 0)
    assert clock.timestamps(begin, count).tolist() == [10, 26]
