"""Random choices between true values and a network's own outputs."""

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.training import ScheduledSampling, TeacherForcingSchedule

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
def test_a_schedule_lowers_the_probability_from_epoch_to_epoch():
    own = keras.Input((2,))
    truth = keras.Input((2,))
    layer = ScheduledSampling()
    model = keras.Model([own, truth], layer(keras.layers.Dense(2)(own), truth))
    model.compile("sgd", "mse")
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(float(layer.probability.value))
    )
    x = np.ones((4, 2))
    model.fit([x, x], x, epochs=4, verbose=0, callbacks=[TeacherForcingSchedule(2), watch])
    assert seen == [1.0, 0.5, 0.0, 0.0]
    assert not layer.trainable_weights


def test_what_cannot_work_is_refused():
    for wrong in (-0.1, 1.1, "half", True, float("nan")):
        with pytest.raises(ArgumentError, match="teacher_forcing must be a number from 0 to 1"):
            ScheduledSampling(wrong)
    with pytest.raises(ArgumentError, match="epochs must be"):
        TeacherForcingSchedule(0)
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    model.compile("sgd", "mse")
    with pytest.raises(ArgumentError, match=r"ScheduledSampling.*unrolled\(network"):
        model.fit(np.ones((2, 2)), np.ones(2), verbose=0, callbacks=[TeacherForcingSchedule()])
