"""The probability of teacher forcing, lowered from epoch to epoch."""

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.models import sequence_to_sequence
from seqkeras.training import ScheduledSampling, TeacherForcingSchedule


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


def test_a_schedule_reaches_the_decoder_of_a_model():
    model = sequence_to_sequence(5, 5, units=3, cell="gru", attention=None, teacher_forcing=1.0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    ids = np.ones((2, 3), "int32")
    x = {"source": ids, "target": ids}
    model.fit(x, ids, epochs=3, verbose=0, callbacks=[TeacherForcingSchedule(4)])
    assert float(model.get_layer("decoder").sampling.probability.value) == 0.5


def test_what_cannot_work_is_refused():
    with pytest.raises(ArgumentError, match="epochs must be"):
        TeacherForcingSchedule(0)
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    model.compile("sgd", "mse")
    with pytest.raises(ArgumentError, match=r"ScheduledSampling.*unrolled\(network"):
        model.fit(np.ones((2, 2)), np.ones(2), verbose=0, callbacks=[TeacherForcingSchedule()])
