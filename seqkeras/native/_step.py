"""Single timesteps for services, with weights that are packed only once."""

import ctypes
from collections.abc import Callable
from functools import partial

from seqkeras.native._library import library
from seqkeras.native._sequences import Layer


class Step:
    """One timestep of a layer, for any number of rows; call `run`.

    Args:
        layer: cell and weights. The weights are copied, so the arrays may change afterwards.

    Raises:
        NotImplementedError: the library does not support the layer, or is not available.

    Attributes:
        run: `run(x, h, h_out)`, for an LSTM `run(x, h, c, h_out, c_out)`. It calls C directly.
            Arrays are float32 and dense, `(rows, features)` and `(rows, units)`; `h_out` may be
            `h`, and `c_out` may be `c`. Any number of threads may call it.
    """

    __slots__ = ("features", "has_c", "run", "units")

    run: Callable[..., None]

    def __init__(self, layer: Layer) -> None:
        module = library().module
        struct = layer.struct()
        self.features = layer.features
        self.units = layer.units
        self.has_c = layer.has_c
        self.run = partial(module.step, module.pack(ctypes.addressof(struct)))
