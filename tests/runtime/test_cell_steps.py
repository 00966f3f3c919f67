"""Tests of cells against those of Keras, for one step and many."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from seqkeras.runtime._cell_steps import step_class

KINDS = {
    "lstm": (keras.layers.LSTMCell, {}),
    "gru": (keras.layers.GRUCell, {"reset_after": True}),
    "gru, reset before": (keras.layers.GRUCell, {"reset_after": False}),
    "simple_rnn": (keras.layers.SimpleRNNCell, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def pair(kind, units=5, features=3, dtype="float64", **options):
    """Return a cell of Keras with random weights, and ours with the same weights."""
    make, defaults = KINDS[kind]
    theirs = make(units, dtype=dtype, **defaults, **options)
    theirs.build((None, features))
    random = np.random.default_rng(units)
    for weight in theirs.weights:
        weight.assign(random.normal(0, 0.7, weight.shape))
    roles = ("kernel", "recurrent_kernel", "bias")
    weights = {
        role: keras.ops.convert_to_numpy(getattr(theirs, role))
        for role in roles
        if getattr(theirs, role) is not None
    }
    options = {"units": units, "activation": "tanh", **defaults, **options}
    options["cell"] = kind.split(",")[0]
    return theirs, step_class(options)(options, weights, np.dtype(dtype))


def run(theirs, ours, rows=4, steps=6):
    """Return outputs and last states of both over random inputs."""
    random = np.random.default_rng(0)
    scratch = ours.scratch(rows)
    state = tuple(random.normal(size=(rows, ours.units)).astype(ours.dtype) for _ in ours.states)
    tensors = [keras.ops.convert_to_tensor(array) for array in state]
    for _ in range(steps):
        x = random.normal(size=(rows, ours.features)).astype(ours.dtype)
        output, tensors = theirs(x, tensors)
        tensors = tensors if isinstance(tensors, (list, tuple)) else [tensors]
        state = ours.step(x, state, scratch, (None,) * len(state))
    expected = [keras.ops.convert_to_numpy(tensor) for tensor in (output, *tensors)]
    return expected, [state[0], *state]


@every_kind
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(
    ("activation", "recurrent_activation"),
    [("tanh", "sigmoid"), ("relu", "hard_sigmoid"), ("linear", "sigmoid"), ("softsign", "tanh")],
)
def test_a_step_is_that_of_keras(kind, use_bias, activation, recurrent_activation):
    options = {"use_bias": use_bias, "activation": activation}
    if kind != "simple_rnn":
        options["recurrent_activation"] = recurrent_activation
    for expected, actual in zip(*run(*pair(kind, **options)), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


@every_kind
@examples(7)
@given(units=st.integers(1, 33), features=st.integers(1, 17), rows=st.integers(1, 5))
def test_any_size_is_that_of_keras_in_float32(kind, units, features, rows):
    theirs, ours = pair(kind, units=units, features=features, dtype="float32")
    for expected, actual in zip(*run(theirs, ours, rows=rows), strict=True):
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, expected, atol=2e-5)


@every_kind
def test_a_step_keeps_its_state_and_can_overwrite_it(kind):
    _, ours = pair(kind)
    scratch = ours.scratch(2)
    x = np.ones((2, 3))
    state = tuple(np.ones((2, 5)) for _ in ours.states)
    new_arrays = (None,) * len(state)
    after = ours.step(x, state, scratch, new_arrays)
    assert all((array == 1).all() for array in state)
    expected = ours.step(x, after, scratch, new_arrays)
    assert ours.step(x, after, scratch, after) is not expected
    for left, right in zip(after, expected, strict=True):
        np.testing.assert_array_equal(left, right)


@every_kind
@pytest.mark.parametrize("role", ["kernel", "recurrent_kernel", "bias"])
def test_weights_that_do_not_fit_are_refused(kind, role):
    make, defaults = KINDS[kind]
    theirs = make(5, **defaults)
    theirs.build((None, 3))
    weights = {
        name: keras.ops.convert_to_numpy(getattr(theirs, name))
        for name in ("kernel", "recurrent_kernel", "bias")
    }
    weights[role] = weights[role][..., :-1]
    options = {"cell": kind.split(",")[0], "units": 5, "activation": "tanh", **defaults}
    with pytest.raises(ValueError, match="the weights of 5 units have the shapes"):
        step_class(options)(options, weights, np.dtype("float32"))
