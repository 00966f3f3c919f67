"""The likeliest sequences that a search met."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqkeras.decoding._generated import Generated


@dataclass(frozen=True)
class Beams:
    """The best sequences of each row that `beam` met, the best first.

    Sequences that met a stop id come before those that did not.

    Attributes:
        ids: int32 `(batch, nbest, length)`, with the id of padding after the end of a sequence.
        lengths: number of tokens, `(batch, nbest)`; a stop id at the end counts. 0 if there are
            fewer sequences than `nbest`.
        finished: whether a sequence ends with a stop id, `(batch, nbest)`.
        scores: log-probabilities after the penalties, `(batch, nbest)`; -inf if there is no
            sequence.
        log_probabilities: of each token under the model, `(batch, nbest, length)`; 0 after the end.
        attention: weights over the source at each token, `(batch, nbest, length, source
            timesteps)`, 0 after the end; None if the model has no attention.
    """

    ids: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    finished: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float32]
    log_probabilities: npt.NDArray[np.float32]
    attention: npt.NDArray[np.float32] | None

    @property
    def best(self) -> Generated:
        """Return the best sequence of each row."""
        return Generated(
            ids=self.ids[:, 0],
            lengths=self.lengths[:, 0],
            finished=self.finished[:, 0],
            log_probabilities=self.log_probabilities[:, 0],
            attention=self.attention[:, 0] if self.attention is not None else None,
        )

    @property
    def sequences(self) -> list[list[npt.NDArray[np.int32]]]:
        """Return the ids of each sequence of each row, without the stop id and what follows it."""
        ends = self.lengths - self.finished
        return [
            [ids[:end] for ids, end in zip(*row, strict=True)]
            for row in zip(self.ids, ends, strict=True)
        ]
