"""Decoding: sequences of tokens drawn from language models and encoder-decoders."""

from seqkeras._lazy import require

require("keras")
