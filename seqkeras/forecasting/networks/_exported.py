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
    """A network that runs as a program for a few windows, and in Keras for more.

    Attributes:
        network: the network.
        program: the same network, exported with the lookback as its `window`.
        output_shape: output shape of the network.
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
            kernels: kernels of its recurrent layers, the `implementation` of
                `seqkeras.runtime.load`.

        Raises:
            ArgumentError: a layer cannot run without Keras, or lacks the compiled kernel that
                `"native"` requires.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.program"
            save_program(network, path, window=lookback)
            return cls(network, load(path, implementation=kernels))

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for windows, `(batch, lookback, features)` or a dict with `"inputs"`.

        The program reads one timestep per step. So its state is set as if it had read all
        timesteps of the window except the newest, and one step reads the newest.
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

    A program is faster if compiled kernels run it, so `"auto"` requires them.

    Args:
        network: the network.
        lookback: timesteps that it reads.
        implementation: `"keras"`, `"program"`, or `"auto"` for the faster one.

    Raises:
        ArgumentError: `"program"` is requested, but the network cannot be exported.
    """
    if implementation == "keras":
        return network
    try:
        return WindowProgram.of(network, lookback, "native" if implementation == "auto" else "auto")
    except ArgumentError as error:
        if implementation == "auto":
            return network
        raise ArgumentError(f"implementation must be 'auto' or 'keras' here. {error}") from error
