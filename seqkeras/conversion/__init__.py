"""Convert models to seqkeras layers and back, files of Keras 2, and weights of other libraries."""

from seqkeras._lazy import require

require("keras")

from seqkeras.conversion._accelerate import accelerate as accelerate
from seqkeras.conversion._cudnn_weights import from_cudnn as from_cudnn
from seqkeras.conversion._cudnn_weights import to_cudnn as to_cudnn
from seqkeras.conversion._keras2 import load_legacy as load_legacy
from seqkeras.conversion._keras2 import load_legacy_weights as load_legacy_weights
from seqkeras.conversion._to_keras import to_keras as to_keras
from seqkeras.conversion._torch import load_torch_weights as load_torch_weights
from seqkeras.conversion._torch import to_torch as to_torch
