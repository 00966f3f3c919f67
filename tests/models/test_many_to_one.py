"""A sequence in, one vector out."""

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.models import many_to_one

RANDOM = np.random.default_rng(7)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step(x, state, kernel, recurrent_kernel, bias):
    """Hochreiter & Schmidhuber 1997 with forget gate; gates in the order i, f, c, o of Keras."""
    h, c = state
    i, f, g, o = np.split(x @ kernel + h @ recurrent_kernel + bias, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, (h, c)


def gru_step(x, state, kernel, recurrent_kernel, bias):
    """Cho et al. 2014, the reset gate after the product; gates in the order z, r, h of Keras."""
    (h,) = state
    xz, xr, xh = np.split(x @ kernel + bias[0], 3, axis=-1)
    hz, hr, hh = np.split(h @ recurrent_kernel + bias[1], 3, axis=-1)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    h = z * h + (1 - z) * np.tanh(xh + r * hh)
    return h, (h,)


def simple_rnn_step(x, state, kernel, recurrent_kernel, bias):
    h = np.tanh(x @ kernel + state[0] @ recurrent_kernel + bias)
    return h, (h,)


STEPS = {"lstm": (lstm_step, 2), "gru": (gru_step, 1), "simple_rnn": (simple_rnn_step, 1)}


@pytest.mark.parametrize("cell", STEPS)
@pytest.mark.parametrize("units", [(5,), (5, 4)])
def test_numbers_are_those_of_a_loop_in_numpy(cell, units, outputs, randomize):
    model = randomize(many_to_one(3, outputs=2, cell=cell, units=units))
    step, states = STEPS[cell]
    x = RANDOM.normal(size=(4, 9, 3))
    *recurrent, kernel, bias = model.get_weights()
    sequence = x
    for level, width in enumerate(units):
        weights = recurrent[3 * level : 3 * level + 3]
        state, above = (np.zeros((4, width)),) * states, []
        for timestep in range(9):
            output, state = step(sequence[:, timestep], state, *weights)
            above.append(output)
        sequence = np.stack(above, axis=1)
    np.testing.assert_allclose(outputs(model, x), sequence[:, -1] @ kernel + bias, atol=1e-5)


def test_activation_is_that_of_the_head(outputs, randomize):
    model = randomize(many_to_one(3, outputs=4, activation="softmax", units=5))
    probabilities = outputs(model, RANDOM.normal(size=(2, 6, 3)))
    assert probabilities.shape == (2, 4)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    assert many_to_one(3, units=5).get_layer("head").activation is keras.activations.linear


def test_any_length_is_read_where_timesteps_are_not_given(outputs, randomize):
    model = randomize(many_to_one(3, units=5))
    x = RANDOM.normal(size=(2, 12, 3))
    assert model.input_shape == (None, None, 3)
    assert outputs(model, x[:, :1]).shape == outputs(model, x).shape == (2, 1)
    assert not np.allclose(outputs(model, x[:, :1]), outputs(model, x))


def test_given_timesteps_and_batch_size_are_those_of_the_input():
    model = many_to_one(3, timesteps=7, batch_size=2, units=5)
    assert model.input_shape == (2, 7, 3)
    assert model.output_shape == (2, 1)


def masked(model, features=3):
    return keras.Sequential([keras.Input((None, features)), keras.layers.Masking(), model])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", STEPS)
def test_padding_on_either_side_changes_no_answer(cell, bidirectional, outputs, randomize):
    model = many_to_one(3, cell=cell, units=(5, 4), bidirectional=bidirectional)
    randomize(model)
    reader = masked(model)
    rows = [RANDOM.normal(size=(1, length, 3)) for length in (6, 4, 1)]
    expected = np.concatenate([outputs(model, row) for row in rows])
    gap = [(0, 8 - row.shape[1]) for row in rows]
    for sides in (gap, [pair[::-1] for pair in gap]):
        padded = np.concatenate(
            [np.pad(row, [(0, 0), side, (0, 0)]) for row, side in zip(rows, sides, strict=True)]
        )
        np.testing.assert_allclose(outputs(reader, padded), expected, atol=1e-5)


def test_a_fully_masked_row_gives_a_finite_answer_and_changes_no_other(outputs, randomize):
    model = randomize(many_to_one(3, units=(5, 4)))
    x = RANDOM.normal(size=(2, 6, 3))
    with_empty = outputs(masked(model), np.concatenate([x, np.zeros((1, 6, 3))]))
    assert np.isfinite(with_empty).all()
    np.testing.assert_allclose(with_empty[:2], outputs(model, x), atol=1e-5)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3"])
@pytest.mark.parametrize("name", ["features", "outputs", "timesteps"])
def test_size_that_is_no_positive_integer_is_refused(name, value):
    sizes = {"features": 3} | {name: value}
    with pytest.raises(ArgumentError) as caught:
        many_to_one(sizes.pop("features"), **sizes)
    assert str(caught.value) == f"{name} must be an integer >= 1. Got: {name}={value!r}."
