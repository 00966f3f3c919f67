"""The stepper gives the scores of the batch, one row at a time, without Keras."""

import copy
import os
import subprocess
import sys

import numpy as np
import pytest

from helpers.anomalies import SPIKE, waves
from seqkeras.anomaly import Conformal, ForecastDetector, load_stepper
from seqkeras.errors import ArgumentError, DataError, FileFormatError, NotFittedError


def test_steps_give_the_scores_and_flags_of_the_batch(causal_detector, series):
    stepper = causal_detector.stepper()
    scores, flags = [], []
    for value in series:
        scores.append(stepper.step(value))
        flags.append(stepper.flagged)
    np.testing.assert_allclose(scores, causal_detector.decision_scores_, atol=1e-6)
    np.testing.assert_array_equal(flags, causal_detector.labels_)


def test_steps_with_context_give_the_scores_of_the_batch(with_context):
    stepper = with_context.stepper()
    scores = [stepper.step(row) for row in waves()]
    np.testing.assert_allclose(scores, with_context.decision_scores_, atol=1e-6)


def test_flags_follow_a_threshold_that_adapts(forecasts, series):
    adaptive = copy.copy(forecasts).refit_threshold(Conformal(0.1))
    stepper = adaptive.stepper()
    flags = [stepper.step(value) > 0 and stepper.flagged for value in series]
    np.testing.assert_array_equal(flags, adaptive.labels_)
    assert stepper.threshold != adaptive.threshold_


@pytest.mark.parametrize("rows", [0, 1, 3, 150])
def test_a_packed_state_continues_in_another_stepper(causal_detector, series, rows):
    stepper = causal_detector.stepper()
    for value in series[:rows]:
        stepper.step(value)
    data = stepper.pack_state(stepper.state())
    later = causal_detector.stepper()
    later.step(99.0)
    later.restore(later.unpack_state(data))
    for value in series[rows : rows + 60]:
        assert later.step(value) == stepper.step(value)


def test_copies_have_states_of_their_own(forecasts, series):
    stepper = forecasts.stepper()
    for value in series[:50]:
        stepper.step(value)
    for copied in (copy.copy(stepper), copy.deepcopy(stepper)):
        copied.step(99.0)
        copied.step(99.0)
    copied = copy.copy(stepper)
    assert copied.step(series[50]) == stepper.step(series[50])
    assert stepper.step(series[51]) == pytest.approx(forecasts.decision_scores_[51], abs=1e-6)


def test_a_row_that_cannot_be_read_changes_nothing(with_context):
    stepper = with_context.stepper()
    stepper.step(waves()[0])
    before = stepper.pack_state(stepper.state())
    for row, error, message in (
        ([1.0, np.nan, 0.0], DataError, "Feature 1 must be finite"),
        ([1.0, 2.0], ArgumentError, r"of shape \(3,\)"),
        (1.0, ArgumentError, r"of shape \(3,\)"),
        ({"a": 1.0}, ArgumentError, "x must be values of"),
        (["a", "b", "c"], DataError, "hold numbers"),
    ):
        with pytest.raises(error, match=message):
            stepper.step(row)
    assert stepper.pack_state(stepper.state()) == before


def test_a_state_of_another_detector_is_refused(forecasts, causal_reconstructions):
    stepper, other = forecasts.stepper(), causal_reconstructions.stepper()
    data = stepper.pack_state(stepper.state())
    with pytest.raises(FileFormatError, match="another detector"):
        other.unpack_state(data)
    with pytest.raises(ArgumentError, match="state must be"):
        other.restore(stepper.state())
    for position in range(0, len(data), 97):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(FileFormatError):
            stepper.unpack_state(bytes(damaged))


def test_a_stepper_needs_causal_scores_and_a_fit(reconstructions):
    with pytest.raises(ArgumentError, match="causal must be True for a stepper"):
        reconstructions.stepper()
    with pytest.raises(NotFittedError, match="Call fit"):
        ForecastDetector().stepper()


def test_a_saved_stepper_runs_without_keras(causal_detector, series, tmp_path):
    path = tmp_path / "pump.stepper"
    causal_detector.stepper().save(path)
    np.save(tmp_path / "series.npy", series)
    code = (
        "import sys, numpy as np\n"
        "from seqkeras.anomaly import load_stepper\n"
        f"stepper = load_stepper({str(path)!r})\n"
        f"scores = [stepper.step(v) for v in np.load({str(tmp_path / 'series.npy')!r})]\n"
        f"np.save({str(tmp_path / 'scores.npy')!r}, scores)\n"
        "assert not {'keras', 'pandas', 'sklearn'} & set(sys.modules), 'imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
    scores = np.load(tmp_path / "scores.npy")
    np.testing.assert_allclose(scores, causal_detector.decision_scores_, atol=1e-6)
    assert abs(int(scores.argmax()) - SPIKE) <= 10
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileFormatError):
        load_stepper(path)
