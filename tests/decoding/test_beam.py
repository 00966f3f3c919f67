"""A search with enough beams is the exhaustive one; a single beam is greedy."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.models import randomized, to_numpy
from seqkeras.decoding import beam, generate
from seqkeras.errors import ArgumentError
from seqkeras.models import language_model

#: A vocabulary of 12 ids, of which only a few are allowed: so few beams hold all beginnings.
SIZE, ALLOWED = 12, 3
FORBIDDEN = range(ALLOWED, SIZE)
PROMPTS = [[1, 2, 1], [0]]


@pytest.fixture(scope="module")
def model():
    return randomized(language_model(SIZE, embedding=3, units=5), scale=1.0)


def log_probabilities(model, ids):
    """Return those of each of the ids after the first, from one call of the model."""
    logits = to_numpy(model(np.array([ids[:-1]]), training=False))[0].astype("float64")
    logits = logits - logits.max(axis=-1, keepdims=True)
    table = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return table[np.arange(len(ids) - 1), ids[1:]]


def exhaustive(model, prompt, length, stop, *, length_penalty, min_length=0):
    """Return all (finished, score, ids, log-probabilities), in the order of a search."""
    sequences = []
    for count in range(1, length + 1):
        for ids in itertools.product(range(ALLOWED), repeat=count):
            inside, last = ids[:-1], ids[-1]
            is_finished = last == stop
            if stop in inside or (is_finished and count <= min_length):
                continue
            if not is_finished and count < length:
                continue
            values = log_probabilities(model, [*prompt, *ids])[-count:]
            score = values.sum() / ((5 + count) / 6) ** length_penalty
            sequences.append((is_finished, score, list(ids), values))
    return sorted(sequences, key=lambda sequence: sequence[:2], reverse=True)


def assert_found(found, row, expected, pad):
    for number, (is_finished, score, ids, values) in enumerate(expected):
        padding = found.ids.shape[-1] - len(ids)
        assert found.ids[row, number].tolist() == ids + padding * [pad]
        np.testing.assert_allclose(found.scores[row, number], score, rtol=1e-4)
        np.testing.assert_allclose(
            found.log_probabilities[row, number], [*values, *padding * [0]], atol=1e-4
        )
        assert found.lengths[row, number] == len(ids)
        assert found.finished[row, number] == is_finished


@examples(2)
@given(
    seed=st.integers(0, 1000),
    length=st.integers(1, 4),
    stop=st.integers(0, ALLOWED - 1),
    length_penalty=st.sampled_from([0.0, 0.6, 2.0]),
    min_length=st.integers(0, 2),
)
def test_enough_beams_are_the_exhaustive_search(
    model, seed, length, stop, length_penalty, min_length
):
    randomized(model, seed, 1.5)
    options = {"length_penalty": length_penalty, "min_length": min_length}
    found = beam(
        model, PROMPTS, length, beams=SIZE, nbest=4, stop=stop, forbid=FORBIDDEN, pad=-1, **options
    )
    for row, prompt in enumerate(PROMPTS):
        expected = exhaustive(model, prompt, length, stop, **options)
        assert_found(found, row, expected[:4], pad=-1)


@pytest.mark.backends
def test_the_search_is_exhaustive_on_every_backend(model):
    randomized(model, 3)
    found = beam(model, PROMPTS, 3, beams=9, nbest=5, stop=1, forbid=FORBIDDEN, length_penalty=1)
    for row, prompt in enumerate(PROMPTS):
        assert_found(found, row, exhaustive(model, prompt, 3, 1, length_penalty=1)[:5], pad=0)


@examples(2)
@given(
    seed=st.integers(0, 1000),
    length=st.integers(1, 8),
    stop=st.lists(st.integers(0, SIZE - 1), max_size=3),
    length_penalty=st.sampled_from([0.0, 0.6, 3.0]),
)
def test_a_single_beam_is_greedy(model, seed, length, stop, length_penalty):
    randomized(model, seed, 1.5)
    found = beam(model, PROMPTS, length, beams=1, stop=stop, length_penalty=length_penalty).best
    greedy = generate(model, PROMPTS, length, temperature=0, stop=stop)
    np.testing.assert_array_equal(found.ids, greedy.ids)
    np.testing.assert_array_equal(found.lengths, greedy.lengths)
    np.testing.assert_array_equal(found.finished, greedy.finished)
    np.testing.assert_allclose(found.log_probabilities, greedy.log_probabilities, atol=1e-5)


def test_more_beams_find_likelier_sequences(model):
    randomized(model, 0, 1.0)
    prompts = [[number] for number in range(SIZE)]
    few, many = (
        beam(model, prompts, 8, beams=beams, length_penalty=0).scores.mean() for beams in (1, 8)
    )
    assert many > few


def test_the_search_stops_when_no_beam_can_win(model):
    # The stop id is nearly certain, so the first finished beams win; a million steps take minutes.
    randomized(model, 0, 0.1)
    *weights, bias = model.get_weights()
    bias[4] = 20
    model.set_weights([*weights, bias])
    found = beam(model, PROMPTS, 1_000_000, beams=3, stop=4, length_penalty=0)
    assert found.lengths.ravel().tolist() == [1, 1]


def test_places_without_a_sequence_are_empty(model):
    found = beam(model, [[1]], 1, beams=6, nbest=6, stop=0, forbid=FORBIDDEN, pad=-1)
    assert found.lengths[0].tolist() == 3 * [1] + 3 * [0]
    assert found.finished[0].tolist() == [True] + 5 * [False]
    assert np.isneginf(found.scores[0, 3:]).all()
    assert (found.ids[0, 3:] == -1).all()
    assert [len(ids) for ids in found.sequences[0]] == [0, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": SIZE + 1}, f"beams must be at most {SIZE}, the size of the vocabulary"),
        ({"beams": 0}, "beams"),
        ({"nbest": 6}, "nbest must be at most beams, 5"),
        ({"length_penalty": -1}, "length_penalty must be a finite number >= 0"),
        ({"coverage_penalty": 0.2}, "coverage_penalty must be 0 without attention"),
        ({"min_length": -1}, "min_length"),
        ({"forbid": range(SIZE)}, "at least one to draw"),
        ({"stop": SIZE}, "stop must be an id or several"),
        ({"pad": 2**31}, "int32"),
    ],
)
def test_wrong_arguments_are_named(model, options, message):
    with pytest.raises(ArgumentError, match=message):
        beam(model, PROMPTS, 3, **options)
