"""Recurrent layers: the one place where the builders get theirs from."""

from seqkeras._lazy import require

require("keras")

from seqkeras.layers._bidirectional import Bidirectional as Bidirectional
from seqkeras.layers._branch import branch as branch
from seqkeras.layers._convert import accelerate as accelerate
from seqkeras.layers._convert import to_keras as to_keras
from seqkeras.layers._cudnn_weights import from_cudnn as from_cudnn
from seqkeras.layers._cudnn_weights import to_cudnn as to_cudnn
from seqkeras.layers._dispatched import FASTER as FASTER
from seqkeras.layers._dispatched import GRU as GRU
from seqkeras.layers._dispatched import LSTM as LSTM
from seqkeras.layers._dispatched import Dispatched as Dispatched
from seqkeras.layers._dispatched import SimpleRNN as SimpleRNN
from seqkeras.layers._explain import Explanation as Explanation
from seqkeras.layers._explain import explain as explain
from seqkeras.layers._legacy import keras_2_hard_sigmoid as keras_2_hard_sigmoid
from seqkeras.layers._legacy import load_legacy as load_legacy
from seqkeras.layers._legacy import load_legacy_weights as load_legacy_weights
from seqkeras.layers._nested import recurrent_layers as recurrent_layers
from seqkeras.layers._recurrent import CELLS as CELLS
from seqkeras.layers._recurrent import Cell as Cell
from seqkeras.layers._recurrent import recurrent_layer as recurrent_layer
from seqkeras.layers._reversible import NORMALIZATIONS as NORMALIZATIONS
from seqkeras.layers._reversible import ReversibleNormalization as ReversibleNormalization
from seqkeras.layers._reversible import center_and_scale as center_and_scale
from seqkeras.layers._stateful import RNN as RNN
from seqkeras.layers._stateful import ConvLSTM1D as ConvLSTM1D
from seqkeras.layers._stateful import ConvLSTM2D as ConvLSTM2D
from seqkeras.layers._stateful import ConvLSTM3D as ConvLSTM3D
from seqkeras.layers._stateful import Resettable as Resettable
from seqkeras.layers._time_distributed import TimeDistributed as TimeDistributed
