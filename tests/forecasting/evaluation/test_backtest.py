import functools
import warnings
from dataclasses import replace

import joblib
import keras
import numpy as np
import pandas as pd
import pytest

from helpers.builders import dense
from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError, DataError, SkippedSeriesWarning
from seqkeras.forecasting import Columns, audit_leaks, backtest, evaluate_holdout, insample
from seqkeras.forecasting.evaluation._schedule import Schedule
from seqkeras.scoring import mae, mase
from seqkeras.windows import GroupedArray

quick = functools.partial(
    flat_forecaster,
    **{"lookback": 10, "architecture": dense, "epochs": 1, "batch_size": 64},
    seed=0,
    progress=False,
)
#: Nothing held out inside a fit: half the time.
bare = functools.partial(quick, validation=0, levels=())


def head(df, rows):
    """The frame without the last rows of each series."""
    return df[df.groupby("unique_id").cumcount(ascending=False) >= rows]


@pytest.fixture(scope="module")
def small():
    """Two series of other lengths and sizes, their rows interleaved."""
    random = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {
                "shop": name,
                "day": pd.date_range("2024-01-01", periods=rows, freq="D"),
                "sold": size * (10 + np.sin(np.arange(rows) * 0.9) + random.normal(size=rows) / 9),
            }
        )
        for name, rows, size in [("north", 60, 1.0), ("south", 52, 100.0)]
    ]
    return pd.concat(frames).sort_values("day", kind="stable").reset_index(drop=True)


NAMES = Columns(id="shop", time="day", target="sold")


@pytest.fixture(scope="module")
def once(small):
    return backtest(quick(4), small, windows=3, step=2, columns=NAMES)


def local():
    """Return a forecaster with a builder that no other process can import."""

    def builder(features, *, lookback, horizon):
        x = keras.Input((lookback, features))
        return keras.Model(x, keras.layers.Dense(horizon)(keras.layers.Flatten()(x)))

    return bare(4, architecture=builder)


def refits(small, **options):
    return backtest(local(), small, windows=2, step=3, refit=True, columns=NAMES, **options).frame


@pytest.fixture(scope="module")
def refitted(small):
    return refits(small)


def test_the_frame_says_what_came_beside_each_forecast(small, once):
    frame = once.frame
    assert frame.columns.tolist()[:5] == ["shop", "cutoff", "day", "sold", "yhat"]
    assert frame.columns.tolist()[5:] == [f"yhat-{s}-{n}" for n in (80, 95) for s in ("lo", "hi")]
    assert len(frame) == 2 * 3 * 4
    truth = frame[["shop", "day"]].merge(small, on=["shop", "day"]).sold
    assert frame.sold.tolist() == truth.tolist()
    for name, rows in frame.groupby("shop"):
        last = small[small["shop"] == name].day.max()
        cutoffs = [last - pd.Timedelta(days=days) for days in (8, 6, 4)]
        assert rows.cutoff.unique().tolist() == cutoffs
        assert (rows.day > rows.cutoff).all()
    assert frame.dtypes[["shop", "cutoff", "day"]].tolist() == [
        small.dtypes["shop"],
        small.dtypes["day"],
        small.dtypes["day"],
    ]


def test_one_fit_forecasts_what_predict_would_from_each_origin(small, once):
    """The weights of the first cutoff, and the newest rows of each."""
    renamed = small.rename(columns={"shop": "unique_id"})
    fitted = quick(4).fit(head(renamed, 8), columns=Columns(time="day", target="sold"))
    for window, back in enumerate([8, 6, 4]):
        if back < 8:
            fed = head(renamed, back)
            fitted.update(fed[fed.groupby("unique_id").cumcount(ascending=False) < 2])
        expected = fitted.predict()
        chosen = once.frame.groupby("shop").nth(range(4 * window, 4 * window + 4))
        for name in ("yhat", "yhat-lo-80", "yhat-hi-95"):
            np.testing.assert_allclose(chosen[name], expected[name], rtol=1e-5)


