"""A vector at every timestep of a sequence, with the mask of the sequence."""

import keras
import numpy as np
import pytest

from helpers.models import outputs_of, to_numpy
from seqkeras import layers, to_keras
from seqkeras.errors import ArgumentError
from seqkeras.states import as_stateful

VECTOR = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
SEQUENCE = np.full((2, 3, 5), np.nan, "float32")


@pytest.mark.backends
def test_the_vector_is_at_every_timestep_whatever_the_sequence_holds():
    y = to_numpy(layers.RepeatLike()([VECTOR, SEQUENCE]))
    np.testing.assert_array_equal(y, np.repeat(VECTOR[:, np.newaxis], 3, axis=1))


@pytest.mark.backends
@pytest.mark.parametrize("timesteps", [None, 3])
def test_a_model_repeats_for_as_many_timesteps_as_it_reads(timesteps):
    vector, sequence = keras.Input((2,)), keras.Input((timesteps, 5))
    y = layers.RepeatLike()([vector, sequence])
    assert y.shape == (None, timesteps, 2)
    model = keras.Model([vector, sequence], y)
    for length in (3, 1) if timesteps is None else (3,):
        output = model.predict_on_batch([VECTOR, SEQUENCE[:, :length]])
        np.testing.assert_array_equal(output, np.repeat(VECTOR[:, np.newaxis], length, axis=1))


def test_the_output_carries_the_mask_of_the_sequence():
    x = np.ones((2, 3, 5), "float32")
    x[0, 1:] = 0
    y = layers.RepeatLike()([keras.ops.convert_to_tensor(VECTOR), keras.layers.Masking()(x)])
    mask = to_numpy(y._keras_mask)
    assert mask.tolist() == [[True, False, False], [True, True, True]]


@pytest.mark.parametrize("shape", [(1, 3), (3, 1)])
def test_stock_keras_repeats_when_timesteps_are_as_many_as_features_or_rows(shape):
    inputs = keras.Input((shape[1],)), keras.Input((3, 5))
    copy = to_keras(keras.Model(inputs, layers.RepeatLike()(inputs)))
    vector = np.arange(1.0, 4.0, dtype="float32").reshape(shape)
    y = copy.predict_on_batch([vector, np.zeros((len(vector), 3, 5), "float32")])
    np.testing.assert_array_equal(y, np.repeat(vector[:, np.newaxis], 3, axis=1))


@pytest.mark.parametrize(
    "shapes", [[(2, 3), (2, 3)], [(2, 4, 3), (2, 4, 3)], [(2, 3, 4)], [(2, 3)] * 3]
)
def test_anything_but_a_vector_and_a_sequence_is_refused(shapes):
    with pytest.raises(ArgumentError, match=r"inputs must be a vector .* and a sequence"):
        layers.RepeatLike()([np.zeros(shape, "float32") for shape in shapes])


def model_of_end(before=keras.layers.Identity):
    x = keras.Input((None, 2))
    masked = before()(x)
    end = layers.GRU(3)(masked)
    y = layers.RepeatLike(name="repeat")([end, masked])
    return keras.Model(x, keras.layers.Dense(1)(y), name="whole")


def test_to_keras_repeats_with_operations_and_refuses_masks():
    model = model_of_end()
    x = np.random.default_rng(0).normal(size=(2, 4, 2)).astype("float32")
    np.testing.assert_allclose(outputs_of(to_keras(model), x), outputs_of(model, x), atol=1e-6)
    with pytest.raises(ArgumentError, match=r"'repeat' \(RepeatLike\): it passes on a mask"):
        to_keras(model_of_end(keras.layers.Masking))


def test_a_model_that_repeats_its_end_cannot_be_continued():
    with pytest.raises(ArgumentError, match=r"'repeat'.*it repeats a value known only after"):
        as_stateful(model_of_end(), batch_size=2)
