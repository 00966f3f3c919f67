"""Encoder-decoders are decoded step by step as the whole model computes, also from files."""

import functools

import keras
import numpy as np
import pytest

from helpers.examples import covering
from helpers.models import randomized, to_numpy
from seqkeras._keras_graph import ModelGraph
from seqkeras.decoding import beam, generate
from seqkeras.errors import ArgumentError
from seqkeras.models import sequence_to_sequence

SOURCES, TARGETS = 9, 8
START, STOP = 1, 2
TEXTS = [[1, 2, 3], [4, 4], [5, 6, 7, 8, 1]]

FORMS = {
    "additive": {"attention": "additive", "bidirectional": True},
    "dot": {"attention": "dot", "cell": "lstm"},
    "none": {"attention": None, "units": (6, 6), "bidirectional": True},
}


@functools.cache
def built(form="additive"):
    options = {"embedding": 4, "units": 6, **FORMS[form]}
    return randomized(sequence_to_sequence(SOURCES, TARGETS, **options), scale=0.8)


def padded(rows):
    width = max(map(len, rows))
    return np.array([[*row, *[0] * (width - len(row))] for row in rows], "int32")


def log_probabilities(model, source, ids):
    """Return those of each of the ids after the first, for one source without padding."""
    inputs = {"source": np.array([source]), "target": np.array([ids[:-1]])}
    logits = to_numpy(model(inputs, training=False))[0].astype("float64")
    logits = logits - logits.max(axis=-1, keepdims=True)
    table = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return table, table[np.arange(len(ids) - 1), ids[1:]]


def greedy_loop(model, source, length):
    ids = [START]
    for _ in range(length):
        table, _ = log_probabilities(model, source, [*ids, 0])
        ids.append(1 + int(table[-1, 1:].argmax()))  # id 0 is padding
        if ids[-1] == STOP:
            break
    return ids[1:], log_probabilities(model, source, ids)[1]


@pytest.mark.parametrize("form", covering(list(FORMS), every=2))
def test_greedy_rows_are_those_of_the_loop_over_the_growing_target(form):
    model = built(form)
    drawn = generate(model, TEXTS, 5, temperature=0, start=START, stop=STOP)
    for number, source in enumerate(TEXTS):
        ids, values = greedy_loop(model, source, 5)
        assert drawn.ids[number].tolist() == ids + (5 - len(ids)) * [0]
        np.testing.assert_allclose(drawn.log_probabilities[number, : len(ids)], values, atol=1e-5)
        assert drawn.finished[number] == (ids[-1] == STOP)


def test_a_list_a_padded_array_and_a_dict_are_the_same_sources():
    drawn, *others = (
        generate(built(), sources, 5, temperature=0, start=START).ids
        for sources in (TEXTS, padded(TEXTS), {"source": TEXTS, "target": None})
    )
    for other in others:
        np.testing.assert_array_equal(other, drawn)


def test_the_attention_of_each_token_is_that_of_the_model():
    drawn = generate(built(), TEXTS, 5, temperature=0, start=START)
    assert drawn.attention.shape == (3, 5, 5)
    np.testing.assert_allclose(drawn.attention.sum(axis=-1), 1, atol=1e-5)
    for row, source in zip(drawn.attention, TEXTS, strict=True):
        np.testing.assert_allclose(row[:, len(source) :], 0, atol=1e-6)
    targets = np.concatenate([np.full((3, 1), START), drawn.ids[:, :-1]], axis=1)
    read = keras.Model(built().input, decoder_inputs())
    inputs = read({"source": padded(TEXTS), "target": targets})
    _, expected = built().get_layer("decoder")(inputs, return_attention=True)
    np.testing.assert_allclose(drawn.attention, to_numpy(expected), atol=1e-5)


def decoder_inputs():
    calls = ModelGraph(built()).calls
    return next(list(call.input_tensors) for call in calls if call.operation.name == "decoder")


def test_a_loaded_model_decodes_the_same(tmp_path):
    model = built("dot")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for decode in (functools.partial(generate, temperature=0), beam):
        expected = decode(model, TEXTS, 5, start=START, stop=STOP)
        actual = decode(loaded, TEXTS, 5, start=START, stop=STOP)
        np.testing.assert_array_equal(actual.ids, expected.ids)
        np.testing.assert_allclose(actual.log_probabilities, expected.log_probabilities, atol=1e-5)


@pytest.mark.backends
def test_beams_have_the_log_probabilities_scores_and_attention_of_the_model():
    model = built()
    options = {"length_penalty": 0.8, "coverage_penalty": 0.3, "start": START, "stop": STOP}
    found = beam(model, TEXTS, 6, beams=4, nbest=4, **options)
    assert (np.diff(found.scores) <= 0).all() or not found.finished.all()
    for row, source in enumerate(TEXTS):
        for number in range(4):
            count = found.lengths[row, number]
            ids = found.ids[row, number, :count]
            _, expected = log_probabilities(model, source, [START, *ids])
            values = found.log_probabilities[row, number]
            np.testing.assert_allclose(values[:count], expected, atol=1e-4)
            attention = found.attention[row, number]
            np.testing.assert_allclose(attention[:count].sum(axis=-1), 1, atol=1e-5)
            covered = np.minimum(attention.sum(axis=0)[: len(source)], 1)
            score = expected.sum() / ((5 + count) / 6) ** 0.8 + 0.3 * np.log(covered).sum()
            np.testing.assert_allclose(found.scores[row, number], score, rtol=1e-3)
            assert found.finished[row, number] == (ids[-1] == STOP)


def test_a_source_of_padding_only_decodes():
    drawn = generate(built(), [[], [1, 2]], 4, temperature=0, start=START)
    assert np.isfinite(drawn.log_probabilities).all()
    alone = generate(built(), [[1, 2]], 4, temperature=0, start=START)
    np.testing.assert_array_equal(drawn.ids[1], alone.ids[0])


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        (TEXTS, {}, "start must be an id for an encoder-decoder"),
        (TEXTS, {"start": TARGETS}, "start must be ids from 0 and below 8"),
        (TEXTS, {"start": 0}, "padding"),
        ([[SOURCES]], {"start": START}, "row 0 of source must be ids from 0 and below 9"),
        ({"text": TEXTS}, {"start": START}, "without 'source'"),
        ([], {"start": START}, "no row"),
        ([[1.5]], {"start": START}, "float64"),
    ],
)
def test_wrong_arguments_are_named(sources, options, message):
    with pytest.raises(ArgumentError, match=message):
        generate(built(), sources, 3, **options)


def test_a_model_that_changes_the_logits_is_refused():
    model = built()
    halved = keras.Model(model.inputs, keras.layers.Rescaling(0.5)(model.output))
    with pytest.raises(ArgumentError, match="logits of its decoder"):
        generate(halved, TEXTS, 3, start=START)


def test_a_decoder_of_numbers_has_no_tokens_to_draw():
    model = sequence_to_sequence(SOURCES, target_features=2, units=2)
    with pytest.raises(ArgumentError, match="model must be a model with a decoder of ids"):
        generate(model, TEXTS, 3, start=START)
