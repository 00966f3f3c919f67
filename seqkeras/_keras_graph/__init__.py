"""The graph of a Keras model; the only place that touches private names of Keras."""

from seqkeras._lazy import require

require("keras")

from seqkeras._keras_graph._nested import recurrent_layers as recurrent_layers
