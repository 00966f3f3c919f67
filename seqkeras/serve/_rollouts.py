"""Long rollouts in slices, between which other requests are served."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from seqkeras.serve._call_runners import Runner

#: Seconds after which a rollout lets other requests pass.
SLICE = 0.001


class Rollouts:
    """Computes rollouts where the runner computes steps, one slice in each turn of the event loop.

    So steps wait for one slice, however many rollouts there are, and these take turns.

    Args:
        runner: calls functions between steps.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._turn = asyncio.Lock()  # passes from one to the next in the order of their requests

    async def outputs(self, rollout: Iterator[Any]) -> list[Any]:
        """Return all outputs of a rollout."""
        outputs: list[Any] = []
        while True:
            async with self._turn:
                part = await self._runner.do(_some_outputs, rollout)
                await asyncio.sleep(0)  # a runner without a thread has not waited
            if not part:
                return outputs
            outputs += part


def _some_outputs(rollout: Iterator[Any]) -> list[Any]:
    end = time.perf_counter() + SLICE
    outputs = []
    for output in rollout:
        outputs.append(output)
        if time.perf_counter() > end:
            break
    return outputs
