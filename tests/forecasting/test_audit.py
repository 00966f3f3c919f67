import functools

import pytest

from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Forecaster, audit_leaks

quick = functools.partial(Forecaster, lookback=10, units=3, epochs=2, seed=0, progress=False)


def test_nothing_leaks_in_a_plain_forecaster(panel):
    given = quick(4)
    report = audit_leaks(given, panel)
    assert {"scaler", "intervals", "epochs", "weights", "forecasts"} <= set(report.index)
    assert not report.leaks.any()
    assert not hasattr(given, "model_")


def test_what_is_prepared_from_all_rows_is_found(one):
    def over_the_whole(df):
        return df.assign(y=(df.y - df.y.mean()) / df.y.std())

    bare = quick(4, epochs=1, validation=0, levels=())
    assert audit_leaks(bare, one, prepare=over_the_whole).leaks["forecasts"]


def test_without_a_seed_there_is_nothing_to_compare(one):
    with pytest.raises(ArgumentError, match="seed must be a number, so that two fits can be"):
        audit_leaks(quick(4, seed=None), one)
