"""A model that learns from the text that it is judged on."""

import math

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.models import language_model
from seqkeras.states import get_state
from seqkeras.text import TokenBatches
from seqkeras.training import dynamic_evaluation

SIZE = 12
# One token is so frequent that a model must notice.
TEXT = np.random.default_rng(0).choice(SIZE, 300, p=[0.7, *[0.3 / (SIZE - 1)] * (SIZE - 1)])


def batches(text=TEXT, timesteps=5):
    return TokenBatches(
        text,
        batch_size=1,
        timesteps=timesteps,
        partition="sequential",
        random_start=False,
        reset_input=True,
    )


@pytest.fixture
def model():
    return language_model(SIZE, units=6, dropout=0.5, stateful=True, reset_input=True, batch_size=1)


def static_loss(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metric = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nats")
    model.compile(loss=loss, weighted_metrics=[metric])
    return model.evaluate(batches(), verbose=0, return_dict=True)["nats"]


@pytest.mark.backends
@pytest.mark.parametrize("statistics", [False, True])
def test_the_model_adapts_and_is_then_as_before(model, statistics):
    weights, state = model.get_weights(), get_state(model)
    options = {"learning_rate": 1.0}
    if statistics:
        options = {"learning_rate": 0.01, "statistics": batches(TEXT[:60])}
    adapted = dynamic_evaluation(model, batches(), decay=0.001, **options)
    static = static_loss(model)
    assert adapted.loss < 0.8 * static
    assert adapted.perplexity == pytest.approx(math.exp(adapted.loss))
    for actual, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert get_state(model).keys() == state.keys()


def test_tiny_steps_give_the_static_loss_without_dropout(model):
    adapted = dynamic_evaluation(model, batches(), learning_rate=1e-9)
    assert adapted.loss == pytest.approx(static_loss(model), rel=1e-5)


def test_it_follows_the_rule_of_the_paper():
    model = language_model(3, units=2, cell="simple_rnn")
    text = [(np.array([[0, 1]]), np.array([[1, 2]])), (np.array([[2, 0]]), np.array([[0, 1]]))]
    weights = model.trainable_variables
    start = [keras.ops.convert_to_numpy(weight) for weight in weights]

    def nats_and_gradients(values, batch):
        """Compute gradients by finite differences of the loss."""
        for weight, value in zip(weights, values, strict=True):
            weight.assign(value)
        x, y = batch

        def nats():
            logits = keras.ops.convert_to_numpy(model(x)).astype("float64")
            chosen = np.take_along_axis(logits, y[..., np.newaxis], axis=-1)[..., 0]
            return (np.log(np.exp(logits).sum(axis=-1)) - chosen).mean()

        gradients = []
        for weight, value in zip(weights, values, strict=True):
            gradient = np.zeros(value.shape)
            for place in np.ndindex(value.shape):
                sides = []
                for step in (1e-2, -1e-2):
                    moved = value.copy()
                    moved[place] += step
                    weight.assign(moved)
                    sides.append(nats())
                gradient[place] = (sides[0] - sides[1]) / 2e-2
            weight.assign(value)
            gradients.append(gradient)
        return nats(), gradients

    rate, decay = 0.3, 0.1
    squares = [nats_and_gradients(start, batch)[1] for batch in text]
    sizes = [np.sqrt(np.mean(np.square(pair), axis=0)) for pair in zip(*squares, strict=True)]
    mean = np.concatenate([size.ravel() for size in sizes]).mean()
    values, losses = start, []
    for batch in text:
        loss, gradients = nats_and_gradients(values, batch)
        losses.append(loss)
        values = [
            value
            - rate * gradient / (size + 0.1 * mean)
            + np.minimum(decay * size / mean, 1) * (first - value)
            for value, gradient, size, first in zip(values, gradients, sizes, start, strict=True)
        ]
    for weight, value in zip(weights, start, strict=True):
        weight.assign(value)
    adapted = dynamic_evaluation(model, text, statistics=text, learning_rate=rate, decay=decay)
    assert adapted.loss == pytest.approx(np.mean(losses), rel=1e-3)


def test_weights_of_0_count_nothing():
    model = language_model(SIZE, units=3)
    x, y = TEXT[np.newaxis, :6], TEXT[np.newaxis, 1:7]
    weights = np.array([[1, 1, 1, 0, 0, 0]], "float32")
    padded = dynamic_evaluation(model, [(x, y, weights)] * 2)
    assert padded.loss == pytest.approx(dynamic_evaluation(model, [(x[:, :3], y[:, :3])] * 2).loss)


@pytest.mark.parametrize(
    ("name", "value"), [("learning_rate", -1.0), ("decay", 1.5), ("decay", "x")]
)
def test_bad_numbers_are_refused(name, value):
    with pytest.raises(ArgumentError, match=f"{name} must be"):
        dynamic_evaluation(language_model(SIZE, units=2), [], **{name: value})
