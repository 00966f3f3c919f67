"""Convert models: onto fast layers and back, from Keras 2 files, from and to cuDNN weights."""

from seqkeras._lazy import require

require("keras")

from seqkeras.conversion._accelerate import accelerate as accelerate
from seqkeras.conversion._accelerate import to_keras as to_keras
from seqkeras.conversion._cudnn_weights import from_cudnn as from_cudnn
from seqkeras.conversion._cudnn_weights import to_cudnn as to_cudnn
from seqkeras.conversion._keras2 import keras_2_hard_sigmoid as keras_2_hard_sigmoid
from seqkeras.conversion._keras2 import load_legacy as load_legacy
from seqkeras.conversion._keras2 import load_legacy_weights as load_legacy_weights
