"""The graph of a Keras model; only this package and `layers` use private names of Keras."""

from seqkeras._lazy import require

require("keras")

from seqkeras._keras_graph._model_graph import ModelGraph as ModelGraph
from seqkeras._keras_graph._nested import recurrent_layers as recurrent_layers
from seqkeras._keras_graph._structure import check_graph as check_graph
from seqkeras._keras_graph._structure import conversion_error as conversion_error
from seqkeras._keras_graph._structure import input_layer as input_layer
from seqkeras._keras_graph._structure import is_graph as is_graph
from seqkeras._keras_graph._structure import name_of as name_of
from seqkeras._keras_graph._structure import self_and_sublayers as self_and_sublayers
from seqkeras._keras_graph._structure import sublayers as sublayers
from seqkeras._keras_graph._walk import walk as walk
