"""What every detector promises, whatever network it has."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from helpers.anomalies import QUICK, SPIKE, wave, waves
from seqkeras.anomaly import (
    MAD,
    Alarm,
    AutoencoderDetector,
    Conformal,
    Detector,
    FBeta,
    ForecastDetector,
    KSigma,
    MovingAverage,
    PeaksOverThreshold,
)
from seqkeras.errors import ArgumentError, DataError, FileFormatError, NotFittedError
from seqkeras.forecasting import Columns
from seqkeras.windows import GroupedArray


def fresh(**params):
    return ForecastDetector(**({"lookback": 20, "horizon": 3} | QUICK | params))


def test_every_timestep_has_a_finite_score_and_the_spike_the_highest(detector, series):
    scores = detector.decision_scores_
    assert scores.shape == series.shape
    assert np.isfinite(scores).all()
    assert abs(int(scores.argmax()) - SPIKE) <= 10  # smoothing may move it a little


def test_scores_of_the_training_series_are_those_of_fit(detector, series):
    np.testing.assert_allclose(detector.decision_function(series), detector.decision_scores_)


def test_labels_are_the_share_contamination_above_the_threshold(detector):
    assert detector.labels_.mean() == pytest.approx(detector.contamination, abs=0.003)
    above = detector.decision_scores_ > detector.threshold_
    np.testing.assert_array_equal(detector.labels_, above)
    np.testing.assert_array_equal(detector.predict(wave()), detector.labels_)


@pytest.mark.parametrize("method", ["linear", "unify"])
def test_probabilities_add_up_to_one_and_rank_as_scores(detector, series, method):
    shares = detector.predict_proba(series, method=method)
    assert shares.shape == (len(series), 2)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    order = np.argsort(detector.decision_scores_)
    assert (np.diff(shares[order, 1]) >= 0).all()


def test_intervals_cover_the_flagged_timesteps_and_the_worst_holds_the_spike(detector, series):
    alarms = detector.intervals()
    covered = np.zeros(len(series), int)
    for alarm in alarms:
        covered[alarm.start : alarm.stop] = 1
    np.testing.assert_array_equal(covered, detector.labels_)
    worst = max(alarms, key=lambda alarm: alarm.severity)
    assert isinstance(worst, Alarm)
    assert worst.start <= SPIKE < worst.stop
    assert detector.intervals(series) == alarms


def test_causal_scores_do_not_change_with_the_future(causal_detector, series):
    changed = series.copy()
    changed[250:] = 7
    before = causal_detector.decision_function(series)[:250]
    np.testing.assert_allclose(causal_detector.decision_function(changed)[:250], before, atol=1e-6)
    np.testing.assert_allclose(causal_detector.decision_function(series[:250]), before, atol=1e-6)


def test_a_reconstruction_that_is_not_causal_reads_the_future(reconstructions, series):
    changed = series.copy()
    changed[250:] = 7
    scores = reconstructions.decision_function(changed)
    assert not np.allclose(scores[:250], reconstructions.decision_scores_[:250])


def test_another_threshold_never_changes_scores(detector):
    before = detector.decision_scores_.copy()
    other = copy.copy(detector)
    for threshold in (KSigma(2.0), MAD(), PeaksOverThreshold(0.01, 0.9), Conformal(0.05)):
        other.refit_threshold(threshold)
        np.testing.assert_array_equal(other.decision_scores_, before)
        assert other.threshold_ != detector.threshold_
    other.refit_threshold()
    assert other.threshold_ == detector.threshold_


def test_a_threshold_of_ones_own_flags_what_is_above_it(detector):
    other = copy.copy(detector).set_threshold(detector.decision_scores_.max() - 1e-9)
    assert other.labels_.sum() == 1
    with pytest.raises(ArgumentError, match="finite number"):
        other.set_threshold(np.nan)


def test_a_threshold_can_be_fitted_to_labels(detector):
    labels = np.zeros(400, int)
    labels[SPIKE - 2 : SPIKE + 3] = 1
    other = copy.copy(detector).refit_threshold(FBeta(), labels=labels)
    assert other.labels_.sum() < detector.labels_.sum()
    with pytest.raises(ArgumentError, match="labels must be of shapes"):
        other.refit_threshold(FBeta(), labels=labels[1:])


@pytest.mark.parametrize("make", [lambda d: pickle.loads(pickle.dumps(d)), copy.deepcopy])
def test_copies_score_alike(detector, series, make):
    copied = make(detector)
    np.testing.assert_array_equal(copied.decision_function(series), detector.decision_scores_)
    assert copied.threshold_ == detector.threshold_


def test_a_file_holds_everything(detector, series, tmp_path):
    path = tmp_path / "pump.detector"
    detector.save(path)
    for loaded in (type(detector).load(path), Detector.load(path)):
        assert type(loaded) is type(detector)
        assert repr(loaded) == repr(detector)
        np.testing.assert_array_equal(loaded.decision_function(series), detector.decision_scores_)
        np.testing.assert_array_equal(loaded.labels_, detector.labels_)
        assert loaded.log_ == detector.log_
        assert loaded.intervals() == detector.intervals()
        np.testing.assert_array_equal(
            loaded.model_.get_weights()[0], detector.model_.get_weights()[0]
        )
    other = {ForecastDetector: AutoencoderDetector}.get(type(detector), ForecastDetector)
    with pytest.raises(FileFormatError, match=type(detector).__name__):
        other.load(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileFormatError):
        type(detector).load(path)


@pytest.mark.usefixtures("eagerly")
def test_a_clone_with_the_same_seed_learns_the_same(series):
    x = series[:100]
    fitted = fresh(lookback=5).fit(x)
    copied = clone(fitted)
    with pytest.raises(NotFittedError):
        copied.predict(x)
    assert not hasattr(copied, "labels_")
    np.testing.assert_array_equal(copied.fit(x).decision_scores_, fitted.decision_scores_)


def test_forms_of_one_series_give_the_same_scores(forecasts, series):
    expected = forecasts.decision_scores_
    index = pd.date_range("2024-01-01", periods=len(series), freq="h")
    forms = [
        series.tolist(),
        series[:, np.newaxis],
        pd.Series(series, index),
        pd.DataFrame({"load": series}, index),
        pd.DataFrame({"load": series, "ds": index}),
        np.ma.masked_array(series),
    ]
    for form in forms:
        np.testing.assert_array_equal(forecasts.decision_function(form), expected)


def test_series_of_a_panel_are_scored_as_each_by_itself(forecasts, series):
    parts = [series[:100], series[100:150], series[150:]]
    expected = [forecasts.decision_function(part) for part in parts]
    for panel in (parts, GroupedArray.from_series(parts)):
        for scores, alone in zip(forecasts.decision_function(panel), expected, strict=True):
            np.testing.assert_allclose(scores, alone, atol=1e-6)
    assert len(forecasts.intervals(parts)) == 3
    cube = np.stack([series[:100], series[100:200]])[..., np.newaxis]
    np.testing.assert_allclose(forecasts.decision_function(cube)[0], expected[0], atol=1e-6)


@pytest.mark.usefixtures("eagerly")
def test_a_long_frame_is_scored_in_its_own_order_of_rows(series):
    long = pd.DataFrame(
        {
            "machine": np.tile(["b", "a"], 100),
            "hour": np.repeat(np.arange(100), 2),
            "load": np.stack([series[:100], series[250:350]], axis=1).ravel(),
        }
    )
    columns = Columns(id="machine", time="hour")
    detector = fresh(lookback=5).fit(long, columns=columns)
    scores = detector.decision_scores_
    assert scores.shape == (200,)
    alone = long[long.machine == "a"]
    np.testing.assert_allclose(detector.decision_function(alone), scores[1::2], atol=1e-6)
    assert list(detector.intervals()) == ["b", "a"]


def test_context_is_read_but_not_scored(with_context):
    x = waves()
    wild = x.copy()
    wild[200, 1] = 0.5  # the value that was wild in training
    assert abs(int(with_context.decision_scores_.argmax()) - SPIKE) <= 10
    assert with_context.n_features_in_ == 3
    scores = with_context.decision_function(wild)
    assert np.abs(scores[:200] - with_context.decision_scores_[:200]).max() < 1e-6


def test_data_without_anomalies_gets_a_threshold_of_its_held_out_rows(series):
    x = wave(spike=None)
    detector = fresh(clean=True, threshold=Conformal(0.05)).fit(x)
    held_out = detector.decision_scores_[-80:]
    assert detector.threshold_ == pytest.approx(Conformal(0.05).fit(held_out).value_)
    assert detector.predict(series)[SPIKE] == 1


BAD_ARGUMENTS = {
    "contamination 0": ({"contamination": 0}, "contamination must be above 0"),
    "contamination 1": ({"contamination": 1.0}, "contamination must be above 0"),
    "lookback": ({"lookback": 1}, "lookback must be an integer >= 2"),
    "horizon": ({"horizon": 0}, "horizon must be an integer >= 1"),
    "error": ({"error": "l3"}, "error must be one of"),
    "threshold": ({"threshold": 3.0}, "set_threshold"),
    "not causal": ({"smoothing": MovingAverage()}, "causal where causal=True"),
    "labels": ({"threshold": FBeta()}, "labels"),
    "scored": ({"scored": [1]}, "scored must be among"),
    "seed": ({"seed": -1}, "seed must be"),
    "training": ({"training": 3}, "training must be a Training"),
    "cell": ({"cell": "tcn"}, "cell must be one of"),
    "fusion": ({"fusion": "level"}, "fusion must be 'amplitude'"),
}


@pytest.mark.parametrize(("params", "message"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_a_wrong_parameter_is_named_before_training(params, message, series, monkeypatch):
    monkeypatch.setattr(ForecastDetector, "_learn", None)  # training would be another error
    with pytest.raises(ArgumentError, match=message):
        fresh(**params).fit(series)


def gaps():
    index = pd.date_range("2024-01-01", periods=60, freq="h").delete([30])
    return pd.DataFrame({"y": wave(59, None)}, index)


BAD_SERIES = {
    "constant": (np.ones(100), "only constant ones"),
    "short": (wave(22, None), "have 23 rows"),
    "empty": (np.empty((0, 1)), "0 sample"),
    "no features": (np.empty((30, 0)), "0 feature"),
    "missing": (np.r_[wave(50, None), np.nan], "NaN in row 50"),
    "infinite": (np.r_[np.inf, wave(50, None)], "inf .* in row 0"),
    "feature of NaN": (np.c_[wave(50, None), np.full(50, np.nan)], "Feature 1 .* only NaN"),
    "text": (np.array(["a"] * 50), "hold numbers"),
    "complex": (wave(50, None) + 1j, "Complex"),
    "gaps": (gaps(), "the first before 2024-01-02T07"),
    "order": (gaps().iloc[::-1], "Timestamps of the series must rise"),
    "column of text": (pd.DataFrame({"y": wave(50, None), "z": "a"}), "'z' of dtype"),
    "axes": (np.zeros((2, 3, 4, 5)), "shape"),
}


@pytest.mark.parametrize(("x", "message"), BAD_SERIES.values(), ids=BAD_SERIES)
def test_a_series_that_cannot_be_used_is_refused_before_training(x, message, monkeypatch):
    monkeypatch.setattr(ForecastDetector, "_learn", None)
    with pytest.raises((ArgumentError, DataError), match=message):
        fresh().fit(x)


def test_other_features_than_in_fit_are_refused(detector):
    with pytest.raises(ArgumentError, match="1 features, as in fit"):
        detector.predict(np.zeros((50, 2)))


@pytest.mark.usefixtures("eagerly")
def test_other_columns_than_in_fit_are_refused():
    frame = pd.DataFrame({"a": wave(100, None), "b": wave(100, None)})
    detector = fresh(scored="a", lookback=5).fit(frame)
    reordered = detector.decision_function(frame[["b", "a"]])
    np.testing.assert_array_equal(reordered, detector.decision_scores_)
    with pytest.raises(ArgumentError, match="Unseen: \\['c'\\]"):
        detector.predict(frame.assign(c=1.0))
    with pytest.raises(ArgumentError, match="Missing: \\['b'\\]"):
        detector.predict(frame[["a"]])
    assert detector.stepper().names == ("a", "b")


def test_windows_longer_than_a_series_are_refused_unless_causal(
    reconstructions, causal_reconstructions, series
):
    with pytest.raises(DataError, match="20 rows of a window"):
        reconstructions.predict(series[:19])
    assert np.isfinite(causal_reconstructions.decision_function(series[:1])).all()


def test_a_single_row_can_be_scored(forecasts):
    assert np.isfinite(forecasts.decision_function([0.5])).all()
