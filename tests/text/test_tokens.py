"""Texts to tokens and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError
from seqkeras.text import clean, detokenize, ngrams, tokenize


def test_cleaning_leaves_words_of_small_letters_with_one_space_between_them():
    assert clean("  Ein Tag,\n\nÜber 9_Meere!") == "ein tag über meere"


def test_cleaning_can_keep_capitals_and_signs():
    assert clean(" I'd  say: 3.5!\n", lower=False, punctuation="keep") == "I'd say: 3.5!"
    assert clean("(I'd say)", punctuation="separate") == "( i'd say )"


@given(st.text())
def test_characters_put_together_again_are_the_text(text):
    assert detokenize(tokenize(text, "char"), "char") == text


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text):
    for punctuation in ("remove", "separate", "keep"):
        once = clean(text, punctuation=punctuation)
        assert clean(once, punctuation=punctuation) == once
        assert detokenize(tokenize(once)) == once


@given(st.lists(st.sampled_from("abc")), st.integers(1, 4))
def test_ngrams_are_all_runs_of_neighbors(tokens, n):
    assert ngrams(tokens, n) == [
        tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)
    ]


def test_a_function_can_cut_a_text_into_tokens():
    assert tokenize(["a-b", ""], lambda text: (part for part in text.split("-") if part)) == [
        ["a", "b"],
        [],
    ]


@pytest.mark.parametrize("kind", ["words", 3, None])
def test_unknown_kinds_of_tokens_are_refused_with_the_known_ones(kind):
    with pytest.raises(ArgumentError, match="'word', 'char', or a function"):
        tokenize("a text", kind)
    with pytest.raises(ArgumentError, match="'word', 'char', or a function"):
        detokenize(["a"], kind)


@pytest.mark.parametrize("function", [lambda text: text, lambda text: [1], lambda text: None])
def test_a_function_that_does_not_return_strings_is_refused(function):
    with pytest.raises(ArgumentError, match="returns a list of strings"):
        tokenize("a text", function)


@pytest.mark.parametrize("text", [b"bytes", None, 3, ["a", None], {"a": "b"}])
def test_texts_that_are_no_strings_are_refused(text):
    with pytest.raises(ArgumentError, match="text must be a string"):
        tokenize(text)


def test_strings_in_place_of_tokens_are_refused():
    with pytest.raises(ArgumentError, match="list of strings"):
        detokenize("abc")
    with pytest.raises(ArgumentError, match="list of strings"):
        detokenize(["a", ["b"]])
    with pytest.raises(ArgumentError, match="list of tokens"):
        ngrams("abc", 2)
    with pytest.raises(ArgumentError, match="n must be an integer >= 1"):
        ngrams(["a"], 0)