def test_scores_are_those_of_the_frame_with_baselines_beside(small, once):
    frame = once.frame
    errors, scaled = [], []
    for name, rows in frame.groupby("shop"):
        history = small[small["shop"] == name].sold.to_numpy()[:-8]
        errors.append(mae(rows.sold, rows.yhat))
        scaled.append(mase(rows.sold, rows.yhat, history=history, season_length=7))
        assert once.by_series.loc[("seqkeras", name), "MAE"] == pytest.approx(errors[-1])
    assert once.scores.loc["seqkeras", "MAE"] == pytest.approx(np.mean(errors))
    assert once.scores.loc["seqkeras", "MASE"] == pytest.approx(np.mean(scaled))
    assert once.scores.index.tolist() == ["seqkeras", "seasonal naive", "naive"]
    last = frame.groupby(["shop", "cutoff"]).day.transform("min") - pd.Timedelta(days=1)
    before = frame.assign(day=last)[["shop", "day"]].merge(small, on=["shop", "day"]).sold
    naive = np.mean([mae(frame.sold[r], before[r]) for r in frame.groupby("shop").groups.values()])
    assert once.scores.loc["naive", "MAE"] == pytest.approx(naive)


def test_every_refit_is_a_fresh_fit_on_the_rows_up_to_its_cutoff(small, refitted):
    renamed = small.rename(columns={"shop": "unique_id"})
    fitted = local().fit(head(renamed, 4), columns=Columns(time="day", target="sold"))
    last = refitted.groupby("shop").tail(4)
    np.testing.assert_allclose(last.yhat, fitted.predict().yhat, rtol=1e-4)


def test_folds_are_shared_by_as_many_windows_as_asked():
    def folds(refit):
        plan = Schedule.parse(4, windows=5, step=1, gap=0, refit=refit)
        return [list(fold) for fold in plan.folds()]

    assert folds(False) == [[0, 1, 2, 3, 4]]
    assert folds(True) == folds(1) == [[0], [1], [2], [3], [4]]
    assert folds(2) == [[0, 1], [2, 3], [4]]
    assert folds(9) == folds(False)


def test_folds_in_processes_give_what_folds_here_give(small, refitted):
    pd.testing.assert_frame_equal(refits(small, n_jobs=2), refitted, rtol=1e-4)


def test_a_gap_leaves_the_first_steps_out(small):
    gapped = backtest(bare(4), small, windows=2, gap=1, columns=NAMES)
    ahead = (gapped.frame.day - gapped.frame.cutoff).dt.days
    assert ahead.tolist() == [2, 3, 4] * 4
    assert not gapped.frame.duplicated(["shop", "day"]).any()
    naive = [
        mae(r.sold, [small[(small["shop"] == n) & (small.day == c)].sold.iloc[0]] * 3)
        for (n, c), r in gapped.frame.groupby(["shop", "cutoff"])
    ]
    assert gapped.scores.loc["naive", "MAE"] == pytest.approx(np.mean(naive))


def test_one_window_is_the_holdout(one):
    given = bare(4)
    found = backtest(given, one)
    assert not hasattr(given, "model_")
    held_out = evaluate_holdout(bare(4), one)
    np.testing.assert_allclose(found.frame.yhat, held_out.forecast.yhat, rtol=1e-4)
    pd.testing.assert_frame_equal(found.scores[held_out.scores.columns], held_out.scores, rtol=1e-3)


