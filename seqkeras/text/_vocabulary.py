"""Vocabularies: a number for each token."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any, TypeAlias

import numpy as np

from seqkeras._checks import Description, bad_argument, check_integer, nearest
from seqkeras._files import DAMAGE, shortened
from seqkeras.errors import ArgumentError, FileFormatError
from seqkeras.text._lookup_layers import read_lookup

#: A string, or an n-gram: a tuple of strings.
Token: TypeAlias = str | tuple[str, ...]

FORMAT = "seqkeras vocabulary"
VERSION = 1
_ROLES = ("pad", "unknown", "start", "end")
_TOKENS = "strings, or tuples of strings, in lists"


class Vocabulary:
    """The tokens of a text, each with its id: a number from 0.

    Special tokens have the first ids, and the tokens of the text follow by their frequency; tokens
    of the same frequency are in alphabetical order. So the same text always gives the same ids.

    Args:
        tokens: lists of tokens, nested to any depth, such as the output of `tokenize`. A token is a
            string; inside the lists, a tuple of strings is one token, such as an n-gram.
        specials: special tokens, in the order of their ids. Further special tokens among the next
            four arguments come before them, in the order pad, unknown, start, end.
        unknown: the token that stands for all tokens that are not in the vocabulary, default
            `"<unk>"`. None: there is no such token, and unknown tokens are errors.
        pad: the token that fills up short sequences. Models mask the id 0, so it should be the
            first of all. None, the default: no such token.
        start: the token before a sequence, with which a decoder begins. None, the default: none.
        end: the token after a sequence. None, the default: none.
        min_freq: how often a token must stand in the text at least, default 1. Special tokens are
            always part of the vocabulary.
        max_size: largest number of tokens with the special ones; the commonest remain. None, the
            default: no limit.

    Attributes:
        counts: how often each token of the vocabulary stands in the text, by falling frequency.
            Special tokens are included only if they stand in the text.
        specials: the special tokens, in the order of their ids.
        unknown_id, pad_id, start_id, end_id: the ids of these tokens; None without such a token.

    Raises:
        ArgumentError: a token is neither a string nor a tuple of strings, the text has no token, or
            the special tokens contradict each other.

    Example:
        >>> vocabulary = Vocabulary(["to", "be", "or", "not", "to", "be"], pad="<pad>")
        >>> list(vocabulary)
        ['<pad>', '<unk>', 'be', 'to', 'not', 'or']
        >>> vocabulary["be"], vocabulary.ids([["not", "to"], ["see"]])
        (2, [[4, 3], [1]])
        >>> vocabulary.tokens([[4, 3], [1]])
        [['not', 'to'], ['<unk>']]
    """

    def __init__(
        self,
        tokens: Iterable[Any],
        *,
        specials: Iterable[str] = (),
        unknown: str | None = "<unk>",
        pad: str | None = None,
        start: str | None = None,
        end: str | None = None,
        min_freq: int = 1,
        max_size: int | None = None,
    ) -> None:
        roles = {"pad": pad, "unknown": unknown, "start": start, "end": end}
        first = _specials(specials, roles)
        counts = _count(tokens)
        if not counts:
            fix = "Was the text empty?"
            raise bad_argument("tokens", Description("no token"), "lists of tokens", fix)
        min_freq = check_integer("min_freq", min_freq)
        if max_size is not None:
            check_integer("max_size", max_size, minimum=len(first) + 1)
        common = [
            token
            for token, count in sorted(counts.items(), key=_by_frequency)
            if count >= min_freq and token not in first
        ]
        self._fill([*first, *common][:max_size], first, roles, counts)

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """Restore a vocabulary from the output of `to_json`.

        Raises:
            FileFormatError: the text is not that of a vocabulary, or of a later version.

        Example:
            >>> vocabulary = Vocabulary(["a", "b"])
            >>> Vocabulary.from_json(vocabulary.to_json()) == vocabulary
            True
        """
        vocabulary = cls.__new__(cls)
        try:
            content = json.loads(text)
            if content["format"] != FORMAT or content["version"] > VERSION:
                raise ValueError(f"format {content['format']!r}, version {content['version']}")
            names = [_from_list(token) for token in content["tokens"]]
            roles = {role: content[role] for role in _ROLES}
            specials = list(_specials(content["specials"], roles))
            counted = zip(names, content["counts"], strict=True)
            counts = {token: check_integer("count", n, minimum=0) for token, n in counted}
            if names[: len(specials)] != specials or len(counts) != len(names):
                raise ValueError("the special tokens are not the first, or tokens are repeated")
            vocabulary._fill(names, specials, roles, counts)
        except DAMAGE as error:
            raise FileFormatError(
                f"text must be JSON of a vocabulary, as to_json() returns it. "
                f"Got: {shortened(error)}."
            ) from error
        return vocabulary

    @classmethod
    def from_keras(cls, layer: Any) -> "Vocabulary":
        """Copy the vocabulary of a Keras layer, with the same ids.

        Args:
            layer: an adapted `StringLookup`, or `TextVectorization` with integer outputs. The token
                of its padding becomes `pad`, and the token of unknown words `unknown`.

        Raises:
            ArgumentError: the layer is of another kind, has not been adapted, has several ids for
                unknown tokens, or its outputs are not ids.

        Example:
            >>> import keras
            >>> layer = keras.layers.StringLookup(vocabulary=["of", "the"], mask_token="")
            >>> vocabulary = Vocabulary.from_keras(layer)
            >>> list(vocabulary), vocabulary.pad_id, vocabulary.unknown_id
            (['', '[UNK]', 'of', 'the'], 0, 1)
        """
        table = read_lookup(layer)
        roles = {"pad": table.pad, "unknown": table.unknown, "start": None, "end": None}
        vocabulary = cls.__new__(cls)
        vocabulary._fill([*table.tokens], _specials((), roles), roles, {})
        return vocabulary

    def to_json(self) -> str:
        """Return the vocabulary as JSON, from which `from_json` restores it."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "tokens": self._names,
            "counts": [self.counts.get(token, 0) for token in self._names],
            "specials": self.specials,
            **self._roles,
        }
        return json.dumps(content, ensure_ascii=False)

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Token]:
        return iter(self._names)

    def __contains__(self, token: object) -> bool:
        return isinstance(token, (str, tuple)) and token in self._ids

    def __getitem__(self, token: Token) -> int:
        """Return the id of a token; `unknown_id` for a token that is not in the vocabulary."""
        if not isinstance(token, (str, tuple)):
            raise bad_argument("token", token, "a string, or a tuple of strings")
        number = self._ids.get(token, self.unknown_id)
        if number is None:
            raise self._no_such(token)
        return number

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self._names == other._names and self._roles == other._roles

    def __hash__(self) -> int:
        return hash((*self._names, *self._roles.values()))

    def __repr__(self) -> str:
        names = ", ".join(map(repr, self._names[:8]))
        more = ", ..." if len(self) > 8 else ""
        return f"Vocabulary({len(self)} tokens: {names}{more})"

    def ids(self, tokens: Any) -> Any:
        """Return the ids of tokens.

        Args:
            tokens: a token; or lists of tokens, nested to any depth.

        Returns:
            An int for a token, and lists of ints in the same nesting. A token that is not in the
            vocabulary gets `unknown_id`.

        Raises:
            ArgumentError: a token is not in the vocabulary, which has no unknown token; or it is
                not a string or a tuple of strings.
        """
        if isinstance(tokens, str) or (isinstance(tokens, tuple) and self._has_ngrams):
            return self[tokens]
        if not _is_nested(tokens):
            raise bad_argument("tokens", tokens, _TOKENS)
        tokens = tokens if isinstance(tokens, list) else list(tokens)
        if all(isinstance(token, str) for token in tokens):  # fast for long texts
            numbers = list(map(self._ids.get, tokens, repeat(self.unknown_id)))
            if None in numbers:
                raise self._no_such(tokens[numbers.index(None)])
            return numbers
        return [self.ids(token) for token in tokens]

    def tokens(self, ids: Any) -> Any:
        """Return the tokens of ids.

        Args:
            ids: an integer; or an array of integers of any shape, or lists nested to any depth.

        Returns:
            A token for an integer, and lists of tokens in the same nesting.

        Raises:
            ArgumentError: an id is not an integer from 0 to `len(vocabulary) - 1`.
        """
        if isinstance(ids, np.ndarray):
            ids = ids.tolist()
        if isinstance(ids, (list, tuple)):
            return [self.tokens(number) for number in ids]
        if not isinstance(ids, (int, np.integer)) or isinstance(ids, bool):
            raise bad_argument("ids", ids, "integers, or lists or arrays of integers")
        if not 0 <= ids < len(self):
            raise bad_argument("ids", int(ids), f"from 0 to {len(self) - 1}, one for each token")
        return self._names[ids]

    def _fill(
        self,
        names: list[Token],
        specials: Iterable[str],
        roles: Mapping[str, str | None],
        counts: Mapping[Token, int],
    ) -> None:
        self._names = names
        self._ids = {token: number for number, token in enumerate(names)}
        self._roles = dict(roles)
        self._has_ngrams = any(isinstance(token, tuple) for token in names)
        self.specials = tuple(specials)
        ordered = sorted(
            ((token, counts[token]) for token in names if counts.get(token)), key=_by_frequency
        )
        self.counts: dict[Token, int] = dict(ordered)
        self.pad_id, self.unknown_id, self.start_id, self.end_id = (
            None if roles[role] is None else self._ids[str(roles[role])] for role in _ROLES
        )

    def _no_such(self, token: Token) -> ArgumentError:
        near = nearest(token, self._names)
        fix = f"{near} A vocabulary with unknown='<unk>' takes any token.".lstrip()
        return bad_argument("tokens", token, f"one of the {len(self)} of the vocabulary", fix)


