"""Recurrent layers, and the normalization of windows."""

from typing import TYPE_CHECKING, Any

from seqkeras._lazy import require
from seqkeras.errors import SeqkerasError

require("keras")

# Keeps Keras from burying our messages in a list of the arguments of a layer's call.
SeqkerasError._keras_call_info_injected = True  # type: ignore[attr-defined]

# Registers the layers that saved models converted from Keras 2 contain.
from seqkeras.layers import _keras_2_masks as _keras_2_masks
from seqkeras.layers._attention_cell import AttentionCell as AttentionCell
from seqkeras.layers._bidirectional import Bidirectional as Bidirectional
from seqkeras.layers._branch import branch as branch
from seqkeras.layers._conditional_decoder import ConditionalDecoder as ConditionalDecoder
from seqkeras.layers._factory import CELLS as CELLS
from seqkeras.layers._factory import Cell as Cell
from seqkeras.layers._factory import recurrent_layer as recurrent_layer
from seqkeras.layers._gaussian_code import KL_WEIGHT as KL_WEIGHT
from seqkeras.layers._gaussian_code import GaussianCode as GaussianCode
from seqkeras.layers._hard_sigmoid import keras_2_hard_sigmoid as keras_2_hard_sigmoid
from seqkeras.layers._lengths import length_mask as length_mask
from seqkeras.layers._lengths import reverse_sequence as reverse_sequence
from seqkeras.layers._memory_attention import MemoryAttention as MemoryAttention
from seqkeras.layers._normalization import NORMALIZATIONS as NORMALIZATIONS
from seqkeras.layers._normalization import ReversibleNormalization as ReversibleNormalization
from seqkeras.layers._normalization import center_and_scale as center_and_scale
from seqkeras.layers._recurrent import FASTER as FASTER
from seqkeras.layers._recurrent import GRU as GRU
from seqkeras.layers._recurrent import LSTM as LSTM
from seqkeras.layers._recurrent import Dispatched as Dispatched
from seqkeras.layers._recurrent import SimpleRNN as SimpleRNN
from seqkeras.layers._repeat_like import RepeatLike as RepeatLike
from seqkeras.layers._resettable import RNN as RNN
from seqkeras.layers._resettable import ConvLSTM1D as ConvLSTM1D
from seqkeras.layers._resettable import ConvLSTM2D as ConvLSTM2D
from seqkeras.layers._resettable import ConvLSTM3D as ConvLSTM3D
from seqkeras.layers._resettable import Resettable as Resettable
from seqkeras.layers._reverse_time import ReverseTime as ReverseTime
from seqkeras.layers._scheduled_sampling import ScheduledSampling as ScheduledSampling
from seqkeras.layers._sequence_decoder import SequenceDecoder as SequenceDecoder
from seqkeras.layers._time_distributed import TimeDistributed as TimeDistributed
from seqkeras.layers._time_major import TimeMajor as TimeMajor
from seqkeras.layers._token_vectors import TokenVectors as TokenVectors

if not TYPE_CHECKING:  # type checkers know the names above

    def __getattr__(name: str) -> Any:
        """Raise AttributeError, with the name to use for layers of Keras."""
        from keras import layers

        message = f"module {__name__!r} has no attribute {name!r}"
        if name in ("CuDNNLSTM", "CuDNNGRU"):
            message += f". Use {name[5:]}, which runs on cuDNN wherever it can"
        elif name in dir(layers):
            message += f". Use keras.layers.{name}"
        raise AttributeError(message)
