"""Tests of the epoch number of data sets for `fit`."""

import functools
import warnings

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.windows._dataset import Epochs


class Recorded(Epochs):
    """Batches of zeros that record which batch of which epoch was requested."""

    def __init__(self, count=4, seed=0):
        super().__init__(seed)
        self.count = count
        self.read = []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self._mark_requested(index)
        self.read.append((self.epoch, index))
        return self.first_batch()

    def first_batch(self):
        return np.zeros((2, 1)), np.zeros((2, 1))


@functools.cache
def model():
    small = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    small.compile(keras.optimizers.SGD(0.0), "mse")
    return small


def fit(batches, epochs, **options):
    """Train, and forget which batches Keras read before the first epoch."""
    first = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: None if epoch else batches.read.clear()
    )
    model().fit(batches, epochs=epochs, verbose=0, shuffle=False, callbacks=[first], **options)


def epochs_of_fit(batches, epochs):
    """Return the epochs that training read, each to its end."""
    fit(batches, epochs)
    read = [batches.read[start : start + len(batches)] for start in range(0, 99, len(batches))]
    numbers = [batch[0][0] for batch in read[:epochs]]
    for number, batch in zip(numbers, read, strict=False):
        assert batch == [(number, index) for index in range(len(batches))]
    return numbers


@pytest.mark.backends
def test_epochs_of_fit_are_counted_from_0_and_a_later_fit_continues():
    batches = Recorded()
    assert epochs_of_fit(batches, 3) == [0, 1, 2]
    assert batches.epoch == 3  # the next one, so that it can be stored and restored
    assert epochs_of_fit(batches, 2) == [3, 4]
    batches.epoch = 7
    assert batches.epoch == 7
    assert epochs_of_fit(batches, 2) == [7, 8]


@pytest.mark.parametrize(
    ("count", "part"),
    [(4, 2), (4, 1), pytest.param(9, 3, marks=pytest.mark.backends), (10, 2), (4, 4)],
)
def test_epochs_of_some_steps_are_parts_of_one_pass(count, part):
    batches = Recorded(count)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(batches, 2 * count // part, steps_per_epoch=part)
    # Keras reads ahead: a pass may be over before its last part is trained on.
    first, second = batches.read[:count], batches.read[count : 2 * count]
    assert first == [(0, index) for index in range(count)]
    assert second == [(second[0][0], index) for index in range(count)]
    assert second[0][0] > 0


def test_an_interrupted_pass_is_repeated():
    batches = Recorded()
    batches.on_epoch_begin()
    batches[0], batches[1]
    batches.on_epoch_begin()
    assert batches.epoch == 0
    batches[0], batches[1], batches[2], batches[3]
    batches.on_epoch_end()
    assert batches.epoch == 1


def test_calls_of_keras_before_the_first_epoch_do_not_advance_it():
    batches = Recorded()
    batches[0], batches[1]
    batches.on_epoch_end()
    batches.on_epoch_begin()
    batches[0]
    batches.on_epoch_end()
    batches.on_epoch_begin()
    assert batches.epoch == 0


@pytest.mark.backends
def test_a_training_that_is_resumed_reads_the_epochs_that_are_left(tmp_path):
    def interrupt(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    options = {"epochs": 4, "verbose": 0, "shuffle": False}
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    stop = keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
    with pytest.raises(KeyboardInterrupt):
        model().fit(Recorded(), callbacks=[backup, stop], **options)
    batches = Recorded()  # as a new process has them
    model().fit(batches, callbacks=[keras.callbacks.BackupAndRestore(tmp_path)], **options)
    read = {epoch for epoch, _ in batches.read[2:]}  # without those before the first epoch
    assert read == {2, 3}
    assert batches.epoch == 4
    batches = Recorded()
    model.__wrapped__().fit(batches, initial_epoch=3, **options)
    assert {epoch for epoch, _ in batches.read[2:]} == {3}


@pytest.mark.parametrize("epoch", [-1, 0.5, True, None, "1"])
def test_epoch_that_is_not_a_whole_number_is_refused(epoch):
    batches = Recorded()
    with pytest.raises(ArgumentError, match="epoch must be an integer >= 0") as caught:
        batches.epoch = epoch
    assert f"epoch={epoch!r}" in str(caught.value)
    assert batches.epoch == 0


@pytest.mark.parametrize("seed", [-1, 0.5, True, "1"])
def test_seed_that_is_not_a_whole_number_is_refused(seed):
    with pytest.raises(ArgumentError, match="seed must be an integer >= 0") as caught:
        Recorded(seed=seed)
    assert f"seed={seed!r}" in str(caught.value)


def test_without_a_seed_one_is_drawn_and_can_be_read():
    seeds = {Recorded(seed=None).seed for _ in range(3)}
    assert len(seeds) == 3
    assert Recorded(seed=min(seeds)).seed == min(seeds)


def test_keras_requests_batches_in_sequence():
    assert Recorded().workers == 1
    assert not Recorded().use_multiprocessing
