"""Kill a service under load again and again, and count what was lost.

    python benchmarks/serve_faults.py kills [--kills 500] [--durability disk]
    python benchmarks/serve_faults.py soak [--minutes 10] [--rate 400]
    python benchmarks/serve_faults.py connections [--count 10000]

`kills`: after each SIGKILL the service starts again on the same file. Lost: steps that were
acknowledged and are not stored. Doubled: outputs that differ from an uninterrupted run by more than
1e-5, as they would if a step were taken twice. `soak`: resident memory over time at a steady rate
of steps, of ever new sessions over ever new connections. `connections`: memory with many idle
connections, and a step beside them.
"""

import argparse
import contextlib
import http.client
import random
import resource
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.serve import small_program, uninterrupted
from helpers.service_process import ServiceProcess, send
from seqkeras import runtime

SESSIONS = 8

#: Steps of each session of `soak`.
STEPS_OF_SESSION = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["kills", "soak", "connections"])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--durability", choices=["process", "disk"], default="process")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=400, help="steps per second of `soak`")
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = small_program(folder)
        {"kills": kills, "soak": soak, "connections": connections}[options.what](
            options, folder, program
        )


def kills(options: argparse.Namespace, folder: Path, program: Path) -> None:
    outputs: list[list[list[float]]] = [[] for _ in range(SESSIONS)]
    starts = []
    settings = {"store": f"sqlite:///{folder}/sessions.db", "durability": options.durability}
    with ServiceProcess(program, **settings) as service:
        for number in range(options.kills):
            threads = [
                threading.Thread(target=send_steps, args=(service, i, outputs[i]))
                for i in range(SESSIONS)
            ]
            for thread in threads:
                thread.start()
            time.sleep(random.uniform(0.01, 0.15))
            service.kill()
            for thread in threads:
                thread.join()
            begin = time.perf_counter()
            service.start()
            starts.append(time.perf_counter() - begin)
            if (number + 1) % 50 == 0:
                print(f"{number + 1} kills, {sum(map(len, outputs))} steps acknowledged")
        lost = doubled = 0
        loaded = runtime.load(program)
        for i, acknowledged in enumerate(outputs):
            stored = service.request("GET", f"/v1/sessions/s{i}")[1]["step"]
            lost += max(0, len(acknowledged) - stored)
            expected = uninterrupted(loaded, observations(i, len(acknowledged)))
            differs = np.abs(np.array(acknowledged) - expected).max(axis=1) > 1e-5
            doubled += int(differs.sum())
    print(
        f"{options.kills} kills, {options.durability}: {sum(map(len, outputs))} steps "
        f"acknowledged, {lost} lost, {doubled} doubled or changed; "
        f"start again {np.median(starts):.3f} s (median), {max(starts):.3f} s (worst)"
    )


def observations(session: int, count: int) -> list[list[float]]:
    return np.random.default_rng(session).normal(size=(count, 3)).round(3).tolist()


def send_steps(service: ServiceProcess, session: int, outputs: list[list[float]]) -> None:
    """Send steps until the service is gone, and note what it acknowledged."""
    rows = observations(session, len(outputs) + 10_000)
    connection = service.connect(timeout=5)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        for number in range(len(outputs), len(rows)):
            body = {"x": rows[number], "step": number}
            status, reply, _ = send(connection, "POST", f"/v1/sessions/s{session}/step", body)
            if status == 200:
                outputs.append(reply["y"])
            elif status != 503:
                raise SystemExit(f"session {session}, step {number}: {status} {reply}")


def soak(options: argparse.Namespace, folder: Path, program: Path) -> None:
    """Send steps of new sessions all the time, of which the oldest expire."""
    settings = {"store": f"sqlite:///{folder}/sessions.db", "ttl": 20.0, "memory_sessions": 1000}
    begin = time.monotonic()
    end = begin + 60 * options.minutes
    with ServiceProcess(program, durability="process", **settings) as service:
        counts = [0] * SESSIONS

        def load(i: int) -> None:
            body = {"x": [0.1, 0.2, 0.3]}
            while time.monotonic() < end:
                path = f"/v1/sessions/t{i}-{counts[i]}/step"
                with contextlib.closing(service.connect()) as connection:
                    for number in range(STEPS_OF_SESSION):
                        status, reply, _ = send(connection, "POST", path, body)
                        assert (status, reply["step"]) == (200, number)
                        counts[i] += 1
                due = begin + counts[i] * SESSIONS / options.rate
                time.sleep(max(0, due - time.monotonic()))

        threads = [threading.Thread(target=load, args=(i,)) for i in range(SESSIONS)]
        for thread in threads:
            thread.start()
        print("| minute | steps | resident memory | file |\n|---|---|---|---|")
        while time.monotonic() < end:
            time.sleep(max(1, options.minutes * 6))
            minute = (time.monotonic() - begin) / 60
            file = sum(path.stat().st_size for path in folder.glob("sessions.db*"))
            memory = service.memory() / 1e6
            line = f"| {minute:.1f} | {sum(counts)} | {memory:.1f} MB | {file / 1e6:.1f} MB |"
            print(line, flush=True)
        for thread in threads:
            thread.join()


def connections(options: argparse.Namespace, folder: Path, program: Path) -> None:
    """Open many connections that never send a whole request, and take steps beside them."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ServiceProcess(program) as service, contextlib.ExitStack() as stack:
        body = {"x": [0.1, 0.2, 0.3]}
        for count in (0, options.count):
            while count > 0:
                client = socket.create_connection(("127.0.0.1", service.port), 30)
                stack.callback(client.close)
                client.sendall(b"POST /v1/sessions/")
                count -= 1
            connection = service.connect()
            times = []
            for _ in range(300):
                begin = time.perf_counter()
                assert send(connection, "POST", "/v1/sessions/a/step", body)[0] == 200
                times.append(time.perf_counter() - begin)
            print(f"memory {service.memory() / 1e6:.1f} MB, step {1e3 * np.median(times):.2f} ms")


if __name__ == "__main__":
    main()
