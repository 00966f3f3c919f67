"""Jobs of Spark."""

import os
import secrets
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from typing import Any

from seqkeras._checks import bad_argument
from seqkeras._lazy import import_optional
from seqkeras.engines._engine import Engine, Workers
from seqkeras.engines._worker import Setup, compute


class Spark(Engine):
    """Jobs of Spark, one for each item, as many at a time as there are cores.

    Args:
        session: a classic `SparkSession`, not one of Spark Connect. None: the active session, or
            else a new one for the time of the call.

    Raises:
        ArgumentError: the session has no Spark context, as one of Spark Connect.

    `spark.task.cpus` is the number of threads of each item. `spark.task.maxFailures` says how often
    Spark repeats an item if its worker ends. Spark needs a Java runtime.
    """

    def __init__(self, session: Any = None) -> None:
        if session is not None and not _has_context(session):
            fix = "Build it with SparkSession.builder.master(...)."
            raise bad_argument("session", session, "a classic SparkSession", fix)
        self.session = session

    def check(self) -> None:
        """Check that PySpark is installed.

        Raises:
            MissingDependencyError: it is not.
        """
        import_optional("pyspark", extra="distributed")

    @contextmanager
    def _workers(self, function: bytes) -> Iterator[Workers]:
        sql = import_optional("pyspark.sql", extra="distributed")
        session = self.session or sql.SparkSession.getActiveSession()
        own = session is None
        if own:
            # By default Spark starts the first `python3` that it finds.
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
            session = sql.SparkSession.builder.appName("seqkeras").getOrCreate()
        with ExitStack() as stack:
            if own:
                stack.callback(session.stop)
            context = session.sparkContext
            cpus = int(context.getConf().get("spark.task.cpus", "1"))
            data = context.broadcast(function)
            stack.callback(data.destroy)
            slots = max(1, context.defaultParallelism // cpus)
            threads = stack.enter_context(ThreadPoolExecutor(slots))
            yield _Jobs(context, threads, Setup.like_here(cpus), data, slots)


def _has_context(session: Any) -> bool:
    errors = import_optional("pyspark.errors", extra="distributed")
    try:
        return session.sparkContext is not None
    except (AttributeError, errors.PySparkException):  # the second one is of Spark Connect
        return False


class _Jobs:
    """Jobs with the same first arguments, each waited for by a thread."""

    def __init__(
        self, context: Any, threads: ThreadPoolExecutor, setup: Setup, data: Any, slots: int
    ) -> None:
        self._context = context
        self._threads = threads
        self._setup = setup
        self._data = data
        self._group = f"seqkeras-{secrets.token_hex(8)}"
        self._is_canceled = False
        self.slots = slots

    def submit(self, item: bytes) -> "Future[bytes]":
        """Start a job."""
        return self._threads.submit(self._run, item)

    def wait(self, futures: list[Any]) -> list[Any]:
        """Wait until a job is ready."""
        return list(wait(futures, return_when=FIRST_COMPLETED).done)

    def result(self, future: "Future[bytes]") -> bytes:
        """Return the reply of a job."""
        return future.result()

    def cancel(self, futures: list[Any]) -> None:
        """End jobs, and the processes that compute them."""
        self._is_canceled = True
        for future in futures:
            future.cancel()
        if futures:
            self._context.cancelJobGroup(self._group)

    def _run(self, item: bytes) -> bytes:
        self._context.setJobGroup(self._group, "seqkeras", interruptOnCancel=True)
        setup = self._setup
        data = self._data
        # The function must not hold this object, which cannot be sent.
        rows = self._context.parallelize([item], 1).map(lambda row: compute(setup, data.value, row))
        if self._is_canceled:
            raise CancelledError
        reply: bytes = rows.collect()[0]
        return reply
