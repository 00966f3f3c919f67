"""Windows of long series, ours and peers in one run: speed, training, memory, cost curves.

    python benchmarks/windows.py              shuffled windows per second
    python benchmarks/windows.py --fit        an epoch of `fit` of an LSTM
    python benchmarks/windows.py --feed       time per batch of `fit`, by the way it is fed
    python benchmarks/windows.py --memory     peak memory; a file of 100 million rows
    python benchmarks/windows.py --curves     cost of a window for various sizes

Peers: `keras.utils.timeseries_dataset_from_array`; PyTorch's `DataLoader` over a `Dataset` that
slices windows, with and without workers, and over one that gets the indices of a whole batch and
indexes an unfolded tensor, its fastest use (skipped without PyTorch); NumPy's indexing of inputs
and targets, which is little more than the copy. The limit is memory: each byte of a batch is read
and written once. `--feed` runs on the backend in KERAS_BACKEND.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from seqkeras.windows import GroupedArray, Windows, WindowSpec

BATCH = 256


def ours(values, spec, seconds):
    windows = Windows(values, spec, batch_size=BATCH, shuffle=True, seed=0)
    return rate((windows[i] for i in range(len(windows))), seconds)


def numpy_take(values, spec, seconds):
    count = spec.count(len(values))
    order = np.random.default_rng(0).permutation(count)
    view = np.lib.stride_tricks.sliding_window_view(values, spec.lookback, axis=0)
    inputs = np.moveaxis(view, -1, 1)
    targets = values[spec.lookback :, np.newaxis]
    batches = (order[i : i + BATCH] for i in range(0, count, BATCH))
    return rate(((inputs[starts], targets[starts]) for starts in batches), seconds)


def keras_utility(values, spec, seconds):
    return rate(iter(keras_dataset(values, spec)), seconds)


def keras_dataset(values, spec):
    import keras

    return keras.utils.timeseries_dataset_from_array(
        values, values[spec.lookback :], spec.lookback, batch_size=BATCH, shuffle=True, seed=0
    )


def torch_slices(values, spec, seconds, workers=0):
    import torch

    tensor = torch.from_numpy(values)

    class Slices(torch.utils.data.Dataset):
        def __len__(self):
            return spec.count(len(tensor))

        def __getitem__(self, start):
            end = start + spec.lookback
            return tensor[start:end], tensor[end : end + spec.horizon]

    loader = torch.utils.data.DataLoader(Slices(), BATCH, shuffle=True, num_workers=workers)
    return rate(iter(loader), seconds)


def torch_2_workers(values, spec, seconds):
    return torch_slices(values, spec, seconds, workers=2)


def torch_batched(values, spec, seconds):
    import torch

    torch.set_num_threads(1)  # faster here, where each batch is small
    inputs = torch.from_numpy(values).unfold(0, spec.lookback, 1).transpose(1, 2)
    targets = torch.from_numpy(values)[spec.lookback :, None]

    class Batched(torch.utils.data.Dataset):
        def __len__(self):
            return spec.count(len(values))

        def __getitem__(self, starts):
            return inputs[starts], targets[starts]

    data = torch.utils.data
    order = data.BatchSampler(data.RandomSampler(Batched()), BATCH, drop_last=False)
    return rate(iter(data.DataLoader(Batched(), sampler=order, batch_size=None)), seconds)


def rate(batches, seconds):
    """Measure windows per second, over one epoch or `seconds`, after a first batch."""
    next(batches)
    start = time.perf_counter()
    count = 0
    for _ in batches:
        count += BATCH
        if time.perf_counter() - start > seconds:
            break
    return count / (time.perf_counter() - start)


def in_turns(methods, rounds, *arguments):
    """Return the results of each method, taken in turns, so a busy moment affects all alike."""
    results = {method: [] for method in methods}
    for _ in range(rounds):
        for method in methods:
            time.sleep(0.5)  # threads of the previous method may still be prefetching
            try:
                results[method].append(method(*arguments))
            except ImportError:
                results.pop(method, None)
    return results


def ratios(numerators, denominators):
    """Format the median, smallest and largest ratio."""
    each = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return f"{statistics.median(each):.2f} x ({min(each):.2f} .. {max(each):.2f})"


def copy_bandwidth():
    """Measure the bytes per second, read plus written, of a plain copy of 256 MB."""
    source = np.ones(2**25)
    target = np.empty_like(source)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(times)


def noise(rows, features=8):
    return np.random.default_rng(0).normal(size=(rows, features)).astype("float32")


def speed(options):
    values = noise(options.rows)
    spec = WindowSpec(options.lookback)
    methods = [ours, numpy_take, torch_batched, torch_slices, torch_2_workers, keras_utility]
    rates = in_turns(methods, options.rounds, values, spec, options.seconds)
    print(f"{values.shape} float32, lookback {spec.lookback}, batches of {BATCH}")
    print("| | windows per second | ours is |\n|---|---|---|")
    for method, speeds in rates.items():
        middle = f"{statistics.median(speeds):,.0f}"
        print(f"| {method.__name__} | {middle} | {ratios(rates[ours], speeds)} |")
    window_bytes = 2 * values[0].nbytes * (spec.lookback + spec.horizon)
    print(f"| limit by memory | {copy_bandwidth() / window_bytes:,.0f} | |")


def lstm(spec, features=8):
    import keras

    from seqkeras import layers

    inputs = keras.Input((spec.lookback, features))
    outputs = keras.layers.Dense(features)(layers.LSTM(32)(inputs))
    model = keras.Model(inputs, keras.layers.Reshape((1, features))(outputs))
    model.compile(optimizer="adam", loss="mse")
    return model


def ready_made(values, spec):
    view = np.lib.stride_tricks.sliding_window_view(values, spec.lookback, axis=0)
    x = np.ascontiguousarray(np.moveaxis(view, -1, 1)[: spec.count(len(values))])
    return x, values[spec.lookback :, np.newaxis]


def with_shapes(x, y):
    """Set the shapes of the utility's batches, which `fit` cannot infer from the dataset."""
    import tensorflow as tf

    return tf.ensure_shape(x, (None, None, 8)), tf.ensure_shape(y, (None, 8))[:, None]


