"""One answer for each timestep."""

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.models import many_to_many, many_to_one

RANDOM = np.random.default_rng(7)
CELLS = ["lstm", "gru", "simple_rnn"]


@pytest.mark.parametrize("cell", CELLS)
def test_each_answer_is_that_of_many_to_one_on_what_was_read_so_far(cell, outputs, randomize):
    sequences = randomize(many_to_many(3, outputs=2, cell=cell, units=(5, 4)))
    last = many_to_one(3, outputs=2, cell=cell, units=(5, 4))
    last.set_weights(sequences.get_weights())
    x = RANDOM.normal(size=(2, 6, 3))
    answers = outputs(sequences, x)
    for timestep in range(6):
        np.testing.assert_allclose(
            answers[:, timestep], outputs(last, x[:, : timestep + 1]), atol=1e-5
        )


def test_bidirectional_answers_see_what_comes_after_them(outputs, randomize):
    x = RANDOM.normal(size=(1, 6, 3))
    changed = x.copy()
    changed[:, -1] += 1
    for bidirectional in (False, True):
        model = randomize(many_to_many(3, units=(5, 4), bidirectional=bidirectional))
        moved = np.abs(outputs(model, changed) - outputs(model, x))[0, :, 0] > 1e-6
        assert moved.tolist() == [bidirectional] * 5 + [True]


def test_any_length_is_answered_in_full(outputs):
    model = many_to_many(3, outputs=2, units=5)
    for timesteps in (1, 4, 9):
        assert outputs(model, np.ones((2, timesteps, 3))).shape == (2, timesteps, 2)


def test_activation_is_that_of_the_head(outputs):
    model = many_to_many(3, outputs=4, activation="softmax", units=5)
    probabilities = outputs(model, RANDOM.normal(size=(2, 6, 3)))
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)


def masked(model, features=3):
    return keras.Sequential([keras.Input((None, features)), keras.layers.Masking(), model])


def padded_batch(lengths, timesteps=8, side="right"):
    """Rows alone, the same rows in one padded batch, and where the batch has values."""
    rows = [RANDOM.normal(size=(1, length, 3)) for length in lengths]
    batch, mask = np.zeros((len(rows), timesteps, 3)), np.zeros((len(rows), timesteps), bool)
    for number, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        place = slice(0, length) if side == "right" else slice(timesteps - length, None)
        batch[number, place], mask[number, place] = row[0], True
    return rows, batch, mask


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    ("cell", "bidirectional"), [("lstm", False), ("gru", True), ("simple_rnn", False)]
)
def test_padding_changes_no_answer(cell, bidirectional, side, outputs, randomize):
    model = many_to_many(3, outputs=2, cell=cell, units=(5, 4), bidirectional=bidirectional)
    randomize(model)
    rows, batch, mask = padded_batch([6, 8, 1], side=side)
    answers = outputs(masked(model), batch)
    expected = np.concatenate([outputs(model, row)[0] for row in rows])
    np.testing.assert_allclose(answers[mask], expected, atol=1e-5)


def test_a_fully_masked_row_gives_finite_answers_and_changes_no_other(outputs, randomize):
    model = randomize(many_to_many(3, units=(5, 4)))
    rows, batch, mask = padded_batch([6, 0, 8])
    answers = outputs(masked(model), batch)
    assert np.isfinite(answers).all()
    expected = np.concatenate([outputs(model, row)[0] for row in rows if row.size])
    np.testing.assert_allclose(answers[mask], expected, atol=1e-5)


@pytest.mark.parametrize("builder", [many_to_many, many_to_one])
def test_no_warning_claims_that_a_builder_destroys_masks(builder, outputs, recwarn):
    model = builder(3, outputs=2, units=5)
    reader = keras.Sequential([keras.layers.Embedding(9, 3, mask_zero=True), model])
    outputs(reader, np.array([[1, 2, 0, 0]]))
    assert not [warning for warning in recwarn if "mask" in str(warning.message)]
    output = reader(np.array([[1, 2, 0, 0]]))
    masks = {many_to_many: [[True, True, False, False]], many_to_one: None}
    mask = getattr(output, "_keras_mask", None)
    assert (None if mask is None else np.array(mask).tolist()) == masks[builder]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("lengths", [[6, 3, 8], [6, 0, 8]], ids=["ragged", "one row empty"])
def test_the_mask_reaches_the_loss(side, lengths, outputs, randomize):
    model = randomize(many_to_many(3, outputs=2, units=5))
    rows, batch, mask = padded_batch(lengths, side=side)
    targets = RANDOM.normal(size=(*mask.shape, 2))
    # What stands in the padding of the targets must not count.
    targets[~mask] = 1e3
    errors = [
        (outputs(model, row)[0] - targets[number, mask[number]]) ** 2
        for number, row in enumerate(rows)
        if row.size
    ]
    reader = masked(model)
    reader.compile(loss="mse", run_eagerly=True)
    loss = reader.test_on_batch(batch, targets)
    assert loss == pytest.approx(np.concatenate(errors).mean(), rel=1e-4)


def test_padding_changes_no_gradient(randomize):
    # One step of plain gradient descent moves the weights by the gradient.
    _, batch, mask = padded_batch([5, 5, 5], timesteps=5)
    targets = RANDOM.normal(size=(*mask.shape, 2))
    moved = []
    for padding in (0, 3):
        model = randomize(many_to_many(3, outputs=2, units=(5, 4)))
        reader = masked(model)
        reader.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse", run_eagerly=True)
        widths = [(0, 0), (0, padding), (0, 0)]
        reader.train_on_batch(np.pad(batch, widths), np.pad(targets, widths))
        moved.append(model.get_weights())
    before = randomize(many_to_many(3, outputs=2, units=(5, 4))).get_weights()
    for start, plain, padded in zip(before, *moved, strict=True):
        assert np.abs(plain - start).max() > 1e-4
        np.testing.assert_allclose(padded, plain, atol=1e-5)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3"])
@pytest.mark.parametrize("name", ["features", "outputs", "timesteps"])
def test_size_that_is_no_positive_integer_is_refused(name, value):
    sizes = {"features": 3} | {name: value}
    with pytest.raises(ArgumentError) as caught:
        many_to_many(sizes.pop("features"), **sizes)
    assert str(caught.value) == f"{name} must be an integer >= 1. Got: {name}={value!r}."
