"""Decoding: sequences of tokens drawn from language models and encoder-decoders."""

from seqkeras._lazy import require

require("keras")

from seqkeras.decoding._beam import beam as beam
from seqkeras.decoding._beams import Beams as Beams
from seqkeras.decoding._generate import generate as generate
from seqkeras.decoding._generated import Generated as Generated
