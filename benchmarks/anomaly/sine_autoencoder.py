"""Reconstruct 100 timesteps of a sine: the recipe of many tutorials, and one that learns it.

    python benchmarks/anomaly/sine_autoencoder.py [--seeds 3] [--epochs 150] [--decoder conditional]
        [--tutorial-epochs 10]

Both train on the same 512 waves of random phase and period, and are tested on 256 others. The mean
squared error of a model that writes the mean of a wave everywhere is about 0.5. An epoch of the
tutorial takes many times as long, because Keras runs an LSTM with another activation than tanh in a
loop; pass `--tutorial-epochs 150` to give it as many.

    tutorial    plain Keras: LSTM(100, activation="relu"), RepeatVector, the same LSTM again, Dense;
                Adam with its default learning rate, nothing clipped
    seqkeras    autoencoder(units=32, cell="gru", latent=8, reverse=True); Adam with a learning rate
                that falls from 0.01 to 0 and gradients clipped to a norm of 1
"""

import argparse
import time

import keras
import numpy as np

from seqkeras.models import autoencoder

TIMESTEPS = 100
BATCH = 32


def waves(count, seed):
    """Sines of random phase, with periods of 20 to 50 timesteps."""
    random = np.random.default_rng(seed)
    phases = random.uniform(0, 2 * np.pi, (count, 1))
    periods = random.uniform(20, 50, (count, 1))
    x = np.sin(2 * np.pi * np.arange(TIMESTEPS) / periods + phases)
    return x[..., np.newaxis].astype("float32")


def tutorial(steps, decoder):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((TIMESTEPS, 1)),
            layers.LSTM(100, activation="relu"),
            layers.RepeatVector(TIMESTEPS),
            layers.LSTM(100, activation="relu", return_sequences=True),
            layers.TimeDistributed(layers.Dense(1)),
        ]
    )
    model.compile(optimizer="adam", loss="mse")
    return model


def seqkeras(steps, decoder):
    model = autoencoder(1, latent=8, units=32, cell="gru", reverse=True, decoder=decoder)
    rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
    model.compile(optimizer=keras.optimizers.Adam(rate, clipnorm=1.0), loss="mse")
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--tutorial-epochs", type=int, default=10)
    parser.add_argument("--decoder", default="repeat")
    parser.add_argument("--only", choices=["tutorial", "seqkeras"])
    arguments = parser.parse_args()
    for seed in range(arguments.seeds):
        x, unseen = waves(512, seed), waves(256, 1000 + seed)
        for build in (tutorial, seqkeras):
            if arguments.only not in (None, build.__name__):
                continue
            keras.utils.set_random_seed(seed)
            is_tutorial = build is tutorial
            epochs = arguments.tutorial_epochs if is_tutorial else arguments.epochs
            model = build(epochs * len(x) // BATCH, arguments.decoder)
            start = time.perf_counter()
            model.fit(x, x, epochs=epochs, batch_size=BATCH, verbose=0)
            seconds = time.perf_counter() - start
            error = model.evaluate(unseen, unseen, batch_size=256, verbose=0)
            name = f"{build.__name__:9} {epochs:4} epochs"
            print(f"seed {seed}  {name}  mse {error:.6f}  {seconds:4.0f} s", flush=True)


if __name__ == "__main__":
    main()
