"""Builders: each returns a plain, uncompiled `keras.Model`."""

from seqkeras._lazy import require

require("keras")

from seqkeras.models._autoencoder import autoencoder as autoencoder
from seqkeras.models._classifier import classifier as classifier
from seqkeras.models._codes import decode as decode
from seqkeras.models._codes import encode as encode
from seqkeras.models._codes import reconstruct as reconstruct
from seqkeras.models._encoder_decoder import encoder_decoder as encoder_decoder
from seqkeras.models._language_model import language_model as language_model
from seqkeras.models._many_to_many import many_to_many as many_to_many
from seqkeras.models._many_to_one import many_to_one as many_to_one
from seqkeras.models._multi_output import multi_output as multi_output
from seqkeras.models._next_step import next_step as next_step
from seqkeras.models._one_to_many import one_to_many as one_to_many
from seqkeras.models._recursive import recursive as recursive
from seqkeras.models._segment_rnn import segment_rnn as segment_rnn
from seqkeras.models._sequence_to_sequence import sequence_to_sequence as sequence_to_sequence
from seqkeras.models._stack import StackOptions as StackOptions
from seqkeras.models._stack import recurrent_stack as recurrent_stack
from seqkeras.models._tagger import tagger as tagger
from seqkeras.models._window import NetworkOptions as NetworkOptions
