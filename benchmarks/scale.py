"""Training over several devices of one process, compared with a single device.

KERAS_BACKEND=jax python benchmarks/scale.py [--layers LSTM GRU Keras] [--rounds 11]

A network of one recurrent layer is trained by `fit`, on two devices of the CPU that share each
batch in `keras.distribution.DataParallel`, and on one device. Each device has one thread. The
contenders take turns in one process. Ratios are one device / contender: medians of the rounds, and
in parentheses the quartiles of the ratios of single rounds. `two threads` is one device of two
threads, which is simpler where the devices are cores of one machine. Stock Keras is compared with
itself.
"""

import argparse
import contextlib
import os
import statistics

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--layers", nargs="+", default=["LSTM", "GRU", "Keras"], help="by default all")
parser.add_argument("--rounds", type=int, default=11)
parser.add_argument("--batch-size", type=int, default=256)
parser.add_argument("--timesteps", type=int, default=40)
parser.add_argument("--features", type=int, default=8)
parser.add_argument("--units", type=int, default=128)
parser.add_argument(
    "--batches", type=int, default=6, help="batches of an epoch; a turn is an epoch"
)
OPTIONS = parser.parse_args()
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=2 --xla_cpu_multi_thread_eigen=false"
)

import keras  # noqa: E402  # only after the number of devices is set
import numpy as np  # noqa: E402
from _turns import in_turns, ratio  # noqa: E402

from seqkeras import kernels, layers, native  # noqa: E402

#: Keras' own LSTM is for comparison.
LAYERS = {"LSTM": layers.LSTM, "GRU": layers.GRU, "Keras": keras.layers.LSTM}


def trainer(kind, x, y, *, devices=1, threads=1):
    """Return a function that trains a network for one epoch."""
    two = keras.distribution.DataParallel(auto_shard_dataset=False)
    scope = two.scope if devices == 2 else contextlib.nullcontext
    with scope():
        model = keras.Sequential([keras.Input(x.shape[1:]), kind(OPTIONS.units)])
        model.compile("adam", "mse")

    def train():
        native.load().set_threads(threads)
        with scope():
            model.fit(x, y, batch_size=OPTIONS.batch_size, verbose=0)

    return train


def compare(name):
    """Print the times of a step on one device, and the ratios of the others."""
    rows = OPTIONS.batch_size * OPTIONS.batches
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, OPTIONS.timesteps, OPTIONS.features)).astype("float32")
    y = rng.normal(size=(rows, OPTIONS.units)).astype("float32")
    kind = LAYERS[name]
    contenders = {"one device": trainer(kind, x, y), "two devices": trainer(kind, x, y, devices=2)}
    ours = name != "Keras"
    if ours:
        contenders["two threads"] = trainer(kind, x, y, threads=2)
    with kernels.counting() as chosen:
        times = in_turns(contenders, OPTIONS.rounds)
    assert set(chosen) == ({"fused"} if ours else set()), chosen
    milliseconds = statistics.median(times["one device"]) / OPTIONS.batches
    row = f"{name:6}{milliseconds:8.1f} ms a step"
    for contender in list(contenders)[1:]:
        row += f"   {contender} {ratio(times, 'one device', contender)[1]}"
    print(row, flush=True)


def main():
    print(
        f"Keras {keras.__version__} on {keras.backend.backend()}, batch {OPTIONS.batch_size}, "
        f"{OPTIONS.timesteps} timesteps, {OPTIONS.features} features, {OPTIONS.units} units"
    )
    for name in OPTIONS.layers:
        compare(name)


if __name__ == "__main__":
    main()
