"""The inputs of a model that change over time."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers.models import randomized
from seqkeras._keras_graph import ModelGraph
from seqkeras.errors import ArgumentError
from seqkeras.layers import RNN, AttentionCell
from seqkeras.states import as_stateful
from seqkeras.states._continuation import inputs_over_time


def test_inputs_that_lead_to_a_recurrent_layer_change_over_time():
    x, other, late = keras.Input((5, 2)), keras.Input((3,)), keras.Input((1,))
    both = layers.Concatenate()([layers.Dense(2)(x), layers.RepeatVector(5)(other)])
    y = layers.Concatenate()([layers.LSTM(2)(both), late])
    assert inputs_over_time(ModelGraph(keras.Model([late, x, other], y))) == [False, True, False]


def test_paths_through_nested_models_and_bidirectional_layers_count():
    inner = keras.Sequential([keras.Input((None, 2)), layers.Bidirectional(layers.GRU(2))])
    x, late = keras.Input((None, 2)), keras.Input((1,))
    assert inputs_over_time(ModelGraph(keras.Model([x, late], [inner(x), late * 2.0]))) == [
        True,
        False,
    ]


def attending(x, memory):
    cell = AttentionCell(layers.GRUCell(3))
    return RNN(cell, return_sequences=True)(x, constants=[memory])


def test_a_memory_that_is_an_input_of_its_own_stays_the_same_over_time():
    x, memory = keras.Input((None, 2)), keras.Input((4, 3))
    model = randomized(keras.Model([x, memory], attending(x, memory)))
    assert inputs_over_time(ModelGraph(model)) == [True, False]
    random = np.random.default_rng(0)
    sequence = random.normal(size=(2, 6, 2)).astype("float32")
    read = random.normal(size=(2, 4, 3)).astype("float32")
    whole = model.predict_on_batch([sequence, read])
    stateful = as_stateful(model, batch_size=2)
    pieces = [stateful.predict_on_batch([sequence[:, t : t + 2], read]) for t in (0, 2, 4)]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-6)


def test_a_memory_that_is_a_sequence_cannot_be_read_in_pieces():
    x = keras.Input((None, 2))
    memory = layers.GRU(3, return_sequences=True)(x)
    with pytest.raises(ArgumentError, match="at every timestep it reads the whole of a sequence"):
        as_stateful(keras.Model(x, attending(x, memory)), batch_size=2)
