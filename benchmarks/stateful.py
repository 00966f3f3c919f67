"""Timesteps trained per second on series of different lengths: stateful batches and alternatives.

    python benchmarks/stateful.py [--series 256] [--units 64] [--batch-size 32] [--bptt-steps 50]

Only timesteps of the series count, not padding. The alternatives all `fit` an LSTM and a Dense
layer: stock Keras on series padded to the longest, with a mask; the same with sample weights in
place of a mask; and stateful stock Keras whose states a callback clears (only on TensorFlow). The
limit is the matrix product: 2 * (features + units) * 4 * units multiplications and additions per
timestep, and three times that with both gradients.
"""

import argparse
import statistics
import time

import keras
import numpy as np

from seqkeras import StatefulBatches, many_to_many
from seqkeras.training import ResetStates


def stock(options, *, stateful=False, masking=False):
    rows = options.batch_size if stateful else None
    layers = [keras.Input(batch_shape=(rows, None, options.features))]
    layers += [keras.layers.Masking()] if masking else []
    layers += [
        keras.layers.LSTM(options.units, return_sequences=True, stateful=stateful),
        keras.layers.Dense(options.features),
    ]
    return keras.Sequential(layers)


def batches_of(series, options, **settings):
    sizes = {"batch_size": options.batch_size, "bptt_steps": options.bptt_steps}
    return StatefulBatches(series, **sizes, **settings)


def ours(series, options, **settings):
    data = batches_of(series, options, reset_input=True, **settings)
    model = many_to_many(
        options.features,
        outputs=options.features,
        units=options.units,
        stateful=True,
        reset_input=True,
        batch_size=options.batch_size,
    )
    return model, {"x": data}


def packed(series, options):
    return ours(series, options)


def not_packed(series, options):
    return ours(series, options, pack=False)


def stock_stateful(series, options):
    if keras.backend.backend() != "tensorflow":
        return None
    data = {"x": batches_of(series, options, pack=False, reset_input=False)}
    return stock(options, stateful=True), data | {"callbacks": [ResetStates(data["x"])]}


def padded(series, options):
    values = keras.utils.pad_sequences(series, dtype="float32", padding="post")
    lengths = np.array([len(values) - 1 for values in series])[:, np.newaxis]
    weights = (np.arange(values.shape[1] - 1) < lengths).astype("float32")
    data = {"x": values[:, :-1], "y": values[:, 1:], "sample_weight": weights}
    return stock(options), data | {"batch_size": options.batch_size}


def padded_masked(series, options):
    _, data = padded(series, options)
    return stock(options, masking=True), data


def epoch_seconds(trained):
    model, data = trained
    start = time.perf_counter()
    model.fit(**data, epochs=1, shuffle=False, verbose=0)
    return time.perf_counter() - start


def batch_microseconds(series, options, count=300):
    """Measure the microseconds to make a batch, without training."""
    data = StatefulBatches(series, batch_size=options.batch_size, bptt_steps=options.bptt_steps)
    start = time.perf_counter()
    for index in range(count):
        data[index % len(data)]
    return (time.perf_counter() - start) / count * 1e6


def sgemm_flops():
    """Measure the floating-point operations per second of a product of two large matrices."""
    a = np.ones((2048, 2048), "float32")
    times = []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = {"series": 256, "units": 64, "features": 8, "batch-size": 32, "bptt-steps": 50}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    lengths = random.integers(50, 500, options.series)
    series = [random.normal(size=(n, options.features)).astype("float32") for n in lengths]
    steps = int((lengths - 1).sum())

    trained = {}
    times = {}
    for method in [packed, not_packed, stock_stateful, padded, padded_masked]:
        pair = method(series, options)
        if pair is not None:
            pair[0].compile("adam", "mse")
            epoch_seconds(pair)  # traces
            trained[method.__name__] = pair
            times[method.__name__] = []
    for _ in range(options.rounds):
        for name, pair in trained.items():  # in turns, so a busy moment affects all alike
            times[name].append(epoch_seconds(pair))
    data = trained["packed"][1]["x"]
    print(f"{keras.backend.backend()}, {data}")
    print(
        f"padding where not packed: {trained['not_packed'][1]['x'].padding:.1%}; "
        f"to the longest: {1 - steps / (len(series) * (lengths.max() - 1)):.1%}"
    )
    print(f"{'':16}{'timesteps/s':>12}   packed is")
    for name, seconds in times.items():
        ratios = [b / a for a, b in zip(times["packed"], seconds, strict=True)]
        spread = f"{min(ratios):.2f} .. {max(ratios):.2f}"
        rate = steps / statistics.median(seconds)
        print(f"{name:16}{rate:12,.0f}   {statistics.median(ratios):.2f} x ({spread})")
    flops = 3 * 2 * 4 * options.units * (options.features + options.units)
    print(f"limit by the matrix product: {sgemm_flops() / flops:,.0f} timesteps/s")
    print(f"a batch without training: {batch_microseconds(series, options):.0f} microseconds")


if __name__ == "__main__":
    main()
