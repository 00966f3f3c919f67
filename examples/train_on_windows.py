"""Train a Keras model on windows of one long series.

python examples/train_on_windows.py [--quick]
"""

import argparse

import keras
import numpy as np

from seqkeras import Windows, WindowSpec, many_to_one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size")
    rows, epochs = (1_000, 1) if parser.parse_args().quick else (20_000, 3)

    # Two sensors; the target is their product, 5 timesteps after the window.
    random = np.random.default_rng(0)
    time = np.arange(rows)
    sensors = np.stack([np.sin(time / 7), np.cos(time / 11)], axis=1)
    sensors += random.normal(0, 0.05, sensors.shape)
    target = sensors.prod(axis=1)

    spec = WindowSpec(lookback=32, gap=4)
    split = int(0.8 * rows)
    train = Windows(sensors[:split], spec, targets=target[:split], shuffle=True, seed=0)
    test = Windows(sensors[split:], spec, targets=target[split:], batch_size=256)
    print(f"{train.count} windows to train on, {test.count} held out")

    keras.utils.set_random_seed(0)
    model = many_to_one(features=2, units=32)
    model.compile(optimizer="adam", loss="mse")
    model.fit(train, validation_data=test, epochs=epochs, verbose=2)

    held_out = model.evaluate(test, verbose=0)
    print(f"held-out error {held_out:.4f}; predicting the mean gives {target[split:].var():.4f}")


if __name__ == "__main__":
    main()
