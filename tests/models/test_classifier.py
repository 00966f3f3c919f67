"""A label for a whole sequence of tokens."""

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.models import classifier

IDS = np.array([[3, 1, 4, 1, 5], [2, 6, 0, 0, 0], [0, 0, 0, 0, 0]], "int32")


@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_no_logits(bidirectional, outputs, randomize):
    model = randomize(classifier(7, 3, units=(4, 3), cell="gru", bidirectional=bidirectional))
    logits = outputs(model, IDS)
    assert logits.shape == (3, 3)
    np.testing.assert_allclose(logits[1:2], outputs(model, IDS[1:2, :2]), atol=1e-6)
    np.testing.assert_allclose(logits[2:], outputs(model, np.zeros((1, 1), "int32")), atol=1e-6)


def test_a_classifier_learns_which_token_came_first():
    keras.utils.set_random_seed(0)
    ids = np.random.default_rng(0).integers(1, 4, (256, 8)).astype("int32")
    ids[::2, 5:] = 0
    model = classifier(4, 3, units=12, cell="gru")
    model.compile(
        keras.optimizers.Adam(0.03),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = model.fit(ids, ids[:, 0] - 1, epochs=12, verbose=0)
    assert history.history["accuracy"][-1] > 0.97


def test_a_saved_classifier_gives_the_same(tmp_path, outputs, randomize):
    model = randomize(classifier(7, 3, units=4))
    model.save(tmp_path / "classifier.keras")
    loaded = keras.saving.load_model(tmp_path / "classifier.keras")
    np.testing.assert_array_equal(outputs(loaded, IDS), outputs(model, IDS))


def test_a_single_class_is_refused():
    with pytest.raises(ArgumentError) as caught:
        classifier(7, 1)
    assert str(caught.value) == "classes must be an integer >= 2. Got: classes=1."
