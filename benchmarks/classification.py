"""Accuracy of many-to-one models: images read row by row, and motions of a wrist.

    python benchmarks/classification.py FOLDER [--only rows motions] [--seeds 5] [--validate]

    rows     8,000 images of handwritten digits (28 timesteps of 28 pixels), judged on 2,000 others;
             with a projection of the rows before the recurrent layers and without; one seed
    motions  BasicMotions of the UEA archive: 40 sequences of 100 timesteps and 6 features, judged
             on 40 others; the mean of several seeds

FOLDER has `mnist_t10k.npz` and `BasicMotions.npz`. With `--validate`, settings are judged by parts
of the training part, a fifth of the images and four folds of the motions, and the test part is not
read.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from seqkeras.models import many_to_one

#: Images of the training part; the others are judged.
IMAGES = 8000


def rows_of_images(folder):
    """Return sequences and classes of the training part and of the test part."""
    data = np.load(folder / "mnist_t10k.npz")
    x, y = data["images"].astype("float32") / 255, data["labels"].astype("int32")
    return x[:IMAGES], y[:IMAGES], x[IMAGES:], y[IMAGES:]


def motions(folder):
    """Return sequences and classes of both parts, scaled by the training part."""
    data = np.load(folder / "BasicMotions.npz")
    x, judged = data["X_train"].astype("float32"), data["X_test"].astype("float32")
    mean, scale = x.mean(axis=(0, 1)), x.std(axis=(0, 1))
    classes = data["y_train"].astype("int32"), data["y_test"].astype("int32")
    return (x - mean) / scale, classes[0], (judged - mean) / scale, classes[1]


def folds(x, y, count):
    """Return `count` ways to split a training part, each with other rows to judge on."""
    order = np.random.default_rng(0).permutation(len(x))
    parts = [order[first::count] for first in range(count)]
    rest = [np.setdiff1d(order, part) for part in parts]
    return [(x[train], y[train], x[part], y[part]) for train, part in zip(rest, parts, strict=True)]


def accuracy(parts, model, *, epochs, batch_size):
    """Train with a learning rate that falls to zero, and return the share of right classes."""
    x, y, judged_x, judged_y = parts
    steps = epochs * -(-len(x) // batch_size)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0), loss)
    model.fit(x, y, epochs=epochs, batch_size=batch_size, verbose=0)
    return float((model.predict(judged_x, verbose=0).argmax(axis=-1) == judged_y).mean())


def run_rows(parts, projection):
    keras.utils.set_random_seed(0)
    model = many_to_one(
        28,
        outputs=10,
        units=(96, 96),
        cell="gru",
        bidirectional=True,
        dropout=0.2,
        input_projection=projection,
    )
    return accuracy(parts, model, epochs=20, batch_size=64)


def run_motions(parts, seed):
    keras.utils.set_random_seed(seed)
    model = many_to_one(6, outputs=4, units=(64,), cell="gru", dropout=0.2, bidirectional=True)
    return accuracy(parts, model, epochs=120, batch_size=8)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--only", nargs="+", choices=["rows", "motions"], default=["rows", "motions"]
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--validate", action="store_true", help="judge on a part of the training part"
    )
    options = parser.parse_args()
    if "rows" in options.only:
        parts = rows_of_images(options.folder)
        parts = folds(*parts[:2], 5)[0] if options.validate else parts
        for projection in (None, 64):
            start = time.process_time()
            share = run_rows(parts, projection)
            seconds = time.process_time() - start
            print(f"rows, projection {projection}: {share:.2%}, {seconds:.0f} s", flush=True)
    if "motions" in options.only:
        parts = motions(options.folder)
        sets = folds(*parts[:2], 4) if options.validate else [parts] * options.seeds
        start = time.process_time()
        shares = [run_motions(part, seed) for seed, part in enumerate(sets)]
        seconds = time.process_time() - start
        print(
            f"motions, {len(sets)} runs: mean {np.mean(shares):.2%}, "
            f"worst {np.min(shares):.2%}, {seconds:.0f} s"
        )


if __name__ == "__main__":
    main()
