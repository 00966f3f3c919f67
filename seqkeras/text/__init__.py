"""Sequences of symbols: tokens, vocabularies, batches of ids, language models and translation."""

from typing import TYPE_CHECKING

from seqkeras._lazy import attach

if TYPE_CHECKING:  # the same names for type checkers; a test holds the two lists equal
    from seqkeras.text._labeled_batches import LabeledBatches as LabeledBatches
    from seqkeras.text._language_estimator import GeneratedText as GeneratedText
    from seqkeras.text._language_estimator import LanguageModel as LanguageModel
    from seqkeras.text._pad import pad as pad
    from seqkeras.text._pair_batches import PairBatches as PairBatches
    from seqkeras.text._pair_file import read_pairs as read_pairs
    from seqkeras.text._perplexity import Perplexity as Perplexity
    from seqkeras.text._token_batches import TokenBatches as TokenBatches
    from seqkeras.text._token_cross_entropy import TokenCrossEntropy as TokenCrossEntropy
    from seqkeras.text._tokens import clean as clean
    from seqkeras.text._tokens import detokenize as detokenize
    from seqkeras.text._tokens import ngrams as ngrams
    from seqkeras.text._tokens import tokenize as tokenize
    from seqkeras.text._translator import Translation as Translation
    from seqkeras.text._translator import Translator as Translator
    from seqkeras.text._vocabulary import Vocabulary as Vocabulary
    from seqkeras.text._word_vectors import load_vectors as load_vectors

# Lazy, because models need Keras, and tokens and vocabularies only NumPy.
__getattr__, __dir__ = attach(
    __name__,
    {
        "_labeled_batches": ("LabeledBatches",),
        "_language_estimator": ("GeneratedText", "LanguageModel"),
        "_pad": ("pad",),
        "_pair_batches": ("PairBatches",),
        "_pair_file": ("read_pairs",),
        "_perplexity": ("Perplexity",),
        "_token_batches": ("TokenBatches",),
        "_token_cross_entropy": ("TokenCrossEntropy",),
        "_tokens": ("clean", "detokenize", "ngrams", "tokenize"),
        "_translator": ("Translation", "Translator"),
        "_vocabulary": ("Vocabulary",),
        "_word_vectors": ("load_vectors",),
    },
)
