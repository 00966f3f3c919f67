"""Recurrent layers: the one place where the builders get theirs from."""

from seqkeras._lazy import require

require("keras")

from seqkeras.layers._recurrent import CELLS as CELLS
from seqkeras.layers._recurrent import Cell as Cell
from seqkeras.layers._recurrent import recurrent_layer as recurrent_layer
