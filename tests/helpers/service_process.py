"""Real services in processes of their own, which start in milliseconds because they are forked.

A process that has loaded the service once forks a child for each start, so that a test can kill and
start a service many times.
"""

import contextlib
import functools
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_PARENT = """
import json, os, resource, signal, sys, time
import seqkeras.serve._app, seqkeras.serve._connection, seqkeras.serve._pages
import seqkeras.serve._sqlite_store, seqkeras.serve._websocket_connection, uvicorn, uvloop
import uvicorn.protocols.http.httptools_impl, uvicorn.lifespan.on, uvicorn.loops.uvloop
from seqkeras.serve._server import serve
from seqkeras.serve._service_settings import ServiceSettings
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    order = json.loads(line)
    limit = order.pop("file_limit", None)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdin.close()
        serve(ServiceSettings(**order))
        os._exit(0)
    print(child, flush=True)
"""


class ServiceProcess:
    """One service on a free port of the loopback, that can be killed and started again.

    Args:
        **settings: fields of `ServiceSettings`.
    """

    def __init__(self, program, **settings):
        self.port = _free_port()
        self.settings = {"program": str(program), "port": self.port, **settings}
        self.pid = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.kill()

    def start(self, **order):
        """Start the service, and return when it takes requests."""
        parent = _parent()
        parent.stdin.write(json.dumps({**self.settings, **order}) + "\n")
        parent.stdin.flush()
        self.pid = int(parent.stdout.readline())
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, "the service did not start"
                time.sleep(0.005)

    def kill(self, number=signal.SIGKILL):
        """Send a signal, by default the one that cannot be caught, and wait for the end."""
        if self.pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        while _is_alive(self.pid):
            time.sleep(0.002)
        self.pid = None

    def lift_file_limit(self):
        """Let the service write files of any size again."""
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, unlimited)

    def memory(self):
        """Return the resident memory in bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def connect(self, timeout=30):
        """Return a connection of `http.client`."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None):
        """Send one request, and return its status, its JSON reply and its headers."""
        connection = self.connect()
        try:
            return send(connection, method, path, body, headers)
        finally:
            connection.close()


@functools.cache
def _parent():
    """Return the process that forks all services of this one; it ends with its input."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", _PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )


def send(connection, method, path, body=None, headers=None):
    """Send a request over a connection, and return its status, its JSON reply and its headers."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body)
    connection.request(method, path, data, headers or {})
    reply = connection.getresponse()
    text = reply.read()
    return reply.status, json.loads(text) if text[:1] in b"{[" else text, dict(reply.headers)


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def stored_service(program, store, folder, **settings):
    """Run a service whose store is `"memory"`, or `"sqlite"` for a file in a folder."""
    address = store if store == "memory" else f"sqlite:///{folder}/sessions.db"
    with ServiceProcess(program, store=address, durability="process", **settings) as service:
        yield service
