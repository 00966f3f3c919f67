import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.forecasters import flat_forecaster
from seqkeras.errors import DataError
from seqkeras.forecasting.fitting import _fit
from seqkeras.forecasting.fitting._fit import falling_rates
from seqkeras.forecasting.fitting._split import known_targets
from seqkeras.forecasting.frames._reading import read_panel
from seqkeras.training import ScheduledSampling, TrainingLog
from seqkeras.training._early_stopping import train


@given(
    lengths=st.lists(st.integers(6, 20), min_size=1, max_size=3),
    horizon=st.integers(1, 4),
    share=st.sampled_from([0.0, 0.3]),
)
def test_targets_that_intervals_are_measured_on_are_counted(lengths, horizon, share):
    random = np.random.default_rng(0)
    df = pd.concat(
        pd.DataFrame({"unique_id": i, "ds": np.arange(n), "y": random.normal(size=n)})
        for i, n in enumerate(lengths)
    )
    df["y"] = df.y.where((random.random(len(df)) >= share) | (df.ds == 0))
    panel = read_panel(df)
    held_out = np.array([0 if n < horizon + 2 else horizon + n % 3 for n in lengths])
    held_out = np.minimum(held_out, lengths)
    counted = sum(
        np.isfinite(one[start : start + horizon]).sum()
        for one, rows in zip(panel.values, held_out, strict=True)
        for start in range(len(one) - rows, len(one) - horizon + 1)
        if rows
    )
    assert known_targets(panel, held_out, horizon) == counted


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("levels", [(), (80,)], ids=["point", "intervals"])
@pytest.mark.parametrize("model", ["multi_output", "recursive"])
def test_held_out_rows_without_any_target_judge_nothing(one, model, levels):
    df = one.assign(y=one.y.where(one.index < 72))
    forecaster = flat_forecaster(
        3, lookback=30, architecture=model, units=2, levels=levels, progress=False
    )
    with pytest.raises(DataError, match="Got: all 18 are missing"):
        forecaster.fit(df)


@given(st.lists(st.floats(1e-4, 1e-2), min_size=1, max_size=40), st.data())
def test_the_second_training_is_half_as_long_and_ends_in_small_steps(rates, data):
    best = data.draw(st.integers(0, len(rates)))
    falling = falling_rates(TrainingLog((), (), best, tuple(rates)))
    assert len(falling) == (best + 1) // 2
    if best:
        np.testing.assert_allclose(-np.diff((*falling, 0)), rates[best - 1] / (len(falling) + 1))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("teacher_forcing", [1, "scheduled"])
def test_the_second_training_goes_on_where_the_first_was_best(one, monkeypatch, teacher_forcing):
    begins, ends, logs, forced = [], [], [], []

    class Forced(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            layers = [one for one in self.model.layers if isinstance(one, ScheduledSampling)]
            forced.append((epoch, *(float(one.probability) for one in layers)))

    def recorded(model, *data, callbacks, **options):
        begins.append(model.get_weights())
        forced.clear()
        logs.append(train(model, *data, callbacks=[*callbacks, Forced()], **options))
        ends.append(model.get_weights())
        return logs[-1]

    monkeypatch.setattr(_fit, "train", recorded)
    df = one.assign(y=one.y.where(one.index < 75, one.y.iloc[::-1].to_numpy()))
    forecaster = flat_forecaster(
        3,
        lookback=12,
        units=4,
        epochs=8,
        patience=4,
        levels=(),
        seed=0,
        progress=False,
        architecture="recursive",
    )
    forecaster.set_params(
        training__teacher_forcing=teacher_forcing, training__learning_rate=0.01
    ).fit(df)
    best = forecaster.log_.best_epoch
    assert 0 < best < len(forecaster.log_.loss)
    for before, after in zip(ends[0], begins[1], strict=True):
        if before.ndim:  # the probability of a true value is no weight of the network
            np.testing.assert_array_equal(before, after)
    assert [epoch for epoch, *_ in forced] == list(range(best, best + (best + 1) // 2))
    for epoch, *probabilities in forced:
        wanted = [1 - epoch / 10] if teacher_forcing == "scheduled" else []
        assert probabilities == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("model", "head"), [("multi_output", "gaussian"), ("recursive", None)], ids=["wide", "fed back"]
)
def test_intervals_are_measured_on_some_of_very_many_windows(one, monkeypatch, model, head):
    """Spread over all: about as wide. Widths of each series need all that it has."""

    def radius(most, intervals):
        monkeypatch.setattr(_fit, "MOST_JUDGED", most)
        monkeypatch.setattr(_fit, "MOST_MEASURED", most)
        forecaster = flat_forecaster(
            3, architecture=model, likelihood=head, method=intervals, seed=0
        )
        forecaster.set_params(
            lookback=12, network__units=4, training__epochs=1, training__progress=False
        )
        return forecaster.fit(one).intervals_.radius

    few, whole = radius(12, "split"), radius(10_000, "split")
    assert (few != whole).any()
    np.testing.assert_allclose(few, whole, rtol=0.7)
    if head is not None:
        np.testing.assert_array_equal(radius(12, "per_series"), whole)


@pytest.mark.parametrize("slope", [0, 5])
def test_a_fit_says_that_training_did_not_help(slope, capsys):
    """The seasonal naive forecast of a pure wave is exact, and too low where there is a trend."""
    step = np.arange(70)
    df = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=70), "y": step % 7 + slope * step})
    options = {"lookback": 7, "units": 2, "epochs": 1, "levels": (), "linear_expert": False}
    forecaster = flat_forecaster(2, **options, seed=0).fit(df)
    is_naive = slope == 0
    assert (forecaster.log_.best_epoch == 0) == is_naive
    assert ("no epoch forecast the held-out rows better" in capsys.readouterr().err) == is_naive


