"""Which ids end a row, and which must not be drawn."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._checks import Description, bad_argument, check_integer
from seqkeras.decoding._id_arrays import id_set
from seqkeras.decoding._token_step import TokenStep


@dataclass(frozen=True)
class Rules:
    """Checked ids with a meaning for decoding.

    Attributes:
        start: the id before the first one, or None.
        stop: ids that end a row, sorted.
        forbidden: ids that must not be drawn, sorted; with id 0 if the model masks it.
    """

    start: int | None
    stop: npt.NDArray[np.int32]
    forbidden: npt.NDArray[np.int32]
    vocabulary_size: int

    @classmethod
    def of(cls, step: TokenStep, start: Any, stop: Any, forbid: Any) -> "Rules":
        """Check the ids that were passed for a model.

        Raises:
            ArgumentError: an id is not in the vocabulary, or no id may be drawn.
        """
        size = step.vocabulary_size
        forbidden = id_set("forbid", forbid, size)
        if step.masks_zero:
            forbidden = np.union1d(forbidden, [0]).astype("int32")
        if len(forbidden) == size:
            actual = Description(f"all {size} ids of the vocabulary")
            raise bad_argument("forbid", actual, "ids that leave at least one to draw")
        if start is not None:
            start = check_integer("start", start, minimum=0)
        elif step.needs_start:
            fix = "Pass the id that the decoder read before the first token in training."
            raise bad_argument("start", None, "an id for an encoder-decoder", fix)
        return cls(start, id_set("stop", stop, size), forbidden, size)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what loops read: addends to the logits, and flags of the ids that end a row."""
        addend = np.zeros(self.vocabulary_size, "float32")
        addend[self.forbidden] = -np.inf
        is_stop = np.zeros(self.vocabulary_size, bool)
        is_stop[self.stop] = True
        return {"addend": addend, "is_stop": is_stop}
