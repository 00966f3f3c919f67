"""Train on whole windows, then feed outputs back as inputs: in one call, or one value at a time.

python examples/feedback_loop.py [--quick]
"""

import argparse

import keras
import numpy as np

from seqkeras import Windows, WindowSpec, next_step
from seqkeras.states import reset_state
from seqkeras.stepwise import rollout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size")
    epochs = 1 if parser.parse_args().quick else 30

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

    # Read the past, then feed each output back: one compiled loop, for many series at once.
    past = wave[:100]
    future = wave[100:150]
    forecast = rollout(trained, past.reshape(1, -1, 1), len(future))[0, :, 0]
    error = np.mean((forecast - future) ** 2)
    print(
        f"50 steps fed back: mean squared error {error:.4f}; the wave varies by {future.var():.4f}"
    )

    # The same weights, one value at a time as values arrive: the state is kept between calls.
    stepper = next_step(1, units=32, stateful=True, batch_size=1)
    stepper.set_weights(trained.get_weights())
    for value in past:
        output = stepper(value.reshape(1, 1, 1))
    difference = abs(keras.ops.convert_to_numpy(output).item() - forecast[0])
    print(f"value by value, the first forecast differs by {difference:.0e}")

    # A new client: its state starts from zeros.
    reset_state(stepper)
    stepper(past[:1].reshape(1, 1, 1))


if __name__ == "__main__":
    main()
