"""Networks that run without Keras, which is faster for a few windows."""

import tempfile
from pathlib import Path
from typing import Any, Literal

import keras

from seqkeras._arrays import Array
from seqkeras.errors import ArgumentError
from seqkeras.export import save_program
from seqkeras.forecasting.networks._predict import BatchPredictor
from seqkeras.runtime import Program, load

#: With more windows at once, Keras is faster.
MOST_ROWS = 32


class WindowProgram:
    """A network that reads a few windows with NumPy, and more windows with Keras.

    Attributes:
        network: the network.
        program: the same network, exported with a window of the lookback.
        output_shape: of the network.
    """

    def __init__(self, network: keras.Model, program: Program) -> None:
        self.network = network
        self.program = program
        self.output_shape = network.output_shape

    @classmethod
    def of(
        cls, network: keras.Model, lookback: int, kernels: Literal["auto", "native"]
    ) -> "WindowProgram":
        """Export a network.

        Args:
            network: the network.
            lookback: timesteps that it reads.
            kernels: what runs its recurrent layers, as for `seqkeras.runtime.load`.

        Raises:
            ArgumentError: it has layers that cannot run without Keras, or no compiled kernel.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.program"
            save_program(network, path, window=lookback)
            return cls(network, load(path, implementation=kernels))

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for windows, `(batch, lookback, features)` or a dict with `"inputs"`.

        The program reads one row after another. It starts here from the state that it has after
        all rows of a window but the newest.
        """
        windows = x["inputs"] if isinstance(x, dict) else x
        if len(windows) > MOST_ROWS:
            return self.network.predict_on_batch(x)
        newest = windows[:, -1]
        outputs, _ = self.program.step(
            {**x, "inputs": newest} if isinstance(x, dict) else newest, self._state_before(windows)
        )
        return outputs

    def _state_before(self, windows: Array) -> tuple[Array, ...]:
        state = self.program.initial_state(len(windows))
        rows, count = state
        rows[:, 1:] = windows[:, :-1]
        count[:] = windows.shape[1]
        return state


def choose_network(network: keras.Model, lookback: int, implementation: str) -> BatchPredictor:
    """Return a network or its program, whichever is requested or faster.

    Programs are faster if compiled kernels run them.

    Args:
        network: the network.
        lookback: timesteps that it reads.
        implementation: `"keras"`, `"program"`, or `"auto"` for the faster one.

    Raises:
        ArgumentError: `"program"` is requested, and the network cannot be exported.
    """
    if implementation == "keras":
        return network
    try:
        return WindowProgram.of(network, lookback, "native" if implementation == "auto" else "auto")
    except ArgumentError as error:
        if implementation == "auto":
            return network
        raise ArgumentError(f"implementation must be 'auto' or 'keras' here. {error}") from error