def fit(options):
    """Print the seconds of an epoch of `fit`, on TensorFlow."""
    values = noise(options.rows // 10)
    spec = WindowSpec(options.lookback)
    model = lstm(spec)
    windows = Windows(values, spec, batch_size=BATCH, shuffle=True, seed=0)
    x, y = ready_made(values, spec)
    utility = keras_dataset(values, spec).map(with_shapes)

    def of_windows():
        return timed(model, windows)

    def of_ready_made():
        return timed(model, x, y, batch_size=BATCH)

    def of_keras_utility():
        return timed(model, utility)

    methods = [of_windows, of_ready_made, of_keras_utility]
    for method in methods:
        method()  # traces and compiles
    times = in_turns(methods, options.rounds)
    print(f"{values.shape} float32, lookback {spec.lookback}, LSTM 32, one epoch")
    print("| fed by | seconds | Windows is faster by |\n|---|---|---|")
    for method, seconds in times.items():
        middle = f"{statistics.median(seconds):.2f}"
        print(f"| {method.__name__[3:]} | {middle} | {ratios(seconds, times[of_windows])} |")


def timed(model, *data, **options):
    start = time.perf_counter()
    model.fit(*data, verbose=0, **options)
    return time.perf_counter() - start


def tiny(spec, series=None):
    """Build a model that costs almost nothing; with `series`, it reads starts, else windows."""
    import keras

    class Gather(keras.layers.Layer):
        def build(self, shape):
            self.series = self.add_weight(shape=series.shape, trainable=False, name="series")
            self.series.assign(series)

        def call(self, starts):
            rows = starts[:, None] + keras.ops.arange(spec.lookback)
            return keras.ops.take(self.series, rows, axis=0)

    inputs = keras.Input((spec.lookback, 8)) if series is None else keras.Input((), dtype="int32")
    read = inputs if series is None else Gather()(inputs)
    outputs = keras.layers.Dense(8)(keras.layers.Lambda(lambda x: x[:, -1])(read))
    model = keras.Model(inputs, keras.layers.Reshape((1, 8))(outputs))
    model.compile(optimizer="sgd", loss="mse")
    return model


def endless(windows):
    while True:
        yield from (windows[index] for index in range(len(windows)))


def feed(options):
    """Print the milliseconds per batch of `fit` with a model that costs almost nothing."""
    import keras

    values = noise(options.rows // 4)
    spec = WindowSpec(options.lookback)
    windows = Windows(values, spec, batch_size=BATCH, shuffle=True, seed=0)
    model = tiny(spec)
    resident = tiny(spec, values)
    x, y = ready_made(values, spec)
    starts = np.arange(windows.count, dtype="int32")
    ways = {
        "Windows": lambda: timed(model, windows),
        "generator": lambda: timed(model, endless(windows), steps_per_epoch=len(windows)),
        "array of windows": lambda: timed(model, x, y, batch_size=BATCH),
        "gather in the program": lambda: timed(resident, starts, y, batch_size=BATCH),
    }
    if keras.backend.backend() == "tensorflow":
        dataset = windows.to_tf_dataset()
        ways["to_tf_dataset"] = lambda: timed(model, dataset)
    if keras.backend.backend() == "torch":
        loader = windows.to_torch_loader()
        ways["to_torch_loader"] = lambda: timed(model, loader)
    for way in ways.values():
        way()  # traces and compiles
    times = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            times[name].append(way() / len(windows) * 1e3)
    print(f"| {keras.backend.backend()} | ms per batch |\n|---|---|")
    for name, each in times.items():
        print(f"| {name} | {statistics.median(each):.2f} ({min(each):.2f} .. {max(each):.2f}) |")


def memory(options):
    print("| lookback | MB above the series, of which a batch |\n|---|---|")
    for lookback in (10, 100, 1000):
        print(in_a_fresh_process("epoch_memory", str(lookback), str(options.rows)))
    print("| 100 million rows in a file | |\n|---|---|")
    print(in_a_fresh_process("file_memory"))


def in_a_fresh_process(function, *arguments):
    command = [sys.executable, __file__, "--run", function, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def status(field):
    """Read a field of /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def epoch_memory(lookback, rows):
    values = noise(int(rows))
    spec = WindowSpec(int(lookback))
    Windows(values[:5000], spec, batch_size=BATCH)[0]  # loads modules
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = status("VmRSS")
    for _ in Windows(values, spec, batch_size=BATCH, shuffle=True, seed=0):
        pass
    batch = BATCH * (spec.lookback + 1) * values[0].nbytes / 2**20
    print(f"| {lookback} | {status('VmHWM') - before:.1f}, of which {batch:.1f} |")


def file_memory(rows=100_000_000, steps=200):
    import keras

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values.bin"
        with path.open("wb") as file:
            for start in range(0, rows, 10**6):
                np.sin(np.arange(start, start + 10**6) / 50).astype("float32").tofile(file)
        values = np.memmap(path, "float32", "r")
        inputs = keras.Input((96, 1))
        model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.GRU(8)(inputs)))
        model.compile(optimizer="adam", loss="mse")
        small = Windows(np.zeros(2000), WindowSpec(96), batch_size=BATCH)
        model.fit(small, verbose=0)  # loads modules, and compiles
        anonymous = [status("RssAnon")]

        class Watch(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                anonymous.append(status("RssAnon"))

        windows = Windows(values, WindowSpec(96), batch_size=BATCH, shuffle=True, seed=0)
        started = time.perf_counter()
        model.fit(windows, steps_per_epoch=steps, verbose=0, callbacks=[Watch()])
        per_step = (time.perf_counter() - started) / steps
        print(f"| size of the file, MB | {path.stat().st_size / 2**20:,.0f} |")
        print(f"| more anonymous memory in training, MB | {max(anonymous) - anonymous[0]:,.0f} |")
        print(f"| peak RSS with TensorFlow and mapped pages, MB | {status('VmHWM'):,.0f} |")
        print(f"| ms per training step, {steps} steps, shuffled | {per_step * 1e3:.1f} |")


def curves(options):
    def cost(name, size, values, spec):
        built = time.perf_counter()
        windows = Windows(values, spec, batch_size=BATCH, shuffle=True, seed=0)
        built = time.perf_counter() - built
        speeds = [
            rate((windows[i] for i in range(len(windows))), options.seconds / 4) for _ in range(5)
        ]
        nanoseconds = 1e9 / statistics.median(speeds)
        bytes_each = values.values[:1].nbytes * (spec.lookback + spec.horizon)
        print(
            f"| {name} {size:,} | {nanoseconds:,.0f} | {nanoseconds / bytes_each:.3f} | "
            f"{built * 1e3:,.1f} |"
        )

    def cut(values, series):
        return GroupedArray(values, np.linspace(0, len(values), series + 1).astype(np.int64))

    print("| | ns per window | ns per byte | ms to make |\n|---|---|---|---|")
    for rows in (10**4, 10**5, 10**6, 10**7, 10**8):
        values = np.random.default_rng(0).random(rows, dtype=np.float32)
        cost("rows", rows, cut(values, 1), WindowSpec(options.lookback))
    values = values[: 10**7]
    for series in (1, 10**2, 10**4, 10**5, 10**6):
        cost("series", series, cut(values, series), WindowSpec(8))
    for lookback in (1, 10, 100, 1000):
        cost("lookback", lookback, cut(noise(200_000), 1), WindowSpec(lookback))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--lookback", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="at most, for each measurement")
    for name in ("fit", "feed", "memory", "curves"):
        parser.add_argument(f"--{name}", action="store_const", const=globals()[name], dest="what")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        globals()[options.run[0]](*options.run[1:])
    else:
        (options.what or speed)(options)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