def _specials(specials: Iterable[str], roles: Mapping[str, str | None]) -> list[str]:
    """Return all special tokens in the order of their ids, after checking them."""
    if isinstance(specials, str):
        fix = f"For example specials=({specials!r},)."
        raise bad_argument("specials", specials, "a sequence of strings", fix)
    named = [token for token in roles.values() if token is not None]
    listed = list(specials)
    for name, token in [*roles.items(), *(("specials", token) for token in listed)]:
        if not isinstance(token, str) and (token is not None or name == "specials"):
            raise bad_argument(
                name, token, "a string" if name == "specials" else "a string or None"
            )
    if len(set(listed)) < len(listed):
        raise bad_argument("specials", tuple(listed), "different from each other")
    for role, other in [
        ("pad", "unknown"),
        ("pad", "start"),
        ("pad", "end"),
        ("unknown", "start"),
        ("unknown", "end"),
    ]:
        if roles[role] is not None and roles[role] == roles[other]:
            raise bad_argument(role, roles[role], f"another token than {other}")
    return list(dict.fromkeys([token for token in named if token not in listed] + listed))


def _count(tokens: Iterable[Any]) -> Counter[Token]:
    if not _is_nested(tokens):
        fix = "Cut a text into tokens first: tokenize(text)." if isinstance(tokens, str) else ""
        raise bad_argument("tokens", tokens, "lists of tokens", fix)
    counts: Counter[Token] = Counter()
    _add(counts, tokens)
    return counts


