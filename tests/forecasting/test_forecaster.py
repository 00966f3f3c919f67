import copy
import functools

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from helpers.builders import dense
from helpers.examples import covering, examples
from helpers.forecasters import flat_forecaster, nested
from seqkeras import forecasting
from seqkeras.errors import ArgumentError, DataError, NotFittedError, SkippedSeriesWarning
from seqkeras.forecasting import Columns
from seqkeras.models import many_to_one, multi_output
from seqkeras.testing import check_forecaster

quick = functools.partial(
    flat_forecaster, lookback=14, architecture=dense, epochs=1, seed=0, progress=False
)
#: Nothing held out inside a fit: half the time.
bare = functools.partial(quick, validation=0, levels=())


def network(features, *, lookback, horizon):
    return many_to_one(features, timesteps=lookback, outputs=horizon, units=4)


@pytest.mark.parametrize(
    "options",
    covering(
        [
            {"architecture": "recursive", "units": 4},
            {"architecture": "multi_output", "units": 4, "epochs": 3},
            {"architecture": "multi_output", "cell": "simple_rnn", "units": 4, "levels": ()}
            | {"season_length": 1},
            {"architecture": network, "validation": 0, "levels": ()},
            {"architecture": many_to_one(1, outputs=1, units=4), "levels": ()},
        ],
        every=2,
    ),
)
def test_the_promises_of_every_forecaster_hold(options, panel):
    check_forecaster(quick(5, **options), panel)


@pytest.mark.backends
def test_a_forecast_continues_every_series(panel, fitted_panel):
    forecast = fitted_panel.predict()
    assert forecast.columns.tolist() == [
        "unique_id",
        "ds",
        "yhat",
        "yhat-lo-80",
        "yhat-hi-80",
        "yhat-lo-95",
        "yhat-hi-95",
    ]
    for name, rows in forecast.groupby("unique_id"):
        last = panel[panel.unique_id == name].ds.max()
        assert rows.ds.tolist() == pd.date_range(last, periods=6, freq="D")[1:].tolist()
    assert np.isfinite(forecast.filter(like="yhat")).all(axis=None)
    assert (forecast["yhat-lo-95"] <= forecast["yhat-lo-80"]).all()
    assert (forecast["yhat-lo-80"] <= forecast["yhat"]).all()
    assert (forecast["yhat-hi-80"] <= forecast["yhat-hi-95"]).all()


def test_a_scaled_series_gets_the_same_forecast_scaled(one, fitted_series):
    forecast = fitted_series.predict()
    other = clone(fitted_series).fit(one.assign(y=1000 * one.y - 77)).predict()
    np.testing.assert_allclose(other.yhat, 1000 * forecast.yhat - 77, rtol=1e-3)
    width = forecast["yhat-hi-80"] - forecast["yhat-lo-80"]
    np.testing.assert_allclose(other["yhat-hi-80"] - other["yhat-lo-80"], 1000 * width, rtol=1e-2)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("growth", covering([0.05, 0.0], every=2))
def test_intervals_are_no_wider_for_a_series_that_grows(growth):
    """Radii are measured and used in one unit, though the deviation of the whole is larger."""
    noise = np.random.default_rng(0).normal(size=(12, 160))
    stamps = np.arange(160)
    frames = [
        pd.DataFrame({"unique_id": i, "ds": stamps, "y": noise[i] + growth * stamps})
        for i in range(12)
    ]
    forecaster = quick(4, architecture="multi_output", units=4, levels=(80,), epochs=2)
    forecast = forecaster.fit(pd.concat(frames)).predict()
    width = forecast["yhat-hi-80"] - forecast["yhat-lo-80"]
    # 80 % of noise of deviation 1 lies within 2.56; a forecast from 14 noisy values adds to it.
    assert 2.3 < width.mean() < 4.2


def test_parameters_set_after_a_fit_wait_for_the_next(fitted_series):
    fitted = copy.copy(fitted_series)
    before = fitted.predict()
    fitted.set_params(intervals__levels=(50,), horizon=9)
    pd.testing.assert_frame_equal(fitted.predict(), before)


def test_too_few_residuals_are_told_before_any_training(one):
    crowd = [one.head(40).assign(unique_id=0)]
    crowd += [one.head(16).assign(unique_id=i) for i in range(1, 99)]
    with pytest.raises(DataError, match=r"held-out residuals must be at least|held out"):
        quick(1, levels=(99.9,)).fit(pd.concat(crowd))


def test_a_plain_default_fits_as_soon_as_there_is_room(one):
    forecaster = flat_forecaster(1, architecture=dense, epochs=1, progress=False)
    assert len(forecaster.fit(one.head(40)).predict()) == 1


