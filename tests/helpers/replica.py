"""A replica of the service without HTTP, as a process of its own: `python replica.py SETTINGS`.

It moves sessions in Redis as fast as it can, and writes down each step that was acknowledged.
The settings are JSON: `url`, `program` and `history` (files), `seed`, `sessions`, `steps`, and
`numbered`, whether the steps carry their numbers. Numbered observations are the same in each
replica; others are random, so that their outputs show which replica's step was taken.
"""

import contextlib
import json
import sys
import time

import numpy as np

from seqkeras import runtime
from seqkeras.serve._open_store import open_store
from seqkeras.serve._served_model import ServedProgram
from seqkeras.serve._sessions import Call, Moved, Sessions
from seqkeras.serve._store import StoreUnavailableError

FEATURES = 3


def observation(session, number):
    """Return the observation that every replica sends as this step, `(1, features)`."""
    random = np.random.default_rng([session, number])
    return random.normal(size=(1, FEATURES)).astype("float32")


def main(url, program, history, seed, sessions, steps, numbered):
    random = np.random.default_rng(seed)
    service = Sessions(ServedProgram(runtime.load(program)), opened(url))
    # The next number of each session, or else how many requests were acknowledged here.
    progress = [0] * sessions
    print("ready", flush=True)
    sys.stdin.readline()
    with open(history, "a") as file:
        while min(progress) < steps:
            # Some sessions twice: the calls of one session in a batch also have an order.
            chosen = random.integers(0, sessions, random.integers(1, sessions + 2)).tolist()
            make = numbered_calls if numbered else random_calls
            calls = make([i for i in chosen if progress[i] < steps], progress, random)
            calls = [call for call in calls if (call.number or 0) < steps]
            start = time.monotonic_ns()
            outcomes = service.run(calls)
            times = (start, time.monotonic_ns())
            for call, outcome in zip(calls, outcomes, strict=True):
                session = int(call.own_id)
                if isinstance(outcome, Moved):
                    write_down(file, seed, session, call, outcome, times)
                    progress[session] = outcome.number + 1 if numbered else progress[session] + 1
                elif outcome.code == "wrong_step":
                    progress[session] = outcome.details["expected"]
                elif outcome.code == "store_unavailable":
                    time.sleep(0.01)
                elif outcome.code != "contended":
                    raise outcome


def opened(url):
    """Open the store, which may be unavailable for a while."""
    while True:
        with contextlib.suppress(StoreUnavailableError):
            return open_store(url)
        time.sleep(0.05)


def numbered_calls(chosen, progress, random):
    """Return calls of the next steps of sessions, twice those of a session chosen twice."""
    numbers = [progress[session] + chosen[:i].count(session) for i, session in enumerate(chosen)]
    return [
        Call(f"app/{session}", observation(session, number), number, str(session))
        for session, number in zip(chosen, numbers, strict=True)
    ]


def random_calls(chosen, progress, random):
    """Return calls without numbers, some of them with several observations."""
    return [
        Call(
            f"app/{session}",
            random.normal(size=(random.choice([1, 1, 3]), FEATURES)).astype("float32"),
            own_id=str(session),
        )
        for session in chosen
    ]


def write_down(file, seed, session, call, moved, times):
    line = {
        "replica": seed,
        "session": session,
        "number": moved.number,
        "x": call.x.tolist(),
        "outputs": moved.outputs.tolist(),
        "times": times,
    }
    file.write(json.dumps(line) + "\n")
    file.flush()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
