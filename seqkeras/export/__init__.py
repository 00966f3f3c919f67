"""Out of Keras: a trained model as a program for NumPy, or as an ONNX graph."""

from seqkeras._lazy import require

require("keras")

from seqkeras.export._onnx import save_onnx as save_onnx
from seqkeras.export._program import save_program as save_program
