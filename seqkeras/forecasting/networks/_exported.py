"""A forecasting network as a program: what it answers for a few windows, without Keras."""

import tempfile
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from seqkeras.errors import ArgumentError
from seqkeras.export import save_program
from seqkeras.runtime import Program, load

#: Of more windows at once, Keras is faster.
MOST_ROWS = 32


class WindowProgram:
    """Answers as the network does, and is called as it is; for few windows by NumPy.

    Attributes:
        network: the network.
        program: the same, of a window of the lookback.
        output_shape: of the network.
    """

    def __init__(self, network: keras.Model, program: Program) -> None:
        self.network, self.program = network, program
        self.output_shape = network.output_shape

    @classmethod
    def of(
        cls, network: keras.Model, lookback: int, kernels: Literal["auto", "native"]
    ) -> "WindowProgram":
        """Exports a network.

        Args:
            network: the network.
            lookback: timesteps that it reads.
            kernels: what runs its recurrent layers, as for `seqkeras.runtime.load`.

        Raises:
            ArgumentError: it has layers that have no form without Keras, or no compiled kernel.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.program"
            save_program(network, path, window=lookback)
            return cls(network, load(path, implementation=kernels))

    def predict_on_batch(self, x: Any) -> Any:
        """The answers to windows, `(batch, lookback, features)` or a dict with `"inputs"`."""
        past = x["inputs"] if isinstance(x, dict) else x
        if len(past) > MOST_ROWS:
            return self.network.predict_on_batch(x)
        # A state is a window before its newest row; the step reads that.
        before = np.zeros_like(past)
        before[:, 1:] = past[:, :-1]
        newest = {**x, "inputs": past[:, -1]} if isinstance(x, dict) else past[:, -1]
        return self.program.step(newest, (before, np.full(len(past), past.shape[1])))[0]


def choose_network(network: keras.Model, lookback: int, implementation: str) -> Any:
    """The network, or the program of it: whichever is asked for, or is faster.

    Programs are faster where compiled kernels run them.

    Raises:
        ArgumentError: `"program"` is asked for, and the network has no such form.
    """
    if implementation == "keras":
        return network
    try:
        return WindowProgram.of(network, lookback, "native" if implementation == "auto" else "auto")
    except ArgumentError as error:
        if implementation == "auto":
            return network
        raise ArgumentError(f"implementation must be 'auto' or 'keras' here. {error}") from error
