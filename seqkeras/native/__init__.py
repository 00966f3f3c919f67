"""Compiled kernels for LSTM, GRU and SimpleRNN on a CPU, where they were built; NumPy arrays alone.

Layers for the backends of Keras are made on top of these; the C interface below them is in
`src/seqkeras_native.h`.
"""

from seqkeras.native._library import Forward as Forward
from seqkeras.native._library import GradientsStruct as GradientsStruct
from seqkeras.native._library import Layer as Layer
from seqkeras.native._library import LayerStruct as LayerStruct
from seqkeras.native._library import Library as Library
from seqkeras.native._library import OutputsStruct as OutputsStruct
from seqkeras.native._library import backward as backward
from seqkeras.native._library import forward as forward
from seqkeras.native._library import load as load
from seqkeras.native._library import why_not as why_not
from seqkeras.native._step import Step as Step
