"""Walking through graphs, and writing one down."""

import keras
import numpy as np
import pytest
from keras import layers

from seqkeras.errors import ArgumentError
from seqkeras.export._trace import Trace, Value, inputs_over_time, walk


def visited(model):
    """Names of the operations in the order in which they are visited."""
    names = []

    def visit(operation, args, kwargs):
        names.append(operation.name)
        return [0] * 4

    walk(model, [0] * len(model.inputs), visit)
    return names


def test_operations_are_visited_in_their_order_those_of_nested_models_too():
    inner = keras.Sequential(
        [keras.Input((None, 2)), layers.GRU(2, name="b"), layers.Dense(1, name="c")]
    )
    x = keras.Input((None, 2))
    model = keras.Model(x, layers.Dense(1, name="d")(inner(layers.Dense(2, name="a")(x))))
    assert visited(model) == ["a", "b", "c", "d"]


def test_a_shared_layer_is_visited_at_each_call():
    x, layer = keras.Input((None, 2)), layers.Dense(2, name="twice")
    assert visited(keras.Model(x, layer(layer(x)))) == ["twice", "twice"]


def test_inputs_that_lead_to_a_recurrent_layer_change_over_time():
    x, other, late = keras.Input((5, 2)), keras.Input((3,)), keras.Input((1,))
    both = layers.Concatenate()([layers.Dense(2)(x), layers.RepeatVector(5)(other)])
    y = layers.Concatenate()([layers.LSTM(2)(both), late])
    assert inputs_over_time(keras.Model([late, x, other], y)) == [False, True, False]


def test_ways_through_nested_models_and_both_directions_count():
    inner = keras.Sequential([keras.Input((None, 2)), layers.Bidirectional(layers.GRU(2))])
    x, late = keras.Input((None, 2)), keras.Input((1,))
    assert inputs_over_time(keras.Model([x, late], [inner(x), late * 2.0])) == [True, False]


def test_a_node_that_is_there_already_is_used_again():
    trace, x = Trace(None, "float32"), Value("x", 2, True)
    first = trace.add("not_equal", [x, trace.constant(0.0)], "one")
    again = trace.add("not_equal", [x, trace.constant(np.float64(0))], "two")
    other = trace.add("not_equal", [x, trace.constant(1.0)], "three")
    assert first.name == again.name != other.name
    assert [node["name"] for node in trace.nodes] == ["constant", "one", "constant_2", "three"]


def test_recurrent_nodes_each_have_a_state_of_their_own():
    trace, x = Trace(None, "float32"), Value("x", 3, True)
    assert trace.add("recurrent", [x], "a").name != trace.add("recurrent", [x], "a").name


def test_weights_that_are_shared_are_kept_once():
    trace, x = Trace(None, "float32"), Value("x", 2, True)
    kernel = keras.Variable(np.ones((2, 2)))
    for _ in range(2):
        trace.add("dense", [x], "a", weights={"kernel": kernel})
        x = Value("y", 2, True)
    assert list(trace.arrays) == ["a/kernel"]


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
