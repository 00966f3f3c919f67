"""Run trained models one timestep at a time, with NumPy or ONNX Runtime, without Keras."""

from seqkeras.runtime._decoder_program import Decoded as Decoded
from seqkeras.runtime._decoder_program import DecoderProgram as DecoderProgram
from seqkeras.runtime._decoder_program import SourceState as SourceState
from seqkeras.runtime._decoder_program import load_decoder as load_decoder
from seqkeras.runtime._native import LayerChoice as LayerChoice
from seqkeras.runtime._onnx import OnnxProgram as OnnxProgram
from seqkeras.runtime._onnx import load_onnx as load_onnx
from seqkeras.runtime._ports import Port as Port
from seqkeras.runtime._program import Program as Program
from seqkeras.runtime._program import load as load
