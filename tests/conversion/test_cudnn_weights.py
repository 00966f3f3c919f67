"""Weights of CuDNNLSTM and CuDNNGRU, against those that Keras 2 itself converted."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from seqkeras import conversion
from seqkeras.errors import ArgumentError

GOLDEN = json.loads((Path(__file__).parent / "data" / "legacy.json").read_text())["weights"]
CASES = ["lstm", "both lstm", "gru", "both gru"]


def arrays(lists):
    return [np.array(numbers, "float32") for numbers in lists]


@pytest.mark.parametrize("numbers", GOLDEN, ids=CASES)
def test_keras_2_converts_to_the_same(numbers):
    there = conversion.from_cudnn(arrays(numbers["cudnn"]))
    for actual, expected in zip(there, arrays(numbers["keras"]), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("numbers", GOLDEN, ids=CASES)
def test_keras_2_converts_back_to_the_same(numbers):
    back = conversion.to_cudnn(arrays(numbers["keras"]))
    for actual, expected in zip(back, arrays(numbers["back"]), strict=True):
        if len(actual) == 16:  # Keras 2 splits the bias of an LSTM in halves; only the sum matters
            actual, expected = (bias.reshape(2, -1).sum(axis=0) for bias in (actual, expected))
        np.testing.assert_allclose(actual, expected, atol=1e-6)


@examples(5)
@given(
    st.lists(st.tuples(st.sampled_from([keras.layers.LSTM, keras.layers.GRU]), st.integers(1, 4)))
)
def test_layers_are_found_among_others_and_come_back(recurrent):
    parts = [kind(units, return_sequences=True) for kind, units in recurrent]
    parts = [keras.layers.Dense(3), *parts, keras.layers.Embedding(4, 2)]
    features = 2
    for part in parts:
        part.build((None, None, features))
        features = getattr(part, "units", features)
    weights = [array for part in parts for array in part.get_weights()]
    if not recurrent:
        with pytest.raises(ArgumentError, match="weights must be those of an LSTM"):
            conversion.to_cudnn(weights)
        return
    back = conversion.from_cudnn(conversion.to_cudnn(weights))
    for actual, expected in zip(back, weights, strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("convert", "weights", "message"),
    [
        (
            conversion.from_cudnn,
            [np.ones((3, 8)), np.ones((2, 8)), np.ones(8)],
            "of a CuDNNLSTM or",
        ),
        (conversion.from_cudnn, [], "those of a CuDNNLSTM"),
        (conversion.to_cudnn, [np.ones((3, 6)), np.ones((2, 6)), np.ones(6)], "reset_after=True"),
        (conversion.to_cudnn, [np.ones((3, 8)), np.ones((2, 8))], "with biases"),
    ],
    ids=["of keras", "none", "reset before", "no bias"],
)
def test_weights_of_other_layers_are_refused(convert, weights, message):
    with pytest.raises(ArgumentError, match=message):
        convert(weights)
