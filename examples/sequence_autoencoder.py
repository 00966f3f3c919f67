"""An autoencoder of windows: codes from its encoder, and errors that reveal unusual windows.

python examples/sequence_autoencoder.py [--quick]
"""

import argparse

import keras
import numpy as np

from seqkeras import autoencoder
from seqkeras.windows import gather


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size")
    epochs = 1 if parser.parse_args().quick else 40

    random = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * np.arange(3_000) / 30) + random.normal(0, 0.05, 3_000)
    windows = gather(wave[:, np.newaxis], np.arange(0, 2_900, 7), timesteps=30)

    keras.utils.set_random_seed(0)
    model = autoencoder(features=1, timesteps=30, latent=4, units=32)
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="mse")
    model.fit(windows, windows, batch_size=32, epochs=epochs, verbose=0)

    codes = model.get_layer("encoder").predict(windows, verbose=0)
    print(f"{len(windows)} windows of 30 values became codes of {codes.shape[1]}")

    unusual = windows[0].copy()
    unusual[10:20] = 0  # the sensor was dead for a while
    errors = [float(model.evaluate(x[None], x[None], verbose=0)) for x in (windows[0], unusual)]
    print(f"error of a usual window {errors[0]:.4f}, of an unusual one {errors[1]:.4f}")


if __name__ == "__main__":
    main()
