"""TimeDistributed over chunks of several lengths, against the inner layer on each timestep."""

import keras
import numpy as np
import pytest

from helpers.models import to_numpy
from seqkeras import layers

L = keras.layers
ROWS, LENGTH = 2, 7


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        pytest.param(lambda: L.Conv1D(2, 2), (4, 3), marks=pytest.mark.backends),
        (lambda: L.Bidirectional(L.GRU(2)), (4, 3)),
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


SENTENCES = np.array([[[1, 2, 0], [3, 0, 0], [0, 0, 0]], [[4, 0, 0], [0, 0, 0], [0, 0, 0]]])


def each(layer):
    return layers.TimeDistributed(layer)


@pytest.mark.parametrize(
    ("words", "units", "sentences"),
    [
        pytest.param("all words", 3, None, marks=pytest.mark.backends),
        ("all words", 5, 3),
        ("last word", 3, 3),
        ("last word", 5, None),
    ],
)
def test_padded_words_in_padded_sentences_count_for_nothing(sentences, units, words):
    """A sentence gives what it gives without its padding, and a text what its sentences give."""
    embedding = L.Embedding(9, 4, mask_zero=True)
    parts = [layers.LSTM(units)]
    if words == "all words":  # the mask of the words passes through, to the layer after it
        parts = [layers.GRU(2, return_sequences=True), *parts]
    last = layers.GRU(2)
    x = keras.Input((sentences, 3), dtype="int32")
    y = embedding(x)
    for part in parts:
        y = each(part)(y)
    model = keras.Model(x, last(y))
    for row, lengths in zip(SENTENCES, [[2, 1], [1]], strict=True):
        read = []
        for sentence, length in zip(row, lengths, strict=False):
            encoded = embedding(sentence[None, :length])
            for part in parts:
                encoded = part(encoded)
            read.append(to_numpy(encoded))
        expected = to_numpy(last(np.stack(read, axis=1)))
        np.testing.assert_allclose(to_numpy(model(row[None])), expected, atol=1e-6)


@pytest.mark.parametrize("timesteps", [3, None])
def test_a_mask_of_timesteps_is_no_mask_of_what_is_in_them(timesteps):
    x = keras.Input((timesteps, 4, 2))
    mask = keras.Input((timesteps,), dtype="bool")
    inner = layers.GRU(2)
    model = keras.Model([x, mask], each(inner)(x, mask=mask))
    values = np.random.default_rng(0).normal(size=(ROWS, 3, 4, 2)).astype("float32")
    outputs = to_numpy(model([values, np.array([[True, False, True]] * ROWS)]))
    for step in range(3):
        expected = to_numpy(inner(values[:, step]))
        np.testing.assert_allclose(outputs[:, step], expected, atol=1e-6)
