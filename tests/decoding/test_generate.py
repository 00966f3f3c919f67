"""Drawn tokens are those of the loop that calls the model on the growing sequence."""

import time

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from helpers.examples import covering, examples, long_run_only
from helpers.models import randomized, sequential, to_numpy
from seqkeras.decoding import beam, generate
from seqkeras.errors import ArgumentError
from seqkeras.models import language_model

SIZE = 7
PROMPTS = [[1, 2, 3, 4, 5], [6], [3, 3]]


def built(seed=0, *, scale=1.0, **options):
    return randomized(language_model(SIZE, embedding=3, units=5, **options), seed, scale)


@pytest.fixture(scope="module")
def model():
    return built()


def log_probabilities(model, ids):
    logits = to_numpy(model(np.array([ids]), training=False))[0].astype("float64")
    logits = logits if logits.ndim == 1 else logits[-1]
    return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()


def greedy_loop(model, prompt, length, stop=(), forbid=()):
    """Return the ids, their log-probabilities and whether a stop id was met."""
    ids, values = list(prompt), []
    for _ in range(length):
        row = log_probabilities(model, ids)
        allowed = row.copy()
        allowed[list(forbid)] = -np.inf
        ids.append(int(allowed.argmax()))
        values.append(row[ids[-1]])
        if ids[-1] in stop:
            break
    return ids[len(prompt) :], values, ids[-1] in stop


@examples(6)
@given(
    prompts=st.lists(
        st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=5), min_size=1, max_size=4
    ),
    length=st.integers(1, 6),
    stop=st.lists(st.integers(0, SIZE - 1), max_size=2),
    forbid=st.lists(st.integers(0, SIZE - 1), max_size=3),
)
def test_greedy_rows_are_those_of_the_loop_over_the_growing_sequence(
    model, prompts, length, stop, forbid
):
    drawn = generate(model, prompts, length, temperature=0, stop=stop, forbid=forbid, pad=-1)
    assert drawn.ids.dtype == np.int32
    assert drawn.ids.shape == (len(prompts), length)
    for number, prompt in enumerate(prompts):
        ids, values, finished = greedy_loop(model, prompt, length, stop, forbid)
        padding = length - len(ids)
        assert drawn.ids[number].tolist() == ids + padding * [-1]
        np.testing.assert_allclose(
            drawn.log_probabilities[number], values + padding * [0], atol=1e-5
        )
        assert drawn.lengths[number] == len(ids)
        assert drawn.finished[number] == finished
        assert drawn.sequences[number].tolist() == (ids[:-1] if finished else ids)


@pytest.mark.backends
def test_rows_with_prompts_of_any_lengths_are_those_of_the_rows_by_themselves():
    model = built(cell="lstm")
    together = generate(model, PROMPTS, 6, temperature=0, stop=2)
    for number, prompt in enumerate(PROMPTS):
        ids, values, finished = greedy_loop(model, prompt, 6, stop=[2])
        assert together.ids[number, : len(ids)].tolist() == ids
        np.testing.assert_allclose(
            together.log_probabilities[number, : len(ids)], values, atol=1e-5
        )
        assert together.finished[number] == finished


@pytest.mark.backends
def test_draws_are_a_function_of_the_seed(model):
    def drawn(seed):
        return generate(model, [[1]] * 30, 8, seed=seed).ids

    first = drawn(1)
    np.testing.assert_array_equal(drawn(1), first)
    assert (drawn(2) != first).any()
    assert (drawn(None) != drawn(None)).any()
    assert len({tuple(row) for row in first}) > 20


def shares(model, **options):
    """Return how often each id is drawn as the first one."""
    ids = generate(model, [[1, 2]] * 20_000, 1, seed=0, **options).ids
    return np.bincount(ids[:, 0], minlength=SIZE) / len(ids)


def probabilities(model, temperature=1.0):
    scaled = log_probabilities(model, [1, 2]) / temperature
    exponentials = np.exp(scaled - scaled.max())
    return exponentials / exponentials.sum()


