"""A language model of characters, trained on one long text with its state kept.

The text is cut into as many stretches as a batch has rows, and each row reads its stretch from
start to end (the "sequential partition" of Zhang et al., Dive into Deep Learning, 9.3). The text
is the manual inside Python; --text reads another.

    python examples/language_model.py [--quick] [--text FILE] [--backup FILE]
"""

import argparse
from pathlib import Path
from pydoc_data.topics import topics

import keras
import numpy as np

from seqkeras import StatefulBatches
from seqkeras.layers import LSTM
from seqkeras.training import fit_stateful

ROWS = 32


def language_model(characters: int, units: int) -> keras.Model:
    """Build a model from `(rows, timesteps, 1)` to logits of the next character.

    The logits are `(rows, timesteps, characters)`.
    """
    sequence = keras.Input(batch_shape=(ROWS, None, 1), name="sequence")
    reset = keras.Input(batch_shape=(ROWS, None), dtype="bool", name="reset")
    x = keras.layers.Embedding(characters, 32)(sequence[..., 0])
    x = LSTM(units, return_sequences=True, stateful=True)(x, reset=reset)
    logits = keras.layers.Dense(characters)(x)
    return keras.Model({"sequence": sequence, "reset": reset}, logits)


def entropies(train: np.ndarray, test: np.ndarray, characters: int) -> tuple[float, float]:
    """Return bits per character of guesses from the frequency of characters, and of pairs."""
    single = np.bincount(train, minlength=characters) + 1
    pairs = np.ones((characters, characters))
    np.add.at(pairs, (train[:-1], train[1:]), 1)
    pairs /= pairs.sum(axis=1, keepdims=True)
    from_single = -np.log2(single[test[1:]] / single.sum()).mean()
    from_pairs = -np.log2(pairs[test[:-1], test[1:]]).mean()
    return from_single, from_pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size")
    parser.add_argument("--text", type=Path, help="a text file")
    parser.add_argument("--backup", help="file to resume from after a break")
    options = parser.parse_args()
    text = options.text.read_text() if options.text else "\n".join(topics.values())
    length, units, epochs = (12_000, 16, 1) if options.quick else (len(text), 128, 5)
    alphabet, tokens = np.unique(list(text[:length]), return_inverse=True)
    cut = len(tokens) * 9 // 10
    train, test = tokens[:cut], tokens[cut:]

    keras.utils.set_random_seed(0)
    model = language_model(len(alphabet), units)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    nats = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nats")
    model.compile(keras.optimizers.Adam(3e-3, clipnorm=1.0), loss, weighted_metrics=[nats])
    batches = StatefulBatches(train, batch_size=ROWS, bptt_steps=35)
    held_out = StatefulBatches(test, batch_size=ROWS, bptt_steps=35)
    print(batches)
    fit_stateful(model, batches, epochs, validation=held_out, patience=1, backup=options.backup)
    logs = model.evaluate(held_out.with_reset_input(True), verbose=0, return_dict=True)
    bits = logs["nats"] / np.log(2)
    single, pairs = entropies(train, test, len(alphabet))
    print(f"bits per character: {bits:.2f}; from characters {single:.2f}, from pairs {pairs:.2f}")


if __name__ == "__main__":
    main()
