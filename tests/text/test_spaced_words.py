"""Words and signs of a text, and the text again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from seqkeras.text._spaced_words import JOINER, join_words, split_words

SIGNS = st.text(alphabet="abcÄß .,!?'’\"()[]-–…&#;<>/0123456789\n\t$€é", max_size=40)  # noqa: RUF001


def with_single_spaces(text):
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(lines)


@examples(200)
@given(SIGNS)
def test_a_text_is_the_same_after_it_was_split_and_joined(text):
    assert join_words(split_words(text)) == with_single_spaces(text)


@examples(200)
@given(SIGNS)
def test_no_token_has_white_space_and_only_line_ends_are_tokens(text):
    for token in split_words(text):
        assert token == "\n" or not any(character.isspace() for character in token)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Why (not)?", ["Why", "(￭", "not", "￭)", "￭?"]),
        ("a man 's hat .", ["a", "man", "'￭", "s", "hat", "."]),
        ("l'homme", ["l'￭", "homme"]),
        ("a t-shirt, 3,000.50 $", ["a", "t-shirt", "￭,", "3,000.50", "$"]),
        ("l&apos; herbe", ["l", "￭&apos;", "herbe"]),
        ("<unk> of N\nis", ["<unk>", "of", "N", "\n", "is"]),
        ("", []),
        (" \t ", []),
    ],
)
def test_tokens_are_words_and_signs(text, tokens):
    assert split_words(text) == tokens


def test_words_are_the_same_wherever_they_stand():
    tokens = split_words('yes, "yes" (yes) yes.')
    assert tokens.count("yes") == 4


@examples(100)
@given(st.lists(st.sampled_from(["a", "￭.", "(￭", "￭-￭", "\n", "b"]), max_size=8))
def test_any_tokens_of_a_model_can_be_joined(tokens):
    text = join_words(tokens)
    assert JOINER not in text
    assert "  " not in text
