"""Translation: from pairs of texts to a trained encoder-decoder, and from texts to texts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from seqkeras._arrays import Floats32
from seqkeras._checks import Description, bad_argument, check_fraction, check_integer, check_one_of
from seqkeras._html import html_table
from seqkeras._warnings import warn
from seqkeras.decoding import beam as beam_search
from seqkeras.decoding import generate
from seqkeras.errors import DataError, UnknownTokensWarning
from seqkeras.text._pad import pad
from seqkeras.text._pair_training import Pairs, PairTraining
from seqkeras.text._text_estimator import TextEstimator
from seqkeras.text._text_settings import END, UNKNOWN, TextSettings, check_share, check_texts
from seqkeras.text._tokens import Tokenizer
from seqkeras.text._vocabulary import Vocabulary

PAD = "<pad>"
START = "<start>"
ATTENTIONS = ("additive", "dot", "general")

#: Share of the pairs that are held out without `validation`, and the most of them.
HELD_OUT = 0.05
MOST_HELD_OUT = 2000
#: Fewer pairs hold out none.
_FEW = 50
#: Without `max_size`, a vocabulary of words is not larger: the softmax would take most of the time.
MOST_WORDS = 20_000
#: Texts that are translated at a time, and the multiple that their lengths are padded to, so that
#: few shapes have to be compiled.
_ROWS = 64
_MULTIPLE = 8


@dataclass(frozen=True)
class Translation:
    """A translated text, and how it was found.

    Attributes:
        text: the translation.
        source_tokens: the tokens of the source, with the end that the encoder reads.
        tokens: the tokens of the translation, without its end.
        log_probability: of the translation under the model, with its end.
        finished: whether the translation ended by itself; False if it was cut.
        attention: weights of the source tokens for each token,
            `(len(tokens), len(source_tokens))`; None without attention.
    """

    text: str
    source_tokens: list[str]
    tokens: list[str]
    log_probability: float
    finished: bool
    attention: Floats32 | None

    def _repr_html_(self) -> str:
        rows = [
            ("source tokens", " ".join(self.source_tokens)),
            ("translation", self.text),
            ("log probability", f"{self.log_probability:.2f}"),
            ("finished", "yes" if self.finished else "no"),
        ]
        return html_table("Translation", rows)


class Translator(TextEstimator):
    """A translator from texts to texts: from one language to another, or from any input to output.

    `fit` makes a vocabulary of the sources and one of the targets, holds out some pairs, and trains
    an encoder that reads a source in both directions and a decoder that writes the target
    (`seqkeras.models.sequence_to_sequence`). The learning rate rises over the first steps and then
    falls to zero; the weights of the epoch with the best held-out loss are kept.

    Args:
        tokens: `"word"`, the default: words and signs; upper and lower case stay, and signs are
            put next to words again as they stood there. `"char"`: characters. Or a function from a
            text to the list of its tokens; translations then are tokens joined with spaces.
        units: width of the decoder; a tuple is a stack. None: 256 for words, 128 for other tokens.
        embedding: width of the vectors of tokens. None: 256 for words, 64 for other tokens.
        cell: `"gru"` (default), `"lstm"` or `"simple_rnn"`.
        attention: how the state of the decoder is compared with the outputs of the encoder:
            `"additive"` (default; Bahdanau et al. 2015, arXiv 1409.0473), `"dot"` or `"general"`
            (Luong et al. 2015, arXiv 1508.04025); with `"dot"` the encoder reads in one direction
            only. None: the decoder sees only the last states of the encoder (Sutskever et al. 2014,
            arXiv 1409.3215).
        dropout: share of inputs that training drops. None: 0.3 for words, 0.2 for other tokens.
        label_smoothing: see `TokenCrossEntropy`. Default 0.1.
        min_freq: how often a token must stand in the texts to be in a vocabulary; others become
            `<unk>`, which is never written. None: 1 for characters, 2 for other tokens.
        max_size: largest vocabulary. None: no limit for characters, 20,000 for other tokens.
        epochs: largest number of epochs. None: about 8,000 training steps, 3 to 40 epochs.
        patience: epochs without a better held-out loss before training stops. Default 40:
            with the default epochs never, as the loss is best once the learning rate has fallen.
        batch_size: pairs of a training step. None: 64, fewer for few pairs.
        learning_rate: largest learning rate of Adam. Default 2e-3.
        seed: seed of weights, dropout and order, below 2**32; None for different ones each time.
            `fit` seeds Keras' global generator.
        progress: show progress in training. Default True.

    Attributes:
        model_: the trained `keras.Model`.
        source_vocabulary_, target_vocabulary_: the `Vocabulary` of sources and of targets.
        log_: losses and the best epoch, a `TrainingLog`. Losses are in nats per token, without
            label smoothing.
        expansion_: tokens of a target for each token of its source, at most in all but 1 % of the
            pairs; translations are not much longer.

    Example:
        >>> words = ["ab", "ba", "abb", "bab", "aab", "baa"] * 8
        >>> translator = Translator("char", units=16, epochs=2, seed=0, progress=False)
        >>> translator = translator.fit(words, [word[::-1] for word in words])
        >>> len(translator.translate(["ab", "bba"]))
        2
    """

    source_vocabulary_: Vocabulary
    target_vocabulary_: Vocabulary
    expansion_: float

    _vocabularies = ("source_vocabulary_", "target_vocabulary_")
    _facts = ("expansion_",)

    def __init__(
        self,
        tokens: Tokenizer = "word",
        *,
        units: int | tuple[int, ...] | None = None,
        embedding: int | None = None,
        cell: str = "gru",
        attention: str | None = "additive",
        dropout: float | None = None,
        label_smoothing: float = 0.1,
        min_freq: int | None = None,
        max_size: int | None = None,
        epochs: int | None = None,
        patience: int = 40,
        batch_size: int | None = None,
        learning_rate: float = 2e-3,
        seed: int | None = None,
        progress: bool = True,
    ) -> None:
        self.tokens = tokens
        self.units = units
        self.embedding = embedding
        self.cell = cell
        self.attention = attention
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.min_freq = min_freq
        self.max_size = max_size
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.seed = seed
        self.progress = progress

    def settings(self) -> TextSettings:
        """Check the parameters.

        Raises:
            ArgumentError: a parameter is invalid.
        """
        if self.attention is not None:
            check_one_of("attention", self.attention, ATTENTIONS)
        check_fraction("label_smoothing", self.label_smoothing)
        return _with_sizes(super().settings())

    def fit(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        validation: tuple[Sequence[str], Sequence[str]] | float | None = None,
    ) -> Self:
        """Train on pairs of texts.

        Ctrl-C after the first epoch keeps the best weights so far; the translator is then fitted,
        and `KeyboardInterrupt` is raised.

        Args:
            sources: the texts to translate.
            targets: the translation of each source.
            validation: sources and targets that decide which epoch is kept; or the share of the
                pairs that is held out for this; 0 to keep the last epoch. None, the default: a
                share of 0.05, at most 2,000 pairs, and none of fewer than 50.

        Raises:
            ArgumentError: a parameter or an argument is invalid, or there are not as many targets
                as sources; nothing is trained then.
            DataError: a text has no tokens, or training diverged. The translator stays as it was.
        """
        settings = self.settings()
        tokens = _read_pairs(settings, ("sources", "targets"), sources, targets)
        learn, judge = self._held_out(settings, tokens, validation)
        source_vocabulary, target_vocabulary = (
            settings.vocabulary(texts, MOST_WORDS, pad=PAD, start=START) for texts in learn
        )

        def ids(pairs: Pairs) -> Pairs:
            return Pairs(
                source_vocabulary.ids(list(pairs.sources)),
                target_vocabulary.ids(list(pairs.targets)),
            )

        training = PairTraining(
            settings,
            self.attention,
            float(self.label_smoothing),
            (len(source_vocabulary), len(target_vocabulary)),
            int(target_vocabulary.start_id or 0),
            int(target_vocabulary.end_id or 0),
            ids(learn),
            ids(judge) if judge is not None else None,
        )
        model, log, interrupted = training.run()
        ratios = [len(t) / len(s) for s, t in zip(learn.sources, learn.targets, strict=True)]
        self._set(
            model,
            log,
            source_vocabulary_=source_vocabulary,
            target_vocabulary_=target_vocabulary,
            expansion_=float(np.quantile(ratios, 0.99)),
        )
        if interrupted:
            raise KeyboardInterrupt
        return self

    def translate(self, sources: Sequence[str], beam: int = 1, **search: Any) -> list[str]:
        """Translate texts.

        Args:
            sources: the texts. Tokens that are not in the vocabulary are read as `<unk>`; the
                translation of a text without tokens is empty.
            beam: number of translations that are followed at the same time; 1, the default, takes
                the likeliest token at each step.
            **search: how a beam above 1 ranks translations: length_penalty, coverage_penalty and
                min_length of `seqkeras.decoding.beam`, with its defaults.

        Returns:
            The translations. `translations` also gives their probabilities and the attention.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError, DataError: the sources are no list of strings, `beam` is invalid, or an
                option of the search is, or goes with `beam=1`.

        Warns:
            UnknownTokensWarning: some tokens are not in the vocabulary; the message names them.
        """
        return [translation.text for translation in self.translations(sources, beam, **search)]

    def translations(
        self,
        sources: Sequence[str],
        beam: int = 1,
        *,
        length_penalty: float | None = None,
        coverage_penalty: float | None = None,
        min_length: int | None = None,
    ) -> list[Translation]:
        """Translate texts, and return how each translation was found.

        Args:
            sources, beam: see `translate`.
            length_penalty, coverage_penalty, min_length: see `seqkeras.decoding.beam`.

        Raises:
            NotFittedError, ArgumentError, DataError: see `translate`.

        Warns:
            UnknownTokensWarning: see `translate`.
        """
        self.check_fitted()
        settings = self.settings()
        beam = check_integer("beam", beam)
        search = {
            "length_penalty": length_penalty,
            "coverage_penalty": coverage_penalty,
            "min_length": min_length,
        }
        search = {name: value for name, value in search.items() if value is not None}
        for name in search if beam == 1 else ():
            fix = "It ranks the beams of a search."
            raise bad_argument(name, search[name], "omitted with beam=1", fix)
        tokens = [settings.split(text) for text in check_texts("sources", sources)]
        _warn_of_unknown(tokens, self.source_vocabulary_)
        order = sorted(range(len(tokens)), key=lambda number: len(tokens[number]))
        results: dict[int, Translation] = {}
        for first in range(0, len(order), _ROWS):
            numbers = order[first : first + _ROWS]
            batch = self._translate_batch(
                settings, [tokens[number] for number in numbers], beam, search
            )
            results |= dict(zip(numbers, batch, strict=True))
        return [results[number] for number in range(len(tokens))]

    def _translate_batch(
        self,
        settings: TextSettings,
        sources: list[list[str]],
        beam: int,
        search: Mapping[str, Any],
    ) -> list[Translation]:
        """Translate sources of similar lengths."""
        vocabulary = self.target_vocabulary_
        end = self.source_vocabulary_.end_id
        rows = [[*self.source_vocabulary_.ids(tokens), end] for tokens in sources]
        longest = -(-max(map(len, rows)) // _MULTIPLE) * _MULTIPLE
        ids, _ = pad(rows, longest)
        options: dict[str, Any] = {
            "start": vocabulary.start_id,
            "stop": [vocabulary.end_id],
            "forbid": [vocabulary.pad_id, vocabulary.unknown_id, vocabulary.start_id],
        }
        length = math.ceil(self.expansion_ * longest) + _MULTIPLE
        beam = min(beam, len(vocabulary))
        if beam == 1:
            drawn = generate(self.model_, ids, length, temperature=0.0, **options)
        else:
            drawn = beam_search(self.model_, ids, length, beams=beam, **search, **options).best
        results = []
        for number, tokens in enumerate(sources):
            words = vocabulary.tokens(drawn.sequences[number]) if tokens else []
            attention = None
            if drawn.attention is not None:
                attention = drawn.attention[number, : len(words), : len(tokens) + 1]
            results.append(
                Translation(
                    text=settings.join(words),
                    source_tokens=[*tokens, END],
                    tokens=words,
                    log_probability=float(drawn.log_probabilities[number].sum()),
                    finished=bool(drawn.finished[number]),
                    attention=attention,
                )
            )
        return results

    def _held_out(
        self, settings: TextSettings, pairs: Pairs[str], validation: Any
    ) -> tuple[Pairs[str], Pairs[str] | None]:
        """Return the pairs to learn from, and those that decide which epoch is kept."""
        if validation is not None and not isinstance(validation, int | float):
            if not isinstance(validation, list | tuple) or len(validation) != 2:
                actual = Description(f"{validation!r:.80}")
                expected = "a pair of sources and targets, or a share below 1"
                raise bad_argument("validation", actual, expected)
            names = ("sources of validation", "targets of validation")
            return pairs, _read_pairs(settings, names, *validation)
        count = len(pairs.sources)
        default = HELD_OUT if count >= _FEW else 0.0
        share = default if validation is None else check_share("validation", validation)
        held_out = math.ceil(share * count)
        if validation is None:
            held_out = min(held_out, MOST_HELD_OUT)
        if not held_out:
            return pairs, None
        order = np.random.default_rng(settings.seed).permutation(count)
        judge = np.sort(order[:held_out])
        learn = np.sort(order[held_out:])
        if not len(learn):
            raise bad_argument("validation", validation, f"a smaller share of {count} pairs")
        return _take(pairs, learn), _take(pairs, judge)


def _read_pairs(
    settings: TextSettings, names: tuple[str, str], sources: Any, targets: Any
) -> Pairs[str]:
    """Return the tokens of pairs of texts, none of them empty."""
    sources = check_texts(names[0], sources)
    targets = check_texts(names[1], targets)
    if len(sources) != len(targets):
        actual = Description(f"{len(targets)} {names[1]} for {len(sources)} {names[0]}")
        raise bad_argument(names[1], actual, f"as many as {names[0]}, one for each")
    pairs = Pairs(*([settings.split(text) for text in texts] for texts in (sources, targets)))
    for name, texts in zip(names, pairs, strict=True):
        empty = [number for number, tokens in enumerate(texts) if not tokens]
        if empty:
            raise DataError(
                f"{name} must have tokens. Got: a text without any at index {empty[0]}, and "
                f"{len(empty)} in all. Remove these pairs."
            )
    return pairs


def _warn_of_unknown(texts: list[list[str]], vocabulary: Vocabulary) -> None:
    """Warn if tokens are not in the vocabulary of the sources."""
    tokens = dict.fromkeys(token for text in texts for token in text)
    unknown = [token for token in tokens if token not in vocabulary]
    if unknown:
        names = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        warn(
            f"sources have tokens that are not in source_vocabulary_: {names} ({len(unknown)} of "
            f"{len(tokens)}). They are read as {UNKNOWN!r}, so their translation is a guess.",
            UnknownTokensWarning,
        )


def _take(pairs: Pairs[str], numbers: Any) -> Pairs[str]:
    return Pairs(*([texts[number] for number in numbers] for texts in pairs))


def _with_sizes(settings: TextSettings) -> TextSettings:
    """Fill in the sizes that depend on the kind of tokens."""
    is_word = settings.tokens == "word"
    dropout = settings.dropout
    return replace(
        settings,
        units=settings.units or ((256,) if is_word else (128,)),
        embedding=settings.embedding or (256 if is_word else 64),
        dropout=(0.3 if is_word else 0.2) if dropout is None else dropout,
    )