def test_the_validation_part_does_not_reach_the_first_training(one):
    """What is held out decides when to stop and how wide intervals are, never the scaler there."""
    forecaster = quick(5, levels=())
    changed = one.assign(y=one.y.where(one.index < 80, one.y + 1e6))
    scaled = [f.fit(df).log_.loss[0] for f, df in [(forecaster, one), (clone(forecaster), changed)]]
    # The loss of the first epoch is in the units of the scaler: it would move with a leak.
    assert scaled[0] == pytest.approx(scaled[1], rel=1e-5)


def test_a_constant_series_is_forecast_as_constant(one):
    forecast = quick(5).fit(one.assign(y=42.0)).predict()
    np.testing.assert_allclose(forecast.filter(like="yhat"), 42.0, rtol=1e-5)


def test_a_fit_is_repeated_by_its_seed_and_leaves_global_random_numbers_alone(one):
    np.random.seed(5)
    expected = np.random.RandomState(5).random(3)
    first, second = (bare(5).fit(one).predict() for _ in range(2))
    pd.testing.assert_frame_equal(first, second, rtol=1e-5)
    np.testing.assert_array_equal(np.random.random(3), expected)
    other = bare(5, seed=1).fit(one).predict()
    assert not np.allclose(other.yhat, first.yhat)


def test_numbers_of_numpy_are_as_good_as_pythons(one):
    sizes = {"lookback": np.int32(14), "units": np.int64(4)}
    fitted = bare(np.int64(5), architecture="multi_output", **sizes).fit(one)
    assert len(fitted.predict(horizon=np.int64(2))) == 2


def test_lookback_and_season_follow_from_the_frame(one):
    fitted = bare(4, lookback=None).fit(one)
    assert (fitted.lookback_, fitted.season_length_) == (21, 7)
    fitted = bare(4, lookback=5).fit(one)
    assert (fitted.lookback_, fitted.season_length_) == (5, 1)


def test_a_shorter_horizon_is_the_beginning_of_the_whole(fitted_panel):
    whole = fitted_panel.predict().groupby("unique_id").head(2).reset_index(drop=True)
    pd.testing.assert_frame_equal(fitted_panel.predict(horizon=2), whole)


def test_a_longer_horizon_is_fed_back_where_there_are_no_intervals(one, fitted_series):
    fitted = bare(5).fit(one)
    longer = fitted.predict(horizon=12)
    assert len(longer) == 12
    pd.testing.assert_frame_equal(longer.head(5), fitted.predict())
    with pytest.raises(ArgumentError, match="horizon must be at most 5"):
        fitted_series.predict(horizon=6)


def test_nothing_is_held_out_if_so_asked(one):
    fitted = bare(5, epochs=3).fit(one)
    assert (fitted.log_.val_loss, fitted.log_.best_epoch) == ((), 3)
    assert fitted.predict().columns.tolist() == ["ds", "yhat"]


def test_a_fitted_network_is_a_plain_keras_model(fitted_series, tmp_path):
    fitted_series.model_.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    x = np.random.default_rng(0).normal(size=(3, 14, 1)).astype("float32")
    np.testing.assert_allclose(loaded(x), fitted_series.model_(x), rtol=1e-6)


def test_clone_and_set_params_keep_arguments_as_they_are():
    def builder(features, *, lookback, horizon):
        return multi_output(features, lookback=lookback, horizon=horizon)

    forecaster = flat_forecaster(7, architecture=builder, levels=[50], units=None)
    other = clone(forecaster)
    assert other.get_params() == forecaster.get_params()
    assert other.network.architecture is builder
    assert other.set_params(horizon=3, network__cell="lstm").horizon == 3


def test_series_that_are_too_short_are_named_or_skipped(panel):
    short = pd.concat([panel, panel[panel.unique_id == "a"].head(10).assign(unique_id="short")])
    with pytest.raises(DataError, match=r"'short' must have 19 rows \(lookback 14 \+"):
        bare(5).fit(short, columns=Columns(short_series="raise"))
    with pytest.warns(SkippedSeriesWarning, match="1 of 4 series") as told:
        fitted = bare(5).fit(short, columns=Columns(short_series="skip"))
    assert told[0].filename == __file__  # the line of the caller
    assert fitted.predict().unique_id.unique().tolist() == ["a", "b", "c"]


