"""One vector in, a sequence out."""

import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.models import many_to_many, one_to_many

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
def test_answers_are_those_to_the_vector_at_every_timestep(cell, bidirectional, outputs, randomize):
    stack = {"cell": cell, "units": (5, 4), "bidirectional": bidirectional}
    model = randomize(one_to_many(3, steps=6, outputs=2, **stack))
    sequences = many_to_many(3, outputs=2, **stack)
    sequences.set_weights(model.get_weights())
    vector = RANDOM.normal(size=(2, 3))
    repeated = np.repeat(vector[:, np.newaxis], 6, axis=1)
    np.testing.assert_allclose(outputs(model, vector), outputs(sequences, repeated), atol=1e-5)


def test_answers_differ_from_step_to_step(outputs, randomize):
    model = randomize(one_to_many(3, steps=6, units=5))
    answers = outputs(model, np.ones((1, 3)))[0, :, 0]
    assert np.abs(np.diff(answers)).min() > 1e-4


def test_stateful_answers_go_on_where_the_last_ended(outputs, randomize):
    long = randomize(one_to_many(3, steps=6, units=(5, 4)))
    short = one_to_many(3, steps=2, units=(5, 4), stateful=True, batch_size=2)
    short.set_weights(long.get_weights())
    vector = RANDOM.normal(size=(2, 3))
    parts = [outputs(short, vector) for _ in range(3)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), outputs(long, vector), atol=1e-5)


def test_activation_is_that_of_the_head(outputs):
    model = one_to_many(3, steps=5, outputs=4, activation="softmax", units=5)
    answers = outputs(model, RANDOM.normal(size=(2, 3)))
    np.testing.assert_allclose(answers.sum(axis=-1), 1, atol=1e-5)


def test_steps_must_be_given():
    with pytest.raises(TypeError, match="steps"):
        one_to_many(3)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3", None])
@pytest.mark.parametrize("name", ["features", "outputs", "steps"])
def test_size_that_is_no_positive_integer_is_refused(name, value):
    sizes = {"features": 3, "steps": 2} | {name: value}
    with pytest.raises(ArgumentError) as caught:
        one_to_many(sizes.pop("features"), **sizes)
    assert str(caught.value) == f"{name} must be an integer >= 1. Got: {name}={value!r}."