@pytest.mark.parametrize("temperature", covering([0.5, 1.0, 3.0], every=2))
def test_ids_are_drawn_with_the_probabilities_of_the_model(model, temperature):
    expected = probabilities(model, temperature)
    np.testing.assert_allclose(shares(model, temperature=temperature), expected, atol=0.02)


@pytest.mark.backends
def test_top_k_draws_among_the_likeliest(model):
    expected = probabilities(model)
    expected[np.argsort(-expected)[3:]] = 0
    np.testing.assert_allclose(shares(model, top_k=3), expected / expected.sum(), atol=0.02)


@pytest.mark.parametrize("top_p", covering([0.5, 0.01, 0.8], every=3))
def test_top_p_draws_among_the_fewest_that_reach_it(model, top_p):
    expected = probabilities(model)
    order = np.argsort(-expected)
    count = np.searchsorted(np.cumsum(expected[order]), top_p) + 1
    expected[order[count:]] = 0
    np.testing.assert_allclose(shares(model, top_p=top_p), expected / expected.sum(), atol=0.02)


def test_top_k_and_top_p_of_everything_draw_what_is_drawn_without_them(model):
    plain = generate(model, PROMPTS, 9, seed=3)
    whole = generate(model, PROMPTS, 9, seed=3, top_k=SIZE, top_p=1.0)
    np.testing.assert_array_equal(whole.ids, plain.ids)


@pytest.mark.parametrize("options", covering([{"top_p": 0.9}, {}, {"top_k": 3}], every=3))
def test_the_lowest_temperature_draws_the_likeliest(options):
    model = built(scale=30.0)  # logits of hundreds
    coldest = generate(model, PROMPTS, 6, temperature=1e-30, seed=0, **options)
    greedy = generate(model, PROMPTS, 6, temperature=0)
    np.testing.assert_array_equal(coldest.ids, greedy.ids)
    np.testing.assert_array_equal(coldest.log_probabilities, greedy.log_probabilities)
    assert np.isfinite(coldest.log_probabilities).all()


def test_the_loop_stops_when_all_rows_have(model):
    start = time.perf_counter()
    drawn = generate(model, PROMPTS, 1_000_000, temperature=0, stop=range(SIZE))
    assert time.perf_counter() - start < 60  # a million steps take longer
    assert drawn.lengths.tolist() == [1, 1, 1]
    assert drawn.finished.all()


def test_ids_that_the_model_masks_are_never_drawn():
    model = built(mask_zero=True)
    ids = generate(model, [[1]] * 50, 10, temperature=5.0, seed=0).ids
    assert (ids > 0).all()
    assert len(np.unique(ids)) == SIZE - 1


def test_a_prompt_with_padding_is_refused_by_a_model_that_masks_it():
    with pytest.raises(ArgumentError, match="unequal lengths as a list"):
        generate(built(mask_zero=True), [[1, 0, 2]], 3)


def test_a_start_id_comes_before_each_prompt(model):
    with_start = generate(model, [[], [2]], 4, temperature=0, start=5)
    spelled_out = generate(model, [[5], [5, 2]], 4, temperature=0)
    np.testing.assert_array_equal(with_start.ids, spelled_out.ids)


def test_new_weights_count_without_another_trace():
    model = built()
    generate(model, PROMPTS, 5, temperature=0)
    randomized(model, seed=5)
    drawn = generate(model, PROMPTS, 5, temperature=0)
    assert drawn.ids[0].tolist() == greedy_loop(model, PROMPTS[0], 5)[0]


@pytest.mark.parametrize("return_sequences", [True, False])
def test_any_keras_model_of_ids_generates(return_sequences):
    stack = [
        layers.Embedding(SIZE, 3),
        layers.LSTM(4, return_sequences=True),
        layers.Dropout(0.5),
        layers.SimpleRNN(4, return_sequences=return_sequences),
        layers.Dense(SIZE),
    ]
    model = randomized(sequential(*stack, shape=(None,)))
    drawn = generate(model, PROMPTS, 4, temperature=0)
    assert drawn.ids[0].tolist() == greedy_loop(model, PROMPTS[0], 4)[0]


