"""The step function that generation and beams call, the same for every kind of model."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy.typing as npt


class Start(NamedTuple):
    """Where decoding starts.

    Attributes:
        ids: the ids to read first, `(batch,)`.
        moving: the state before them: a flat tuple of arrays `(batch, ...)`.
        constants: what every step reads: a flat tuple of arrays `(batch, ...)`, such as the memory.
        is_source: flags `(batch, source timesteps)`, True where there is a source to attend to;
            None if the model has no attention.
    """

    ids: Any
    moving: tuple[Any, ...]
    constants: tuple[Any, ...]
    is_source: Any


class TokenStep(Protocol):
    """One step of a model that predicts tokens.

    Attributes:
        name: name of the model.
        vocabulary_size: number of ids that can be drawn.
        layers: the layers that hold the variables.
        masks_zero: whether the model does not read id 0, so it must not be drawn.
        has_attention: whether a step returns weights.
        needs_start: whether decoding needs the id of a token before the first one.
    """

    name: str
    vocabulary_size: int
    layers: list[Any]
    masks_zero: bool
    has_attention: bool
    needs_start: bool

    def inputs(self, prompts: Any, start: int | None) -> dict[str, npt.NDArray[Any]]:
        """Check what is decoded from, and return the arrays for `begin`."""

    def begin(self, inputs: Mapping[str, Any]) -> Start:
        """Read the prompts or sources."""

    def __call__(self, ids: Any, moving: tuple[Any, ...], constants: tuple[Any, ...]) -> Any:
        """Read one token of each row.

        Returns:
            Logits `(batch, vocabulary_size)`, the state after it, and the weights of the attention
            `(batch, source timesteps)` or None.
        """
