"""The command `launch`."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TextIO

from seqkeras._checks import bad_argument, check_integer
from seqkeras._cli._terminal import complain, notice

#: Seconds in which a process that is stopped may end by itself.
GRACE = 5.0
#: Settings of the allocator of glibc: memory of a step is kept for the next one. Otherwise it goes
#: back to the system, and fetching it again takes milliseconds of each step on JAX.
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
#: Seconds between two looks at the processes.
PAUSE = 0.05


def add_launch_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    add = parser.add_argument
    add("-n", "--processes", type=int, default=2, metavar="N", help="processes (default: 2)")
    add(
        "--restarts",
        type=int,
        default=0,
        metavar="TIMES",
        help="start all processes again if one fails, at most so often (default: 0)",
    )
    add("script", type=Path, metavar="SCRIPT", help="Python script that each process runs")
    add(
        "arguments",
        nargs=argparse.REMAINDER,
        metavar="ARGUMENTS",
        help="arguments of the script, to the end of the line",
    )
    parser.epilog = (
        "The script trains with distributed=True or fit_distributed, on JAX or PyTorch. If a "
        "process fails, the others are stopped; its exit status is that of the command."
    )


def launch(options: argparse.Namespace) -> dict[str, Any]:
    """Run a script in several processes of this machine, which train together."""
    count = check_integer("--processes", options.processes)
    restarts = check_integer("--restarts", options.restarts, minimum=0)
    if not options.script.is_file():
        raise bad_argument("SCRIPT", str(options.script), "a Python script that exists")
    command = [sys.executable, "-u", str(options.script), *options.arguments]
    status = 0
    with _ended_by_sigterm():
        for start in range(restarts + 1):
            if start:
                notice(f"starting again ({start} of {restarts} times).")
            failure, status = _Processes(command, count).run()
            if not status:
                return {"processes": count, "restarts": start}
            complain(failure)
    sys.exit(status)


class _Processes:
    """The processes of one start.

    Args:
        command: the command of each.
        count: how many there are.
    """

    def __init__(self, command: list[str], count: int) -> None:
        self._command = command
        self._count = count
        self._processes: list[subprocess.Popen[str]] = []
        self._relays: list[threading.Thread] = []

    def run(self) -> tuple[str, int]:
        """Run them to their end, or stop all if one fails; return how it failed, and the status."""
        address = f"127.0.0.1:{_free_port()}"
        with tempfile.TemporaryDirectory(prefix="seqkeras-") as folder:
            try:
                for index in range(self._count):
                    self._start(_environment(index, self._count, address, folder), index)
                while None in (codes := [process.poll() for process in self._processes]):
                    if any(codes):
                        break
                    time.sleep(PAUSE)
            finally:
                self._stop()
        return self._failure(codes)

    def _start(self, environment: dict[str, str], index: int) -> None:
        process = subprocess.Popen(
            self._command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._processes.append(process)
        for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            relay = threading.Thread(
                target=_relay, args=(source, target, f"[{index}] "), daemon=True
            )
            relay.start()
            self._relays.append(relay)

    def _stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + GRACE
        for process in self._processes:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for relay in self._relays:
            relay.join(GRACE)  # a process that the script has left behind may keep its output open

    def _failure(self, codes: list[int | None]) -> tuple[str, int]:
        failed = [(code, index) for index, code in enumerate(codes) if code]
        if not failed:
            return "", 0
        # A process that was killed makes others fail: it is the cause.
        code, index = min(failed)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed ({code})"
        rest = " All were stopped." if self._count > 1 else ""
        status = 128 - code if code < 0 else code
        return f"process {index} of {self._count} {how}.{rest}", status


def _environment(index: int, count: int, address: str, folder: str) -> dict[str, str]:
    """Return the variables by which a process finds the others, on this machine only."""
    host, _, port = address.partition(":")
    threads = str(max(1, _cores() // count))
    shared = {
        name: os.environ.get(name, threads) for name in ("OMP_NUM_THREADS", "SEQKERAS_THREADS")
    }
    return {
        **{name: os.environ.get(name, value) for name, value in ALLOCATOR.items()},
        **shared,
        "SEQKERAS_LAUNCHED": "1",
        # Nothing listens to other machines.
        "JAX_COORDINATOR_BIND_ADDRESS": address,
        "SEQKERAS_STORE": f"{folder}/store",
        **({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}),
        # As keras.distribution.initialize reads them, for JAX.
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
        "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
        # As torchrun sets them, for PyTorch.
        "MASTER_ADDR": host,
        "MASTER_PORT": port,
        "WORLD_SIZE": str(count),
        "RANK": str(index),
        "LOCAL_WORLD_SIZE": str(count),
        "LOCAL_RANK": str(index),
    }


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _relay(source: IO[str], target: TextIO, prefix: str) -> None:
    """Copy the lines of a process, each after its number.

    All lines are read, also those that cannot be written: otherwise the process would block.
    """
    encoding = getattr(target, "encoding", None) or "utf-8"
    for line in source:
        text = f"{prefix}{line.rstrip(chr(10))}\n"
        with suppress(OSError):
            target.write(text.encode(encoding, "replace").decode(encoding))
            target.flush()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end this process as an exception does, so that it stops those it started."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