def _add(counts: Counter[Token], tokens: Iterable[Any]) -> None:
    tokens = tokens if isinstance(tokens, list) else list(tokens)
    if all(isinstance(token, str) for token in tokens):  # fast for long texts
        counts.update(map(str, tokens))
        return
    for token in tokens:
        if isinstance(token, str):
            counts[str(token)] += 1
        elif isinstance(token, tuple):
            if not token or not all(isinstance(part, str) for part in token):
                raise bad_argument("tokens", token, _TOKENS)
            counts[token] += 1
        elif _is_nested(token):
            _add(counts, token)
        else:
            raise bad_argument("tokens", token, _TOKENS)


def _is_nested(tokens: Any) -> bool:
    return isinstance(tokens, Iterable) and not isinstance(tokens, (str, bytes, Mapping))


def _by_frequency(item: tuple[Token, int]) -> tuple[int, tuple[str, ...]]:
    token, count = item
    return -count, token if isinstance(token, tuple) else (token,)


def _from_list(token: Any) -> Token:
    """Return a token from JSON, where a tuple has become a list."""
    parts = token if isinstance(token, list) else [token]
    if not parts or not all(isinstance(part, str) for part in parts):
        raise TypeError(f"the token {token!r}")
    return tuple(token) if isinstance(token, list) else token
