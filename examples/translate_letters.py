"""Sort the letters of words, as a translation of characters.

`Translator` reads a word in both directions and writes its letters one by one; the attention finds
the next letter in the word. Words that it has never seen are sorted, and the attention of one of
them is printed: the letter that each letter looked at most.

    python examples/translate_letters.py [--quick] [--save FILE]
"""

import argparse

import numpy as np

from seqkeras.text import Translator

LETTERS = list("abcdefghijklmnopqrstuvwxyz")


def words(count: int, seed: int) -> list[str]:
    """Draw different words of 2 to 8 letters."""
    random = np.random.default_rng(seed)
    drawn = ("".join(random.choice(LETTERS, random.integers(2, 9))) for _ in range(2 * count))
    return list(dict.fromkeys(drawn))[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size")
    parser.add_argument("--save", help="file for the translator")
    options = parser.parse_args()
    sources = words(300 if options.quick else 8000, seed=0)
    targets = ["".join(sorted(word)) for word in sources]
    cut = len(sources) * 9 // 10

    quick = {"units": 16, "epochs": 2} if options.quick else {}
    translator = Translator("char", seed=0, **quick).fit(sources[:cut], targets[:cut])
    outputs = translator.translate(sources[cut:])
    right = np.mean([out == target for out, target in zip(outputs, targets[cut:], strict=True)])
    print(f"{len(outputs)} unseen words, {right:.1%} sorted without a mistake")

    found = translator.translations(["keras"], beam=3)[0]
    looked_at = [found.source_tokens[place] for place in found.attention.argmax(axis=-1)]
    print(f"keras -> {found.text}; its letters looked at {looked_at}")
    if options.save:
        translator.save(options.save)


if __name__ == "__main__":
    main()
