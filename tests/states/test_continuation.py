"""The inputs of a model that change over time."""

import keras
from keras import layers

from seqkeras._keras_graph import ModelGraph
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
