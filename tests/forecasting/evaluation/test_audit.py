import functools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers.builders import dense
from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Columns, audit_leaks
from seqkeras.forecasting.evaluation._audit import _changed, _learned
from seqkeras.forecasting.frames._reading import read_panel

quick = functools.partial(
    flat_forecaster, lookback=10, architecture=dense, epochs=1, seed=0, progress=False
)
#: Nothing held out inside a fit: half the time.
bare = functools.partial(quick, validation=0, levels=())


def test_nothing_leaks_in_a_plain_forecaster(panel):
    forecaster = quick(4, epochs=2)
    report = audit_leaks(forecaster, panel)
    assert {"scaler", "intervals", "epochs", "weights", "forecasts"} <= set(report.index)
    assert not report.leaks.any()
    assert not hasattr(forecaster, "model_")


def test_what_is_prepared_from_all_rows_is_found(one):
    def over_the_whole(df):
        return df.assign(y=(df.y - df.y.mean()) / df.y.std())

    assert audit_leaks(bare(4), one, prepare=over_the_whole).leaks["forecasts"]


def test_without_a_seed_there_is_nothing_to_compare(one):
    with pytest.raises(ArgumentError, match="seed must be a number, to make two fits"):
        audit_leaks(quick(4, seed=None), one)


def shops():
    """Two series with every kind of covariate."""
    random = np.random.default_rng(0)
    return pd.concat(
        pd.DataFrame(
            {
                "unique_id": shop,
                "ds": pd.date_range("2024-01-01", periods=60),
                "y": random.normal(size=60),
                "load": random.normal(size=60),
                "open": random.random(60) > 0.2,
                "price": random.normal(size=60),
                "promo": random.choice(["no", "yes"], size=60),
                "kind": shop,
            }
        )
        for shop in ("east", "west")
    )


COLUMNS = Columns(past=["load", "open"], future=["price", "promo"], static=["kind"])


def test_nothing_leaks_through_covariates():
    report = audit_leaks(bare(4), shops(), columns=COLUMNS)
    assert "covariates read" in report.index
    assert not report.leaks.any()


def test_only_the_target_and_the_columns_that_are_named_are_changed():
    df = shops()
    changed = set()

    def prepare(frame):
        both = frame.merge(df, on=["unique_id", "ds"], suffixes=("", " before"))
        assert len(both) == len(frame)
        names = ("y", "load", "open", "price", "promo", "kind")
        changed.update(name for name in names if (both[name] != both[f"{name} before"]).any())
        return frame

    audit_leaks(bare(4), df, prepare=prepare, columns=Columns(past=["load"]))
    assert changed == {"y", "load"}


def test_covariates_that_were_prepared_from_all_rows_are_found():
    def ranked(df):
        return df.assign(load=df.load.rank())

    report = audit_leaks(bare(4), shops(), prepare=ranked, columns=Columns(past=["load"]))
    assert report.leaks["covariates read"]
    assert not report.leaks["rows read"]


def test_what_is_not_known_at_a_cutoff_is_changed_and_nothing_else():
    df = shops()
    panel = read_panel(
        df,
        Columns(past=["load", "open"], future=["price", "promo"], static=["kind"], calendar="auto"),
    )
    changed = _changed(df, 6, 4, panel)
    for shop in ("east", "west"):
        before, after = (one[one.unique_id == shop].reset_index(drop=True) for one in (df, changed))
        differs = (before != after).sum()
        assert differs.to_dict() == {
            **{"unique_id": 0, "ds": 0, "y": 6, "load": 6, "open": 6},
            **{"price": 2, "promo": 2, "kind": 0},
        }
        assert before.head(54).equals(after.head(54).astype(before.dtypes))
        assert after.price.iloc[:58].equals(before.price.iloc[:58])
        # Leaks of a largest or a smallest value are found too.
        for number in ("y", "load", "price"):
            assert after[number].idxmax() >= 54
            assert after[number].idxmin() >= 54


def test_intervals_that_follow_newer_rows_are_no_leak(one):
    """With a horizon of 1, the second cutoff comes after forecasts that have been judged."""
    report = audit_leaks(quick(1, levels=(80,)), one)
    assert not report.leaks.any()
    assert "intervals" in report.index


def test_how_wide_intervals_of_each_series_are_is_looked_at(one):
    fitted = quick(1, levels=(50,), method="per_series").fit(one).fitted_
    before = _learned(fitted, fitted)["intervals"][0]
    intervals = replace(fitted.intervals, factor=2 * fitted.intervals.factor)
    wider = replace(fitted, intervals=intervals)
    assert (before != _learned(wider, wider)["intervals"][0]).sum() == 1


@pytest.mark.parametrize(
    ("lags", "leaks"),
    [({"past": 1, "future": 7}, False), ({"past": -1}, True), ({"future": 1}, True)],
)
def test_covariates_that_are_made_by_preparing_are_audited(panel, lags, leaks):
    """Targets of a horizon ago and more are known over the horizon; later ones are not."""

    def with_lag(df):
        ids = df.unique_id.to_numpy()
        shifted = {
            f"{role} lag": df.groupby(ids).y.shift(lag).fillna(0) for role, lag in lags.items()
        }
        return df.assign(**shifted, kind=ids)

    columns = Columns(**{role: [f"{role} lag"] for role in lags}, static=["kind"])
    report = audit_leaks(bare(4), panel, columns=columns, prepare=with_lag)
    assert report.leaks.any() == leaks
    with pytest.raises(ArgumentError, match="must be a column of df"):
        audit_leaks(bare(4), panel, columns=columns)


def test_covariates_that_preparing_does_not_make_are_an_error(one):
    with pytest.raises(
        ArgumentError, match=r"Columns\(past=\.\.\.\) must be a column of df.*'lag'"
    ):
        audit_leaks(quick(4), one, columns=Columns(past=["lag"]), prepare=lambda df: df)
