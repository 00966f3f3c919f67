"""The cross-entropy of tokens, by its definition and under padding."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from seqkeras.errors import ArgumentError
from seqkeras.models import language_model
from seqkeras.text import TokenCrossEntropy

REDUCTIONS = ("tokens", "sum_over_time", "sequence", "padded_sequence")


def nats(targets, logits):
    logits = logits.astype("float64")
    of_all = np.log(np.exp(logits).sum(axis=-1))
    return of_all - np.take_along_axis(logits, targets[..., np.newaxis], axis=-1)[..., 0]


def by_definition(reduction, targets, logits, lengths):
    """Compute a loss row by row."""
    rows = [nats(targets, logits)[row, :length] for row, length in enumerate(lengths) if length]
    if not rows:
        return 0.0
    if reduction == "tokens":
        return np.concatenate(rows).mean()
    if reduction == "sum_over_time":
        return np.mean([row.sum() for row in rows])
    if reduction == "sequence":
        return np.mean([row.mean() for row in rows])
    return np.mean([row.sum() / targets.shape[1] for row in rows])


def batch(lengths, seed, steps=None, size=4):
    random = np.random.default_rng(seed)
    steps = steps or max(lengths)
    logits = random.normal(size=(len(lengths), steps, size)).astype("float32")
    weights = (np.arange(steps) < np.array(lengths)[:, np.newaxis]).astype("float32")
    return random.integers(0, size, (len(lengths), steps)), logits, weights


def value(loss, *arguments):
    return float(keras.ops.convert_to_numpy(loss(*arguments)))


@examples(10)
@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=4).filter(any),
    seed=st.integers(0, 99),
)
def test_each_reduction_is_its_definition(lengths, seed):
    targets, logits, weights = batch(lengths, seed)
    for reduction in REDUCTIONS:
        actual = value(TokenCrossEntropy(reduction), targets, logits, weights)
        expected = by_definition(reduction, targets, logits, lengths)
        assert actual == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.backends
@pytest.mark.parametrize("reduction", REDUCTIONS[:3])
def test_more_padding_and_rows_of_padding_change_no_loss(reduction):
    lengths = [3, 5, 1]
    targets, logits, weights = batch(lengths, seed=0)
    pad = ((0, 2), (0, 3))
    padded = [np.pad(targets, pad), np.pad(logits, (*pad, (0, 0))), np.pad(weights, pad)]
    padded[1][weights.shape[0] :] = np.nan  # what a fully masked row may hold
    loss = TokenCrossEntropy(reduction, label_smoothing=0.1)
    expected = value(loss, targets, logits, weights)
    assert value(loss, *padded) == pytest.approx(expected, abs=1e-6)


@pytest.mark.backends
def test_the_mask_of_a_model_counts_as_weights():
    ids = np.array([[3, 1, 4], [2, 0, 0], [0, 0, 0]], "int32")
    targets = np.array([[1, 4, 2], [3, 3, 3], [1, 1, 1]], "int32")
    model = language_model(5, units=3, mask_zero=True)
    logits = keras.ops.convert_to_numpy(model(ids))
    for reduction in REDUCTIONS:
        model.compile(loss=TokenCrossEntropy(reduction))
        actual = model.test_on_batch(ids, targets)
        expected = by_definition(reduction, targets, logits, [3, 1, 0])
        assert actual == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_spreads_the_probability_evenly():
    targets, logits, _ = batch([3, 3], seed=1)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    goal = np.full(logits.shape, 0.2 / 4)
    np.put_along_axis(goal, targets[..., np.newaxis], 0.8 + 0.2 / 4, axis=-1)
    expected = -(goal * log_probabilities).sum(axis=-1).mean()
    actual = value(TokenCrossEntropy(label_smoothing=0.2), targets, logits)
    assert actual == pytest.approx(expected, rel=1e-5)


def test_weights_between_0_and_1_weight_the_mean():
    targets, logits, _ = batch([2], seed=2)
    weights = np.array([[1.0, 0.25]])
    expected = (nats(targets, logits) * weights).sum() / weights.sum()
    assert value(TokenCrossEntropy(), targets, logits, weights) == pytest.approx(expected, rel=1e-5)


@pytest.mark.backends
@pytest.mark.parametrize("target", [4, -1])
def test_a_target_outside_the_vocabulary_is_not_counted_as_0(target):
    targets, logits, _ = batch([2, 2], seed=3)
    targets[1, 1] = target
    if keras.backend.backend() == "jax":  # cannot raise an error for a value
        assert np.isnan(value(TokenCrossEntropy(), targets, logits))
        weights = np.array([[1.0, 1.0], [1.0, 0.0]])
        assert np.isfinite(value(TokenCrossEntropy(), targets, logits, weights))
        return
    with pytest.raises(Exception, match=r"outside the valid range|out of bounds"):
        value(TokenCrossEntropy(), targets, logits)


def test_nothing_that_counts_is_a_loss_of_0():
    targets, logits, weights = batch([2, 1], seed=3)
    for reduction in REDUCTIONS:
        assert value(TokenCrossEntropy(reduction), targets, logits, 0 * weights) == 0


def test_it_is_saved_with_a_model(tmp_path):
    model = language_model(5, units=3)
    model.compile(loss=TokenCrossEntropy("sequence", label_smoothing=0.1))
    model.save(tmp_path / "model.keras")
    loss = keras.models.load_model(tmp_path / "model.keras").loss
    assert (loss.reduction, loss.label_smoothing) == ("sequence", 0.1)


def test_bad_arguments_and_shapes_are_refused():
    with pytest.raises(ArgumentError, match=r"'sum_over_time'.*Got: reduction='mean'"):
        TokenCrossEntropy("mean")
    with pytest.raises(ArgumentError, match=r"label_smoothing must be a number in \[0, 1\)"):
        TokenCrossEntropy(label_smoothing=1)
    targets, logits, _ = batch([3, 2], seed=4)
    with pytest.raises(ArgumentError, match="one id for each vector of logits"):
        TokenCrossEntropy()(targets[..., np.newaxis], logits)
    with pytest.raises(ArgumentError, match=r"of shape \(2, 3\), as the logits"):
        TokenCrossEntropy()(targets[:, :2], logits)