@pytest.mark.parametrize("stamps", ["months", "zone", "periods", "integers"])
def test_cutoffs_and_stamps_are_those_of_the_frame(stamps, one):
    rows = 40
    ds = {
        "months": pd.date_range("2020-01-31", periods=rows, freq="ME"),
        "zone": pd.date_range("2024-03-20", periods=rows, freq="D", tz="Europe/Berlin"),
        "periods": pd.period_range("2020-01", periods=rows, freq="M"),
        "integers": np.arange(rows, dtype=np.int32) * 5,
    }[stamps]
    df = one.head(rows).assign(ds=ds)
    frame = backtest(bare(2, lookback=5, season_length=1), df, windows=3, step=1).frame
    assert frame.dtypes["ds"] == frame.dtypes["cutoff"] == df.dtypes["ds"]
    assert frame.ds.tolist() == [df.ds[i] for i in (36, 37, 37, 38, 38, 39)]
    assert frame.cutoff.tolist() == [df.ds[i] for i in (35, 35, 36, 36, 37, 37)]


def test_series_that_are_too_short_are_named_or_skipped_with_a_word(small):
    short = pd.concat([small, small[small["shop"] == "north"].head(11).assign(shop="new")])
    with pytest.raises(
        DataError, match=r"'new' must have 13 rows \(1 \+ 12 to hold out\)\. Got: 11"
    ):
        backtest(bare(4), short, windows=3, columns=replace(NAMES, short_series="raise"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        longer = pd.concat([small, small[small["shop"] == "north"].head(20).assign(shop="new")])
        found = backtest(
            bare(4),
            pd.concat([longer, short[short["shop"] == "new"].assign(shop="newer")]),
            windows=3,
            columns=replace(NAMES, short_series="skip"),
        )
    words = [str(one.message) for one in told if one.category is SkippedSeriesWarning]
    assert len(words) == 2
    assert "1 of 4 series are too short" in words[0]
    assert found.frame["shop"].unique().tolist() == ["north", "south"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"windows": 0}, "windows must be an integer >= 1"),
        ({"step": 0}, "step must be an integer >= 1"),
        ({"step": 1.5}, "step must be an integer >= 1"),
        ({"gap": -1}, "gap must be an integer >= 0"),
        ({"gap": 4}, "gap must be below the horizon, 4"),
        ({"refit": 0}, "refit must be an integer >= 1"),
        ({"refit": "always"}, "refit must be an integer >= 1"),
        ({"n_jobs": 0}, "n_jobs must be"),
        ({"n_jobs": "all"}, "n_jobs must be"),
    ],
)
def test_bad_arguments_are_refused_before_any_training(one, options, words):
    with pytest.raises(ArgumentError, match=words):
        backtest(quick(4), one, **options)


@pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
def test_backends_that_cannot_run_fits_are_refused(one, backend):
    with (
        joblib.parallel_config(backend=backend, n_jobs=2),
        pytest.raises(ArgumentError, match="use joblib's default backend, loky"),
    ):
        backtest(quick(4), one, windows=2, refit=True)


def test_columns_of_the_answer_are_not_taken_by_the_question(one):
    with pytest.raises(DataError, match=r"other names than cutoff and yhat"):
        backtest(quick(4), one.rename(columns={"ds": "cutoff"}), columns=Columns(time="cutoff"))
    with pytest.raises(DataError, match="Rename the column"):
        backtest(quick(4), one.rename(columns={"y": "yhat"}), columns=Columns(target="yhat"))


def test_insample_forecasts_what_predict_would_have_said_there(one):
    fitted = bare(4).fit(one)
    frame = insample(fitted, one)
    assert frame.columns.tolist()[:4] == ["cutoff", "ds", "y", "yhat"]
    assert frame.ds.tolist() == one.ds.tolist()[-len(frame) :]
    assert len(frame) == 80
    every = insample(fitted, one, step=1)
    assert len(every) == 4 * (90 - 10 - 4 + 1)
    later = one.assign(ds=one.ds + pd.Timedelta(days=1))
    with pytest.raises(
        DataError, match=r"the last row that the forecaster has seen.*update\(rows\)"
    ):
        insample(fitted, later)
    with pytest.raises(DataError, match=r"must have 14 rows \(lookback 10 \+ horizon 4\)"):
        insample(fitted, one.head(13))
    back = 13
    then = GroupedArray(one.y.to_numpy()[-back - 10 : -back], [0, 10])
    panel = replace(fitted.panel_, values=then)
    fitted.fitted_ = replace(fitted.fitted_, panel=panel)
    behind = fitted.predict().yhat
    chosen = every[every.cutoff == one.ds.iloc[-back - 1]]
    np.testing.assert_allclose(chosen.yhat, behind, rtol=1e-5)


