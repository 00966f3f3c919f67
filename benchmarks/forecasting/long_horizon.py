"""Long horizons: errors of segment_rnn on ETTh1 or ETTm1, beside those that were published.

    python benchmarks/forecasting/long_horizon.py ETTh1.parquet [--lookback 96] [--horizons 96 192]

The file is that of github.com/zhouhaoyi/ETDataset, as parquet or csv: seven columns of numbers
beside `date`. The rules are those of the published tables: 12, 4 and 4 months (of 30 days) to
train, to stop, and to test; each column is brought to mean 0 and deviation 1 by the first 12; all
windows of the test months count, those of the last batch too; the loss is the squared error. All
seven columns are forecast, each from its own past, by one network.

Recipes and published numbers (mean squared error, lookback 96 with the last batch counted, and 720
with the absolute error as the loss) are those of github.com/lss-1138/SegRNN. With `--epochs 1` the
table tells what an epoch costs.
"""

import argparse
import statistics
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from seqkeras import Windows, WindowSpec, segment_rnn

ROWS_A_DAY = {"ETTh1": 24, "ETTm1": 96}
#: By data and lookback: what the network and its training are given.
RECIPES = {
    ("ETTh1", 96): {"segment": 24, "head_dropout": 0.5, "rate": 1e-3, "patience": 10},
    ("ETTm1", 96): {"segment": 48, "head_dropout": 0.5, "rate": 2e-4, "patience": 10},
    ("ETTh1", 720): {"segment": 24, "head_dropout": 0.1, "rate": 3e-4, "patience": 5},
    ("ETTm1", 720): {"segment": 48, "head_dropout": 0.5, "rate": 3e-4, "patience": 5},
}
PUBLISHED = {
    ("ETTh1", 96): {96: 0.368, 192: 0.408, 336: 0.444, 720: 0.446},
    ("ETTm1", 96): {96: 0.330, 192: 0.369, 336: 0.399, 720: 0.454},
    ("ETTh1", 720): {96: 0.351, 192: 0.392, 336: 0.423, 720: 0.466},
    ("ETTm1", 720): {96: 0.293, 192: 0.328, 336: 0.357, 720: 0.410},
}


def read(path):
    """Which data they are, and their numbers `(rows, 7)`."""
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    name = path.stem
    if name not in ROWS_A_DAY or len(frame.columns) != 8:
        raise SystemExit(f"{path}: expected {' or '.join(ROWS_A_DAY)}, with 8 columns")
    return name, frame.drop(columns="date").to_numpy("float64")


def split(values, name, lookback):
    """Train, validation and test rows, scaled; the latter two begin a lookback earlier."""
    month = 30 * ROWS_A_DAY[name]
    train = values[: 12 * month]
    scaled = ((values - train.mean(0)) / train.std(0)).astype("float32")
    ends = (12 * month, 16 * month, 20 * month)
    begins = (0, ends[0] - lookback, ends[1] - lookback)
    return [scaled[begin:end] for begin, end in zip(begins, ends, strict=True)]


def slower(epoch, rate):
    """The rate of SegRNN's training: a fifth less after each epoch from the fifth on."""
    return rate if epoch < 4 else rate * 0.8


def run(parts, lookback, horizon, recipe, options, seed):
    """Trains and tests once; the errors, the number of epochs, and the seconds of one."""
    keras.utils.set_random_seed(seed)
    channels = parts[0].shape[1]
    network = segment_rnn(
        channels,
        targets=channels,
        lookback=lookback,
        horizon=horizon,
        segment=recipe["segment"],
        head_dropout=recipe["head_dropout"],
        units=options.units,
        cell=options.cell,
        normalization=options.normalization,
        linear_skip=options.linear_skip,
        implementation=options.implementation,
    )
    network.compile(keras.optimizers.Adam(recipe["rate"]), options.loss, metrics=["mse", "mae"])
    spec = WindowSpec(lookback, horizon=horizon)
    train, validation, test = (
        Windows(part, spec, batch_size=256, shuffle=shuffle, seed=seed)
        for part, shuffle in zip(parts, (True, False, False), strict=True)
    )
    callbacks = [
        keras.callbacks.LearningRateScheduler(slower),
        keras.callbacks.EarlyStopping(patience=recipe["patience"], restore_best_weights=True),
    ]
    start = time.perf_counter()
    history = network.fit(
        train,
        validation_data=validation,
        epochs=options.epochs,
        callbacks=callbacks,
        verbose=2 if options.verbose else 0,
    )
    epochs = len(history.history["loss"])
    seconds = (time.perf_counter() - start) / epochs
    _, mse, mae = network.evaluate(test, verbose=0)
    return mse, mae, epochs, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--lookback", type=int, default=96, choices=(96, 720))
    parser.add_argument("--horizons", type=int, nargs="+", default=[96, 192, 336, 720])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--loss", default="mse", choices=("mse", "mae"))
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--cell", default="gru")
    parser.add_argument("--normalization", default="last")
    parser.add_argument("--linear-skip", action="store_true")
    parser.add_argument("--implementation", default="auto")
    parser.add_argument("--verbose", action="store_true", help="a line for each epoch")
    options = parser.parse_args()
    name, values = read(options.path)
    parts = split(values, name, options.lookback)
    recipe, published = (table[name, options.lookback] for table in (RECIPES, PUBLISHED))
    print(f"{name}, lookback {options.lookback}, {keras.backend.backend()}, {recipe}")
    print("horizon  seed    MSE    MAE  published MSE  epochs  s / epoch")
    means = []
    for horizon in options.horizons:
        errors = []
        for seed in options.seeds:
            mse, mae, epochs, seconds = run(parts, options.lookback, horizon, recipe, options, seed)
            errors.append(mse)
            print(
                f"{horizon:>7}  {seed:>4}  {mse:.3f}  {mae:.3f}  {published[horizon]:>13.3f}"
                f"  {epochs:>6}  {seconds:>9.1f}",
                flush=True,
            )
        means.append(statistics.mean(errors))
    ours = np.mean(means)
    theirs = np.mean([published[horizon] for horizon in options.horizons])
    print(f"mean over seeds and horizons: {ours:.3f}, published {theirs:.3f}")


if __name__ == "__main__":
    main()
