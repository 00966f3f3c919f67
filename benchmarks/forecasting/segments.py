"""Time a training step of segment_rnn, and of the same network in PyTorch.

    python benchmarks/forecasting/segments.py [--backend jax] [--units 128 512] [--threads 2]

Batches of 64 windows of 7 channels, one GRU, segments of 24, Adam, float32. The PyTorch network is
SegRNN as published: the state is copied for each segment of the horizon, and nn.GRU takes one step
from each copy. Both alternate; the ratio is the median of the rounds, with its range. GFLOP/s count
the necessary products, that of the state once. The limit is that of a square matrix product in
PyTorch, on the same number of threads.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from _turns import SIDE, in_turns, milliseconds

BATCH = 64
CHANNELS = 7
SEGMENT = 24
SIZES = [(96, 96), (96, 720), (720, 96), (720, 720)]


def ours(lookback, horizon, units, x, y):
    from seqkeras import segment_rnn

    network = segment_rnn(
        CHANNELS, targets=CHANNELS, lookback=lookback, horizon=horizon, segment=SEGMENT, units=units
    )
    network.compile("adam", "mse")
    return lambda: network.train_on_batch(x, y)


def theirs(horizon, units, x, y, torch):
    read = torch.nn.Linear(SEGMENT, units)
    recurrent = torch.nn.GRU(units, units, batch_first=True)
    ahead = horizon // SEGMENT
    place = torch.nn.Parameter(torch.randn(ahead, units // 2))
    channel = torch.nn.Parameter(torch.randn(CHANNELS, units // 2))
    head = torch.nn.Linear(units, SEGMENT)
    weights = [w for part in (read, recurrent, head) for w in part.parameters()]
    weights += [place, channel]
    optimizer = torch.optim.Adam(weights)
    x = torch.from_numpy(x)
    y = torch.from_numpy(y)

    def step():
        newest = x[:, -1:]
        past = (x - newest).transpose(1, 2).reshape(BATCH * CHANNELS, -1, SEGMENT)
        _, state = recurrent(read(past).relu())
        copies = state.repeat_interleave(ahead, dim=1)
        both = (place.repeat(CHANNELS, 1), channel.repeat_interleave(ahead, dim=0))
        queries = torch.cat(both, dim=1).repeat(BATCH, 1)[:, None]
        outputs = recurrent(queries, copies)[0]
        outputs = head(torch.nn.functional.dropout(outputs, 0.1))
        forecast = outputs.reshape(BATCH, CHANNELS, horizon).transpose(1, 2) + newest
        loss = (forecast - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def products(lookback, horizon, units):
    """Estimate the operations of a training step: products once forward, twice backward."""
    read = lookback // SEGMENT
    written = horizon // SEGMENT
    cell = 3 * units * units
    per_row = read * (SEGMENT * units + 2 * cell) + cell + written * units * SEGMENT
    return 3 * 2 * BATCH * CHANNELS * per_row


def limit(torch):
    """Return the GFLOP/s of a matrix product, the best of fifty."""
    a = torch.ones(SIDE, SIDE)
    return 2e-6 * SIDE**3 / min(milliseconds(lambda: a @ a) for _ in range(50))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["tensorflow", "jax", "torch"])
    parser.add_argument("--units", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
    threads = str(options.threads)
    for name in ("OMP_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP", "SEQKERAS"):
        os.environ[f"{name}_THREADS"] = threads
    os.environ["XLA_FLAGS"] = (
        f"--xla_cpu_multi_thread_eigen={'true' if options.threads > 1 else 'false'} "
        f"intra_op_parallelism_threads={threads}"
    )
    import keras
    import torch

    torch.set_num_threads(options.threads)
    backend = keras.backend.backend()
    rate = limit(torch)
    print(f"{backend}, {options.threads} threads, a matrix product: {rate:.0f} GFLOP/s")
    print("units  lookback  horizon  seqkeras ms  torch ms     torch / seqkeras  GFLOP/s")
    random = np.random.default_rng(0)
    for units in options.units:
        for lookback, horizon in SIZES:
            x = random.normal(size=(BATCH, lookback, CHANNELS)).astype("float32")
            y = random.normal(size=(BATCH, horizon, CHANNELS)).astype("float32")
            contenders = {
                "ours": ours(lookback, horizon, units, x, y),
                "theirs": theirs(horizon, units, x, y, torch),
            }
            times = in_turns(contenders, options.rounds, calls=3)
            ratios = [b / a for a, b in zip(*times.values(), strict=True)]
            our_time, their_time = (statistics.median(times[name]) for name in contenders)
            middle = statistics.median(ratios)
            speed = 1e-6 * products(lookback, horizon, units) / our_time
            print(
                f"{units:>5}  {lookback:>8}  {horizon:>7}  {our_time:>11.1f}  {their_time:>8.1f}"
                f"  {middle:>5.2f} ({min(ratios):.2f} .. {max(ratios):.2f})  {speed:>7.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
