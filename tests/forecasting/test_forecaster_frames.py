"""What a forecaster does with covariates, missing values, gaps and other forms of frames."""

import functools
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders import dense
from helpers.examples import examples
from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError, DataError, SkippedSeriesWarning
from seqkeras.forecasting import Columns, Forecaster, backtest, insample
from seqkeras.testing import check_forecaster

quick = functools.partial(
    flat_forecaster, 4, lookback=7, epochs=1, levels=(50,), seed=0, progress=False
)
#: The network that is trained fastest, and nothing held out.
bare = functools.partial(quick, architecture=dense, validation=0, levels=())

NAMES = Columns(past=["wind"], future=["sun", "weather"], static=["area", "kind"], calendar="auto")
AHEAD = replace(NAMES, past=())


@pytest.fixture(scope="module")
def shops():
    """Three series of hours across the change to summer time, with covariates of every kind."""
    random, frames = np.random.default_rng(0), []
    for number, name in enumerate("abc"):
        rows = 50 + 5 * number
        sun = random.normal(size=rows)
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": name,
                    "ds": pd.date_range("2024-03-30", periods=rows, freq="h", tz="Europe/Berlin"),
                    "y": 10.0**number * (5 + sun + 0.1 * random.normal(size=rows)),
                    "sun": sun,
                    "wind": random.normal(size=rows),
                    "weather": random.choice(["fair", "rain"], rows),
                    "area": float(number),
                    "kind": "small" if number else "big",
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def without_some(df, share=0.15):
    return df.assign(y=df.y.where(np.random.default_rng(1).random(len(df)) > share))


def filled_in(forecaster, df=None):
    frame = forecaster.future_frame(df=df)
    return frame.assign(sun=0.3, weather="rain")


@pytest.fixture(scope="module")
def fitted(shops):
    return quick(units=3, epochs=2).fit(without_some(shops), columns=NAMES)


@pytest.fixture(scope="module")
def plain(shops):
    return bare().fit(shops)


@pytest.fixture(scope="module")
def masked(shops):
    return quick(units=3).fit(without_some(shops))


def test_the_promises_of_every_forecaster_hold_with_covariates(fitted, shops):
    forecaster = quick(units=3, validation=0, levels=())
    check_forecaster(forecaster, without_some(shops), future=filled_in(fitted), columns=NAMES)


def test_the_promises_of_every_forecaster_hold_for_a_wide_frame_with_missing_values(shops):
    wide = shops.pivot(index="ds", columns="unique_id", values="y")
    check_forecaster(quick(architecture=dense, lookback=14), wide)
    with pytest.raises(
        DataError, match=r"Series 'a' must have a target in its last 7 rows.*larger"
    ):
        bare().fit(wide)
    with pytest.warns(SkippedSeriesWarning, match="1 of 3 series are without a recent target"):
        skipped = bare().fit(wide, columns=Columns(short_series="skip"))
    assert skipped.predict()["yhat"].columns.tolist() == ["b", "c"]


@pytest.mark.backends
@pytest.mark.usefixtures("compiled")
def test_future_covariates_are_used(shops):
    """The target is one of them and noise: without it nothing can be forecast."""
    forecaster = quick(units=8, epochs=20, learning_rate=0.02, validation=0, levels=())
    scores = backtest(forecaster, shops, windows=2, columns=Columns(future=["sun"])).scores
    assert scores.loc["seqkeras", "MASE"] < 0.5 * scores["MASE"].drop("seqkeras").min()


def test_what_is_fed_back_stands_beside_what_is_known(shops):
    """A recursive network reads future covariates step by step, in a lookback that moves."""
    forecaster = quick(architecture="recursive", units=3, validation=0, levels=())
    forecaster.fit(without_some(shops), columns=AHEAD)
    future = forecaster.future_frame(horizon=9).assign(sun=np.arange(27) / 9, weather="rain")
    longer = forecaster.predict(horizon=9, future=future)
    shorter = forecaster.predict(future=future)
    beginning = longer.groupby("unique_id").head(4).reset_index(drop=True)
    pd.testing.assert_frame_equal(beginning, shorter, rtol=1e-5)
    late = future.assign(sun=future.sun.where(future.index % 9 < 6, -5.0))
    moved = forecaster.predict(horizon=9, future=late).yhat != longer.yhat
    assert moved.to_numpy().reshape(3, 9).any(axis=0).tolist() == [False] * 6 + [True] * 3


def test_a_forecast_needs_the_future(fitted):
    with pytest.raises(ArgumentError, match="future must be given"):
        fitted.predict()
    future = filled_in(fitted)
    before = fitted.predict(future=future)
    other = fitted.predict(future=future.assign(sun=5.0))
    assert not np.allclose(other.yhat, before.yhat)
    with pytest.raises(DataError, match="none for series 'c'"):
        fitted.predict(future=future.iloc[:-1])


