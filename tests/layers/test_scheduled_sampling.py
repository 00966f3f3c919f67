"""Random choices between true values and a network's own outputs."""

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.layers import ScheduledSampling

OWN = np.zeros((200, 5), "float32")
TRUTH = np.ones((200, 5), "float32")


def fed(layer, truth=TRUTH, training=True):
    return keras.ops.convert_to_numpy(layer(OWN, truth, training=training))


@pytest.mark.backends
def test_true_values_are_returned_with_their_probability_and_only_in_training():
    for probability in (0.0, 0.3, 1.0):
        layer = ScheduledSampling(probability, seed=1)
        assert fed(layer).mean() == pytest.approx(probability, abs=0.05)
        assert not fed(layer, training=False).any()


def test_each_step_is_drawn_independently():
    rows = fed(ScheduledSampling(0.5, seed=1)).mean(axis=1)
    assert rows.std() > 0
    assert len(np.unique(rows)) > 3


def test_a_missing_truth_is_never_returned():
    truth = np.where(np.arange(5) == 2, np.nan, TRUTH)
    outputs = fed(ScheduledSampling(1.0), truth.astype("float32"))
    np.testing.assert_array_equal(outputs, np.where(np.arange(5) == 2, 0, TRUTH))


@pytest.mark.backends
def test_ids_are_chosen_as_numbers_are():
    own, truth = np.zeros((200, 5), "int32"), np.ones((200, 5), "int32")
    layer = ScheduledSampling(0.3, seed=1)
    ids = keras.ops.convert_to_numpy(layer(own, truth, training=True))
    assert ids.dtype == "int32"
    assert ids.mean() == pytest.approx(0.3, abs=0.05)
    np.testing.assert_array_equal(ids, fed(ScheduledSampling(0.3, seed=1)))


def test_what_cannot_work_is_refused():
    for wrong in (-0.1, 1.1, "half", True, float("nan")):
        with pytest.raises(ArgumentError, match="teacher_forcing must be a number from 0 to 1"):
            ScheduledSampling(wrong)
    ids = np.ones((200, 5), "int32")
    for own in (np.zeros((200, 5, 9), "float32"), OWN):
        with pytest.raises(ArgumentError, match=r"own must be .* Logits become ids"):
            ScheduledSampling()(own, ids, training=True)
