"""Vectors of tokens, as an embedding and as weights of logits."""

import warnings

import keras
import numpy as np
import pytest

from helpers.models import assert_close, randomized, sequential, to_numpy
from helpers.stock_keras import Saved, outputs_without_seqkeras
from seqkeras import to_keras
from seqkeras.errors import ArgumentError, UntiedWeightsWarning
from seqkeras.layers import TokenVectors
from seqkeras.models import language_model

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


@pytest.mark.backends
def test_to_keras_gives_language_models_that_open_without_seqkeras(tmp_path):
    saved, expected = [], []
    stateful = {"units": 2, "stateful": True, "batch_size": 2}
    for number, options in enumerate((stateful, {"units": 3, "tied": True, "mask_zero": True})):
        model = randomized(language_model(5, embedding=2, cell="gru", **options))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            copy = to_keras(model)
        copy.save(tmp_path / f"{number}.keras")
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)  # reads the mask
        logits = model(IDS)  # once, because it moves the state on
        assert_close(loss(IDS, copy(IDS)), loss(IDS, logits))
        saved.append(Saved(tmp_path / f"{number}.keras", [IDS]))
        expected.append(to_numpy(logits))
    for (output,), value in zip(outputs_without_seqkeras(*saved), expected, strict=True):
        np.testing.assert_allclose(output, value, atol=1e-5)


def test_to_keras_says_that_tied_weights_are_not_tied_any_more():
    model = tied(mask_zero=True)
    with pytest.warns(UntiedWeightsWarning, match="vectors"):
        copy = to_keras(model)
    assert_close(copy(IDS), model(IDS))
    _, embedding, head = copy.layers
    assert [type(embedding), type(head)] == [keras.layers.Embedding, keras.layers.Dense]
    np.testing.assert_array_equal(to_numpy(head.kernel), to_numpy(embedding.embeddings).T)


def test_to_keras_names_the_layer_of_logits_as_no_other_layer_is_named():
    model = tied()
    name = f"{model.layers[1].name}_logits"
    x = keras.layers.Rescaling(2.0, name=name)(model.output)
    x = keras.layers.Rescaling(3.0, name=f"{name}_2")(x)
    model = keras.Model(model.input, x)
    with pytest.warns(UntiedWeightsWarning):
        copy = to_keras(model)
    assert type(copy.get_layer(f"{name}_3")) is keras.layers.Dense
    assert_close(copy(IDS), model(IDS))


def test_to_keras_keeps_trainable_flags_and_how_a_model_is_compiled():
    model = sequential(TokenVectors(5, 2, name="frozen"), keras.layers.Dense(1), shape=(None,))
    model.layers[0].trainable = False
    model.compile(keras.optimizers.SGD(0.5), "mse")
    model.fit(IDS, np.ones((2, 3, 1)), verbose=0)
    with warnings.catch_warnings(action="error", category=UntiedWeightsWarning):
        copy = to_keras(model)
    assert_close(copy(IDS), model(IDS))
    assert type(copy.get_layer("frozen")) is keras.layers.Embedding
    assert len(copy.trainable_weights) == 2
    before = copy.evaluate(IDS, np.ones((2, 3, 1)), verbose=0)
    copy.fit(IDS, np.ones((2, 3, 1)), epochs=2, verbose=0)
    assert copy.evaluate(IDS, np.ones((2, 3, 1)), verbose=0) < before
    assert float(copy.optimizer.learning_rate) == 0.5
