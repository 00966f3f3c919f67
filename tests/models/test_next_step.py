"""A sequence model that predicts its own next input."""

import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.models import next_step

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize("features", [1, 3])
def test_output_has_the_shape_of_the_input(features, outputs):
    model = next_step(features, units=5)
    assert outputs(model, np.ones((2, 4, features))).shape == (2, 4, features)
    assert next_step(features, timesteps=7, units=5).output_shape == (None, 7, features)


def test_no_answer_sees_what_comes_after_it(outputs, randomize):
    # The value to predict is the next input: one look ahead and the training loss means nothing.
    model = randomize(next_step(2, units=(5, 4)))
    x = RANDOM.normal(size=(1, 6, 2))
    answers = outputs(model, x)
    for timestep in range(6):
        changed = x.copy()
        changed[:, timestep:] += 1
        moved = np.abs(outputs(model, changed) - answers).max(axis=(0, 2)) > 1e-6
        assert moved.tolist() == [later >= timestep for later in range(6)]


def test_fed_back_step_by_step_a_stateful_model_gives_what_rereading_gives(outputs, randomize):
    whole = randomize(next_step(2, units=(5, 4)))
    steps = next_step(2, units=(5, 4), stateful=True, batch_size=1)
    steps.set_weights(whole.get_weights())
    read = RANDOM.normal(size=(1, 4, 2))
    newest = outputs(steps, read)[:, -1:]
    for _ in range(5):
        expected = outputs(whole, read)[:, -1:]
        np.testing.assert_allclose(newest, expected, atol=1e-5)
        read = np.concatenate([read, expected], axis=1)
        newest = outputs(steps, newest)


def test_bidirectional_is_refused_with_the_reason():
    with pytest.raises(ArgumentError) as caught:
        next_step(2, bidirectional=True)
    message = str(caught.value)
    assert "bidirectional must be False for next_step. Got: bidirectional=True." in message
    assert "reads the value that is to be predicted" in message


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3"])
@pytest.mark.parametrize("name", ["features", "timesteps"])
def test_size_that_is_no_positive_integer_is_refused(name, value):
    sizes = {"features": 3} | {name: value}
    with pytest.raises(ArgumentError) as caught:
        next_step(sizes.pop("features"), **sizes)
    assert str(caught.value) == f"{name} must be an integer >= 1. Got: {name}={value!r}."