def test_new_series_are_forecast_without_a_change(fitted, shops):
    before = fitted.predict(future=filled_in(fitted))
    known = shops[shops.unique_id == "b"]
    new = known.assign(unique_id="new", kind="huge", y=1000 * known.y)
    both = pd.concat([known, new])
    forecast = fitted.predict(df=both, future=filled_in(fitted, both))
    assert forecast.unique_id.unique().tolist() == ["b", "new"]
    same = known.assign(unique_id="new", y=1000 * known.y)
    alone = fitted.predict(df=known, future=filled_in(fitted, known))
    larger = fitted.predict(df=same, future=filled_in(fitted, same))
    np.testing.assert_allclose(larger.yhat, 1000 * alone.yhat, rtol=1e-4)
    np.testing.assert_allclose(forecast.yhat[:4], alone.yhat, rtol=1e-4)
    pd.testing.assert_frame_equal(fitted.predict(future=filled_in(fitted)), before)


def test_the_series_of_fit_get_the_forecast_that_they_have(plain, shops):
    again = plain.predict(df=shops)
    pd.testing.assert_frame_equal(again, plain.predict(), rtol=1e-5)
    last = plain.predict(df=shops.groupby("unique_id").tail(20))
    assert not np.allclose(last.yhat, again.yhat)  # scaled by these rows alone
    wide = shops[shops.unique_id == "a"].set_index("ds")["y"]
    assert plain.predict(df=wide).index.dtype == shops.ds.dtype


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda df: df.drop(index=20), "regular timestamps without gaps"),
        (without_some, "fitted on series without missing targets"),
        (lambda df: df.assign(ds=df.ds.dt.day), "must hold timestamps as in fit"),
        (lambda df: df.assign(y=np.nan), "at least one target"),
    ],
    ids=["gap", "missing", "integers", "nothing"],
)
def test_other_series_that_cannot_be_forecast_are_named(plain, shops, change, words):
    with pytest.raises(DataError, match=words):
        plain.predict(df=change(shops))
    with pytest.raises(ArgumentError, match="fill must be one of"):
        plain.predict(df=shops, fill="zero")


def test_missing_targets_are_never_filled_in_without_a_word(plain, masked, shops):
    assert masked.model_.input_shape == (None, 7, 2)
    assert plain.model_.input_shape == (None, 7, 1)
    with pytest.raises(DataError, match=r"nan for series 'a' in row \d+ of df .*missing='mask'"):
        quick().fit(without_some(shops), columns=Columns(missing="raise"))
    with pytest.raises(DataError, match="Series 'b' must have at least one target"):
        quick().fit(shops.assign(y=shops.y.where(shops.unique_id != "b")))


def test_what_is_missing_has_no_weight_in_scale_and_loss(masked, shops):
    known = without_some(shops)
    for name, center in zip(masked.panel_.ids, masked.scaler_.center_, strict=True):
        assert center == pytest.approx(known[known.unique_id == name].y.mean())
    assert np.isfinite(masked.log_.loss).all()
    assert masked.predict().notna().all(axis=None)


def test_gaps_are_filled_as_asked(shops):
    gaps = shops.drop(index=[5, 6, 60])
    with pytest.raises(DataError, match="regular timestamps without gaps"):
        quick().fit(gaps)
    found = backtest(bare(), gaps, windows=2, columns=Columns(fill="mask"))
    assert (len(found.frame), found.frame.yhat.isna().sum()) == (24, 0)
    assert found.scores.notna().loc["seqkeras"].all()
    with pytest.raises(ArgumentError, match="Interpolation reads values after a cutoff"):
        backtest(quick(), gaps, columns=Columns(fill="interpolate"))
    lines = bare().fit(gaps, columns=Columns(fill="interpolate"))
    assert lines.model_.input_shape == (None, 7, 1)


def test_held_out_covariates_do_not_reach_the_first_training(shops):
    late = shops.groupby("unique_id").cumcount(ascending=False) < 8
    changed = shops.assign(wind=shops.wind.where(~late, 1e6))
    losses = [
        quick(architecture=dense, levels=()).fit(df, columns=Columns(past="wind")).log_.loss
        for df in (shops, changed)
    ]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)


def test_past_covariates_are_not_fed_back(shops):
    with pytest.raises(ArgumentError, match=r"pass them as Columns\(future=\.\.\.\)"):
        quick(architecture="recursive").fit(shops, columns=NAMES)
    forecaster = bare().fit(shops, columns=Columns(past="wind"))
    with pytest.raises(ArgumentError, match="past covariates would have to be known"):
        forecaster.predict(horizon=5)


def test_a_builder_is_told_what_there_is(shops):
    told = {}

    def builder(features, **options):
        told.update(features=features, **options)
        return dense(features, **options)

    bare(architecture=builder).fit(without_some(shops), columns=NAMES)
    sizes = {"features": 8, "future": 5, "static": 1, "categories": (3,)}
    assert told == {"lookback": 7, "horizon": 4, **sizes}
    with pytest.raises(ArgumentError, match=r"network must be .* called as builder\(8, look"):
        bare(architecture=lambda features, *, lookback, horizon: None).fit(
            without_some(shops), columns=NAMES
        )


