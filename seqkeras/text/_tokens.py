"""Text to tokens, and tokens to text."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

from seqkeras._checks import bad_argument, check_flag, check_integer, check_one_of, nearest

#: How a text is cut into tokens: at its spaces, into its characters, or by a function.
Tokenizer: TypeAlias = Literal["word", "char"] | Callable[[str], Iterable[str]]

KINDS = ("word", "char")

_NO_LETTERS = re.compile(r"[\W\d_]+")
# Runs of letters, digits and apostrophes; or one other character that is not a space.
_WORDS_AND_SIGNS = re.compile(r"[\w'\u2019]+|[^\w\s]")


def clean(
    text: str,
    *,
    lower: bool = True,
    punctuation: Literal["remove", "separate", "keep"] = "remove",
) -> str:
    """Simplify a text before it is cut into tokens.

    Args:
        text: the text, in any language.
        lower: replace capital letters by small ones, default True.
        punctuation: `"remove"`, the default: everything but letters becomes a space, as in Zhang et
            al., Dive into Deep Learning, 9.2. `"separate"`: a space is put before and after each
            sign, so that words and signs become different tokens; apostrophes stay in their words.
            `"keep"`: signs and digits stay where they are.

    Returns:
        The text, with one space in place of each run of white space, and none at its ends.

    Raises:
        ArgumentError: an argument is invalid.

    Example:
        >>> clean("The Time Machine, by H. G. Wells [1898]")
        'the time machine by h g wells'
        >>> clean("Va ! C'est fini.", lower=False, punctuation="separate")
        "Va ! C'est fini ."
    """
    text = _check_text(text)
    check_one_of("punctuation", punctuation, ("remove", "separate", "keep"))
    if check_flag("lower", lower):
        text = text.lower()
    if punctuation == "remove":
        text = _NO_LETTERS.sub(" ", text)
    elif punctuation == "separate":
        return " ".join(_WORDS_AND_SIGNS.findall(text))
    return " ".join(text.split())


def tokenize(text: str | Sequence[str], tokens: Tokenizer = "word") -> Any:
    """Cut a text into tokens.

    Args:
        text: a text, or a list of texts.
        tokens: `"word"`, the default: the parts between white space. `"char"`: the characters. Or a
            function that takes a text and returns its tokens as strings.

    Returns:
        The list of tokens of a text; for a list of texts, a list of such lists. An empty text has
        no tokens.

    Raises:
        ArgumentError: `tokens` is neither a kind of tokens nor a function, a text is not a string,
            or the function does not return strings.

    Example:
        >>> tokenize("the time machine")
        ['the', 'time', 'machine']
        >>> tokenize(["ab", "c"], "char")
        [['a', 'b'], ['c']]
        >>> tokenize("1,5;2", lambda text: text.split(";"))
        ['1,5', '2']
    """
    cut = tokenizer(tokens)
    if isinstance(text, str):
        return cut(text)
    if isinstance(text, (bytes, dict)) or not isinstance(text, Iterable):
        raise bad_argument("text", text, "a string, or a list of strings")
    return [cut(_check_text(part)) for part in text]


def detokenize(tokens: Sequence[str], kind: Tokenizer = "word") -> str:
    """Join tokens into a text.

    Args:
        tokens: the tokens of a text.
        kind: what the tokens are, as in `tokenize`. Characters are joined as they are; words, and
            the tokens of a function, are joined with spaces.

    Raises:
        ArgumentError: the tokens are not strings, or the kind is unknown.

    Example:
        >>> detokenize(["the", "time", "machine"])
        'the time machine'
        >>> detokenize(["a", "b", "c"], "char")
        'abc'
    """
    tokenizer(kind)
    if isinstance(tokens, str):
        fix = "A string is one token: put it into a list."
        raise bad_argument("tokens", tokens, "a list of strings", fix)
    tokens = list(tokens)
    wrong = next((token for token in tokens if not isinstance(token, str)), None)
    if wrong is not None:
        raise bad_argument("tokens", wrong, "a list of strings, the tokens of one text")
    return ("" if kind == "char" else " ").join(tokens)


def ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Return all runs of `n` neighboring tokens, as tuples.

    Args:
        tokens: the tokens of one text.
        n: number of tokens in a run: 2 for bigrams, 3 for trigrams.

    Returns:
        The `len(tokens) - n + 1` runs in their order; none if the text is shorter than `n`.

    Raises:
        ArgumentError: `n` is not an integer of at least 1, or `tokens` is a string.

    Example:
        >>> ngrams(["the", "time", "machine"], 2)
        [('the', 'time'), ('time', 'machine')]
    """
    n = check_integer("n", n)
    if isinstance(tokens, str):
        raise bad_argument("tokens", tokens, "a list of tokens", "Cut the text with tokenize(...).")
    tokens = list(tokens)
    return list(zip(*(tokens[start:] for start in range(n)), strict=False))


def tokenizer(tokens: Tokenizer) -> Callable[[str], list[str]]:
    """Return the function that cuts a text into tokens of this kind.

    Raises:
        ArgumentError: the kind is unknown. When the function is called, if it returns anything but
            strings.
    """
    if callable(tokens):
        return lambda text: _check_tokens(tokens(text))
    if not isinstance(tokens, str) or tokens not in KINDS:
        expected = "'word', 'char', or a function from a text to its tokens"
        raise bad_argument("tokens", tokens, expected, nearest(tokens, KINDS))
    return str.split if tokens == "word" else list


def _check_text(text: Any) -> str:
    if not isinstance(text, str):
        raise bad_argument("text", text, "a string", "Decode bytes first: data.decode('utf-8').")
    return text


def _check_tokens(result: Any) -> list[str]:
    tokens = list(result) if isinstance(result, Iterable) and not isinstance(result, str) else None
    if tokens is None or not all(isinstance(token, str) for token in tokens):
        raise bad_argument("tokens", result, "a function that returns a list of strings")
    return tokens
