"""Export trained models as program files for NumPy, and as ONNX files."""

from seqkeras._lazy import require

require("keras")

from seqkeras.export._save_decoder import save_decoder as save_decoder
from seqkeras.export._save_program import save_program as save_program
from seqkeras.export.onnx._save_decoder_onnx import save_decoder_onnx as save_decoder_onnx
from seqkeras.export.onnx._save_onnx import save_onnx as save_onnx