def test_a_series_without_room_to_hold_out_is_still_trained_on_and_forecast(panel):
    short = pd.concat([panel, panel[panel.unique_id == "a"].head(20).assign(unique_id="short")])
    fitted = quick(5).fit(short)
    assert "short" in fitted.predict().unique_id.tolist()
    with pytest.raises(DataError, match=r"must have 27 rows .* \+ held out 8\)"):
        quick(5).fit(short[short.unique_id == "short"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"horizon": 0}, "horizon must be an integer >= 1. Got: horizon=0"),
        ({"horizon": 2.5}, "horizon must be an integer >= 1. Got: horizon=2.5"),
        ({"lookback": -3}, "lookback must be an integer >= 1. Got: lookback=-3"),
        ({"season_length": 0}, "season_length must be an integer >= 1"),
        ({"season_length": 20}, "season_length must be at most the lookback, 14"),
        ({"epochs": 0}, "epochs must be an integer >= 1"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"patience": 0}, "patience must be an integer >= 1"),
        ({"learning_rate": 0}, "learning_rate must be a finite number > 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number > 0"),
        ({"validation": 1.0}, "validation must be a number in [0, 1)"),
        ({"validation": 0}, "validation must be above 0 with intervals"),
        ({"levels": (80, 100)}, "levels must be a tuple of different numbers from 1 to below 100"),
        ({"levels": 80}, "levels must be a tuple"),
        ({"levels": (80, 80)}, "levels must be a tuple"),
        ({"architecture": "recursiv"}, "Did you mean 'recursive'?"),
        ({"architecture": network, "units": 4}, "units must be omitted for an architecture"),
        ({"seed": -1}, "seed must be an integer >= 0"),
        ({"units": ()}, "units must be an integer, or a tuple of one integer or more"),
        ({"units": 0}, "units must be an integer >= 1. Got: units=0"),
        ({"cell": "ltsm"}, "Did you mean 'lstm'?"),
    ],
)
def test_bad_parameters_are_refused_before_any_training(one, options, words):
    forecaster = quick(5, architecture="multi_output").set_params(**nested(options))
    with pytest.raises(ArgumentError) as caught:
        forecaster.fit(one)
    assert words in str(caught.value)
    assert not hasattr(forecaster, "model_")


def test_a_failed_fit_leaves_the_forecaster_as_it_was(one, fitted_series):
    fitted = copy.copy(fitted_series)
    before = fitted.predict()
    with pytest.raises(DataError):
        fitted.fit(one.assign(y=np.nan))
    pd.testing.assert_frame_equal(fitted.predict(), before)


def test_what_needs_a_fit_says_so(tmp_path):
    for ask in (quick(5).predict, quick(5).plot, lambda: quick(5).save(tmp_path / "f.zip")):
        with pytest.raises(NotFittedError, match=r"Call fit\(df\) first"):
            ask()


@examples(2)
@given(
    lengths=st.lists(st.integers(24, 60), min_size=1, max_size=4),
    kind=st.sampled_from(["stamps", "zone", "periods", "integers"]),
    seed=st.integers(0, 9),
)
def test_any_panel_gets_a_finite_forecast_in_its_own_terms(lengths, kind, seed):
    random = np.random.default_rng(seed)
    frames = []
    for number, rows in enumerate(lengths):
        stamps = pd.date_range("2024-03-20", periods=rows, freq="h")
        stamps = {
            "stamps": stamps,
            "zone": pd.date_range("2024-03-20", periods=rows, freq="h", tz="Europe/Berlin"),
            "periods": stamps.to_period("h"),
            "integers": pd.Index(np.arange(rows) + number),
        }[kind]
        size = 10.0 ** random.integers(-6, 9)
        frames.append(
            pd.DataFrame({"unique_id": number, "ds": stamps, "y": random.normal(size=rows) * size})
        )
    df = pd.concat(frames)
    forecast = quick(3, lookback=8, levels=(50,)).fit(df).predict()
    assert forecast.unique_id.tolist() == np.repeat(np.arange(len(lengths)), 3).tolist()
    assert forecast.ds.dtype == df.ds.dtype
    assert np.isfinite(forecast.filter(like="yhat")).all(axis=None)


@pytest.mark.parametrize(
    "name",
    [
        "audit_leaks",
        "backtest",
        "components",
        "evaluate_holdout",
        "insample",
        "permutation_importance",
        "tune",
    ],
)
def test_what_judges_a_forecaster_refuses_a_model(name, one):
    model = multi_output(lookback=4, horizon=2, units=2)
    frame = () if name == "components" else (one,)
    with pytest.raises(ArgumentError, match=r"forecaster must be a .*Forecaster.*network=model"):
        getattr(forecasting, name)(model, *frame)
