"""Sort letters and add numbers, as translations of characters.

    python benchmarks/text/letters.py DATA [--only sort long addition] [--seeds 5]
    python benchmarks/text/letters.py DATA --only addition --validate --set dropout=0.1

    sort      the pairs of `letters_sort.tsv.gz`; a tenth of the distinct words is never trained on
    long      12,000 drawn words of 1 to 20 letters, 20 epochs, then unseen words of 20 letters;
              with attention and without
    addition  the pairs of `addition_seq2seq.txt.gz`, 15 epochs with batches of 32; a tenth is never
              trained on

DATA is the folder with the two files. Scores are shares of outputs that are right in every letter.
All other settings are the defaults. With `--validate`, those of `--set` are judged by a tenth of
the training pairs, and the held-out tenth is not read.
"""

import argparse
import gzip
import time
from pathlib import Path

import numpy as np

from seqkeras.text import Translator


def read_lines(path):
    with gzip.open(path, "rt") as file:
        return file.read().splitlines()


def split(pairs, random):
    """Hold out a tenth of the distinct pairs."""
    order = random.permutation(len(pairs))
    cut = len(pairs) // 10
    return [pairs[row] for row in order[cut:]], [pairs[row] for row in order[:cut]]


def sort_pairs(folder, seed):
    lines = read_lines(folder / "letters_sort.tsv.gz")
    return split(sorted({tuple(line.split("\t")) for line in lines}), np.random.default_rng(seed))


def addition_pairs(folder, seed):
    lines = read_lines(folder / "addition_seq2seq.txt.gz")
    pairs = sorted({tuple(part.strip() for part in line.split("_")) for line in lines})
    return split(pairs, np.random.default_rng(seed))


def long_pairs(folder, seed):
    random = np.random.default_rng(seed)

    def pair(length):
        letters = random.choice(list("abcdefghijklmnopqrstuvwxyz"), length)
        return "".join(letters), "".join(sorted(letters))

    train = [pair(length) for length in random.integers(1, 21, 12_000)]
    return train, [pair(20) for _ in range(1000)]


TASKS = {
    "sort": (sort_pairs, {}),
    "long": (long_pairs, {"epochs": 20}),
    "addition": (addition_pairs, {"epochs": 15, "batch_size": 32}),
}


def setting(text):
    name, value = text.split("=")
    return name, float(value) if "." in value or "e" in value else int(value)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--validate", action="store_true", help="judge on training pairs")
    parser.add_argument("--set", nargs="+", type=setting, default=[], help="settings to try")
    options = parser.parse_args()
    for task in options.only:
        make, settings = TASKS[task]
        settings = {**settings, **dict(options.set)}
        for attention in ["additive", None] if task == "long" else ["additive"]:
            for seed in range(options.seeds):
                train, test = make(options.data, seed)
                if options.validate:
                    train, test = split(train, np.random.default_rng(seed))
                translator = Translator(
                    tokens="char", attention=attention, seed=seed, progress=False, **settings
                )
                start = time.process_time()
                translator.fit(*zip(*train, strict=True))
                seconds = time.process_time() - start
                sources, targets = zip(*test, strict=True)
                outputs = translator.translate(sources)
                exact = np.mean(
                    [out == target for out, target in zip(outputs, targets, strict=True)]
                )
                print(
                    f"{task:9} attention {attention!s:9} seed {seed}  {exact:.2%} of {len(test)} "
                    f"exact  {len(translator.log_.loss)} epochs, {seconds:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
