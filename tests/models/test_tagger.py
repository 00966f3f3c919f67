"""A label for each token."""

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.models import tagger

IDS = np.array([[3, 1, 4, 1, 5], [2, 6, 0, 0, 0], [0, 0, 0, 0, 0]], "int32")
STACKS = {
    "lstm": {"units": (4, 3)},
    "gru both ways": {"units": 4, "cell": "gru", "bidirectional": True},
    "simple_rnn": {"units": 4, "cell": "simple_rnn", "embedding": 3},
}


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_padding_changes_no_logits_and_no_loss(stack, outputs, randomize):
    model = randomize(tagger(7, 3, **stack))
    logits = outputs(model, IDS)
    assert logits.shape == (3, 5, 3)
    np.testing.assert_allclose(logits[1, :2], outputs(model, IDS[1:2, :2])[0], atol=1e-6)
    assert np.isfinite(logits).all()
    tags = np.random.default_rng(0).integers(0, 3, IDS.shape)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, run_eagerly=True)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    nats = np.log(np.exp(shifted).sum(axis=-1)) - np.take_along_axis(
        shifted, tags[..., np.newaxis], axis=-1
    ).squeeze(-1)
    assert model.test_on_batch(IDS, tags) == pytest.approx(nats[IDS != 0].mean(), rel=1e-5)


def test_without_mask_zero_id_0_is_a_token(outputs, randomize):
    model = randomize(tagger(7, 3, units=4, mask_zero=False))
    unread = outputs(model, np.array([[2, 6]]))[:, -1]
    assert np.abs(outputs(model, np.array([[2, 6, 0]]))[:, -1] - unread).max() > 1e-4


def test_a_tagger_learns_whether_the_next_token_is_larger():
    keras.utils.set_random_seed(0)
    ids = np.random.default_rng(0).integers(1, 6, (256, 12)).astype("int32")
    larger = np.pad(ids[:, 1:] > ids[:, :-1], [(0, 0), (0, 1)]).astype("int32")
    model = tagger(6, 2, units=16, cell="gru", bidirectional=True)
    model.compile(
        keras.optimizers.Adam(0.02),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = model.fit(ids, larger, epochs=12, verbose=0)
    assert history.history["accuracy"][-1] > 0.97


def test_a_saved_tagger_gives_the_same(tmp_path, outputs, randomize):
    model = randomize(tagger(7, 3, units=4))
    model.save(tmp_path / "tagger.keras")
    loaded = keras.saving.load_model(tmp_path / "tagger.keras")
    np.testing.assert_array_equal(outputs(loaded, IDS), outputs(model, IDS))


def test_a_stateful_tagger_continues_a_text(outputs, randomize):
    model = randomize(tagger(7, 3, units=4))
    parts = tagger(7, 3, units=4, stateful=True, batch_size=1)
    parts.set_weights(model.get_weights())
    split = [outputs(parts, IDS[:1, :2]), outputs(parts, IDS[:1, 2:])]
    np.testing.assert_allclose(np.concatenate(split, axis=1), outputs(model, IDS[:1]), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 3), "vocabulary_size must be an integer >= 2. Got: vocabulary_size=1."),
        ((7, 1), "tags must be an integer >= 2. Got: tags=1."),
        ((7.0, 3), "vocabulary_size must be an integer >= 2. Got: vocabulary_size=7.0."),
    ],
)
def test_sizes_that_cannot_work_are_refused(arguments, message):
    with pytest.raises(ArgumentError) as caught:
        tagger(*arguments)
    assert str(caught.value) == message


def test_options_that_cannot_work_are_refused():
    with pytest.raises(ArgumentError, match="embedding must be an integer >= 1"):
        tagger(7, 3, embedding=0)
    with pytest.raises(ArgumentError, match="mask_zero must be True or False"):
        tagger(7, 3, mask_zero=1)
