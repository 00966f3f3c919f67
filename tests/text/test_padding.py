"""Padding, and rows of padding, change no output, loss or metric of a model of symbols."""

import keras
import numpy as np
import pytest

from helpers.models import randomized
from seqkeras.models import classifier, language_model, sequence_to_sequence, tagger
from seqkeras.text import Perplexity, TokenCrossEntropy

SIZE = 7  # of each vocabulary; also the number of tags and classes
STACK = {"embedding": 3, "units": (4, 3), "cell": "gru"}
MODELS = {
    "language model": lambda: language_model(SIZE, mask_zero=True, **STACK),
    "tagger": lambda: tagger(SIZE, SIZE, bidirectional=True, **STACK),
    "encoder-decoder, additive": lambda: sequence_to_sequence(
        SIZE, SIZE, bidirectional=True, **STACK
    ),
    "encoder-decoder, general": lambda: sequence_to_sequence(
        SIZE, SIZE, attention="general", **STACK
    ),
    "classifier": lambda: classifier(SIZE, SIZE, bidirectional=True, **STACK),
}
#: The others have no code of their own for a backend.
MARKS = dict.fromkeys(
    ("language model", "encoder-decoder, additive", "classifier"), pytest.mark.backends
)
MORE = 3  # timesteps of padding after the longest sequence


def sequences(random):
    """Return three random arrays `(1, length)` for each row: a source, a target and its labels."""
    lengths = random.integers(1, 8, (4, 2))
    return [
        tuple(random.integers(1, SIZE, (1, length)) for length in (source, target, target))
        for source, target in lengths
    ]


def padded(arrays):
    """Return arrays `(1, length)` as the rows of one, with a row and timesteps of padding."""
    result = np.zeros((len(arrays) + 1, MORE + max(array.shape[1] for array in arrays)), "int32")
    for row, array in enumerate(arrays):
        result[row, : array.shape[1]] = array
    return result


def inputs_of(model, source, target):
    return {"source": source, "target": target} if len(model.inputs) == 2 else target


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=MARKS.get(kind, ())) for kind in MODELS])
def test_padding_changes_no_output_no_loss_and_no_metric(kind):
    keras.utils.set_random_seed(0)
    model = randomized(MODELS[kind](), scale=0.4)
    rows = sequences(np.random.default_rng(0))
    sources, targets, labels = (padded(arrays) for arrays in zip(*rows, strict=True))
    is_used = targets != 0
    if len(model.output_shape) == 2:  # one label for each sequence
        is_used = is_used.any(axis=1)
        labels = np.where(is_used, labels[:, 0], 0)
        rows = [(source, target, label[:, 0]) for source, target, label in rows]
        loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True,
            reduction="mean_with_sample_weight",  # by default, Keras also counts rows of weight 0
        )
        model.compile(loss=loss, weighted_metrics=["accuracy"], run_eagerly=True)
    else:
        model.compile(loss=TokenCrossEntropy(), weighted_metrics=[Perplexity()], run_eagerly=True)
    x = inputs_of(model, sources, targets)
    outputs = keras.ops.convert_to_numpy(model(x))
    alone = [
        keras.ops.convert_to_numpy(model(inputs_of(model, source, target)))
        for source, target, _ in rows
    ]
    assert np.isfinite(outputs).all()
    expected = np.concatenate([logits.reshape(-1, SIZE) for logits in alone])
    np.testing.assert_allclose(outputs[is_used], expected, atol=1e-6)
    weights = is_used.astype("float32")
    scores = model.test_on_batch(x, labels, weights, return_dict=True)
    each = np.concatenate([label.reshape(-1) for *_, label in rows])
    losses = np.log(np.exp(expected).sum(axis=-1)) - expected[np.arange(len(each)), each]
    assert scores["loss"] == pytest.approx(losses.mean(), abs=1e-6)
    if "perplexity" in scores:
        assert scores["perplexity"] == pytest.approx(np.exp(losses.mean()), rel=1e-6)
    else:
        assert scores["accuracy"] == pytest.approx((expected.argmax(axis=-1) == each).mean())
