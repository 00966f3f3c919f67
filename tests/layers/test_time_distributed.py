"""TimeDistributed over chunks of several lengths, against the inner layer on each timestep."""

import keras
import numpy as np
import pytest

from helpers.models import to_numpy
from seqkeras import layers

L = keras.layers
ROWS, LENGTH = 2, 7


@pytest.mark.backends
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: L.Dense(2), (3,)),
        (lambda: L.Conv1D(2, 2), (4, 3)),
        (lambda: L.Bidirectional(L.LSTM(2)), (4, 3)),
        (lambda: keras.Sequential([L.Dense(2), L.Dropout(0.5)]), (3,)),
    ],
)
def test_the_inner_layer_reads_each_timestep(make, shape):
    inner = make()
    x = keras.Input((None, *shape))
    model = keras.Model(x, layers.TimeDistributed(inner)(x))
    values = np.random.default_rng(0).normal(size=(ROWS, LENGTH, *shape)).astype("float32")
    expected = np.stack([to_numpy(inner(values[:, step])) for step in range(LENGTH)], axis=1)
    # From the second length on, the graph of TensorFlow has no number of timesteps.
    for end in (3, 4, LENGTH):
        outputs = model.predict_on_batch(values[:, :end])
        np.testing.assert_allclose(outputs, expected[:, :end], atol=1e-5)


def test_masks_within_a_timestep_reach_the_inner_layer():
    words = keras.Input((None, 4), dtype="int32")
    embedded = L.Embedding(5, 3, mask_zero=True)(words)
    inner = L.GRU(2)
    model = keras.Model(words, layers.TimeDistributed(inner)(embedded))
    values = np.random.default_rng(0).integers(1, 5, (ROWS, LENGTH, 4))
    values[:, :, 2:] = 0
    whole = model.predict_on_batch(values[:, :3])
    for end in (4, LENGTH):
        outputs = model.predict_on_batch(values[:, :end])
        np.testing.assert_allclose(outputs[:, :3], whole, atol=1e-5)
    short = inner(model.layers[1](values[:, 0, :2]))
    np.testing.assert_allclose(whole[:, 0], to_numpy(short), atol=1e-5)


def test_it_comes_back_from_a_file(tmp_path):
    x = keras.Input((None, 3))
    model = keras.Model(x, layers.TimeDistributed(L.Dense(2))(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is layers.TimeDistributed
