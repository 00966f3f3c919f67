"""Training a language model on a sample of its vocabulary."""

import re

import keras
import numpy as np
import pytest

from helpers.models import training_eagerly
from seqkeras.errors import ArgumentError
from seqkeras.models import language_model, many_to_many
from seqkeras.text import Perplexity, TokenBatches, TokenCrossEntropy
from seqkeras.training import fit_stateful, sampled_softmax
from seqkeras.training._sampled_softmax import _chances, _SampledLogits

SIZE = 40
RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(0, SIZE, (3, 5)).astype("int32")
TARGETS = RANDOM.integers(0, SIZE, (3, 5)).astype("int32")


@pytest.fixture(autouse=True)
def eagerly():
    with training_eagerly():
        yield


def compiled(model, rate=0.0, **options):
    model.compile(
        keras.optimizers.SGD(rate), TokenCrossEntropy(), weighted_metrics=[Perplexity()], **options
    )
    return model


@pytest.mark.backends
@pytest.mark.parametrize("tied", [False, True])
def test_a_sample_of_all_ids_has_the_loss_and_the_gradients_of_the_whole_softmax(tied):
    model = language_model(SIZE, units=4, tied=tied, mask_zero=True)
    fast = sampled_softmax(model, SIZE, seed=0)
    before = model.get_weights()
    whole = compiled(model, rate=1.0).train_on_batch(IDS, TARGETS, return_dict=True)["loss"]
    expected = model.get_weights()
    model.set_weights(before)
    sampled = compiled(fast, rate=1.0).train_on_batch(IDS, TARGETS, return_dict=True)
    assert sampled.keys() == {"loss"}
    assert sampled["loss"] == pytest.approx(whole, rel=1e-5)
    for actual, weights in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(actual, weights, atol=1e-5)


def test_the_sum_in_the_softmax_is_estimated_without_bias():
    model = language_model(SIZE, units=4)
    fast = sampled_softmax(model, 8, seed=0)
    vectors = 3 * RANDOM.normal(size=(1, 1, 4)).astype("float32")
    target = np.array([[7]], "int32")
    sums = [
        np.exp(keras.ops.convert_to_numpy(fast._sampled(vectors, target))[0, 0]).sum()
        for _ in range(300)
    ]
    head = model.get_layer("head")
    logits = keras.ops.convert_to_numpy(head(vectors, reverse=True))[0, 0]
    error = float(np.std(sums)) / 300**0.5
    assert np.mean(sums) == pytest.approx(np.exp(logits).sum(), abs=4 * error)


def test_each_draw_has_distinct_ids_as_often_as_their_probability():
    frequencies = np.array([1000.0, 50, 20, 10, 5, 5, 0, 0])
    model = language_model(8, units=2)
    layer = sampled_softmax(model, 3, frequencies=frequencies, seed=1)._sampled
    draws = np.array([keras.ops.convert_to_numpy(layer._draw()) for _ in range(400)])
    assert all(len(set(draw)) == 3 for draw in draws)
    shares = np.bincount(draws.ravel(), minlength=8) / len(draws)
    np.testing.assert_allclose(shares, np.exp(layer._log_chances), atol=0.1)


@pytest.mark.parametrize("samples", [1, 3, 7])
def test_probabilities_are_in_proportion_up_to_1(samples):
    frequencies = np.array([100.0, 10, 5, 4, 3, 2, 1])
    chances = _chances(frequencies, samples)
    assert chances.sum() == pytest.approx(samples)
    assert chances.max() <= 1
    free = chances < 1
    ratios = chances[free] / frequencies[free]
    np.testing.assert_allclose(ratios, ratios.max(initial=0))


@pytest.mark.backends
def test_evaluation_and_the_model_itself_use_all_ids():
    model = language_model(SIZE, units=4, dropout=0.5)
    fast = compiled(sampled_softmax(model, 5, seed=0))
    fast.fit(IDS, TARGETS, epochs=2, verbose=0, validation_data=(IDS, TARGETS))
    logs = fast.evaluate(IDS, TARGETS, verbose=0, return_dict=True)
    expected = compiled(model).evaluate(IDS, TARGETS, verbose=0, return_dict=True)
    assert logs == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(
        fast.predict(IDS, verbose=0), model.predict(IDS, verbose=0), rtol=1e-5
    )


@pytest.mark.backends
def test_a_model_learns_from_samples_in_fit_stateful():
    text = np.tile(RANDOM.permutation(SIZE), 30)
    model = language_model(SIZE, units=8, stateful=True, reset_input=True, batch_size=2)
    fast = sampled_softmax(model, 10, seed=0)
    fast.compile(
        keras.optimizers.Adam(0.05),
        TokenCrossEntropy(),
        weighted_metrics=[Perplexity()],
        run_eagerly=False,  # many steps
    )
    batches = TokenBatches(text, batch_size=2, timesteps=20, partition="sequential")
    history = fit_stateful(fast, batches, 6, validation=batches, progress=False).history
    assert history["val_perplexity"][-1] < 2 < history["val_perplexity"][0]


def test_masked_timesteps_add_nothing():
    model = language_model(SIZE, units=4, mask_zero=True)
    ids = IDS.copy()
    ids[1, 2:] = 0
    targets = TARGETS.copy()
    losses = []
    for value in (3, 9):
        targets[ids == 0] = value
        fast = compiled(sampled_softmax(model, 10, seed=5))
        losses.append(fast.train_on_batch(ids, targets))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_dense_layer_can_be_the_last():
    x = keras.Input((None,), dtype="int32")
    logits = keras.layers.Dense(SIZE, use_bias=False)(keras.layers.Embedding(SIZE, 3)(x))
    model = keras.Model(x, logits)
    whole = compiled(model).train_on_batch(IDS, TARGETS, return_dict=True)["loss"]
    sampled = compiled(sampled_softmax(model, SIZE)).train_on_batch(IDS, TARGETS)
    assert sampled == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples must be an integer >= 1."),
        ({"samples": 41}, "samples must be at most 40, the number of ids. Got: samples=41."),
        ({"samples": 5, "frequencies": [1, 2]}, "frequencies must be of shape (40,)"),
        ({"samples": 5, "frequencies": [-1] * 40}, "frequencies must be numbers of 0 or more"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        sampled_softmax(language_model(SIZE, units=2), **options)


def test_a_model_with_another_last_layer_is_refused():
    with pytest.raises(ArgumentError, match="ends with a linear Dense or a TokenVectors layer"):
        sampled_softmax(many_to_many(2, outputs=5, units=2, activation="softmax"), 2)


def test_label_smoothing_is_refused():
    fast = sampled_softmax(language_model(SIZE, units=2), 5)
    fast.compile("sgd", TokenCrossEntropy(label_smoothing=0.1), run_eagerly=True)
    with pytest.raises(ArgumentError, match="label_smoothing must be 0 with a sampled softmax"):
        fast.train_on_batch(IDS, TARGETS)


def test_the_layer_of_samples_has_no_weights_of_its_own():
    model = language_model(SIZE, units=2)
    fast = sampled_softmax(model, 5)
    assert isinstance(fast._sampled, _SampledLogits)
    assert [id(w) for w in fast.trainable_weights] == [id(w) for w in model.trainable_weights]
