"""Tests of the order of gates in the weights of each library."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError
from seqkeras.gates import (
    LAYOUTS,
    Weights,
    convert,
    gru_from_tensorflow_1,
    lstm_from_tensorflow_1,
    reorder,
)


def weights_of(cell, library, *, features=3, units=2, seed=0):
    layout = LAYOUTS[library][cell]
    random = np.random.default_rng(seed)
    width = len(layout.gates) * units
    kernels = [random.normal(size=(rows, width)) for rows in (features, units)]
    bias = random.normal(size=(width,) if layout.biases == 1 else (2, width))
    return Weights(*[array.T if layout.transposed else array for array in kernels], bias)


def test_gates_are_moved_along_any_axis():
    rows = np.arange(8)[:, np.newaxis] * np.ones((1, 3))
    moved = reorder(rows, source="ifco", target="iofc", axis=0)
    assert moved[:, 0].tolist() == [0, 1, 6, 7, 2, 3, 4, 5]
    assert reorder(moved.T, source="iofc", target="ifco")[0].tolist() == list(range(8))


@given(st.permutations("ifco"), st.permutations("ifco"), st.integers(1, 4))
def test_reordering_back_restores_the_weights(source, target, units):
    numbers = np.arange(4 * units)
    there = reorder(numbers, source="".join(source), target="".join(target))
    assert (reorder(there, source="".join(target), target="".join(source)) == numbers).all()


@pytest.mark.parametrize(
    ("target", "cell"), [(library, cell) for library in LAYOUTS for cell in LAYOUTS[library]]
)
def test_weights_of_keras_convert_to_each_library_and_back(target, cell):
    weights = weights_of(cell, "keras")
    there = convert(weights, cell=cell, source="keras", target=target)
    back = convert(there, cell=cell, source=target, target="keras")
    for before, after in zip(weights, back, strict=True):
        np.testing.assert_array_equal(before, after)


def test_two_biases_that_act_together_become_their_sum():
    weights = weights_of("lstm", "torch")
    merged = convert(weights, cell="lstm", source="torch", target="keras")
    np.testing.assert_allclose(merged.bias, weights.bias.sum(axis=0))


def test_no_bias_stays_none():
    weights = weights_of("lstm", "keras")._replace(bias=None)
    assert convert(weights, cell="lstm", source="keras", target="onnx").bias is None


def test_a_keras_lstm_in_the_order_of_torch_follows_its_formulas():
    # The formulas of torch.nn.LSTM: weight_ih (4 * units, features), gates i, f, g, o.
    keras = pytest.importorskip("keras")
    layer = keras.layers.LSTM(2)
    x = np.random.default_rng(0).normal(size=(1, 1, 3)).astype("float32")
    expected = np.asarray(keras.ops.convert_to_numpy(layer(x)))
    numbers = Weights(*[np.asarray(keras.ops.convert_to_numpy(weight)) for weight in layer.weights])
    w, r, b = convert(numbers, cell="lstm", source="keras", target="torch")
    i, f, g, o = np.split(w @ x[0, 0] + b[0] + r @ np.zeros(2) + b[1], 4)
    c = _sigmoid(i) * np.tanh(g) + _sigmoid(f) * 0
    np.testing.assert_allclose(_sigmoid(o) * np.tanh(c), expected[0], atol=1e-6)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reorder(np.ones(8), source="ifco", target="ifcc"), "target must be the gates of"),
        (lambda: reorder(np.ones(9), source="ifco", target="iofc"), "holds 4 gates, 'ifco'"),
        (lambda: reorder(1.0, source="ifco", target="iofc"), "array must be an array whose axis"),
        (
            lambda: convert(weights_of("gru", "keras"), cell="gru", source="keras", target="torch"),
            "cell must be one of .* for torch.*'gru_reset_after'",
        ),
        (
            lambda: convert(
                weights_of("lstm", "keras"), cell="lstm", source="onnx", target="keras"
            ),
            "weights must be weights of 4 gates, 'iofc'",
        ),
        (
            lambda: convert(
                weights_of("lstm", "keras"), cell="lstm", source="theano", target="keras"
            ),
            "source must be one of 'keras', 'onnx'",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("num_proj", [None, 2])
def test_an_lstm_of_tensorflow_1_follows_its_formulas(num_proj):
    # tf.nn.rnn_cell.LSTMCell: one kernel, gates i j f o, forget bias added when it runs.
    pytest.importorskip("keras")
    from seqkeras.layers import LSTM

    random, units, width = np.random.default_rng(0), 4, num_proj or 4
    kernel, bias = random.normal(size=(3 + width, 16)), random.normal(size=16)
    projection = random.normal(size=(units, width))
    x = random.normal(size=(2, 5, 3)).astype("float32")
    c, h = np.zeros((2, units)), np.zeros((2, width))
    for t in range(5):
        i, j, f, o = np.split(np.concatenate([x[:, t], h], axis=1) @ kernel + bias, 4, axis=1)
        c = sigmoid(f + 0.7) * c + sigmoid(i) * np.tanh(j)
        h = sigmoid(o) * np.tanh(c)
        h = h @ projection if num_proj else h
    layer = LSTM(units, num_proj=num_proj)
    layer.build(x.shape)
    weights = lstm_from_tensorflow_1(kernel, bias, forget_bias=0.7, num_proj=num_proj)
    by_name = dict(zip(("kernel", "recurrent_kernel", "bias"), weights, strict=True))
    for variable in layer.weights:
        variable.assign(by_name.get(variable.name, projection))
    np.testing.assert_allclose(np.asarray(layer(x)), h, atol=1e-5)


def test_a_gru_of_tensorflow_1_follows_its_formulas():
    # tf.nn.rnn_cell.GRUCell: gates r u in one kernel, the candidate in another.
    keras = pytest.importorskip("keras")
    random, units = np.random.default_rng(0), 4
    arrays = [random.normal(size=shape) for shape in [(7, 8), (8,), (7, 4), (4,)]]
    x, h = random.normal(size=(2, 5, 3)).astype("float32"), np.zeros((2, units))
    for t in range(5):
        gates = sigmoid(np.concatenate([x[:, t], h], axis=1) @ arrays[0] + arrays[1])
        r, u = np.split(gates, 2, axis=1)
        both = np.concatenate([x[:, t], r * h], axis=1)
        h = u * h + (1 - u) * np.tanh(both @ arrays[2] + arrays[3])
    layer = keras.layers.GRU(units, reset_after=False)
    layer.build(x.shape)
    layer.set_weights(list(gru_from_tensorflow_1(*arrays)))
    np.testing.assert_allclose(np.asarray(layer(x)), h, atol=1e-5)


def test_arrays_of_tensorflow_1_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match=r"kernel must be of shape \(features \+ state"):
        lstm_from_tensorflow_1(np.zeros((5, 8)), np.zeros(9))
    with pytest.raises(ArgumentError, match="kernel must be"):
        lstm_from_tensorflow_1(np.zeros((2, 8)), np.zeros(8))
    with pytest.raises(ArgumentError, match="gates_kernel, candidate_kernel must be"):
        gru_from_tensorflow_1(np.zeros((5, 4)), np.zeros(4), np.zeros((5, 3)), np.zeros(2))
