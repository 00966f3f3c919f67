"""Vocabularies: ids of tokens, and tokens of ids."""

from collections import Counter

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError, FileFormatError
from seqkeras.text import Vocabulary, ngrams

WORDS = ["to", "be", "or", "not", "to", "be", "that", "is", "the", "question", "to"]
texts = st.lists(st.text("abcd", min_size=1, max_size=2), min_size=1, max_size=30)


def test_common_tokens_come_first_and_equally_common_ones_by_the_alphabet():
    vocabulary = Vocabulary(WORDS)
    assert list(vocabulary) == ["<unk>", "to", "be", "is", "not", "or", "question", "that", "the"]
    assert list(vocabulary.counts.items())[:3] == [("to", 3), ("be", 2), ("is", 1)]


@given(texts, st.randoms())
def test_ids_do_not_depend_on_the_order_of_the_text(tokens, random):
    shuffled = random.sample(tokens, len(tokens))
    assert list(Vocabulary(tokens)) == list(Vocabulary([[token] for token in shuffled]))
    assert Vocabulary(tokens).counts == Counter(tokens)


@given(texts)
def test_tokens_of_ids_are_the_tokens(tokens):
    vocabulary = Vocabulary(tokens, pad="<pad>")
    nested = [tokens, [], [[tokens[0]], tokens]]
    assert vocabulary.tokens(vocabulary.ids(nested)) == nested
    assert vocabulary.tokens(np.array([vocabulary.ids(tokens)], np.int32)) == [tokens]
    assert [vocabulary[token] for token in vocabulary] == list(range(len(vocabulary)))


def test_special_tokens_come_first_in_the_given_order():
    named = {"pad": "<PAD>", "unknown": "<UNK>", "start": "<GO>", "end": "<EOS>"}
    vocabulary = Vocabulary(WORDS, **named)
    assert list(vocabulary)[:4] == ["<PAD>", "<UNK>", "<GO>", "<EOS>"]
    ids = vocabulary.pad_id, vocabulary.unknown_id, vocabulary.start_id, vocabulary.end_id
    assert ids == (0, 1, 2, 3)
    vocabulary = Vocabulary(WORDS, specials=("<GO>", "<EOS>", "<mask>", "<UNK>"), **named)
    assert vocabulary.specials == ("<PAD>", "<GO>", "<EOS>", "<mask>", "<UNK>")
    assert (vocabulary.pad_id, vocabulary.start_id, vocabulary.unknown_id) == (0, 1, 4)


def test_special_tokens_in_the_text_are_counted_and_keep_their_ids():
    vocabulary = Vocabulary(["a", "<unk>", "a", "<unk>", "<unk>"])
    assert list(vocabulary) == ["<unk>", "a"]
    assert vocabulary.counts == {"<unk>": 3, "a": 2}
    assert vocabulary.pad_id is vocabulary.start_id is vocabulary.end_id is None


def test_rare_tokens_are_unknown():
    assert list(Vocabulary(WORDS, min_freq=2)) == ["<unk>", "to", "be"]
    vocabulary = Vocabulary(WORDS, max_size=2)
    assert vocabulary.ids(["to", "be"]) == [1, 0]
    assert vocabulary["be"] == 0
    assert "be" not in vocabulary


def test_ngrams_are_tokens():
    vocabulary = Vocabulary(ngrams(WORDS, 2))
    assert vocabulary.tokens(1) == ("to", "be")
    assert vocabulary.ids(("to", "be")) == 1
    assert vocabulary.ids([[("to", "be")], [("no", "such")]]) == [[1], [0]]
    assert Vocabulary.from_json(vocabulary.to_json()).counts == vocabulary.counts


def test_tuples_nest_in_a_vocabulary_without_ngrams():
    assert Vocabulary(("to", "be")).ids(("to", ("be",))) == [2, [1]]


@given(texts, st.sampled_from([None, "<pad>"]), st.sampled_from([None, "<unk>"]))
def test_json_restores_everything(tokens, pad, unknown):
    vocabulary = Vocabulary(tokens, pad=pad, unknown=unknown, start="é", specials=("x y",))
    restored = Vocabulary.from_json(vocabulary.to_json())
    assert restored == vocabulary
    assert hash(restored) == hash(vocabulary)
    assert restored.counts == vocabulary.counts
    assert restored.specials == vocabulary.specials
    assert restored.start_id == vocabulary.start_id