def test_more_windows_than_there_are_rows_are_refused(panel):
    forecaster = flat_forecaster(5, lookback=8, progress=False)
    with pytest.raises(DataError, match=r"to hold out.*Use fewer windows, or a smaller step"):
        backtest(forecaster, panel, windows=100)


def test_words_that_come_after_a_cutoff_are_new_to_its_fit(small):
    """As they would be in `predict`: none of the words of a row, and no word shifts another."""
    words = np.where(small.groupby("shop").cumcount(ascending=False) < 3, "a new one", "b")
    df = small.rename(columns={"shop": "unique_id"}).assign(
        promo=np.where(small.day.dt.day % 3 == 0, "c", words)
    )
    columns = Columns(time="day", target="sold", future=["promo"], calendar="auto")
    found = backtest(bare(4), df, columns=columns).frame
    train = df[df.groupby("unique_id").cumcount(ascending=False) >= 4]
    expected = bare(4).fit(train, columns=columns).predict(future=df)
    np.testing.assert_allclose(found.yhat, expected.yhat, rtol=1e-4)


def test_what_is_missing_behind_the_cutoff_alone_is_refused_before_the_training(small):
    def never(features, **sizes):
        raise AssertionError("a network was built")

    def without(back):
        place = small.index[small.shop == "south"][-back]
        return small.assign(sold=small.sold.mask(small.index == place))

    options = {"windows": 3, "step": 2, "columns": NAMES}
    with pytest.raises(DataError, match=r"Got: a missing target in series 'south'"):
        backtest(bare(4, architecture=never), without(6), **options)
    # Not read by any origin, or seen by the fit.
    for df in (without(2), without(20)):
        assert np.isfinite(backtest(bare(4), df, **options).frame.yhat).all()
    found = backtest(bare(4), without(6), refit=True, **options | {"windows": 2})
    assert np.isfinite(found.frame.yhat).all()


def test_the_index_may_be_called_like_the_ids(small):
    expected = backtest(bare(4), small, columns=NAMES)
    indexed = small.set_index("shop", drop=False)
    actual = backtest(bare(4), indexed, columns=NAMES)
    pd.testing.assert_frame_equal(actual.frame, expected.frame)
    held_out = evaluate_holdout(bare(4), indexed, columns=NAMES)
    assert held_out.forecast.yhat.tolist() == expected.frame.yhat.tolist()
    assert not audit_leaks(bare(4), indexed, columns=NAMES).leaks.any()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_origins_are_at_the_timestamps_of_an_offset(library):
    closed = pd.offsets.CustomBusinessDay(holidays=["2024-12-25", "2024-12-26"])
    days = pd.date_range("2024-11-01", "2025-01-06", freq=closed)
    df = pd.DataFrame({"ds": days, "y": np.arange(len(days)) % 5.0})
    frame = pytest.importorskip("polars").from_pandas(df) if library == "polars" else df
    result = backtest(bare(3), frame, columns=Columns(freq=closed), windows=2, step=5)
    forecasts = result.frame if library == "pandas" else result.frame.to_pandas()
    assert forecasts.ds.tolist() == [*days[-8:-5], *days[-3:]]
    assert forecasts.cutoff.unique().tolist() == [days[-9], days[-4]]
    assert forecasts.y.tolist() == [*df.y[-8:-5], *df.y[-3:]]
    # A week of five days, of which the baseline repeats the last.
    assert result.scores.loc["seasonal naive", "MAE"] == 0
