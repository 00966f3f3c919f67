"""Train on whole windows, then step the same weights one value at a time and feed them back.

python examples/feedback_loop.py [--quick]
"""

import argparse

import keras
import numpy as np

from seqkeras import Windows, WindowSpec, next_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size")
    epochs = 2 if parser.parse_args().quick else 30

    wave = np.sin(2 * np.pi * np.arange(2_000) / 25).astype("float32")
    # Whole windows, one step ahead: inputs y[t : t+50], targets y[t+1 : t+51].
    windows = Windows(wave[:-1], WindowSpec(50), batch_size=64, shuffle=True, seed=0)
    starts = np.arange(0, windows.count, 5)
    x, _ = windows.take(starts)
    y = np.concatenate([x[:, 1:], windows.take(starts)[1][..., np.newaxis]], axis=1)

    keras.utils.set_random_seed(0)
    trained = next_step(1, units=32)
    trained.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse")
    trained.fit(x, y, batch_size=64, epochs=epochs, verbose=0)

    # The same weights, with a state that is kept from call to call: one row for each client.
    stepper = next_step(1, units=32, stateful=True, batch_size=1)
    stepper.set_weights(trained.get_weights())
    seen, truth = wave[:100], wave[100:150]
    for value in seen:
        answer = stepper({"inputs": value.reshape(1, 1, 1), "reset": None})
    forecast = []
    for _ in truth:
        forecast.append(keras.ops.convert_to_numpy(answer).item())
        value = np.reshape(forecast[-1], (1, 1, 1)).astype("float32")
        answer = stepper({"inputs": value, "reset": None})
    error = np.mean((np.array(forecast) - truth) ** 2)
    print(
        f"50 steps fed back: mean squared error {error:.4f}; the wave varies by {truth.var():.4f}"
    )

    # A new client: its state starts from zeros.
    stepper({"inputs": seen[:1].reshape(1, 1, 1), "reset": np.array([[True]])})


if __name__ == "__main__":
    main()
