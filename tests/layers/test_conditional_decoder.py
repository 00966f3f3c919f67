"""Recurrent layers that read the previous target in training, and their own output otherwise."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import covering, examples
from helpers.models import randomized, to_numpy
from seqkeras import explain, layers, to_keras
from seqkeras.errors import ArgumentError
from seqkeras.layers._conditional_decoder import previous_values

L = keras.layers
RANDOM = np.random.default_rng(5)
ROWS, LENGTH = 3, 6
X = RANDOM.normal(size=(ROWS, LENGTH, 4)).astype("float32")
TARGETS = RANDOM.normal(size=(ROWS, LENGTH, 2)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 1, 0, 1, 1], [0] * 6], bool)

STACKS = {
    "two layers": lambda: [
        layers.GRU(4, return_sequences=True),
        layers.LSTM(3, return_sequences=True),
    ],
    "lstm": lambda: [layers.LSTM(3, return_sequences=True)],
    "cells of Keras": lambda: [
        L.RNN(L.StackedRNNCells([L.LSTMCell(4), L.GRUCell(3)]), return_sequences=True)
    ],
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.backends if name == "two layers" else ())
        for name in covering(list(STACKS), every=2)
    ],
)
def decoder(request):
    decoder = layers.ConditionalDecoder(STACKS[request.param](), 2, name="decoder")
    decoder.build([(None, None, 4), (None, None, 2)])
    return randomized(decoder)


def run(decoder, targets, training, mask=None):
    masks = [mask, None] if mask is not None else None
    inputs = [keras.ops.convert_to_tensor(x) for x in (X, targets)]
    return to_numpy(decoder(inputs, training=training, mask=masks))


@pytest.mark.parametrize("mask", [None, MASK], ids=["all count", "masked"])
def test_left_to_itself_it_writes_what_it_writes_when_told_its_own_outputs(decoder, mask):
    own = run(decoder, np.full_like(TARGETS, np.nan), training=False, mask=mask)
    told = run(decoder, own, training=True, mask=mask)
    counts = mask if mask is not None else np.ones((ROWS, LENGTH), bool)
    np.testing.assert_allclose(own[counts], told[counts], atol=1e-6)
    assert np.isfinite(own).all()
    assert np.abs(run(decoder, TARGETS, training=True)[:, 1:] - own[:, 1:]).min() > 1e-6


def test_an_output_reads_the_targets_before_it_and_no_other(decoder):
    before = run(decoder, TARGETS, training=True)
    changed = TARGETS.copy()
    changed[:, 2] += 1
    moved = np.abs(run(decoder, changed, training=True) - before)
    assert moved[:, :3].max() == 0
    assert moved[:, 3:].max(axis=2).min() > 1e-6


@examples(30)
@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=3))
def test_the_previous_value_is_the_last_one_that_counts(rows):
    mask = np.array(rows)
    x = RANDOM.normal(size=(*mask.shape, 2)).astype("float32")
    expected = np.zeros_like(x)
    for row, t in np.ndindex(mask.shape):
        earlier = np.flatnonzero(mask[row, :t])
        if earlier.size:
            expected[row, t] = x[row, earlier[-1]]
    np.testing.assert_array_equal(to_numpy(previous_values(x, mask)), expected)


def test_without_a_mask_the_previous_value_is_that_of_the_timestep_before():
    everything = np.ones(TARGETS.shape[:2], bool)
    plain, masked = (to_numpy(previous_values(TARGETS, mask)) for mask in (None, everything))
    np.testing.assert_array_equal(plain, masked)
    np.testing.assert_array_equal(plain[:, 1:], TARGETS[:, :-1])


@pytest.fixture
def model(decoder):
    """A model of a copy of the decoder, with the same weights."""
    copy = layers.ConditionalDecoder.from_config(decoder.get_config())
    x, targets = keras.Input((None, 4)), keras.Input((None, 2))
    model = keras.Model([x, targets], copy([x, targets]))
    model.set_weights(decoder.get_weights())
    return model


def test_a_saved_model_gives_the_same(decoder, model, tmp_path):
    expected = run(decoder, TARGETS, training=False)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(each.predict_on_batch([X, TARGETS]), expected, atol=1e-6)


def test_explain_tells_that_only_training_runs_on_the_kernel_of_a_layer():
    decoder = layers.ConditionalDecoder(STACKS["lstm"](), 2)
    (explanation,) = explain(decoder)
    assert explanation.training == explain(STACKS["lstm"]()[0])[0].training
    assert explanation.inference == "scan"


def test_to_keras_refuses_it_by_name(model):
    with pytest.raises(ArgumentError, match=r"'decoder' \(ConditionalDecoder\) has no counterpart"):
        to_keras(model)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (L.Dense(3), "Got: a Dense"),
        (L.GRU(3), "recurrent layers that return only sequences"),
        (L.GRU(3, return_sequences=True, return_state=True), "that return only sequences"),
        (L.GRU(3, return_sequences=True, go_backwards=True, name="g"), "go_backwards=True in 'g'"),
        (L.GRU(3, return_sequences=True, stateful=True, name="g"), "stateful=True in 'g'"),
    ],
)
def test_layers_that_cannot_be_fed_back_are_refused(layer, message):
    with pytest.raises(ArgumentError, match=message):
        layers.ConditionalDecoder([layer], 2)
