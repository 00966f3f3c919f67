"""Known facts about The Time Machine, counted with seqkeras.text.

python benchmarks/text/facts.py FOLDER

FOLDER holds timemachine.txt.gz: the text of H. G. Wells' novel, in the form that Zhang et al., Dive
into Deep Learning (9.2 and 9.3), count. The script ends with an error if a number differs.
"""

import argparse
import gzip
from pathlib import Path

from seqkeras.text import Vocabulary, clean, ngrams, tokenize

EXPECTED = {
    "words": 32_775,
    "entries of the vocabulary": 4_580,
    "characters of the vocabulary": 28,
    "commonest bigrams": [(("of", "the"), 309), (("in", "the"), 169), (("i", "had"), 130)],
}


def count(text: str) -> dict[str, object]:
    words = tokenize(clean(text))
    bigrams = Vocabulary(ngrams(words, 2)).counts
    return {
        "words": len(words),
        "entries of the vocabulary": len(Vocabulary(words)),
        "characters of the vocabulary": len(Vocabulary(tokenize(clean(text), "char"))),
        "commonest bigrams": list(bigrams.items())[:3],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    path = parser.parse_args().folder / "timemachine.txt.gz"
    actual = count(gzip.decompress(path.read_bytes()).decode())
    for name, value in actual.items():
        print(f"{name}: {value}")
    if actual != EXPECTED:
        raise SystemExit(f"Expected: {EXPECTED}")


if __name__ == "__main__":
    main()
