"""Vectors of words, learned elsewhere, for an embedding."""

import os

import numpy as np

from seqkeras._arrays import Floats32
from seqkeras._checks import bad_argument, bad_data
from seqkeras._files import shortened
from seqkeras.text._pair_file import numbered_lines
from seqkeras.text._vocabulary import Token, Vocabulary


def load_vectors(
    path: str | os.PathLike[str], vocabulary: Vocabulary
) -> tuple[Floats32, list[Token]]:
    r"""Load the vectors of the tokens of a vocabulary, for the weights of an embedding.

    Args:
        path: a text file of GloVe, word2vec or fastText, which may be compressed with gzip: a word
            and the numbers of its vector on each line, with spaces between them; the first vector
            sets the width. A first line with only the number of words and the width is skipped.
        vocabulary: the tokens. Only their vectors are kept in memory.

    Returns:
        The vectors `(len(vocabulary), width)`, in the order of the ids, and the tokens that the
        file does not have, in the same order; their vectors are zeros.

    Raises:
        ArgumentError: `vocabulary` is not a `Vocabulary`.
        DataError: the file has no vectors or those of none of the tokens, or a line has
            fewer numbers than the first, or text in place of one; the message has its number.
        FileNotFoundError: there is no such file.

    Example:
        >>> import tempfile, pathlib, keras
        >>> vocabulary = Vocabulary(["the", "time"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "vectors.txt")
        ...     _ = path.write_text("the 0.5 0.25\ntime 1 -1\nof 2 2\n")
        ...     matrix, missing = load_vectors(path, vocabulary)
        >>> matrix.tolist(), missing
        ([[0.0, 0.0], [0.5, 0.25], [1.0, -1.0]], ['<unk>'])
        >>> embedding = keras.layers.Embedding(*matrix.shape, weights=[matrix])
    """
    if not isinstance(vocabulary, Vocabulary):
        raise bad_argument("vocabulary", vocabulary, "a Vocabulary")
    loaded: dict[str, Floats32] = {}
    width = 0
    for number, line in numbered_lines(path):
        cells = line.strip(" \r").rsplit(" ", width or -1)
        if number == 1 and len(cells) == 2 and all(cell.isdigit() for cell in cells):
            continue  # the number of words, and the width
        width = width or len(cells) - 1
        if len(cells) <= width or not width:
            width_text = f"{len(cells) - 1} for the word {cells[0][:40]!r}"
            raise bad_data(
                f"Line {number} of {path}", width_text, f"have {width or 'some'} numbers"
            )
        if cells[0] in vocabulary and cells[0] not in loaded:
            loaded[cells[0]] = _parsed(cells[1:], f"Line {number} of {path}")
    if not loaded:
        actual = "vectors of none of them" if width else "no vectors"
        raise bad_data(f"{path}", actual, f"have vectors of the {len(vocabulary)} tokens")
    matrix = np.zeros((len(vocabulary), width), np.float32)
    for token, vector in loaded.items():
        matrix[vocabulary[token]] = vector
    return matrix, [token for token in vocabulary if token not in loaded]


def _parsed(numbers: list[str], place: str) -> Floats32:
    try:
        vector = np.array(numbers, np.float32)
    except ValueError as error:
        raise bad_data(place, shortened(error), "have numbers after the word") from error
    if not np.isfinite(vector).all():
        raise bad_data(place, "NaN or infinite numbers", "have finite numbers")
    return vector
