"""Vectors of tokens, as an embedding and as weights of logits."""

import keras
import numpy as np
import pytest

from helpers.models import assert_close, randomized, to_numpy
from seqkeras.errors import ArgumentError
from seqkeras.layers import TokenVectors

IDS = np.array([[3, 1, 0], [2, 2, 4]], "int32")


def tied(**options):
    """A model from ids to logits, through one layer."""
    layer = TokenVectors(5, 2, **options)
    ids = keras.Input((None,), dtype="int32")
    return randomized(keras.Model(ids, layer(keras.ops.tanh(layer(ids)), reverse=True)))


@pytest.mark.backends
def test_logits_are_products_with_the_vectors_of_all_ids():
    model = tied()
    layer = model.layers[1]
    vectors, bias = to_numpy(layer.vectors), to_numpy(layer.bias)
    assert_close(layer(IDS), vectors[IDS])
    assert_close(model(IDS), np.tanh(vectors[IDS]) @ vectors.T + bias)
    assert model.output_shape == (None, None, 5)


def test_it_is_saved_and_loaded(tmp_path):
    model = tied(initializer=keras.initializers.RandomUniform(-0.5, 0.5))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_close(loaded(IDS), model(IDS))
    assert len(loaded.weights) == 2


def test_the_mask_of_padding_passes_on_to_the_logits():
    layer = TokenVectors(5, 2, mask_zero=True)
    ids = keras.ops.convert_to_tensor(IDS)
    mask = layer.compute_mask(ids)
    np.testing.assert_array_equal(to_numpy(mask), IDS != 0)
    assert layer.compute_mask(layer(ids), mask) is mask
    assert TokenVectors(5, 2).compute_mask(ids) is None


@pytest.mark.parametrize("name", ["vocabulary_size", "width"])
def test_sizes_are_checked(name):
    with pytest.raises(ArgumentError, match=f"{name} must be an integer >= 1"):
        TokenVectors(**{"vocabulary_size": 5, "width": 2, name: 0})
