"""The echo task: repeat the input of three timesteps ago, to see what truncation forgets.

The classic demonstration of truncated backpropagation through time: a long series of random bits is
read in batches of few timesteps. If the state is kept from batch to batch, the network can echo
the bits from before the border. If it is cleared, the network must guess them: three of each
batch, correctly half of the time.

    python examples/echo_task.py [--quick]
"""

import argparse

import keras
import numpy as np

from seqkeras import StatefulBatches, many_to_many
from seqkeras.training import fit_stateful

ECHO = 3
ROWS = 5


def batches(bits: np.ndarray, bptt_steps: int, *, keep: bool) -> StatefulBatches:
    """Lay out the series in rows that continue, or in pieces of one batch with cleared states."""
    echo = np.roll(bits, ECHO)
    echo[:ECHO] = 0
    if keep:
        series = bits
        targets = echo
    else:
        whole = len(bits) // bptt_steps * bptt_steps
        series = bits[:whole].reshape(-1, bptt_steps, 1)
        targets = echo[:whole].reshape(-1, bptt_steps, 1)
    return StatefulBatches(
        series,
        targets=targets,
        batch_size=ROWS,
        bptt_steps=bptt_steps,
        horizon=0,
        reset_input=True,
    )


def accuracy(bits: np.ndarray, bptt_steps: int, *, keep: bool, epochs: int) -> float:
    """Return the share of bits of the last fifth that are echoed, after training on the rest."""
    cut = len(bits) * 4 // 5
    train = batches(bits[:cut], bptt_steps, keep=keep)
    test = batches(bits[cut:], bptt_steps, keep=keep)
    keras.utils.set_random_seed(0)
    model = many_to_many(
        1,
        activation="sigmoid",
        cell="simple_rnn",
        units=8,
        stateful=True,
        reset_input=True,
        batch_size=ROWS,
    )
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", weighted_metrics=["accuracy"])
    fit_stateful(model, train, epochs)
    return model.evaluate(test, verbose=0, return_dict=True)["accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size")
    quick = parser.parse_args().quick
    count, epochs = (500, 1) if quick else (50_000, 3)
    bits = np.random.default_rng(0).integers(0, 2, count).astype("float32")
    print("bptt_steps   state kept   state cleared   best with a cleared state")
    for bptt_steps in [5] if quick else [5, 10, 15]:
        kept = accuracy(bits, bptt_steps, keep=True, epochs=epochs)
        cleared = accuracy(bits, bptt_steps, keep=False, epochs=epochs)
        print(f"{bptt_steps:10} {kept:12.3f} {cleared:15.3f} {1 - ECHO / 2 / bptt_steps:27.3f}")


if __name__ == "__main__":
    main()
