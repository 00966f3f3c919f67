"""Windows a second: shuffled windows of one long series, ours beside three peers in one run.

    python benchmarks/windows.py [--rows 200000] [--features 8] [--lookback 96] [--batch-size 256]

Peers: `keras.utils.timeseries_dataset_from_array`; a PyTorch `DataLoader` over a `Dataset` that
slices windows (left out where PyTorch is not installed), in the main process, which was its fastest
setting here; NumPy's own indexing of inputs and targets, which is little more than the copy.
The limit is memory: each byte of a batch is read and written once.
"""

import argparse
import statistics
import time

import keras
import numpy as np

from seqkeras.windows import Windows, WindowSpec


def ours(values, spec, batch_size, seconds):
    windows = Windows(values, spec, batch_size=batch_size, shuffle=True, seed=0)
    return rate((windows[i] for i in range(len(windows))), batch_size, seconds)


def keras_utility(values, spec, batch_size, seconds):
    dataset = keras.utils.timeseries_dataset_from_array(
        values, values[spec.lookback :], spec.lookback, batch_size=batch_size, shuffle=True, seed=0
    )
    return rate(iter(dataset), batch_size, seconds)


def torch_loader(values, spec, batch_size, seconds):
    import torch

    tensor = torch.from_numpy(values)

    class Slices(torch.utils.data.Dataset):
        def __len__(self):
            return spec.count(len(tensor))

        def __getitem__(self, start):
            end = start + spec.lookback
            return tensor[start:end], tensor[end : end + spec.horizon]

    loader = torch.utils.data.DataLoader(Slices(), batch_size, shuffle=True)
    return rate(iter(loader), batch_size, seconds)


def numpy_take(values, spec, batch_size, seconds):
    count = spec.count(len(values))
    order = np.random.default_rng(0).permutation(count)
    view = np.lib.stride_tricks.sliding_window_view(values, spec.lookback, axis=0)
    inputs, targets = np.moveaxis(view, -1, 1), values[spec.lookback :, np.newaxis]
    starts = (order[i : i + batch_size] for i in range(0, count, batch_size))
    batches = ((inputs[some], targets[some]) for some in starts)
    return rate(batches, batch_size, seconds)


def rate(batches, batch_size, seconds):
    """Windows a second, over one epoch or the given time, after a first batch."""
    next(batches)
    start, count = time.perf_counter(), 0
    for _ in batches:
        count += batch_size
        if time.perf_counter() - start > seconds:
            break
    return count / (time.perf_counter() - start)


def copy_bandwidth():
    """Bytes a second that a plain copy of 256 MB moves, reads and writes both counted."""
    source = np.ones(2**25)
    target = np.empty_like(source)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in [
        ("rows", 200_000),
        ("features", 8),
        ("lookback", 96),
        ("batch-size", 256),
    ]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="at most, for each measurement")
    options = parser.parse_args()
    shape = options.rows, options.features
    values = np.random.default_rng(0).normal(size=shape).astype("float32")
    spec = WindowSpec(options.lookback)

    methods = [ours, numpy_take, torch_loader, keras_utility]
    rates = {method: [] for method in methods}
    for _ in range(options.rounds):
        for method in methods:  # in turns, so that a busy moment of the machine meets all alike
            try:
                rates[method].append(method(values, spec, options.batch_size, options.seconds))
            except ImportError:
                rates.pop(method, None)
    print(f"{shape} float32, lookback {spec.lookback}, batches of {options.batch_size}")
    print(f"{'':16}{'windows/s':>12}   ours is")
    for method, values_ in rates.items():
        times = [a / b for a, b in zip(rates[ours], values_, strict=True)]
        spread = f"{min(times):.2f} .. {max(times):.2f}"
        middle = statistics.median(values_)
        print(f"{method.__name__:16}{middle:12,.0f}   {statistics.median(times):.2f} x ({spread})")
    window_bytes = 2 * 4 * options.features * (spec.lookback + spec.horizon)
    print(f"limit by memory: {copy_bandwidth() / window_bytes:,.0f} windows/s")


if __name__ == "__main__":
    main()
