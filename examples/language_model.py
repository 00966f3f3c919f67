"""A language model of characters: how well it predicts a text, and what it writes.

The text is the manual inside Python; --text reads another. `LanguageModel` makes the vocabulary,
trains a recurrent network with its state carried through the text, and keeps the best epoch on a
part that is held out. The last tenth is only judged: in bits per character, next to guesses from
the frequencies of characters and of pairs of characters.

    python examples/language_model.py [--quick] [--text FILE] [--tokens word] [--save FILE]
"""

import argparse
import math
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

from seqkeras.text import LanguageModel


def entropies(train: str, test: str) -> tuple[float, float]:
    """Return bits per character of guesses from the frequency of characters, and of pairs."""
    alphabet, ids = np.unique(list(train + test), return_inverse=True)
    before, after = ids[: len(train)], ids[len(train) :]
    pairs = np.ones((len(alphabet), len(alphabet)))
    np.add.at(pairs, (before[:-1], before[1:]), 1)
    singles = pairs.sum(axis=0)
    pairs /= pairs.sum(axis=1, keepdims=True)
    from_singles = -np.log2(singles[after[1:]] / singles.sum()).mean()
    return from_singles, -np.log2(pairs[after[:-1], after[1:]]).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size")
    parser.add_argument("--text", type=Path, help="a text file")
    parser.add_argument("--tokens", default="char", help="char or word")
    parser.add_argument("--save", help="file for the model")
    options = parser.parse_args()
    text = options.text.read_text() if options.text else "\n".join(topics.values())
    quick = {"units": 16, "epochs": 2, "learning_rate": 0.02} if options.quick else {}
    text = text[:12_000] if options.quick else text
    cut = len(text) * 9 // 10
    train, test = text[:cut], text[cut:]

    model = LanguageModel(options.tokens, seed=0, **quick).fit(train)
    perplexity = model.perplexity(test)
    print(f"{len(model.vocabulary_)} tokens, best epoch {model.log_.best_epoch}")
    print(f"perplexity of the last tenth: {perplexity:.2f}")
    if options.tokens == "char":
        singles, pairs = entropies(train, test)
        bits = math.log2(perplexity)
        print(f"bits per character: {bits:.2f}; from characters {singles:.2f}, pairs {pairs:.2f}")
    print(model.generate("The ", 60 if options.quick else 400, temperature=0.7, seed=0))
    if options.save:
        model.save(options.save)


if __name__ == "__main__":
    main()
