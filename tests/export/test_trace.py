"""The graph of a program while it is written, and the inputs that change over time."""

import keras
import numpy as np
import pytest
from keras import layers

from seqkeras._keras_graph import ModelGraph
from seqkeras.errors import ArgumentError
from seqkeras.export._trace import Trace, Value
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


def test_an_equal_node_is_used_again():
    trace = Trace(None, "float32")
    x = Value("x", 2, True)
    first = trace.add("not_equal", [x, trace.constant(0.0)], "one")
    again = trace.add("not_equal", [x, trace.constant(np.float64(0))], "two")
    other = trace.add("not_equal", [x, trace.constant(1.0)], "three")
    assert first.name == again.name != other.name
    assert [node["name"] for node in trace.nodes] == ["constant", "one", "constant_2", "three"]


def test_each_recurrent_node_has_its_own_state():
    trace = Trace(None, "float32")
    x = Value("x", 3, True)
    assert trace.add("recurrent", [x], "a").name != trace.add("recurrent", [x], "a").name


def test_shared_weights_are_stored_once_with_their_variable():
    trace = Trace(None, "float32")
    x = Value("x", 2, True)
    kernel = keras.Variable(np.ones((2, 2)))
    for _ in range(2):
        trace.add("dense", [x], "a", weights={"kernel": kernel})
        x = Value("y", 2, True)
    assert list(trace.arrays) == ["a/kernel"]
    assert trace.variables["a/kernel"] is kernel


@pytest.mark.parametrize(
    ("axis", "window", "expected"),
    [(-1, None, -1), (2, None, -1), (1, 5, -2), (-2, 5, -2)],
)
def test_axes_count_from_the_end(axis, window, expected):
    assert Trace(window, "float32").axis(Value("x", 3, True), axis, "layer") == expected


@pytest.mark.parametrize(
    ("axis", "window", "reason"),
    [(1, None, "of time"), (-2, None, "of time"), (0, None, "batch"), (0, 5, "batch")],
)
def test_the_axes_of_time_and_of_the_batch_are_refused(axis, window, reason):
    with pytest.raises(ArgumentError, match=reason):
        Trace(window, "float32").axis(Value("x", 3, True), axis, "layer")
