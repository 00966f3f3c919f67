"""Tests of the command `seqkeras serve`: its messages, its log, its signals and its settings."""

import ast
import importlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.redis_server import RedisServer, needs_redis
from helpers.serve import small_program
from seqkeras.__main__ import main
from seqkeras.errors import ArgumentError
from seqkeras.serve import Client, ServiceSettings, SessionError
from seqkeras.serve._logs import JsonLines

X = [0.5, 0.5, 0.5]


class Command:
    """A running `seqkeras serve` on a free port."""

    def __init__(self, *arguments, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "seqkeras", "serve", *map(str, arguments), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | environment,
            text=True,
        )
        line = self.process.stdout.readline()
        assert line.startswith("Listening on http://127.0.0.1:"), self.process.stderr.read()
        self.url = line.split()[-1]

    def stop(self):
        """Stop it as a supervisor does, and return its log, one object a line."""
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=30)
        return [json.loads(line) for line in log.splitlines()]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def program(tmp_path):
    return small_program(tmp_path)


def wait_for(check):
    """Return when a check of a service holds; the service has a signal to react to."""
    for _ in range(400):
        if check():
            return
        time.sleep(0.05)
    raise AssertionError("never true")


def test_a_new_program_is_loaded_by_a_signal_and_a_broken_one_is_not(program, tmp_path):
    store = f"sqlite:///{tmp_path}/sessions.db"
    with Command(program, "--store", store, SEQKERAS_SERVE_HISTORY="3") as command:
        with Client(command.url) as client:
            session = client.session("a")
            session.steps([X] * 5)
            old = client.model()
            assert (old["store"], old["durability"], old["history"]) == ("sqlite", "disk", 3)
            small_program(tmp_path, seed=1).rename(program)
            command.process.send_signal(signal.SIGHUP)
            wait_for(lambda: client.model()["fingerprint"] != old["fingerprint"])
            with pytest.raises(SessionError, match="belongs to a program") as caught:
                session.step(X)
            assert caught.value.code == "other_program"
            assert session.warm_up() == 3
            session.step(X)
            assert session.export_state().step == 6
            program.write_bytes(b"no program")
            command.process.send_signal(signal.SIGHUP)
            session.step(X)
        log = command.stop()
    messages = [line["message"] for line in log]
    assert any(message.startswith("the old program goes on: ") for message in messages)
    assert {line["level"] for line in log} == {"info", "error"}
    assert log[0]["fingerprint"] == old["fingerprint"]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in log)


