"""Rollouts take turns with each other and with steps."""

import asyncio

from helpers.serve import small_program
from seqkeras import runtime
from seqkeras.serve import _rollouts
from seqkeras.serve._call_runners import DirectRunner
from seqkeras.serve._rollouts import Rollouts
from seqkeras.serve._served_model import ServedProgram
from seqkeras.serve._sessions import Sessions


def test_each_turn_of_the_loop_has_one_slice_and_all_rollouts_advance(tmp_path, monkeypatch):
    monkeypatch.setattr(_rollouts, "SLICE", 0)  # one output each
    model = ServedProgram(runtime.load(small_program(tmp_path)))
    turn = 0
    slices = []

    def rollout(name, steps):
        for step in range(steps):
            slices.append((turn, name))
            yield step

    async def count_turns():
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def main():
        rollouts = Rollouts(DirectRunner(Sessions(model)))
        counting = asyncio.ensure_future(count_turns())
        work = (rollouts.outputs(rollout(name, steps)) for name, steps in {"a": 9, "b": 3}.items())
        results = await asyncio.gather(*work)
        counting.cancel()
        return results

    assert asyncio.run(main()) == [[*range(9)], [*range(3)]]
    turns = [turn for turn, _ in slices]
    assert len(set(turns)) == len(turns)
    assert "".join(name for _, name in slices) == "abababaaaaaa"
