"""One timestep of one row, in place, with everything prepared that stays the same."""

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqkeras._arrays import Array
from seqkeras.runtime._cell_steps import State


class Link(NamedTuple):
    """A node of a program that reads one value.

    Attributes:
        source: number of the value that it reads.
        target: number of the value that it computes.
        function: a function of an array, or for a recurrent layer `native.Step.run`.
        part: the arrays of the state that a recurrent layer moves; empty for another node.
    """

    source: int
    target: int
    function: Callable[..., Any]
    part: slice = slice(0)


class RowStep:
    """The timestep of a program whose nodes form a chain: recurrent layers, then functions.

    It gives the same numbers as `Program.step` without checks and new arrays, which take longer
    than the arithmetic of one row of a small layer. Not for several threads.

    Args:
        links: the nodes, in order.
        width: numbers of the input.
        dtype: their dtype.
    """

    def __init__(self, links: Sequence[Link], width: int, dtype: np.dtype[Any]) -> None:
        self._cells = [link for link in links if link.part.stop]
        self._functions = [link.function for link in links if not link.part.stop]
        self.x = np.zeros((1, width), dtype)
        self._bytes = self.x.data.cast("B")
        # "=" because without it, numbers that are too large become infinite.
        self._write = struct.Struct(f"={width}{dtype.char}").pack_into

    def read(self, x: list[Any]) -> bool:
        """Take the next input, and return False if it is not a list of finite numbers that fit."""
        try:
            self._write(self._bytes, 0, *x)
            return math.isfinite(sum(x))
        except (struct.error, OverflowError, TypeError):
            return False

    def bind(self, state: State) -> Callable[[], Array]:
        """Return a function that moves these arrays of one row, and returns the output.

        Args:
            state: dense arrays `(1, units)`, which the function writes into.
        """
        # Memoryviews, because native code gets at their numbers faster than at those of an array.
        source: Any = self.x.data
        calls = []
        for link in self._cells:
            arrays = tuple(array.data for array in state[link.part])
            calls.append((link.function, (source, *arrays, *arrays)))
            source = arrays[0]
        last = state[self._cells[-1].part][0]
        functions = self._functions

        def move() -> Array:
            for run, arguments in calls:
                run(*arguments)
            y = last
            for function in functions:
                y = function(y)
            return y

        return move


def row_step(
    links: Sequence[Link | None], output: int, width: int, dtype: np.dtype[Any]
) -> RowStep | None:
    """Return the step of a chain of nodes, or None if they are not such a chain.

    Args:
        links: the nodes in order; None for one that is no link.
        output: number of the value that the program returns.
        width: numbers of the input, which is value 0.
        dtype: their dtype.
    """
    source = 0
    recurrent = True
    chain = []
    for link in links:
        if link is None or link.source != source or (link.part.stop and not recurrent):
            return None
        recurrent = bool(link.part.stop)
        source = link.target
        chain.append(link)
    # Without a function at its end, the output would be the state itself.
    fits = chain and chain[0].part.stop and not recurrent and source == output
    return RowStep(chain, width, dtype) if fits else None