def test_nothing_that_a_client_sends_is_logged(program, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("admin secret-token-0123456789\n")
    with Command(program, "--tokens", tokens) as command:
        with Client(command.url, token="secret-token-0123456789", retry_for=0) as client:
            client.session("secret-session").step([12345.678, 0.0, 0.0])
            for x in (["secret"], [1e308] * 3, {"secret": 1.0}):
                with pytest.raises(SessionError):
                    client.session("secret-session").step(x)
        log = command.stop()
    assert "secret" not in json.dumps(log)
    assert "12345" not in json.dumps(log)


@needs_redis
def test_several_processes_share_one_port_and_one_store(program, tmp_path):
    server = RedisServer(tmp_path)
    try:
        with Command(program, "--workers", 2, "--store", server.url) as command:
            for _ in range(4):  # connections of their own, so both processes take part
                with Client(command.url) as client:
                    client.session("a").steps([X] * 2)
            with Client(command.url) as client:
                assert client.session("a").export_state().step == 8
            command.stop()
    finally:
        server.kill()


def test_no_framework_is_loaded_for_a_program(program):
    code = (
        "import sys\n"
        "import seqkeras.serve as serve\n"
        "from seqkeras._cli._parser import parser\n"
        "assert not {'httpx', 'starlette', 'uvicorn', 'redis'} & set(sys.modules)\n"
        f"serve.create_app({str(program)!r}, store='memory'), serve.serve, serve.Client\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*loaded & {'keras', 'tensorflow', 'jax', 'torch', 'pandas', 'sklearn', 'scipy'})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_missing_package_is_named_with_its_extra():
    code = (
        "import sys, importlib\n"
        "from seqkeras.errors import MissingDependencyError\n"
        "def message(package, use):\n"
        "    sys.modules[package] = None\n"
        "    try:\n"
        "        use()\n"
        "    except MissingDependencyError as error:\n"
        "        del sys.modules[package]\n"
        "        print(error)\n"
        "def serve():\n"
        "    from seqkeras.serve import ServiceSettings, serve\n"
        "    serve(ServiceSettings('p'))\n"
        "message('msgspec', lambda: importlib.import_module('seqkeras.serve'))\n"
        "message('httpx', lambda: importlib.import_module('seqkeras.serve').Client)\n"
        "message('uvicorn', serve)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    for package, line in zip(("msgspec", "httpx", "uvicorn"), lines, strict=True):
        assert f"needs the package '{package}'" in line
        assert line.endswith('pip install "seqkeras[serve]"')


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["none.program"], "No such file or directory: 'none.program'"),
        ([], "PROGRAM must be a path, or set SEQKERAS_SERVE_PROGRAM"),
        (["P", "--store", "mysql://x"], "--store must be 'memory', 'sqlite:///FILE' or"),
        (["P", "--store", "sqlite:////none/x.db"], "/none/x.db: No such file or directory"),
        (["P", "--durability", "best"], "--durability must be one of 'process', 'disk'"),
        (["P", "--host", "0.0.0.0"], "--host must be a loopback address without tokens"),
        (["P", "--port", "99999"], "--port must be an integer from 0 to 65535"),
        (["P", "--port", "USED"], "cannot listen on 127.0.0.1, port "),
        (["P", "--workers", "2"], "--workers must be 1 without a Redis store"),
        (["P", "--memory-sessions", "0"], "--memory-sessions must be an integer >= 1"),
        (["P", "--memory-sessions", "9" * 17], "a history of 0, that fit in memory"),
        (["P", "--ttl", "-1"], "--ttl must be a finite number > 0"),
        (["P", "--tokens", "none"], "No such file or directory: 'none'"),
        (["W"], "must be a .* file|is not"),
    ],
)
def test_what_cannot_start_is_said_in_one_line(
    program, tmp_path, monkeypatch, capfd, options, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong").write_text("no program")
    used = socket.create_server(("127.0.0.1", 0))
    names = {"P": str(program), "W": "wrong", "USED": str(used.getsockname()[1])}
    for logger in (logging.getLogger(), logging.getLogger("uvicorn.error")):
        monkeypatch.setattr(logger, "handlers", [])
        monkeypatch.setattr(logger, "level", logger.level)
    try:
        assert main(["serve", *(names.get(option, option) for option in options)]) == 1
    finally:
        used.close()
    lines = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    assert re.search(re.escape(message) if "|" not in message else message, lines[0])


def test_the_environment_sets_what_arguments_omit():
    variables = {
        "SEQKERAS_SERVE_PROGRAM": "a.program",
        "SEQKERAS_SERVE_PORT": "9000",
        "SEQKERAS_SERVE_TTL": "1.5",
        "SEQKERAS_SERVE_CLIENT_SESSIONS": "7",
        "SEQKERAS_SERVE_HISTORY": "5",
        "OTHER": "1",
    }
    settings = ServiceSettings.from_environment(variables, history=2, port=None)
    assert settings == ServiceSettings(
        "a.program", port=9000, ttl=1.5, client_sessions=7, history=2
    )


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PORT", "abc", r"^SEQKERAS_SERVE_PORT must be a number\. Got: SEQKERAS_SERVE_PORT='abc'"),
        ("PORT", "-1", r"^SEQKERAS_SERVE_PORT: port must be an integer >= 0"),
        ("HISTORY", "65536", r"^SEQKERAS_SERVE_HISTORY: history must be at most 65535"),
        ("MAX_BATCH", "4097", r"^SEQKERAS_SERVE_MAX_BATCH: max_batch must be at most 4096"),
        ("DURABILITY", "no", r"^SEQKERAS_SERVE_DURABILITY: durability must be one of"),
    ],
)
def test_errors_name_the_variable(variable, value, message):
    variables = {"SEQKERAS_SERVE_PROGRAM": "a", f"SEQKERAS_SERVE_{variable}": value}
    with pytest.raises(ArgumentError, match=message):
        ServiceSettings.from_environment(variables)


@given(st.text(), st.text())
def test_every_log_line_is_json(message, argument):
    record = logging.LogRecord("seqkeras", logging.INFO, "f", 1, "%s", (message + argument,), None)
    text = JsonLines().format(record)
    assert "\n" not in text
    assert json.loads(text)["message"] == message + argument


def test_the_log_of_an_exception_names_places_and_quotes_nothing():
    try:
        float("a secret of a client")
    except ValueError:
        record = logging.LogRecord("s", logging.ERROR, "f", 1, "failed", (), sys.exc_info())
    text = JsonLines().format(record)
    assert "secret" not in text
    assert json.loads(text)["error"] == "ValueError"
    assert "test_server.py" in json.loads(text)["places"][0]


def test_the_example_for_ray_imports_what_exists():
    """Ray itself is not needed for that."""
    path = Path(__file__).parents[2] / "examples" / "serve" / "ray_service.py"
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if _is_ours(node)]
    assert imports
    for node in imports:
        module = importlib.import_module(node.module)
        for name in (alias.name for alias in node.names):
            assert hasattr(module, name) or importlib.import_module(f"{node.module}.{name}")


def _is_ours(node):
    return isinstance(node, ast.ImportFrom) and (node.module or "").startswith("seqkeras")