def test_a_stateful_model_generates_for_any_number_of_rows_and_keeps_its_state():
    model = built(stateful=True, batch_size=2)
    model.predict_on_batch(np.array([[1, 2], [3, 4]]))
    states = [to_numpy(state) for layer in model.layers for state in getattr(layer, "states", [])]
    drawn = generate(model, PROMPTS, 4, temperature=0)
    after = [to_numpy(state) for layer in model.layers for state in getattr(layer, "states", [])]
    for before, state in zip(states, after, strict=True):
        np.testing.assert_array_equal(before, state)
    assert drawn.ids[0].tolist() == greedy_loop(built(), PROMPTS[0], 4)[0]


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        ([[1, SIZE]], {}, "row 0 of prompts must be ids from 0 and below 7"),
        ([[1], [-1]], {}, "row 1 of prompts"),
        ([[1], []], {}, "no token in row 1"),
        ([], {}, "no row"),
        ([[0.5]], {}, "float64"),
        ("text", {}, "A vocabulary turns text into ids"),
        (["text"], {}, "a row of"),
        ([1, 2], {}, "Put a single row into a list"),
        ([[2**40]], {}, "int32"),
        ([[1]], {"length": 0}, "length must be an integer >= 1"),
        ([[1]], {"stop": SIZE}, "stop must be an id or several, each from 0 and below 7"),
        ([[1]], {"forbid": -1}, "forbid must be an id"),
        ([[1]], {"forbid": range(SIZE)}, "at least one to draw"),
        ([[1]], {"temperature": -1}, "temperature must be a finite number >= 0"),
        ([[1]], {"temperature": float("nan")}, "temperature"),
        ([[1]], {"top_k": 8}, "top_k must be at most 7"),
        ([[1]], {"top_k": 0}, "top_k"),
        ([[1]], {"top_p": 0}, "top_p must be a number above 0"),
        ([[1]], {"start": SIZE}, "ids from 0 and below 7"),
    ],
)
def test_wrong_arguments_are_named(model, prompts, options, message):
    with pytest.raises(ArgumentError, match=message):
        generate(model, prompts, **{"length": 3, **options})


def test_a_model_that_is_no_language_model_is_refused():
    x = keras.Input((None, 2))
    with pytest.raises(ArgumentError, match="language model"):
        generate(keras.Model(x, layers.GRU(3)(x)), PROMPTS, 3)
    softmax = sequential(
        layers.Embedding(SIZE, 3), layers.GRU(3), layers.Dense(SIZE, "softmax"), shape=(None,)
    )
    with pytest.raises(ArgumentError, match="logits"):
        generate(softmax, PROMPTS, 3)
    small = sequential(layers.Embedding(3, 3), layers.GRU(3), layers.Dense(SIZE), shape=(None,))
    with pytest.raises(ArgumentError, match="reads ids below 3"):
        generate(small, PROMPTS, 3)


class Shifted(keras.layers.Layer):
    """Adds the timestep before, which a single step does not see."""

    def call(self, x):
        return x + keras.ops.pad(x[:, :-1], [[0, 0], [1, 0], [0, 0]])


def test_a_layer_that_reads_other_timesteps_is_named():
    stack = [layers.Embedding(SIZE, 3), Shifted(name="shifted")]
    stack += [layers.GRU(3, return_sequences=True), layers.Dense(SIZE)]
    with pytest.raises(ArgumentError, match="'shifted'"):
        generate(randomized(sequential(*stack, shape=(None,))), PROMPTS, 3)


@long_run_only
def test_a_model_in_mixed_precision_generates(model):
    options = {"dtype": "mixed_bfloat16"}
    stack = [layers.Embedding(SIZE, 3, **options), layers.GRU(4, return_sequences=True, **options)]
    mixed = randomized(sequential(*stack, layers.Dense(SIZE, **options), shape=(None,)))
    drawn = generate(mixed, PROMPTS, 4, top_p=0.8, seed=0)
    assert np.isfinite(drawn.log_probabilities).all()
    assert np.isfinite(beam(mixed, PROMPTS, 4, beams=3).scores).all()


def test_a_model_that_diverged_is_named():
    model = built()
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    with pytest.raises(ArgumentError, match="finite"):
        generate(model, PROMPTS, 3, seed=0)
