"""Batches of labeled sequences, against the sequences."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError, DataError
from seqkeras.text import LabeledBatches

sequences_of_ids = st.lists(
    st.lists(st.integers(1, 9), min_size=1, max_size=12), min_size=1, max_size=30
)


@given(sequences_of_ids, st.integers(1, 6), st.integers(1, 4), st.booleans())
def test_each_epoch_has_each_sequence_once_with_its_label(sequences, rows, buckets, shuffle):
    labels = [sum(ids) for ids in sequences]
    batches = LabeledBatches(
        sequences, labels, batch_size=rows, buckets=buckets, shuffle=shuffle, seed=1
    )
    read = []
    for x, y in batches:
        assert x.dtype == y.dtype == np.int32
        read += zip(([number for number in ids if number] for ids in x.tolist()), y, strict=True)
    assert sorted(read) == sorted(zip(sequences, labels, strict=True))


@given(sequences_of_ids, st.integers(1, 6))
def test_each_token_has_its_label_and_padding_has_weight_0(sequences, rows):
    labels = [[2 * number for number in ids] for ids in sequences]
    for x, y, weights in LabeledBatches(sequences, labels, batch_size=rows):
        assert x.shape == y.shape == weights.shape
        assert (y == 2 * x).all()
        assert (weights == (x > 0)).all()


@pytest.mark.parametrize(
    ("sequences", "labels", "error", "message"),
    [
        ([[1], []], [0, 1], DataError, "Sequence 1 must have at least 1 id"),
        ([[1], [0]], [0, 1], DataError, "Sequence 1 of sequences must have ids from 1 on"),
        ([[1], [2]], [0], ArgumentError, "for each of the 2 sequences"),
        ([[1], [2]], None, ArgumentError, "for each of the 2 sequences"),
        ([[1], [2]], [0, -1], DataError, "labels"),
        ([[1], [2]], [0.5, 1.5], ArgumentError, "labels"),
        ([[1], [2, 3]], [[0], [0]], DataError, "Sequence 1 must have a label for each of its 2"),
    ],
)
def test_labels_that_do_not_fit_are_refused(sequences, labels, error, message):
    with pytest.raises(error, match=message):
        LabeledBatches(sequences, labels, batch_size=2)


def classifier(ids=10, classes=3):
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(ids, 4),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(classes),
        ]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_fit_reads_batches_of_all_lengths_and_refuses_models_with_too_few_ids_or_classes():
    sequences = [[9] * length for length in range(1, 21)]
    batches = LabeledBatches(sequences, [2] * 20, batch_size=3, buckets=4)
    assert np.isfinite(classifier().fit(batches, verbose=0).history["loss"]).all()
    with pytest.raises(ArgumentError, match="up to 9"):
        classifier(ids=9).fit(batches, verbose=0)
    with pytest.raises(ArgumentError, match="up to 2, the largest of the targets"):
        classifier(classes=2).fit(batches, verbose=0)


def test_one_logit_is_enough_for_two_classes():
    batches = LabeledBatches([[1], [2]], [0, 1], batch_size=2)
    model = classifier(classes=1)
    model.compile("sgd", "binary_crossentropy")
    assert np.isfinite(model.fit(batches, verbose=0).history["loss"]).all()
