"""Perplexity over batches of unequal numbers of tokens."""

import keras
import numpy as np
import pytest

from seqkeras.models import language_model
from seqkeras.text import Perplexity, TokenCrossEntropy

RANDOM = np.random.default_rng(0)
TARGETS = RANDOM.integers(0, 6, (5, 7))
LOGITS = RANDOM.normal(size=(5, 7, 6)).astype("float32")
WEIGHTS = (RANDOM.random((5, 7)) < 0.5).astype("float32")


def by_definition():
    chosen = np.take_along_axis(LOGITS, TARGETS[..., np.newaxis], axis=-1)[..., 0]
    nats = np.log(np.exp(LOGITS).sum(axis=-1)) - chosen
    return np.exp(nats[WEIGHTS > 0].mean())


@pytest.mark.backends
def test_it_does_not_depend_on_the_batches():
    for cuts in ([], [1], [2, 3]):
        metric = Perplexity()
        for part in np.split(np.arange(5), cuts):
            metric.update_state(TARGETS[part], LOGITS[part], WEIGHTS[part])
        assert float(metric.result()) == pytest.approx(by_definition(), rel=1e-5)


def test_values_where_nothing_counts_do_not_matter():
    logits = np.where(WEIGHTS[..., np.newaxis] > 0, LOGITS, np.nan)
    metric = Perplexity()
    metric.update_state(TARGETS, logits, WEIGHTS)
    assert float(metric.result()) == pytest.approx(by_definition(), rel=1e-5)
    metric.reset_state()
    metric.update_state(TARGETS[:1], 0 * LOGITS[:1])
    assert float(metric.result()) == pytest.approx(6, rel=1e-6)


@pytest.mark.backends
def test_evaluate_counts_each_token_once():
    model = language_model(6, units=3, mask_zero=True)
    model.compile(loss=TokenCrossEntropy(), weighted_metrics=[Perplexity()])
    ids = np.where(WEIGHTS > 0, TARGETS, 0)
    logits = keras.ops.convert_to_numpy(model(ids))
    chosen = np.take_along_axis(logits, TARGETS[..., np.newaxis], axis=-1)[..., 0]
    nats = (np.log(np.exp(logits).sum(axis=-1)) - chosen)[ids != 0]
    logs = model.evaluate(ids, TARGETS, batch_size=2, verbose=0, return_dict=True)
    assert logs["perplexity"] == pytest.approx(np.exp(nats.mean()), rel=1e-5)


def test_it_is_nan_without_tokens():
    assert np.isnan(float(Perplexity().result()))
