"""Measure errors of segment_rnn over long horizons on ETTh1 or ETTm1, next to the published ones.

    python benchmarks/forecasting/long_horizon.py ETTh1.parquet [--lookback 96] [--horizons 96 192]

The file is that of github.com/zhouhaoyi/ETDataset, as parquet or csv: `date` and seven columns of
numbers. The rules are those of the published tables: 12, 4 and 4 months (of 30 days) to train, to
stop, and to test; each column is scaled to mean 0 and deviation 1 by the first 12; all windows of
the test months count, including those of the last batch. One network forecasts all seven columns,
each from its own past.

The published numbers are mean squared errors. They and the recipes of `--published` are those of
github.com/lss-1138/SegRNN: at lookback 96 those of its README that count the last batch, at 720
those of the paper. It trains 512 units at a falling learning rate. The recipes here have a smaller
network with a linear path, smaller batches, a constant rate, and an exponential average of the
weights (Polyak & Juditsky 1992). `--epochs 1` shows what one epoch costs.
"""

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from seqkeras import Windows, WindowSpec, segment_rnn

ROWS_A_DAY = {"ETTh1": 24, "ETTm1": 96}


@dataclass(frozen=True)
class Recipe:
    """The options of the network and of its training."""

    segment: int
    rate: float
    units: int = 512
    head_dropout: float = 0.5
    linear_skip: bool = False
    loss: str = "mse"
    batch_size: int = 256
    patience: int = 10
    #: Share of the average of the weights that a step keeps. None: no average; the rate falls.
    momentum: float | None = None

    def callbacks(self):
        """Return what runs between the epochs; at the end the best weights are restored."""
        if self.momentum is None:
            between = keras.callbacks.LearningRateScheduler(slower)
        else:
            between = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        stop = keras.callbacks.EarlyStopping(patience=self.patience, restore_best_weights=True)
        return [between, stop]

    def optimizer(self):
        if self.momentum is None:
            return keras.optimizers.Adam(self.rate)
        return keras.optimizers.Adam(self.rate, use_ema=True, ema_momentum=self.momentum)


#: By data and lookback.
THEIRS = {
    ("ETTh1", 96): Recipe(24, 1e-3),
    ("ETTm1", 96): Recipe(48, 2e-4),
    ("ETTh1", 720): Recipe(24, 3e-4, head_dropout=0.1, loss="mae", batch_size=64, patience=5),
    ("ETTm1", 720): Recipe(48, 3e-4, loss="mae", patience=5),
}
_SMALL = {"linear_skip": True, "batch_size": 64, "patience": 3, "momentum": 0.998}
OURS = {
    ("ETTh1", 96): Recipe(24, 1e-3, units=128, **_SMALL),
    ("ETTm1", 96): Recipe(48, 5e-4, units=128, **_SMALL),
    ("ETTh1", 720): Recipe(48, 1e-3, units=64, loss="mae", **_SMALL),
    ("ETTm1", 720): Recipe(48, 5e-4, units=128, loss="mae", **_SMALL),
}
PUBLISHED = {
    ("ETTh1", 96): {96: 0.368, 192: 0.408, 336: 0.444, 720: 0.446},
    ("ETTm1", 96): {96: 0.330, 192: 0.369, 336: 0.399, 720: 0.454},
    ("ETTh1", 720): {96: 0.351, 192: 0.392, 336: 0.423, 720: 0.466},
    ("ETTm1", 720): {96: 0.293, 192: 0.328, 336: 0.357, 720: 0.410},
}


def read(path):
    """Return the name of the data, and its numbers `(rows, 7)`."""
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    name = path.stem
    if name not in ROWS_A_DAY or len(frame.columns) != 8:
        raise SystemExit(f"{path}: expected {' or '.join(ROWS_A_DAY)}, with 8 columns")
    return name, frame.drop(columns="date").to_numpy("float64")


def split(values, name, lookback):
    """Return training, validation and test rows, scaled; the last two begin a lookback earlier."""
    month = 30 * ROWS_A_DAY[name]
    train = values[: 12 * month]
    scaled = ((values - train.mean(0)) / train.std(0)).astype("float32")
    ends = (12 * month, 16 * month, 20 * month)
    begins = (0, ends[0] - lookback, ends[1] - lookback)
    return [scaled[begin:end] for begin, end in zip(begins, ends, strict=True)]


def slower(epoch, rate):
    """Return the rate of SegRNN's training: a fifth less after each epoch from the fifth on."""
    return rate if epoch < 4 else rate * 0.8


def run(parts, lookback, horizon, recipe, options, seed):
    """Train and test once; return the errors, the number of epochs, and the seconds of one."""
    keras.utils.set_random_seed(seed)
    channels = parts[0].shape[1]
    network = segment_rnn(
        channels,
        targets=channels,
        lookback=lookback,
        horizon=horizon,
        segment=recipe.segment,
        units=recipe.units,
        head_dropout=recipe.head_dropout,
        linear_skip=recipe.linear_skip,
    )
    network.compile(recipe.optimizer(), recipe.loss, metrics=["mse", "mae"])
    spec = WindowSpec(lookback, horizon=horizon)
    train, validation, test = (
        Windows(part, spec, batch_size=recipe.batch_size, shuffle=shuffle, seed=seed)
        for part, shuffle in zip(parts, (True, False, False), strict=True)
    )
    start = time.perf_counter()
    history = network.fit(
        train,
        validation_data=validation,
        epochs=options.epochs,
        callbacks=recipe.callbacks(),
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
    parser.add_argument("--published", action="store_true", help="train by the published recipe")
    parser.add_argument("--verbose", action="store_true", help="a line for each epoch")
    options = parser.parse_args()
    name, values = read(options.path)
    parts = split(values, name, options.lookback)
    case = (name, options.lookback)
    recipe = (THEIRS if options.published else OURS)[case]
    published = PUBLISHED[case]
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
    print(f"mean over seeds and horizons: {ours:.4f}, published {theirs:.4f}")


if __name__ == "__main__":
    main()