def test_a_model_of_the_users_own_reads_the_same_inputs(shops):
    inputs, future = keras.Input((7, 2), name="inputs"), keras.Input((4, 1), name="future")
    answer = keras.layers.Dense(4)(keras.layers.Flatten()(inputs)) + future[..., 0]
    model = keras.Model({"inputs": inputs, "future": future}, answer)
    forecaster = bare(architecture=model).fit(shops, columns=Columns(future="sun"))
    future = forecaster.future_frame().assign(sun=1.0)
    assert np.isfinite(forecaster.predict(future=future).yhat).all()
    with pytest.raises(ArgumentError, match=r"must be a keras.Model of .*future: \(batch, 4, 2\)"):
        bare(architecture=model).fit(shops, columns=Columns(future=["sun", "wind"]))


def test_a_file_keeps_covariates_and_the_form_of_the_frame(fitted, shops, tmp_path):
    fitted.save(tmp_path / "f.zip")
    loaded = Forecaster.load(tmp_path / "f.zip")
    assert loaded.panel_.covariates == fitted.panel_.covariates
    future = filled_in(fitted)
    expected = fitted.predict(future=future)
    pd.testing.assert_frame_equal(loaded.predict(future=future), expected, rtol=1e-6)
    new = shops[shops.unique_id == "a"].assign(unique_id=7)
    ahead = filled_in(fitted, new)
    pd.testing.assert_frame_equal(
        loaded.predict(df=new, future=ahead), fitted.predict(df=new, future=ahead), rtol=1e-6
    )


def test_a_file_keeps_the_form_of_the_frame_and_missing_values(shops, tmp_path):
    wide = shops[shops.unique_id > "a"].pivot(index="ds", columns="unique_id", values="y")
    forecaster = bare().fit(wide)
    forecaster.save(tmp_path / "w.zip")
    loaded = Forecaster.load(tmp_path / "w.zip").predict()
    pd.testing.assert_frame_equal(loaded, forecaster.predict(), rtol=1e-6)


def test_rows_that_come_are_read_with_their_covariates(shops):
    late = shops.groupby("unique_id").cumcount(ascending=False) < 6
    forecaster = quick(units=3, validation=0, levels=()).fit(shops[~late], columns=NAMES)
    assert forecaster.score(shops[late]) < 0
    assert forecaster.encode().shape == (3, 3)
    frame = insample(forecaster, shops[~late])
    assert np.isfinite(frame.yhat).all()
    forecaster.update(shops[late])
    whole = forecaster.panel_.known.rows
    rows = shops[shops.unique_id == "c"].tail(7)
    assert whole[2][:, 0].tolist() == rows.wind.tolist()


@examples(2)
@given(
    lengths=st.lists(st.integers(24, 40), min_size=1, max_size=3),
    kind=st.sampled_from(["stamps", "zone", "periods", "integers"]),
    form=st.sampled_from(["long", "wide", "panel"]),
    missing=st.booleans(),
    seed=st.integers(0, 9),
)
def test_any_panel_gets_a_finite_forecast_in_its_own_form(lengths, kind, form, missing, seed):
    random = np.random.default_rng(seed)
    stamps = pd.date_range("2024-03-30 12:00", periods=max(lengths), freq="h")
    stamps = {
        "stamps": stamps,
        "zone": stamps.tz_localize("UTC").tz_convert("Europe/Berlin"),
        "periods": stamps.to_period("h"),
        "integers": pd.Index(np.arange(len(stamps), dtype="int32")),
    }[kind]
    df = pd.concat(
        [
            pd.DataFrame({"unique_id": i, "ds": stamps[-rows:], "y": random.normal(size=rows)})
            for i, rows in enumerate(lengths)
        ]
    )
    if missing:
        df["y"] = df.y.where(random.random(len(df)) > 0.1)
    given = {
        "long": df,
        "wide": df.pivot(index="ds", columns="unique_id", values="y"),
        "panel": df.set_index(["unique_id", "ds"]),
    }[form]
    forecaster = flat_forecaster(
        3, lookback=8, units=2, epochs=1, levels=(), validation=0, seed=0, progress=False
    )
    forecast = forecaster.fit(given, columns=Columns(calendar="auto")).predict()
    assert np.isfinite(forecast.to_numpy() if form != "long" else forecast.yhat.to_numpy()).all()
    long = forecaster.panel_.forecast_frame({"yhat": np.zeros((len(lengths), 3))})
    assert long.ds.dtype == df.ds.dtype
    alone = forecaster.predict(df=given)
    pd.testing.assert_frame_equal(alone, forecast, rtol=1e-4, atol=1e-5)
