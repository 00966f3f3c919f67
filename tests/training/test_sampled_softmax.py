"""Training on a sample of the vocabulary."""

import re

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.models import language_model, many_to_many, sequence_to_sequence
from seqkeras.text import Perplexity, TokenBatches, TokenCrossEntropy
from seqkeras.training import fit_stateful, sampled_softmax
from seqkeras.training._sampled_softmax import _chances, _SampledLogits

pytestmark = pytest.mark.usefixtures("eagerly")

SIZE = 40
RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(0, SIZE, (3, 5)).astype("int32")
TARGETS = RANDOM.integers(0, SIZE, (3, 5)).astype("int32")
PAIRS = {"source": RANDOM.integers(0, 9, (3, 4)).astype("int32"), "target": IDS}


def decoder_model(**options):
    return sequence_to_sequence(9, SIZE, units=4, embedding=3, **options)


#: Models and what they read.
MODELS = {
    "language": (lambda: language_model(SIZE, units=4, mask_zero=True), IDS),
    "tied language": (lambda: language_model(SIZE, units=4, tied=True, mask_zero=True), IDS),
    "decoder": (lambda: decoder_model(attention="dot", cell="gru"), PAIRS),
    "tied decoder": (lambda: decoder_model(attention=None, cell="gru", tied=True), PAIRS),
    "decoder that feeds back": (
        lambda: decoder_model(cell="gru", teacher_forcing=0.0, feedback="argmax"),
        PAIRS,
    ),
}


def compiled(model, rate=0.0, smoothing=0.0, **options):
    loss = TokenCrossEntropy(label_smoothing=smoothing)
    optimizer = keras.optimizers.SGD(rate)
    model.compile(optimizer, loss, weighted_metrics=[Perplexity()], **options)
    return model


@pytest.mark.backends
@pytest.mark.parametrize(
    ("name", "smoothing"),
    [
        ("language", 0.1),
        ("tied language", 0.0),
        ("decoder", 0.0),
        ("tied decoder", 0.1),
        ("decoder that feeds back", 0.0),
    ],
)
def test_a_sample_of_all_ids_has_the_loss_and_the_gradients_of_the_whole_softmax(name, smoothing):
    make, x = MODELS[name]
    model = make()
    fast = sampled_softmax(model, SIZE, seed=0)
    before = model.get_weights()
    whole = compiled(model, 1.0, smoothing).train_on_batch(x, TARGETS, return_dict=True)["loss"]
    expected = model.get_weights()
    model.set_weights(before)
    sampled = compiled(fast, 1.0, smoothing).train_on_batch(x, TARGETS, return_dict=True)
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
@pytest.mark.parametrize(
    ("model", "x"),
    [
        (lambda: language_model(SIZE, units=4, dropout=0.5), IDS),
        (lambda: decoder_model(dropout=0.5, attention=None, cell="gru"), PAIRS),
    ],
    ids=["language", "decoder"],
)
def test_evaluation_and_the_model_itself_use_all_ids(model, x):
    model = model()
    fast = compiled(sampled_softmax(model, 5, seed=0), smoothing=0.1)
    fast.fit(x, TARGETS, epochs=2, verbose=0, validation_data=(x, TARGETS))
    logs = fast.evaluate(x, TARGETS, verbose=0, return_dict=True)
    expected = compiled(model, smoothing=0.1).evaluate(x, TARGETS, verbose=0, return_dict=True)
    assert logs == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(fast.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5)


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
    whole = compiled(model, smoothing=0.2).train_on_batch(IDS, TARGETS, return_dict=True)["loss"]
    sampled = compiled(sampled_softmax(model, SIZE), smoothing=0.2).train_on_batch(IDS, TARGETS)
    assert sampled == pytest.approx(whole, rel=1e-5)


def test_labels_are_smoothed_over_all_ids_however_few_are_drawn():
    model = language_model(SIZE, units=4)
    model.get_layer("head").weights[1].assign(RANDOM.normal(size=SIZE))
    logits = model.predict_on_batch(IDS)
    own = np.take_along_axis(logits, TARGETS[..., np.newaxis], axis=-1)[..., 0]
    losses = []
    for smoothing in (0.0, 0.3):
        fast = compiled(sampled_softmax(model, 2, seed=5), smoothing=smoothing)
        losses.append(fast.train_on_batch(IDS, TARGETS))
    # The same ids are drawn, so the sums in the softmax are the same.
    expected = 0.3 * (own - logits.mean(-1)).mean()
    assert losses[1] - losses[0] == pytest.approx(expected, abs=1e-5)


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
    with pytest.raises(ArgumentError, match="ends with a linear Dense, a TokenVectors or a Seq"):
        sampled_softmax(many_to_many(2, outputs=5, units=2, activation="softmax"), 2)
    with pytest.raises(ArgumentError, match="model must be a model with a decoder of ids"):
        sampled_softmax(sequence_to_sequence(9, target_features=3, units=2), 2)


class Smoothed(keras.losses.Loss):
    label_smoothing = 0.1

    def call(self, y_true, y_pred):
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)


def test_label_smoothing_of_another_loss_is_refused():
    fast = sampled_softmax(language_model(SIZE, units=2), 5)
    fast.compile("sgd", [Smoothed()], run_eagerly=True)
    with pytest.raises(ArgumentError, match="label_smoothing must be 0 with a sampled softmax"):
        fast.train_on_batch(IDS, TARGETS)


def test_the_layer_of_samples_has_no_weights_of_its_own():
    model = language_model(SIZE, units=2)
    fast = sampled_softmax(model, 5)
    assert isinstance(fast._sampled, _SampledLogits)
    assert [id(w) for w in fast.trainable_weights] == [id(w) for w in model.trainable_weights]
