"""Tokens that were drawn, and how."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Generated:
    """Tokens that `generate` drew.

    Attributes:
        ids: int32 `(batch, length)`, with the id of padding after the end of a row.
        lengths: number of tokens in each row, `(batch,)`; a stop id at the end counts.
        finished: whether a row ends with a stop id, `(batch,)`; False if it ends because of
            `length`.
        log_probabilities: `(batch, length)`, of each token under the model, whatever temperature,
            `top_k`, `top_p` and `forbid` were; 0 after the end.
        attention: weights over the source at each token, `(batch, length, source timesteps)`, 0
            after the end; None if the model has no attention.
    """

    ids: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    finished: npt.NDArray[np.bool_]
    log_probabilities: npt.NDArray[np.float32]
    attention: npt.NDArray[np.float32] | None

    @property
    def sequences(self) -> list[npt.NDArray[np.int32]]:
        """Return the ids of each row, without the stop id and what follows it."""
        ends = self.lengths - self.finished
        return [row[:end] for row, end in zip(self.ids, ends, strict=True)]
