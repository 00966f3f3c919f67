"""A real Redis server on a free port of the loopback interface, without any files."""

import shutil
import signal
import socket
import subprocess
import time

import pytest
import redis

PROGRAM = shutil.which("redis-server")

needs_redis = pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed")


class RedisServer:
    """A server that can be killed, started again, stopped for a while, and be a replica.

    Args:
        folder: its working folder.
        *options: further options of redis-server.
    """

    def __init__(self, folder, *options):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._options = options
        self._process = None
        self.start()

    @property
    def client(self):
        """Return a client of the server; each has its own connection."""
        return redis.Redis(port=self.port, protocol=2)

    def start(self):
        """Start the server, and wait until it can be used."""
        command = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "no", "--enable-debug-command", "local", *self._options]
        self._process = subprocess.Popen(
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._is_up)

    def kill(self):
        """End the server as `kill -9` does."""
        self._process.kill()
        self._process.wait()

    def stop(self):
        """Let the server take in requests without carrying them out, until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        """Let the server carry out everything that it has taken in."""
        self._process.send_signal(signal.SIGCONT)

    def follow(self, master):
        """Make the server a replica of another, and wait until it has all of its sessions."""
        with self.client as client, master.client as leader:
            client.replicaof("127.0.0.1", master.port)
            wait_until(lambda: f"port={self.port},state=online" in replicas_of(leader))
            # A replica that is online may still be busy: wait until it acknowledges something.
            leader.publish("ready", "")
            wait_until(lambda: leader.wait(1, 100) == 1)

    def lead(self):
        """Make a replica a server that can be written."""
        with self.client as client:
            client.replicaof("NO", "ONE")

    def _is_up(self):
        try:
            with self.client as client:
                return client.ping()
        except redis.ConnectionError:
            return False
        except redis.AuthenticationError:
            return True


def replicas_of(client):
    """Return what a server says about its replicas, as text."""
    values = client.info("replication").items()
    replicas = [value for name, value in values if name.startswith("slave") and value]
    return " ".join(
        f"port={replica['port']},state={replica['state']}"
        for replica in replicas
        if isinstance(replica, dict)
    )


def free_port():
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(condition, seconds=20):
    """Wait until a condition holds, and fail if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.01)
