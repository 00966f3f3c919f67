"""Sequences of symbols: tokens, vocabularies, batches of ids, language models and translation."""

from typing import TYPE_CHECKING

from seqkeras._lazy import attach

if TYPE_CHECKING:  # the same names for type checkers; a test holds the two lists equal
    from seqkeras.text._perplexity import Perplexity as Perplexity
    from seqkeras.text._token_cross_entropy import TokenCrossEntropy as TokenCrossEntropy

# Lazy, because models need Keras, and tokens and vocabularies only NumPy.
__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "_perplexity": ("Perplexity",),
        "_token_cross_entropy": ("TokenCrossEntropy",),
    },
)
