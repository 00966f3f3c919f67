"""The native library: LSTM, GRU and SimpleRNN in C++ for a CPU, on NumPy arrays, if it was built.

The fused kernel of `seqkeras.kernels` and the programs of `seqkeras.runtime` call it. Its C
interface is `src/seqkeras_native.h`.
"""

from seqkeras.native._interface import ABI_VERSION as ABI_VERSION
from seqkeras.native._interface import ACTIVATIONS as ACTIVATIONS
from seqkeras.native._interface import CELLS as CELLS
from seqkeras.native._interface import GATES as GATES
from seqkeras.native._interface import MASKED_OUTPUTS as MASKED_OUTPUTS
from seqkeras.native._interface import MOST_WIDE as MOST_WIDE
from seqkeras.native._interface import PRECISIONS as PRECISIONS
from seqkeras.native._interface import GradientsStruct as GradientsStruct
from seqkeras.native._interface import LayerStruct as LayerStruct
from seqkeras.native._interface import OutputsStruct as OutputsStruct
from seqkeras.native._interface import not_among_kernels as not_among_kernels
from seqkeras.native._library import Library as Library
from seqkeras.native._library import library as library
from seqkeras.native._library import load as load
from seqkeras.native._library import why_not as why_not
from seqkeras.native._sequences import Forward as Forward
from seqkeras.native._sequences import Layer as Layer
from seqkeras.native._sequences import backward as backward
from seqkeras.native._sequences import forward as forward
from seqkeras.native._step import Step as Step
