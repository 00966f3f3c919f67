"""Tests of the order of gates in the weights of each library."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError
from seqkeras.gates import LAYOUTS, Weights, convert, reorder


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
