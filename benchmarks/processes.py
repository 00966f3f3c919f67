"""Training in several processes, compared with one process.

KERAS_BACKEND=jax python benchmarks/processes.py [--layers LSTM GRU Keras] [--rounds 5]

A network of one recurrent layer is trained by `fit_distributed` on `Windows`: in two processes of
one thread, in one process of one thread, and in one process of two threads. Each process has a core
of its own, or both. The contenders are started in turns, as often as there are rounds; a round is
the median time of the epochs after the first one. Ratios are one process / contender, of medians
over rounds, and in parentheses the smallest and the largest ratio of rounds. It needs Linux and two
cores that nothing else uses; `chrt -r 1` before the command keeps other processes off.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--layers", nargs="+", default=["LSTM", "GRU", "Keras"], help="by default all")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--batch-size", type=int, default=256)
parser.add_argument("--timesteps", type=int, default=40)
parser.add_argument("--features", type=int, default=8)
parser.add_argument("--units", type=int, default=128)
parser.add_argument("--batches", type=int, default=6, help="batches of an epoch")
parser.add_argument("--epochs", type=int, default=9, help="epochs of a round, with the first one")
parser.add_argument("--train", metavar="LAYER", help=argparse.SUPPRESS)
OPTIONS = parser.parse_args()

#: Processes and threads of each contender.
CONTENDERS = {"one process": (1, 1), "two processes": (2, 1), "two threads": (1, 2)}


def train():
    """Train in this process, and let the first process print the milliseconds of a step."""
    if int(os.environ["WORLD_SIZE"]) > 1:
        os.sched_setaffinity(0, {int(os.environ["RANK"])})
    import keras
    import numpy as np

    from seqkeras import Windows, WindowSpec, layers
    from seqkeras.training import fit_distributed, process_index

    class Clock(keras.callbacks.Callback):
        """Measures epochs."""

        def __init__(self):
            super().__init__()
            self.seconds = []

        def on_epoch_begin(self, epoch, logs=None):
            self._start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(time.perf_counter() - self._start)

    kind = {"LSTM": layers.LSTM, "GRU": layers.GRU, "Keras": keras.layers.LSTM}[OPTIONS.train]
    rows = OPTIONS.batch_size * OPTIONS.batches + OPTIONS.timesteps
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, OPTIONS.features))
    y = rng.normal(size=(rows, OPTIONS.units))
    spec = WindowSpec(OPTIONS.timesteps, horizon=1)
    windows = Windows(x, spec, targets=y, target_rows="point", batch_size=OPTIONS.batch_size)
    model = keras.Sequential(
        [keras.Input((OPTIONS.timesteps, OPTIONS.features)), kind(OPTIONS.units)]
    )
    model.compile("adam", "mse")
    clock = Clock()
    fit_distributed(model, windows, OPTIONS.epochs, callbacks=[clock], progress=False)
    if process_index() == 0:
        print(json.dumps({"ms": 1000 * statistics.median(clock.seconds[1:]) / OPTIONS.batches}))


def measure(layer, processes, threads):
    """Return the milliseconds of a step of one contender."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "SEQKERAS_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": flags if threads == 1 else os.environ.get("XLA_FLAGS", ""),
    }
    cores = ",".join(map(str, range(processes * threads)))
    command = [
        "taskset", "-c", cores, sys.executable, "-m", "seqkeras", "launch", "-n", str(processes),
        __file__, *sys.argv[1:], "--train", layer,
    ]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    lines = done.stdout.splitlines()
    return json.loads(next(line for line in lines if line.startswith("[0] {"))[4:])["ms"]


def compare(layer):
    """Print the times of a step in one process, and the ratios of the others."""
    times = {name: [] for name in CONTENDERS}
    for _ in range(OPTIONS.rounds):
        for name, sizes in CONTENDERS.items():
            times[name].append(measure(layer, *sizes))
    alone = times["one process"]
    row = f"{layer:6}{statistics.median(alone):8.1f} ms a step"
    for name in list(CONTENDERS)[1:]:
        rounds = [one / other for one, other in zip(alone, times[name], strict=True)]
        ratio = statistics.median(alone) / statistics.median(times[name])
        row += f"   {name} {ratio:.2f} ({min(rounds):.2f} .. {max(rounds):.2f})"
    print(row, flush=True)


if __name__ == "__main__":
    if OPTIONS.train:
        train()
    else:
        for layer in OPTIONS.layers:
            compare(layer)
