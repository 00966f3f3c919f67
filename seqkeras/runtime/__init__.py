"""Trained models as programs that run one timestep at a time, on NumPy only."""

from seqkeras.runtime._native import LayerChoice as LayerChoice
from seqkeras.runtime._onnx import OnnxProgram as OnnxProgram
from seqkeras.runtime._onnx import load_onnx as load_onnx
from seqkeras.runtime._ports import Port as Port
from seqkeras.runtime._program import Program as Program
from seqkeras.runtime._program import load as load
