"""Export a model as an ONNX file of one timestep, with the outputs of Keras, for `step.mjs`.

    python export.py      writes model.onnx and readings.json here
    npm install           ONNX Runtime for Node.js
    node step.mjs         steps the file, and compares the outputs

There are two sensors. The second follows the first, and the model predicts its next value.
"""

import argparse
import json

import numpy as np

from seqkeras import many_to_many
from seqkeras.export import save_onnx


def sensors(timesteps: int) -> np.ndarray:
    """Return readings `(timesteps, 2)`: correlated noise, and its echo."""
    random = np.random.default_rng(0)
    first = np.convolve(random.normal(size=timesteps + 9), np.ones(10) / 3, "valid")
    return np.stack([first, np.roll(first, 3)], axis=1).astype("float32")


def main(rows: int, epochs: int, timesteps: int = 60) -> None:
    series = sensors(rows)
    windows = np.lib.stride_tricks.sliding_window_view(series, 41, axis=0).swapaxes(1, 2)
    model = many_to_many(2, units=16)
    model.compile("adam", "mse")
    model.fit(windows[:, :-1], windows[:, 1:, 1:], epochs=epochs, verbose=0)
    save_onnx(model, "model.onnx")
    readings = series[:timesteps]
    outputs = model.predict(readings[np.newaxis], verbose=0)[0]
    with open("readings.json", "w") as file:
        json.dump({"readings": readings.tolist(), "expected": outputs.tolist()}, file)
    print(f"model.onnx, and readings.json with {timesteps} timesteps")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="toy size")
    rows, epochs = (200, 1) if parser.parse_args().quick else (2_000, 10)
    main(rows, epochs)
