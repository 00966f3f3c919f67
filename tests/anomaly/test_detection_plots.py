"""Plots of what a detector says about series."""

import numpy as np
import pandas as pd
import pytest

from helpers.models import training_eagerly
from seqkeras.anomaly import AutoencoderDetector, ForecastDetector, KSigma
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Training

TRAINING = Training(epochs=1, progress=False)
SMALL = {"lookback": 12, "units": 4, "training": TRAINING, "seed": 0}


def frame(rows=200, **columns):
    values = 1000 + np.sin(np.arange(rows) / 3)
    values[150] += 9
    hours = pd.date_range("2024-01-01", periods=rows, freq="h")
    return pd.DataFrame({"ds": hours, "pressure": values} | columns)


@pytest.fixture(scope="module")
def panel():
    """Two machines, whose rows alternate."""
    both = pd.concat([frame(valve=1.0).assign(unique_id=name) for name in ("north", "south")])
    both["valve"] = np.arange(len(both)) // 10 % 2
    return both.sort_values("ds", kind="stable", ignore_index=True)


@pytest.fixture(scope="module")
def fitted(panel):
    detector = ForecastDetector(**SMALL, scored="pressure", contamination=0.02)
    with training_eagerly():
        return detector.fit(panel)


@pytest.fixture(scope="module")
def autoencoder():
    detector = AutoencoderDetector(**SMALL, latent=4, threshold=KSigma())
    with training_eagerly():
        return detector.fit(frame())


def spans(axis):
    """Return the flagged intervals that an axis shows."""
    parts = [part for part in axis.collections if type(part).__name__ == "PolyCollection"]
    return [path.get_extents().intervalx for part in parts for path in part.get_paths()]


def test_each_series_is_drawn_with_context_flags_score_and_threshold(fitted, panel, tmp_path):
    figure = fitted.plot(panel, title="Pumps")
    titles = [axis.get_title("left") for axis in figure.axes]
    parts = ["pressure", "valve (context)", "score"]
    assert titles == [f"{name}: {part}" for name in ("north", "south") for part in parts]
    detected = fitted.decision_function(panel)
    alarms = fitted.intervals(panel)
    for name, axes in zip(("north", "south"), np.reshape(figure.axes, (2, 3)), strict=True):
        own = (panel.unique_id == name).to_numpy()
        assert np.allclose(axes[0].lines[0].get_ydata(), panel.pressure[own])
        assert np.allclose(axes[2].lines[0].get_ydata(), detected[own])
        assert set(axes[2].lines[1].get_ydata()) == {fitted.threshold_}
        for axis in axes:
            assert len(spans(axis)) == len(alarms[name]) > 0
        days = (panel.ds[own].iloc[[alarms[name][0].start]] - pd.Timestamp(0)) / pd.Timedelta("1D")
        assert spans(axes[0])[0][0] == pytest.approx(days.iloc[0])
    figure.savefig(tmp_path / "alarms.png")
    assert (tmp_path / "alarms.png").stat().st_size > 10_000


def test_chosen_series_and_features_are_drawn(fitted, panel):
    figure = fitted.plot(panel, series="south", features="pressure", expected=False)
    assert [axis.get_title("left") for axis in figure.axes] == ["south: pressure", "south: score"]
    assert len(figure.axes[0].lines) == 1
    with pytest.raises(ArgumentError, match=r"series must be among .*'north'"):
        fitted.plot(panel, series="nort")
    with pytest.raises(ArgumentError, match="features must be among the columns"):
        fitted.plot(panel, features="presure")


def test_what_the_network_expects_is_drawn_and_returned_in_the_unit_of_the_series(
    autoencoder, fitted, panel
):
    df = frame()
    rebuilt = autoencoder.expected(df)
    usual = np.delete(np.arange(200), np.arange(135, 166))
    assert rebuilt.shape == (200, 1)
    assert np.abs(rebuilt[usual, 0] - df.pressure[usual]).max() < 0.5
    assert df.pressure[150] - rebuilt[150, 0] > 2
    axis = autoencoder.plot(df).axes[0]
    assert np.allclose(axis.lines[1].get_ydata(), rebuilt[:, 0])
    assert axis.lines[1].get_label() == "reconstruction"
    forecast = fitted.expected(panel)
    assert np.isnan(forecast[:2]).all()  # the first row of each machine
    assert np.isfinite(forecast[2:]).all()


def test_a_causal_reconstruction_does_not_change_with_the_future(causal_reconstructions, series):
    changed = series.copy()
    changed[180:] = 7
    before = causal_reconstructions.expected(series)
    after = causal_reconstructions.expected(changed)
    np.testing.assert_allclose(after[:180], before[:180], atol=1e-6)
    assert not np.allclose(before[180:], after[180:])


def test_forecasts_are_those_of_the_prefix(fitted, panel):
    own = panel[panel.unique_id == "north"]
    whole = fitted.expected(own)
    assert np.allclose(fitted.expected(own[:120])[1:], whole[1:120], atol=1e-5)


@pytest.mark.usefixtures("eagerly")
def test_many_features_are_one_heat_map_with_names_that_can_be_read():
    values = np.sin(np.arange(120)[:, np.newaxis] / np.arange(3, 43))
    detector = ForecastDetector(6, horizon=1, units=4, training=TRAINING, seed=0).fit(values)
    values[100, 7] = 99
    figure = detector.plot(values)
    heat, score = figure.axes
    assert len(heat.get_yticks()) <= 25
    assert score.get_title("left") == "score"
    colors = heat.collections[0].get_array()
    assert np.unravel_index(colors.argmax(), colors.shape) == (7, 100)
    figure.canvas.draw()
    names = [label.get_window_extent() for label in heat.get_yticklabels()]
    assert not any(names[0].overlaps(other) for other in names[1:])


def test_a_peak_of_a_long_series_is_drawn_although_points_are_left_out(autoencoder):
    values = 1000 + np.sin(np.arange(20_000) / 3)
    values[12_345] += 4
    series, _ = autoencoder.plot(pd.DataFrame({"pressure": values})).axes
    line = series.lines[0]
    assert len(line.get_xdata()) < 5_000
    assert line.get_xdata()[line.get_ydata().argmax()] == 12_345


def test_scores_far_above_the_threshold_leave_it_visible(autoencoder):
    df = frame()
    df.loc[100, "pressure"] = 1e6
    score = autoencoder.plot(df).axes[1]
    low, high = score.transAxes.inverted().transform(
        score.transData.transform([(0, 0), (0, autoencoder.threshold_)])
    )[:, 1]
    assert high - low > 0.1


def test_local_times_are_drawn_as_their_clock_shows(fitted, panel):
    there = panel.assign(ds=panel.ds.dt.tz_localize("Asia/Tokyo"))
    first = fitted.plot(there, series="north").axes[0].lines[0].get_xdata()[0]
    assert first == (pd.Timestamp("2024-01-01") - pd.Timestamp(0)) / pd.Timedelta("1D")
