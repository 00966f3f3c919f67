"""The parameters that language models and translators share, checked before anything is read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from seqkeras._checks import (
    Description,
    bad_argument,
    check_flag,
    check_fraction,
    check_integer,
    check_one_of,
    check_positive,
    check_seed,
)
from seqkeras.errors import DataError
from seqkeras.layers import CELLS
from seqkeras.models._stack import check_widths
from seqkeras.text._spaced_words import join_words, split_words
from seqkeras.text._tokens import Tokenizer, tokenizer
from seqkeras.text._vocabulary import Vocabulary

#: Special tokens that every vocabulary has.
UNKNOWN, END = "<unk>", "<end>"


def splitter(tokens: Tokenizer) -> Callable[[str], list[str]]:
    """Return the function that splits a text into tokens of this kind.

    Raises:
        ArgumentError: the kind is unknown.
    """
    return split_words if tokens == "word" else tokenizer(tokens)


def joiner(tokens: Tokenizer) -> Callable[[Iterable[str]], str]:
    """Return the function that puts tokens of this kind together again."""
    return join_words if tokens == "word" else partial(_join, "" if tokens == "char" else " ")


def _join(between: str, tokens: Iterable[str]) -> str:
    return between.join(tokens)


def check_texts(name: str, texts: Any) -> list[str]:
    """Return texts as a list, after checking that each is a string.

    Raises:
        ArgumentError: it is a single string, or not a list.
        DataError: it is empty, or an element is not a string.
    """
    if isinstance(texts, str | bytes | dict) or not isinstance(texts, Iterable):
        fix = f"Pass [{name}] for a single text." if isinstance(texts, str) else ""
        raise bad_argument(name, Description(f"{texts!r:.80}"), "a list of strings", fix)
    texts = list(texts)
    if not texts:
        raise DataError(f"{name} must have one text or more. Got: none.")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"{name} must be strings. Got: {text!r:.80} ({type(text).__name__}) at index "
                f"{number}."
            )
    return [str(text) for text in texts]


@dataclass(frozen=True)
class TextSettings:
    """Checked parameters, with None where the size of the texts decides.

    Attributes:
        tokens: the kind of tokens, or a function.
        split, join: from a text to its tokens, and back.
        units, embedding, cell, dropout: sizes of the network.
        min_freq, max_size: which tokens the vocabulary holds.
        epochs, patience, batch_size, learning_rate, seed, progress: the training.
    """

    tokens: Tokenizer
    split: Callable[[str], list[str]]
    join: Callable[[Iterable[str]], str]
    units: tuple[int, ...] | None
    embedding: int | None
    cell: str
    dropout: float | None
    min_freq: int | None
    max_size: int | None
    epochs: int | None
    patience: int
    batch_size: int | None
    learning_rate: float
    seed: int | None
    progress: bool

    def vocabulary(self, texts: list[list[str]], most_words: int, **specials: str) -> Vocabulary:
        """Return the vocabulary of tokens: all characters, or the commonest other tokens.

        Args:
            texts: the tokens of each text.
            most_words: its size unless `max_size` says otherwise; does not limit characters.
            **specials: special tokens besides those for unknown tokens and for ends.
        """
        is_char = self.tokens == "char"
        return Vocabulary(
            texts,
            unknown=UNKNOWN,
            end=END,
            min_freq=self.min_freq or (1 if is_char else 2),
            max_size=self.max_size or (None if is_char else most_words),
            **specials,
        )

    @classmethod
    def parse(cls, params: dict[str, Any]) -> "TextSettings":
        """Check the parameters that both estimators have.

        Raises:
            ArgumentError: a parameter is invalid.
        """
        optional = {"embedding": 1, "min_freq": 1, "max_size": 8, "epochs": 1, "batch_size": 1}
        sizes = {
            name: None if params[name] is None else check_integer(name, params[name], minimum=least)
            for name, least in optional.items()
        }
        dropout = params["dropout"]
        return cls(
            tokens=params["tokens"],
            split=splitter(params["tokens"]),
            join=joiner(params["tokens"]),
            units=None if params["units"] is None else check_widths(params["units"]),
            cell=check_one_of("cell", params["cell"], CELLS),
            dropout=None if dropout is None else check_fraction("dropout", dropout),
            patience=check_integer("patience", params["patience"]),
            learning_rate=check_positive("learning_rate", params["learning_rate"]),
            seed=check_seed(params["seed"]),
            progress=check_flag("progress", params["progress"]),
            **sizes,
        )


def check_share(name: str, share: Any) -> float:
    """Return a share of the texts to hold out, at least 0 and below 1.

    Raises:
        ArgumentError: the share is not in this range.
    """
    return check_fraction(name, share, fix="Or pass texts to judge by.")
