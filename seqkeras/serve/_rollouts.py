"""Long rollouts in slices, between which other requests are served."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from seqkeras.serve._call_runners import Runner

#: Seconds after which a rollout lets other requests pass.
SLICE = 0.001


async def all_outputs(runner: Runner, rollout: Iterator[Any]) -> list[Any]:
    """Return the outputs of a rollout, computed in slices where the runner computes steps."""
    outputs: list[Any] = []
    while part := await runner.do(_some_outputs, rollout):
        outputs += part
        await asyncio.sleep(0)  # a runner without a thread has not waited
    return outputs


def _some_outputs(rollout: Iterator[Any]) -> list[Any]:
    end = time.perf_counter() + SLICE
    outputs = []
    for output in rollout:
        outputs.append(output)
        if time.perf_counter() > end:
            break
    return outputs