def noisy(sizes, series=1):
    """Series of noise, whose standard deviation in each row is that of `sizes`."""
    random = np.random.default_rng(1)
    return pd.concat(
        pd.DataFrame({"unique_id": i, "ds": np.arange(len(sizes)), "y": y})
        for i, y in enumerate(random.normal(size=(series, len(sizes))) * sizes)
    )


def radii(df, monkeypatch, **options):
    """Return the radius of intervals, and what it would be from the held-out errors alone."""
    forecaster = flat_forecaster(
        4, lookback=10, units=2, epochs=1, seed=0, levels=(80,), progress=False, **options
    )
    all_errors = forecaster.fit(df).intervals_.radius
    with monkeypatch.context() as patch:
        patch.setattr(_fit, "_FEW_HORIZONS", 0)
        return all_errors, forecaster.fit(df).intervals_.radius


def test_a_quiet_end_of_a_single_series_does_not_make_its_intervals_narrow(monkeypatch):
    sizes = np.repeat([1.0, 0.1], [80, 20])
    wide, narrow = radii(noisy(sizes), monkeypatch)
    assert np.all(wide > 2 * narrow)
    network_only, narrow = radii(noisy(sizes), monkeypatch, linear_expert=False)
    np.testing.assert_array_equal(network_only, narrow)


def test_many_held_out_horizons_are_enough_to_calibrate_on(monkeypatch):
    quiet_end = noisy(np.repeat([1.0, 0.1], [40, 10]), series=12)  # 12 times 10 rows: 30 horizons
    np.testing.assert_array_equal(*radii(quiet_end, monkeypatch))


def test_a_series_too_short_for_earlier_errors_is_calibrated_without_them(monkeypatch):
    df = noisy(np.ones(22))  # 8 rows are held out, so 14 are before them: one window to train on
    monkeypatch.setattr(_fit.Fitting, "_not_selected", lambda fitting, errors, *rest: errors)
    np.testing.assert_array_equal(*radii(df, monkeypatch, validation=8 / 22))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("horizons", [1, 2])
def test_errors_that_chose_the_weights_are_enlarged_where_they_are_few(monkeypatch, horizons):
    """A network that was chosen among forty by one horizon is not believed to be better."""
    measured, corrected = [], []
    plain = _fit.Fitting._not_selected

    def recorded(fitting, errors, *rest):
        measured.append(errors.values)
        corrected.append(plain(fitting, errors, *rest).values)
        return plain(fitting, errors, *rest)

    monkeypatch.setattr(_fit.Fitting, "_not_selected", recorded)
    df = noisy(np.ones(60)).assign(y=lambda df: df.y + np.sin(df.ds))
    options = {"lookback": 12, "units": 4, "epochs": 40, "learning_rate": 0.01, "seed": 0}
    forecaster = flat_forecaster(
        5, **options, levels=(80,), validation=5 * horizons / 60, progress=False
    ).fit(df)
    mixture = forecaster.mixture_
    scale = df.y[: 60 - 5 * horizons].std(ddof=0)
    own = np.abs(measured[0]).mean() / scale
    assert own < mixture.expert_error
    after = np.abs(corrected[0]).mean() / scale
    assert np.log(after / own) == pytest.approx(
        np.log(mixture.expert_error / own) / horizons, rel=1e-3
    )
