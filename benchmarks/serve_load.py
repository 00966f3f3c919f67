"""The service under load, next to a no-op JSON endpoint on the same server, in turns.

    python benchmarks/serve_load.py                      all scenarios, a few minutes
    python benchmarks/serve_load.py single disk          some of them
    python benchmarks/serve_load.py idle --sessions 1000000

    single     one step a request, sessions in memory
    disk       one step a request, durable before the reply: `process` and `disk`, next to the
               time that the disk takes to flush one page (p50 / p99)
    websocket  one step a message
    many       one step each of 256 sessions a request, JSON and MessagePack
    idle       sessions in a SQLite file that nobody uses: start, memory, file, steps of a few
    start      seconds until the first reply, and memory

The program is an LSTM of 64 units with 8 features. The server runs on one core (`--server-core`),
the load on another (`--load-core`). The no-op decodes the same body and encodes a reply of the same
size, without a model. A round loads the no-op, then the service, for `--seconds` each; ratios are
those of a round. CPU is that of the server's process per request, which also counts on a busy
machine. Latencies are measured at half of the service's throughput, for both, from the time when a
request was due, so a server that stops for a moment is charged for all requests that had to wait.
"""

import argparse
import contextlib
import itertools
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

UNITS = 64
FEATURES = 8
ACTIVE = 500
TOGETHER = 256

#: Seconds after a reply for which the load does not sleep.
AWAKE = 0.0005

#: Kinds of WebSocket frames.
TEXT, PING, PONG = 1, 9, 10


# The servers, each in a process of its own.


async def noop(scope, receive, send):
    """Reply to a body of JSON or MessagePack as the service does, with a constant."""
    decoders = _decoders()
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            body = decoders.step(message["text"])
            reply = decoders.encode({"y": body.x[:1], "step": 0})
            await send({"type": "websocket.send", "text": reply.decode()})
    else:
        message = await receive()
        body = decoders.step(message["body"])
        reply = decoders.encode({"y": body.x[:1], "step": 0})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(reply)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply})


class _Decoders:
    def __init__(self):
        import msgspec

        body = msgspec.defstruct("Body", [("x", list[float]), ("step", int | None, None)])
        self.step = msgspec.json.Decoder(body).decode
        self.encode = msgspec.json.Encoder().encode


def _decoders(cache=[]):  # noqa: B006
    if not cache:
        cache.append(_Decoders())
    return cache[0]


def serve_noop(port):
    import uvicorn

    uvicorn.run(
        noop, port=port, access_log=False, server_header=False, date_header=False,
        log_level="error", limit_concurrency=20_000,
    )  # fmt: skip


class Server:
    """A server in a process on a core of its own."""

    def __init__(self, arguments, core, path="/healthz"):
        self.port = free_port()
        command = [sys.executable, *arguments, str(self.port)]
        start = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        self._wait(path, start + 60)
        self.seconds_to_start = time.perf_counter() - start

    def _wait(self, path, deadline):
        request = http("GET", path, b"") if path else None
        while True:
            if self.process.poll() is not None:
                raise SystemExit(self.process.stderr.read().decode())
            try:
                with Connection(self.port) as connection:
                    if request:
                        connection.ask(request)
                    return
            except ConnectionError:
                if time.perf_counter() > deadline:
                    raise
                time.sleep(0.005)

    def cpu(self):
        """Return the seconds of CPU of the process."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self):
        """Return the resident memory of the process."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise ValueError("no VmRSS")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


def service(program, core, **settings):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    return Server(["-m", "seqkeras", "serve", str(program), *options, "--port"], core)


def noop_server(core):
    return Server([__file__, "--serve-noop"], core, path=None)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# The load: connections that each have one request on the way.


