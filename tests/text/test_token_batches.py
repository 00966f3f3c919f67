"""Batches of a text, against the text, and the models that read them."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError, DataError
from seqkeras.models import language_model
from seqkeras.text import TokenBatches, TokenCrossEntropy
from seqkeras.training import fit_stateful

sizes = {
    "rows": st.integers(1, 4),
    "timesteps": st.integers(1, 6),
    "partition": st.sampled_from(["random", "sequential"]),
    "seed": st.integers(0, 99),
}
TEXT = (np.arange(203) ** 2) % 7


def read(batches):
    """Inputs and targets of an epoch, each `(batches, rows, timesteps)`."""
    return (np.stack(part) for part in zip(*([x, y] for x, y, *_ in batches), strict=True))


@given(length=st.integers(0, 150), **sizes)
def test_each_epoch_reads_one_run_of_the_text_that_begins_anywhere(
    length, rows, timesteps, partition, seed
):
    text = np.arange((rows + 1) * timesteps + length)
    options = {"batch_size": rows, "timesteps": timesteps, "partition": partition, "seed": seed}
    batches = TokenBatches(text, **options)
    for epoch in range(3):
        batches.epoch = epoch
        x, y = read(batches)
        assert x.dtype == y.dtype == np.int32
        assert (y == x + 1).all()
        assert (np.diff(x, axis=2) == 1).all()
        run = np.sort(x.ravel())
        assert (run == run[0] + np.arange(batches.steps)).all()
        assert len(text) - 1 - batches.steps < (rows + 1) * timesteps
        if partition == "sequential":
            assert (x[1:, :, 0] == y[:-1, :, -1]).all()
        again = TokenBatches(text, **options)
        again.epoch = epoch
        np.testing.assert_array_equal(next(read(again)), x)


@given(length=st.integers(2, 150), **sizes)
def test_without_a_random_start_each_token_is_a_target_once(
    length, rows, timesteps, partition, seed
):
    text = np.arange(max(length, rows + 1))
    batches = TokenBatches(
        text,
        batch_size=rows,
        timesteps=timesteps,
        partition=partition,
        random_start=False,
        seed=seed,
    )
    assert batches.steps == len(text) - 1
    targets = []
    for x, y, weights in batches:
        assert x.shape == y.shape == weights.shape == (rows, timesteps)
        assert set(weights.ravel()) <= {0, 1}
        used = weights == 1
        assert (y[used] == x[used] + 1).all()
        assert (x[~used] == 0).all()
        targets += y[used].tolist()
    assert sorted(targets) == text[1:].tolist()


def test_epochs_begin_at_every_offset_within_a_row():
    batches = TokenBatches(np.arange(200), batch_size=3, timesteps=5, partition="sequential")
    starts = set()
    for epoch in range(200):
        batches.epoch = epoch
        starts.add(int(batches[0][0][0, 0]))
    assert {start % 5 for start in starts} == set(range(5))


def test_ids_beyond_the_integers_of_float32_stay_exact():
    text = 2**24 + np.arange(40)
    x, y = TokenBatches(text, batch_size=2, timesteps=3)[0]
    assert (y - x == 1).all()
    assert x.min() >= 2**24


def test_a_memory_map_of_small_integers_is_read(tmp_path):
    np.arange(100, dtype=np.uint8).tofile(tmp_path / "ids")
    text = np.memmap(tmp_path / "ids", np.uint8, "r")
    x, y = TokenBatches(text, batch_size=2, timesteps=3)[0]
    assert x.dtype == np.int32
    assert (y == x + 1).all()


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (np.arange(11), DataError, "have 12 ids for a batch"),
        ([], DataError, "have 12 ids for a batch"),
        ([-1] * 20, DataError, "ids must be from 0"),
        ([2**31] * 20, DataError, "ids must be from 0"),
        ([0.5] * 20, ArgumentError, "a one-dimensional array or a list of ids"),
        (["a"] * 20, ArgumentError, r"vocabulary.ids\(tokens\)"),
        ([[1, 2]] * 20, ArgumentError, "a one-dimensional array or a list of ids"),
    ],
)
def test_what_is_no_text_of_ids_is_refused(ids, error, message):
    with pytest.raises(error, match=message):
        TokenBatches(ids, batch_size=3, timesteps=3)


def test_a_text_without_a_token_for_each_row_is_refused():
    with pytest.raises(DataError, match="for each row"):
        TokenBatches(
            range(3), batch_size=3, timesteps=3, partition="sequential", random_start=False
        )
    with pytest.raises(ArgumentError, match="one of 'random', 'sequential'"):
        TokenBatches(range(30), batch_size=3, timesteps=3, partition="sequence")


def compiled(size=7, **options):
    keras.utils.set_random_seed(1)
    model = language_model(size, units=4, **options)
    model.compile(keras.optimizers.SGD(0.1), TokenCrossEntropy())
    return model


@pytest.fixture(scope="module")
def stateful():
    return compiled(stateful=True, batch_size=4)


@pytest.fixture(scope="module")
def sequential():
    return TokenBatches(TEXT, batch_size=4, timesteps=6, partition="sequential", seed=3)


def test_fit_stateful_carries_the_state_through_an_epoch_and_clears_it_before(stateful, sequential):
    # With learning rate 0, the loss of an epoch is that of the whole rows, read at once.
    stateful.optimizer.learning_rate = 0.0
    history = fit_stateful(stateful, sequential, 2, progress=False).history["loss"]
    whole = language_model(7, units=4)
    whole.set_weights(stateful.get_weights())
    for epoch, loss in enumerate(history):
        batches = TokenBatches(TEXT, batch_size=4, timesteps=6, partition="sequential", seed=3)
        batches.epoch = epoch
        x, y = (np.concatenate(part, axis=1) for part in map(list, read(batches)))
        logits = keras.ops.convert_to_numpy(whole(x)).astype(np.float64)
        shifted = logits - logits.max(axis=-1, keepdims=True)
        chosen = np.take_along_axis(shifted, y[..., np.newaxis], axis=-1)[..., 0]
        expected = np.log(np.exp(shifted).sum(axis=-1)) - chosen
        assert loss == pytest.approx(expected.mean(), rel=1e-5)


def test_fit_stateful_refuses_pieces_in_random_order(stateful):
    batches = TokenBatches(TEXT, batch_size=4, timesteps=6)
    with pytest.raises(ArgumentError, match="Use partition='sequential'"):
        fit_stateful(stateful, batches, 1)


def test_ids_that_the_model_does_not_have_are_refused_before_training(sequential):
    model = compiled(4, stateful=True, batch_size=4)
    with pytest.raises(ArgumentError, match=r"built for ids up to 4.*embeds 4 ids"):
        fit_stateful(model, sequential, 1, progress=False)
    batches = TokenBatches(TEXT, batch_size=4, timesteps=6)
    for read_batches in (model.fit, model.evaluate):
        with pytest.raises(ArgumentError, match=r"built for ids up to 4.*embeds 4 ids"):
            read_batches(batches, verbose=0)
