"""Batches of pairs, against the pairs, and the models that read them."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError, DataError
from seqkeras.text import PairBatches

START, END = 1, 2
sequence = st.lists(st.integers(3, 9), min_size=1, max_size=12)
cases = {
    "pairs": st.lists(st.tuples(sequence, sequence), min_size=1, max_size=30),
    "batch_size": st.integers(1, 7),
    "buckets": st.integers(1, 5),
    "shuffle": st.booleans(),
}


def build(pairs, **options):
    sources, targets = zip(*pairs, strict=True)
    return PairBatches(sources, targets, start_id=START, end_id=END, **options)


def some_pairs(count=40):
    random = np.random.default_rng(0)
    return [
        (random.integers(3, 10, random.integers(1, 9)).tolist(), [3] * int(random.integers(1, 7)))
        for _ in range(count)
    ]


def unpadded(batch):
    """The pairs of a batch, after checks of its padding and special tokens."""
    inputs, labels, weights = batch
    assert inputs["source"].dtype == inputs["target"].dtype == labels.dtype == np.int32
    assert labels.shape == weights.shape == inputs["target"].shape
    for source, target, label, weight in zip(
        inputs["source"], inputs["target"], labels, weights, strict=True
    ):
        length = int(weight.sum())
        assert weight.tolist() == [1] * length + [0] * (len(weight) - length)
        assert target[0] == START
        assert label[length - 1] == END
        assert (label[: length - 1] == target[1:length]).all()
        assert not target[length:].any()
        assert not label[length:].any()
        words = np.count_nonzero(source)
        assert not source[words:].any()
        yield source[:words].tolist(), label[: length - 1].tolist()


@given(**cases)
def test_each_epoch_has_each_pair_once(pairs, batch_size, buckets, shuffle):
    options = {"batch_size": batch_size, "buckets": buckets, "shuffle": shuffle}
    batches = build(pairs, **options)
    for epoch in range(2):
        batches.epoch = epoch
        assert sorted(pair for batch in batches for pair in unpadded(batch)) == sorted(pairs)
        sizes = [len(labels) for _, labels, _ in batches]
        assert sorted(sizes)[1:] == [batch_size] * (len(sizes) - 1)


@given(**cases)
def test_batches_have_few_shapes_of_which_the_first_two_differ(pairs, batch_size, buckets, shuffle):
    batches = build(pairs, batch_size=batch_size, buckets=buckets, shuffle=shuffle)
    shapes = [(x["source"].shape[1], x["target"].shape[1]) for x, _, _ in batches]
    assert len(set(shapes)) <= buckets
    assert sorted(shapes) == sorted(map(tuple, batches.shapes.tolist()))
    # What Keras on TensorFlow sees of the shapes: an axis is fixed if the first two share it.
    for axis in (0, 1):
        if len({shape[axis] for shape in shapes}) > 1:
            assert shapes[0][axis] != shapes[1][axis]


def test_padding_is_the_share_of_zeros():
    batches = build(some_pairs(), batch_size=8, buckets=3)
    ids = np.concatenate([part.ravel() for x, y, _ in batches for part in (x["source"], y)])
    assert batches.padding == pytest.approx((ids == 0).mean())
    assert batches.padding < build(some_pairs(), batch_size=8, buckets=1).padding


def test_the_order_is_a_function_of_the_seed_and_the_epoch():
    def sources(seed, epoch):
        batches = build(some_pairs(), batch_size=8, seed=seed)
        batches.epoch = epoch
        return [x["source"].tolist() for x, _, _ in batches]

    assert sources(0, 1) == sources(0, 1)
    assert sources(0, 1) != sources(0, 2)
    assert sources(0, 1) != sources(1, 1)


def test_sources_can_get_an_end():
    batches = build([([5, 6], [7]), ([8], [9])], batch_size=2, source_end_id=4, shuffle=False)
    inputs, _, _ = batches[0]
    assert inputs["source"].tolist() == [[8, 4, 0], [5, 6, 4]]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([([3], [4]), ([], [4])], "Sequence 1 of sources must have at least 1 id"),
        ([([3], [])], "Sequence 0 of targets must have at least 1 id"),
        ([([3], [4, END])], "not have the end token"),
        ([([3], [START, 4])], "not have the start token"),
        ([([3, 0], [4])], "Make the vocabulary with pad='<pad>'"),
        ([([3], [-4])], "Sequence 0 of targets must have ids from 1 on"),
    ],
)
def test_pairs_that_a_model_cannot_learn_are_refused_by_number(pairs, message):
    with pytest.raises(DataError, match=message):
        build(pairs, batch_size=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_id": None}, "start_id must be an integer >= 1.*start='<start>'"),
        ({"end_id": 0}, "end_id must be an integer >= 1.*end='<end>'"),
        ({"source_end_id": 0}, "source_end_id must be an integer >= 1"),
        ({"targets": [[4], [5]]}, "as many as sources"),
        ({"sources": []}, "no sequence"),
        ({"buckets": 0}, "buckets"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    arguments = {"sources": [[3]], "targets": [[4]], "start_id": START, "end_id": END}
    with pytest.raises(ArgumentError, match=message):
        PairBatches(**{**arguments, "batch_size": 2, **change})


def decoder(source_size=10, target_size=10):
    """A small encoder-decoder without a recurrent layer, which trains in no time."""
    source = keras.Input((None,), name="source", dtype="int32")
    target = keras.Input((None,), name="target", dtype="int32")
    memory = keras.layers.Embedding(source_size, 4)(source)
    memory = keras.layers.GlobalAveragePooling1D(keepdims=True)(memory)
    read = keras.layers.Embedding(target_size, 4)(target)
    logits = keras.layers.Dense(target_size)(keras.layers.Add()([read, memory]))
    model = keras.Model({"source": source, "target": target}, logits)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_fit_reads_batches_of_all_shapes_on_every_backend():
    batches = build(some_pairs(), batch_size=8, buckets=4)
    history = decoder().fit(batches, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert batches.epoch == 2


@pytest.mark.parametrize(
    ("sizes", "message"),
    [((9, 10), "up to 9, the largest of the source ids"), ((10, 3), "up to 3, the largest of")],
)
def test_ids_that_the_model_does_not_have_are_refused_before_training(sizes, message):
    with pytest.raises(ArgumentError, match=message):
        decoder(*sizes).fit(build(some_pairs(), batch_size=8), verbose=0)
