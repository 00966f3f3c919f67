"""The graph of a program while it is written."""

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.export._trace import Trace, Value


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
    [(1, None, "time axis"), (-2, None, "time axis"), (0, None, "batch"), (0, 5, "batch")],
)
def test_the_axes_of_time_and_of_the_batch_are_refused(axis, window, reason):
    with pytest.raises(ArgumentError, match=reason):
        Trace(window, "float32").axis(Value("x", 3, True), axis, "layer")