def test_vocabularies_with_other_roles_are_not_equal():
    tokens = {"specials": ("a", "b"), "unknown": None}
    assert Vocabulary(WORDS, start="a", **tokens) != Vocabulary(WORDS, start="b", **tokens)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("seqkeras", "other"),
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda text: text.replace('"be"', '"to"'),
        lambda text: text.replace('"be"', "7"),
        lambda text: text.replace('"unknown": "<unk>"', '"unknown": "<none>"'),
        lambda text: "[]",
        lambda text: "{}",
        lambda text: None,
    ],
)
def test_damaged_json_is_refused(change):
    text = Vocabulary(WORDS).to_json()
    with pytest.raises(FileFormatError, match="JSON of a vocabulary"):
        Vocabulary.from_json(change(text))


def test_a_string_lookup_of_keras_keeps_its_ids():
    layer = keras.layers.StringLookup(vocabulary=["of", "the"], mask_token="", oov_token="?")
    vocabulary = Vocabulary.from_keras(layer)
    words = ["the", "of", "no"]
    assert vocabulary.ids(words) == np.asarray(layer(words)).tolist()
    assert (vocabulary.pad_id, vocabulary.unknown_id) == (0, 1)
    layer = keras.layers.StringLookup(vocabulary=["of", "the"], num_oov_indices=0)
    assert list(Vocabulary.from_keras(layer)) == ["of", "the"]


def test_a_text_vectorization_of_keras_keeps_its_ids():
    layer = keras.layers.TextVectorization()
    layer.adapt(["the time of the machine"])
    ids = np.asarray(layer(["time the other"])).tolist()
    vocabulary = Vocabulary.from_keras(layer)
    assert [vocabulary.ids(["time", "the", "other"])] == ids
    assert (vocabulary.pad_id, vocabulary.unknown_id) == (0, 1)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: keras.layers.Dense(2), "a StringLookup or TextVectorization layer"),
        (
            lambda: keras.layers.StringLookup(vocabulary=["a"], num_oov_indices=2),
            "at most 1 id for unknown",
        ),
        (
            lambda: keras.layers.StringLookup(vocabulary=["a"], output_mode="multi_hot"),
            "whose outputs are ids",
        ),
        (lambda: keras.layers.StringLookup(), "a layer with a vocabulary"),
    ],
)
def test_other_layers_are_refused(layer, message):
    with pytest.raises(ArgumentError, match=message):
        Vocabulary.from_keras(layer())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("abc",), r"Cut a text into tokens first: tokenize\(text\)"),
        (([],), "Got: no token. Was the text empty"),
        (([["a", 3]],), "strings, or tuples of strings"),
        (([("a", 3)],), "strings, or tuples of strings"),
        ((7,), "lists of tokens"),
    ],
)
def test_what_is_no_token_is_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        Vocabulary(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pad": "<unk>"}, "pad must be another token than unknown"),
        ({"start": "x", "pad": "x"}, "pad must be another token than start"),
        ({"end": "<unk>"}, "unknown must be another token than end"),
        ({"pad": 0}, "pad must be a string or None"),
        ({"specials": "<a>"}, "specials must be a sequence of strings"),
        ({"specials": ("<a>", "<a>")}, "different from each other"),
        ({"specials": (None,)}, "specials must be a string"),
        ({"min_freq": 0}, "min_freq must be an integer >= 1"),
        ({"max_size": 1}, "max_size must be an integer >= 2"),
    ],
)
def test_special_tokens_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        Vocabulary(WORDS, **options)


def test_unknown_tokens_are_refused_without_a_token_for_them():
    vocabulary = Vocabulary(WORDS, unknown=None)
    for read in (vocabulary.ids, vocabulary.__getitem__):
        with pytest.raises(ArgumentError, match="Did you mean 'question'"):
            read("questions")
    with pytest.raises(ArgumentError, match="'machine'"):
        vocabulary.ids(["to", "machine"])


@pytest.mark.parametrize("ids", [-1, 9, [0, 9], 1.0, ["to"], None, True, np.array([0.5])])
def test_ids_that_are_in_no_vocabulary_are_refused(ids):
    with pytest.raises(ArgumentError, match="ids must be"):
        Vocabulary(WORDS).tokens(ids)