class Connection:
    """A connection that sends prepared requests and knows where a reply ends."""

    def __init__(self, port, requests=()):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests = itertools.cycle(requests)
        self.due = 0.0
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, request):
        self.socket.sendall(request)
        while (reply := self.receive()) is None:
            pass
        return reply

    def send(self, due):
        self.due = due
        self.socket.sendall(next(self.requests))

    def receive(self):
        """Read what has arrived, and return the body if a reply is complete."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._buffer += data
        return self._reply()

    def _reply(self):
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return None
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"refused: {head.decode()}\n{body.decode()}")
        self._buffer = b""
        return body


class WebSocket(Connection):
    """A WebSocket whose requests are frames."""

    def __init__(self, port, path, requests=()):
        super().__init__(port, requests)
        lines = (
            f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket",
            "Connection: Upgrade", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
        )  # fmt: skip
        self.socket.sendall("\r\n".join(lines).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            data = self.socket.recv(1)
            if not data:
                raise SystemExit(f"no WebSocket: {head.decode()}")
            head += data
        if b" 101 " not in head:
            raise SystemExit(f"no WebSocket: {head.decode()}")

    def _reply(self):
        while len(self._buffer) >= 2 and len(self._buffer) >= 2 + self._buffer[1]:
            kind, length = self._buffer[0] & 15, self._buffer[1]
            body, self._buffer = self._buffer[2 : 2 + length], self._buffer[2 + length :]
            if kind == PING:
                self.socket.sendall(frame(body, PONG))
            elif kind != TEXT or b"error" in body:
                raise SystemExit(f"refused: {body!r}")
            else:
                return body
        return None


def frame(data, kind=TEXT):
    """Return a short frame from a client, masked with zeros."""
    return bytes([0x80 | kind, 0x80 | len(data)]) + bytes(4) + data


def http(method, path, body, kind="application/json"):
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def load(connections, seconds, rate=None):
    """Send requests for some seconds, and return their latencies and the time it took.

    Args:
        connections: each has at most one request on the way.
        seconds: after which no request is sent.
        rate: requests due per second. None: each connection sends the next after each reply.
    """
    poll = select.epoll()
    by_number = {connection.socket.fileno(): connection for connection in connections}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    clock = time.perf_counter
    start = clock()
    end = start + seconds
    idle = deque(connections)
    latencies = []
    due = received = start
    while True:
        now = clock()
        while idle and now < end and due <= now:
            connection = idle.popleft()
            if rate is None:
                connection.send(now)
            else:
                connection.send(due)
                due += 1 / rate
        if now >= end and len(idle) == len(connections):
            break
        if rate is not None and idle and now < end:
            select.select([poll], [], [], max(0, due - now))  # epoll waits whole milliseconds
        # To wake the load from sleep, by an interrupt of its core, would cost the server up to half
        # as much CPU as a whole request.
        is_awake = rate is not None or now < received + AWAKE
        for number, _ in poll.poll(0 if is_awake else 0.05):
            connection = by_number[number]
            if connection.receive() is not None:
                received = clock()
                latencies.append(received - connection.due)
                idle.append(connection)
    poll.close()
    return latencies, clock() - start


# Requests of the scenarios.


def observation(number):
    return [round(0.1 * ((number + i) % 19) - 0.9, 2) for i in range(FEATURES)]


def step_requests(count, connections):
    """Return the requests of each connection; a session belongs to one connection."""
    body = [json.dumps({"x": observation(n)}).encode() for n in range(count)]
    requests = [http("POST", f"/v1/sessions/s{n}/step", body[n]) for n in range(count)]
    return [requests[start::connections] for start in range(connections)]


def many_request(kind, group):
    ids = [f"sensor-{group}-{n}" for n in range(TOGETHER)]
    x = [observation(n) for n in range(TOGETHER)]
    if kind == "application/json":
        body = json.dumps({"sessions": ids, "x": x}).encode()
    else:
        import msgspec
        import numpy as np

        body = msgspec.msgpack.encode({"sessions": ids, "x": np.array(x, "<f4").tobytes()})
    return http("POST", "/v1/steps", body, kind)


def plain_connections(server, requests):
    return [Connection(server.port, some) for some in requests]


def web_sockets(server, count):
    frames = [frame(json.dumps({"x": observation(n)}).encode()) for n in range(19)]
    path = "/v1/sessions/ws{}/stream"
    return [WebSocket(server.port, path.format(n), frames) for n in range(count)]


# Measuring.


class Row:
    """Rounds of the no-op and the service, and their latencies at half load."""

    def __init__(self, title, reference, ours, steps=1):
        self.title = title
        self.sides = (reference, ours)  # (server, connections) each
        self.steps = steps
        self.rates = ([], [])
        self.cpu = ([], [])
        self.latencies = ([], [])

    def measure(self, rounds, seconds):
        for _, connections in self.sides:
            load(connections, 0.3)
        for _ in range(rounds):
            for side, (server, connections) in enumerate(self.sides):
                before = server.cpu()
                latencies, took = load(connections, seconds)
                self.rates[side].append(len(latencies) / took)
                self.cpu[side].append(1e6 * (server.cpu() - before) / len(latencies))
        half = min(statistics.median(rates) for rates in self.rates) / 2
        for _ in range(rounds):
            for side, (_, connections) in enumerate(self.sides):
                latencies, _ = load(connections, seconds, half)
                self.latencies[side].append(latencies)
        for _, connections in self.sides:
            for connection in connections:
                connection.socket.close()

    def line(self):
        ratios = [self.steps * b / a for a, b in zip(*self.rates, strict=True)]
        rates = [statistics.median(rates) for rates in self.rates]
        cells = [
            self.title,
            f"{rates[0]:,.0f}",
            f"{self.steps * rates[1]:,.0f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})",
            " / ".join(f"{statistics.median(cpu):.0f}" for cpu in self.cpu),
            *(quantiles(latencies) for latencies in self.latencies),
        ]
        return f"| {' | '.join(cells)} |"


HEADER = """\
| endpoint | no-op, requests/s | service, steps/s | ratio (min - max) | CPU, us a request: no-op / \
service | no-op p50 / p99, ms | service p50 / p99, ms |
|---|---|---|---|---|---|---|"""


def quantiles(rounds):
    """Return the median over rounds of the 50 % and 99 % quantiles, in milliseconds."""
    parts = []
    for share in (0.5, 0.99):
        values = [sorted(latencies)[int(share * (len(latencies) - 1))] for latencies in rounds]
        parts.append(f"{1000 * statistics.median(values):.2f}")
    return " / ".join(parts)


def single(options, stack):
    reference, server = servers(options, stack)
    requests = step_requests(ACTIVE, 32)
    yield Row("step, memory", *((s, plain_connections(s, requests)) for s in (reference, server)))


def disk(options, stack):
    flush = quantiles([flushes(options.folder)])
    for durability, note in (("process", ""), ("disk", f"; a flush takes {flush} ms")):
        store = f"sqlite:///{options.folder}/{durability}.db"
        reference, server = servers(options, stack, store=store, durability=durability)
        requests = step_requests(ACTIVE, 64)
        sides = ((s, plain_connections(s, requests)) for s in (reference, server))
        yield Row(f"step, SQLite, `{durability}`{note}", *sides)


def flushes(folder, count=200):
    """Return the seconds that the disk takes for each page of 4 KiB, one after the other."""
    seconds = []
    with open(Path(folder, "flush"), "wb", buffering=0) as file:
        for _ in range(count):
            file.write(bytes(4096))
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - start)
    return seconds


def websocket(options, stack):
    reference, server = servers(options, stack)
    sides = ((s, web_sockets(s, 32)) for s in (reference, server))
    yield Row("WebSocket, memory", *sides)


def many(options, stack):
    reference, server = servers(options, stack)
    for name, kind in (("JSON", "application/json"), ("MessagePack", "application/msgpack")):
        requests = [[many_request(kind, group)] for group in range(2)]
        yield Row(
            f"{TOGETHER} sessions, {name}",
            (reference, plain_connections(reference, step_requests(ACTIVE, 32))),
            (server, plain_connections(server, requests)),
            TOGETHER,
        )


def servers(options, stack, **settings):
    started = []
    for server in (
        noop_server(options.server_core),
        service(options.program, options.server_core, **settings),
    ):
        stack.callback(server.close)
        started.append(server)
    return started


def idle(options):
    """Print what sessions cost that nobody uses."""
    path = Path(options.folder, "idle.db")
    fill(options.program, path, options.sessions)
    size = path.stat().st_size / options.sessions
    print("\n| sessions in the file | ready after, s | memory, MB | bytes each | steps/s |")
    print("|---|---|---|---|---|")
    results = {}
    for count, name in ((0, "few.db"), (options.sessions, "idle.db")):
        server = service(
            options.program, options.server_core,
            store=f"sqlite:///{options.folder}/{name}", durability="process",
        )  # fmt: skip
        try:
            memory = server.megabytes()
            connections = plain_connections(server, step_requests(ACTIVE, 64))
            rates = []
            for _ in range(options.rounds):
                latencies, took = load(connections, options.seconds)
                rates.append(len(latencies) / took)
            results[count] = statistics.median(rates)
            each = f"{size:.0f}" if count else "-"
            print(
                f"| {count:,} | {server.seconds_to_start:.2f} | {memory:.0f}, later "
                f"{server.megabytes():.0f} | {each} | {results[count]:,.0f} |"
            )
        finally:
            server.close()


def fill(program, path, count):
    """Write sessions as the service stores them, with random states."""
    import numpy as np

    from seqkeras.runtime import load as load_program
    from seqkeras.serve._record import Record
    from seqkeras.serve._sqlite_store import SqliteStore

    fingerprint = load_program(program).fingerprint
    random = np.random.default_rng(0)
    store = SqliteStore(str(path), durability="process")
    part = 10_000
    size = 8 * UNITS
    now = time.time()
    for start in range(0, count, part):
        states = random.bytes(part * size)
        records = [
            Record(f"/idle-{start + i}", fingerprint, 1, now, states[i * size : (i + 1) * size])
            for i in range(min(part, count - start))
        ]
        store.commit(records)
    store.close()


def start(options):
    """Print how long it takes until the first reply, and the memory then."""
    print("\n| server | first reply after, s (min - max) | memory, MB |")
    print("|---|---|---|")
    makers = {
        "no-op": lambda: noop_server(options.server_core),
        "service": lambda: service(options.program, options.server_core),
    }
    seconds = {name: [] for name in makers}
    memory = {}
    for _ in range(options.rounds + 2):
        for name, make in makers.items():
            server = make()
            seconds[name].append(server.seconds_to_start)
            memory[name] = server.megabytes()
            server.close()
    for name, values in seconds.items():
        spread = f"{statistics.median(values):.2f} ({min(values):.2f} - {max(values):.2f})"
        print(f"| {name} | {spread} | {memory[name]:.0f} |")


TABLE = {"single": single, "disk": disk, "websocket": websocket, "many": many}
SCENARIOS = (*TABLE, "idle", "start")


def make_program(path):
    """Write a program of 64 units, in a process that imports Keras."""
    code = (
        "from seqkeras import many_to_one; from seqkeras.export import save_program; "
        f"save_program(many_to_one({FEATURES}, units={UNITS}), {str(path)!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", help=", ".join(SCENARIOS))
    parser.add_argument("--program", help="a program with 8 inputs; default: an LSTM of 64 units")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--sessions", type=int, default=1_000_000, help="of `idle`")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=min(1, (os.cpu_count() or 1) - 1))
    parser.add_argument("--serve-noop", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_noop:
        serve_noop(options.serve_noop)
        return
    chosen = options.scenarios or SCENARIOS
    unknown = set(chosen) - set(SCENARIOS)
    if unknown:
        parser.error(f"unknown scenarios: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as options.folder:
        if options.program is None:
            options.program = Path(options.folder, "units.program")
            make_program(options.program)
        os.sched_setaffinity(0, {options.load_core})
        if TABLE.keys() & set(chosen):
            print(HEADER)
        for name in [name for name in SCENARIOS if name in chosen]:
            if name not in TABLE:
                (idle if name == "idle" else start)(options)
                continue
            with contextlib.ExitStack() as stack:
                for row in TABLE[name](options, stack):
                    row.measure(options.rounds, options.seconds)
                    print(row.line(), flush=True)


if __name__ == "__main__":
    main()
