"""Language models of texts: from a string to a trained network, and back to strings."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from seqkeras._arrays import Floats32
from seqkeras._checks import Description, bad_argument, bad_data, check_integer
from seqkeras._html import html_table
from seqkeras.decoding import generate
from seqkeras.errors import DataError
from seqkeras.text._language_training import LanguageTraining, text_nats
from seqkeras.text._pad import Ids
from seqkeras.text._text_estimator import TextEstimator
from seqkeras.text._text_settings import TextSettings, check_share, check_texts
from seqkeras.text._tokens import Tokenizer
from seqkeras.text._vocabulary import Vocabulary

#: Share of the text that is held out without `validation`, at its end or of its texts.
HELD_OUT = 0.05
#: Shorter texts hold out nothing.
_FEW = 100
#: Characters of a text that is long enough for less dropout.
LONG = 300_000
#: Without `max_size`, a vocabulary of words is not larger: the softmax would take most of the time.
MOST_WORDS = 10_000


@dataclass(frozen=True)
class GeneratedText:
    """A text that a language model has continued.

    Attributes:
        text: the prompt and its continuation.
        tokens: the tokens of the continuation.
        log_probabilities: `(tokens,)`, of each token of the continuation under the model.
        finished: whether the continuation ended by itself: at a stop, or at the end of a text.
    """

    text: str
    tokens: list[str]
    log_probabilities: Floats32
    finished: bool

    def _repr_html_(self) -> str:
        rows = [
            ("text", self.text),
            ("tokens of the continuation", len(self.tokens)),
            ("finished", "yes" if self.finished else "no"),
        ]
        return html_table("Generated text", rows)


#: A text that is probably the name of a file: one word with a suffix, such as `play.txt`.
_FILE_NAME = r"\S{1,250}\.(txt|csv|tsv|json|md|text|zip|gz)"


class LanguageModel(TextEstimator):
    """A model of a text, of its characters or words: how probable is it, and how does it go on?

    `fit` makes the vocabulary, holds out the end of the text, and trains a recurrent network on the
    rest with its state carried from batch to batch (`seqkeras.models.language_model`). The learning
    rate rises over the first steps and then falls to zero; the weights of the epoch with the best
    held-out loss are kept.

    Args:
        tokens: `"char"`, the default: characters. `"word"`: words, signs and ends of lines; upper
            and lower case stay, and runs of spaces become one. Or a function from a text to the
            list of its tokens, which `generate` joins with spaces.
        units: width of the recurrent layers; a tuple is a stack. None: 512 for characters, 256 for
            other tokens.
        embedding: width of the vectors of tokens. None: 64 for characters; for other tokens, the
            units of the first layer.
        cell: `"gru"` (default), `"lstm"` or `"simple_rnn"`.
        dropout: share of the inputs of each layer, and of the outputs of the last, that training
            drops (Zaremba et al. 2014, arXiv 1409.2329). None: 0.25 for 300,000 characters or more;
            0.5 for shorter texts, which are read more often, and for other tokens.
        min_freq: how often a token must stand in the text to be in the vocabulary; others become
            `<unk>`. None: 1 for characters, 2 for other tokens.
        max_size: largest vocabulary. None: no limit for characters, 10,000 for other tokens.
        epochs: largest number of epochs. None: enough to read seven million
            characters, or four million other tokens; at most 60.
        patience: epochs without a better held-out loss before training stops. Default 5.
        batch_size: rows of a training step, each of 64 tokens. None: 32, fewer for short texts.
        learning_rate: largest learning rate of Adam. Default 4e-3.
        seed: seed of weights, dropout and places in the text, below 2**32; None for different ones
            each time. `fit` seeds Keras' global generator.
        progress: show progress in training. Default True.

    Attributes:
        model_: the trained `keras.Model`, ids `(batch, timesteps)` to logits.
        vocabulary_: the `Vocabulary` of its ids.
        log_: losses and the best epoch, a `TrainingLog`. Losses are in nats per token.
        ends_: whether the model has learned where texts end, from a list of texts.

    Example:
        >>> model = LanguageModel("char", units=8, epochs=1, seed=0, progress=False)
        >>> model = model.fit("to be or not to be, that is the question. " * 20)
        >>> len(model.generate("to ", 20, seed=0))
        23
    """

    vocabulary_: Vocabulary
    ends_: bool

    _vocabularies = ("vocabulary_",)
    _facts = ("ends_",)

    def __init__(
        self,
        tokens: Tokenizer = "char",
        *,
        units: int | tuple[int, ...] | None = None,
        embedding: int | None = None,
        cell: str = "gru",
        dropout: float | None = None,
        min_freq: int | None = None,
        max_size: int | None = None,
        epochs: int | None = None,
        patience: int = 5,
        batch_size: int | None = None,
        learning_rate: float = 4e-3,
        seed: int | None = None,
        progress: bool = True,
    ) -> None:
        self.tokens = tokens
        self.units = units
        self.embedding = embedding
        self.cell = cell
        self.dropout = dropout
        self.min_freq = min_freq
        self.max_size = max_size
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.seed = seed
        self.progress = progress

    def fit(
        self, text: str | Sequence[str], validation: str | Sequence[str] | float | None = None
    ) -> Self:
        """Train on a text.

        Ctrl-C after the first epoch keeps the best weights so far; the model is then fitted, and
        `KeyboardInterrupt` is raised.

        Args:
            text: the text; or a list of texts, such as names or sentences. From a list the model
                also learns where a text ends.
            validation: text that decides which epoch is kept; or the share of the text that is held
                out for this, at its end, or of the texts in a list; 0 to keep the last epoch. None,
                the default: a share of 0.05, and 0 for fewer than 100 tokens.

        Raises:
            ArgumentError: a parameter or an argument is invalid; nothing is trained then.
            DataError: there are too few tokens, or training diverged. The model stays as it was.
        """
        settings = self.settings()
        learn, judge = _split(settings, "text", text, validation)
        if sum(map(len, learn)) < 2:
            raise bad_data("text", f"{sum(map(len, learn))} tokens", "have 2 tokens or more")
        ends = not isinstance(text, str)
        vocabulary = settings.vocabulary(learn, MOST_WORDS)
        training = LanguageTraining(
            _with_sizes(settings, sum(map(len, learn))),
            len(vocabulary),
            _joined(vocabulary, learn, ends),
            _joined(vocabulary, judge, ends) if judge else None,
        )
        model, log, interrupted = training.run()
        self._set(model, log, vocabulary_=vocabulary, ends_=ends)
        if interrupted:
            raise KeyboardInterrupt
        return self

    def perplexity(self, text: str | Sequence[str]) -> float:
        """Return the exponential of the mean loss of the tokens of a text: 1 would be certainty.

        Each token counts once, given all tokens before it: the state is carried from the first to
        the last. Unknown tokens count as `<unk>`. Where the model has learned where texts end, the
        end of each text counts as a token.

        Args:
            text: a text, or a list of texts, which are read one after the other.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError, DataError: it is no text, or there are no tokens.
        """
        self.check_fitted()
        tokens = _tokens_of(self.settings(), "text", text)
        ids = _joined(self.vocabulary_, tokens, self.ends_)
        if len(ids) < 2:
            raise DataError("text must have one token or more. Got: none.")
        total, count = text_nats(self.model_, ids)
        return math.exp(total / count)

    def generate(
        self,
        prompt: str = "",
        length: int = 200,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        stop: str | Sequence[str] = (),
        forbid: str | Sequence[str] = (),
        seed: int | None = None,
    ) -> str:
        """Continue a text.

        Args:
            prompt: the beginning. Default: the start of a text.
            length: the largest number of tokens to add.
            temperature: below 1, likely tokens become likelier; 0 takes the likeliest. Default 1.
            top_k: draw only among this many likeliest tokens. Default: all.
            top_p: draw only among the likeliest tokens that reach this probability together.
                Default: all.
            stop: texts before which the continuation ends. Where the model has learned where texts
                end, it also ends there. Default: none.
            forbid: a token, or a list of tokens, that must not be drawn. Default: none.
            seed: the same seed gives the same text. Default: another one each time.

        Returns:
            The prompt and its continuation. `continue_text` also gives the log-probabilities, and
            `continue_texts` takes many prompts.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: an argument is invalid, or the model does not know a token of the prompt
                or of `forbid`.

        Example:
            >>> model = LanguageModel(units=8, epochs=40, learning_rate=0.02, progress=False)
            >>> model.fit("abc" * 200).generate("ab", 4, temperature=0)
            'abcabc'
        """
        return self.continue_text(
            prompt,
            length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            stop=stop,
            forbid=forbid,
            seed=seed,
        ).text

    def continue_text(
        self,
        prompt: str = "",
        length: int = 200,
        *,
        stop: str | Sequence[str] = (),
        forbid: str | Sequence[str] = (),
        **sampling: Any,
    ) -> GeneratedText:
        """Continue a text, and return the tokens and their log-probabilities with it.

        Args:
            prompt, length, stop, forbid: see `generate`.
            **sampling: temperature, top_k, top_p and seed; see `generate`.

        Raises:
            NotFittedError, ArgumentError: see `generate`.
        """
        if not isinstance(prompt, str):
            raise bad_argument("prompt", prompt, "a string", "continue_texts takes a list of them.")
        return self.continue_texts([prompt], length, stop=stop, forbid=forbid, **sampling)[0]

    def continue_texts(
        self,
        prompts: Sequence[str],
        length: int = 200,
        *,
        stop: str | Sequence[str] = (),
        forbid: str | Sequence[str] = (),
        **sampling: Any,
    ) -> list[GeneratedText]:
        """Continue many texts in one loop.

        Args:
            prompts: the beginnings, of any lengths.
            length, stop, forbid: see `generate`.
            **sampling: temperature, top_k, top_p and seed; see `generate`.

        Raises:
            NotFittedError, ArgumentError: see `generate`.
            DataError: there is no prompt, or one is not a string.

        Example:
            >>> model = LanguageModel(units=8, epochs=40, learning_rate=0.02, progress=False)
            >>> model = model.fit("abc" * 200)
            >>> [drawn.text for drawn in model.continue_texts(["ab", "c"], 3, temperature=0)]
            ['abcab', 'cabc']
        """
        self.check_fitted()
        settings = self.settings()
        stops = _check_stops(stop)
        prompts = check_texts("prompts", prompts)
        beginnings = [self._known("prompt", settings.split(text), text) for text in prompts]
        forbidden = self._known("forbid", _check_tokens(forbid), forbid)
        vocabulary = self.vocabulary_
        ids_of_stops = [vocabulary[token] for token in stops if token in vocabulary]
        end = [vocabulary.end_id] if self.ends_ else []
        drawn = generate(
            self.model_,
            [vocabulary.ids(before) for before in beginnings],
            check_integer("length", length),
            start=vocabulary.end_id,
            stop=[*ids_of_stops, *end],
            forbid=[
                vocabulary.unknown_id,
                *([] if self.ends_ else [vocabulary.end_id]),
                *vocabulary.ids(forbidden),
            ],
            **sampling,
        )
        rows = zip(
            beginnings, drawn.sequences, drawn.log_probabilities, drawn.finished, strict=True
        )
        return [
            _cut(settings, before, vocabulary.tokens(ids), log_probabilities, stops, finished)
            for before, ids, log_probabilities, finished in rows
        ]

    def _known(self, name: str, tokens: list[str], text: Any) -> list[str]:
        """Return tokens that came from an argument, after checking that the model knows them."""
        unknown = [token for token in tokens if token not in self.vocabulary_]
        if unknown:
            names = ", ".join(map(repr, dict.fromkeys(unknown[:5])))
            expected = "of tokens that the model was fitted on"
            raise bad_argument(name, Description(f"{names} in {text!r:.80}"), expected)
        return tokens


def _split(
    settings: TextSettings, name: str, text: Any, validation: Any
) -> tuple[list[list[str]], list[list[str]]]:
    """Return the tokens of the texts to learn from, and of those that are held out."""
    tokens = _tokens_of(settings, name, text)
    if isinstance(validation, str) or (
        validation is not None and not isinstance(validation, int | float)
    ):
        judge = _tokens_of(settings, "validation", validation)
        if sum(map(len, judge)) < 2:
            actual = f"{sum(map(len, judge))} tokens"
            raise bad_data("validation", actual, "have 2 tokens or more")
        return tokens, judge
    count = sum(map(len, tokens))
    default = HELD_OUT if count >= _FEW else 0.0
    share = default if validation is None else check_share("validation", validation)
    if not share:
        return tokens, []
    if isinstance(text, str):
        cut = len(tokens[0]) - max(2, round(share * len(tokens[0])))
        if cut < 2:
            raise bad_data("text", f"{count} tokens", "have more tokens to hold some of them out")
        return [tokens[0][:cut]], [tokens[0][cut:]]
    order = np.random.default_rng(settings.seed).permutation(len(tokens))
    held_out = round(share * len(tokens))
    judged = set(order[:held_out].tolist())
    learn = [text for number, text in enumerate(tokens) if number not in judged]
    return learn, [tokens[number] for number in sorted(judged)]


def _tokens_of(settings: TextSettings, name: str, text: Any) -> list[list[str]]:
    if isinstance(text, str) and re.fullmatch(_FILE_NAME, text):
        fix = "Read the file first: pathlib.Path(...).read_text()."
        raise bad_argument(name, text, "a text, not the name of a file", fix)
    if isinstance(text, bytes):
        actual = Description("bytes")
        raise bad_argument(name, actual, "a string, or a list of strings", "Use .decode().")
    texts = [text] if isinstance(text, str) else check_texts(name, text)
    return [settings.split(part) for part in texts]


def _joined(vocabulary: Vocabulary, texts: Sequence[Sequence[str]], ends: bool) -> Ids:
    """Return the ids of texts in one array, with an end before the first, and after each."""
    end = int(vocabulary.end_id or 0)
    ids = [end]
    for tokens in texts:
        ids += vocabulary.ids(list(tokens))
        if ends:
            ids.append(end)
    return np.array(ids, np.int32)


def _with_sizes(settings: TextSettings, count: int) -> TextSettings:
    """Fill in the sizes that depend on the tokens."""
    is_char = settings.tokens == "char"
    units = settings.units or ((512,) if is_char else (256,))
    dropout = settings.dropout
    if dropout is None:
        dropout = 0.25 if is_char and count >= LONG else 0.5
    embedding = settings.embedding or (64 if is_char else units[0])
    return replace(settings, units=units, dropout=dropout, embedding=embedding)


def _check_stops(stop: Any) -> list[str]:
    stops = [stop] if isinstance(stop, str) else stop
    is_list = isinstance(stops, list | tuple)
    if not is_list or not all(isinstance(text, str) and text for text in stops):
        raise bad_argument("stop", stop, "a text that is not empty, or a list of such texts")
    return list(stops)


def _check_tokens(forbid: Any) -> list[str]:
    tokens = [forbid] if isinstance(forbid, str) else forbid
    if not isinstance(tokens, list | tuple) or not all(isinstance(token, str) for token in tokens):
        raise bad_argument("forbid", forbid, "a token, or a list of tokens")
    return list(tokens)


def _cut(
    settings: TextSettings,
    before: list[str],
    tokens: list[str],
    log_probabilities: Floats32,
    stops: list[str],
    finished: bool,
) -> GeneratedText:
    """Cut a continuation before the first of the stops."""
    start = len(settings.join(before))
    count = len(tokens)
    for stop in stops:
        if stop in settings.join([*before, *tokens])[start:]:
            while stop in settings.join([*before, *tokens[:count]])[start:]:
                count -= 1
            finished = True
    tokens = tokens[:count]
    return GeneratedText(
        settings.join([*before, *tokens]), tokens, log_probabilities[:count], bool(finished)
    )
