"""`seqkeras launch` runs a script in several processes; the scripts here need no Keras."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from seqkeras.__main__ import main


@pytest.fixture
def script(tmp_path, monkeypatch):
    """`script(code)` writes a script, and returns the start of a command that runs it."""
    monkeypatch.chdir(tmp_path)

    def write(code, *options):
        (tmp_path / "script.py").write_text(
            f"import os, sys, time\nrank = os.environ['RANK']\n{code}"
        )
        return ["launch", *options, "script.py"]

    return write


def status_of(command):
    """Return the exit status of a command that ends with that of a script."""
    with pytest.raises(SystemExit) as end:
        main(command)
    return end.value.code


def test_each_process_gets_the_arguments_and_its_number(script, capsys):
    names = ("WORLD_SIZE", "LOCAL_RANK", "KERAS_DISTRIBUTION_NUM_PROCESSES")
    command = script(f"print(rank, sys.argv[1:], *map(os.environ.get, {names}))", "-n", "3")
    assert main([*command, "--epochs", "5", "-n", "7"]) == 0
    lines = sorted(capsys.readouterr().out.splitlines())
    expected = [f"[{rank}] {rank} ['--epochs', '5', '-n', '7'] 3 {rank} 3" for rank in range(3)]
    assert lines == expected


def test_all_processes_get_the_same_address(script, capsys):
    names = ("MASTER_ADDR", "MASTER_PORT", "KERAS_DISTRIBUTION_JOB_ADDRESSES")
    assert main(script(f"print(*map(os.environ.get, {names}))")) == 0
    lines = [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 2
    assert len(set(lines)) == 1
    host, port, both = lines[0].split()
    assert both == f"{host}:{port}"


def test_the_processes_share_the_cores(script, capsys, monkeypatch):
    monkeypatch.setenv("SEQKERAS_THREADS", "3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("seqkeras._cli._launch._cores", lambda: 8)
    assert main(script("print(*map(os.environ.get, ('OMP_NUM_THREADS', 'SEQKERAS_THREADS')))")) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == ["[0] 4 3", "[1] 4 3"]


def test_memory_of_a_step_is_kept_unless_the_user_says_otherwise(script, capsys, monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    code = "print(*(os.environ[f'MALLOC_{name}_THRESHOLD_'] for name in ('TRIM', 'MMAP')))"
    assert main(script(code, "-n", "1")) == 0
    assert capsys.readouterr().out == f"[0] 131072 {2**30}\n"


def test_output_and_errors_stay_apart_also_without_a_last_line_break(script, capsys):
    assert main(script("print('out', end=''); print('err', file=sys.stderr)", "-n", "1")) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("[0] out\n", "[0] err\n")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen")
def test_only_the_cores_that_it_may_use_are_shared(script, capsys, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert main(script("print(os.environ['OMP_NUM_THREADS'])")) == 0
    finally:
        os.sched_setaffinity(0, cores)
    assert sorted(capsys.readouterr().out.splitlines()) == ["[0] 1", "[1] 1"]


def test_output_that_the_terminal_cannot_show_does_not_stop_it(tmp_path):
    (tmp_path / "script.py").write_text(
        "import sys\nsys.stdout.reconfigure(encoding='utf-8')\n"
        "print('\u2713'); print('x' * 300_000); print('end')"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-m", "seqkeras", "launch", "-n", "1", "script.py"],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        timeout=60,
    )
    lines = done.stdout.decode("ascii").splitlines()
    assert (done.returncode, len(lines), lines[-1]) == (0, 3, "[0] end")


def test_a_process_that_the_script_leaves_behind_is_not_waited_for(script, capsys, monkeypatch):
    monkeypatch.setattr("seqkeras._cli._launch.GRACE", 0.2)
    code = (
        "import subprocess\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True); sys.exit(3)"
    )
    begin = time.monotonic()
    assert status_of(script(code, "-n", "1")) == 3
    assert time.monotonic() - begin < 60
    os.kill(int(capsys.readouterr().out.split()[1]), signal.SIGKILL)


def test_nothing_listens_to_other_machines(script, capsys):
    names = ("JAX_COORDINATOR_BIND_ADDRESS", "KERAS_DISTRIBUTION_JOB_ADDRESSES", "SEQKERAS_STORE")
    assert main(script(f"print(*map(os.environ.get, {names}))", "-n", "1")) == 0
    _, bound, address, store = capsys.readouterr().out.split()
    assert bound == address
    assert bound.startswith("127.0.0.1:")
    assert not os.path.exists(os.path.dirname(store))  # removed at the end


def test_if_one_fails_the_others_are_stopped(script, capsys):
    begin = time.monotonic()
    assert status_of(script("sys.exit(7) if rank == '1' else time.sleep(600)")) == 7
    assert time.monotonic() - begin < 60
    assert "seqkeras: process 1 of 2 failed (7). All were stopped." in capsys.readouterr().err


def test_a_process_that_was_killed_is_named(script, capsys):
    code = "os.kill(os.getpid(), 9) if rank == '1' else time.sleep(600)"
    assert status_of(script(code)) == 128 + signal.SIGKILL
    assert "process 1 of 2 was ended by SIGKILL. All were stopped." in capsys.readouterr().err


def test_all_are_started_again(script, capsys):
    code = "open(f'{rank}-{time.time_ns()}', 'w'); sys.exit(len(os.listdir()) < 6)"
    assert main([*script(code, "--restarts", "5")]) == 0
    assert "seqkeras: starting again (1 of 5 times)." in capsys.readouterr().err


def test_the_status_after_the_last_start_counts(script, capsys):
    assert status_of(script("sys.exit(4)", "-n", "1", "--restarts", "2")) == 4
    assert capsys.readouterr().err.count("process 0 of 1 failed (4).") == 3


def test_sigterm_ends_the_processes_as_well(script, tmp_path):
    code = "open(f'{rank}.pid', 'w').write(str(os.getpid())); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-P", "-m", "seqkeras", *script(code)])
    files = [tmp_path / f"{rank}.pid" for rank in range(2)]
    while not all(file.exists() and file.read_text() for file in files):
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    for file in files:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)


def test_json_says_what_ran(script, capsys):
    assert main(script("pass", "--json")) == 0
    assert json.loads(capsys.readouterr().out) == {
        "command": "launch", "processes": 2, "restarts": 0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-n", "0", "script.py"], "--processes must be an integer >= 1. Got: --processes=0."),
        (["--restarts", "-1", "script.py"], "--restarts must be an integer >= 0."),
        (["missing.py"], "SCRIPT must be a Python script that exists. Got: SCRIPT='missing.py'."),
    ],
)
def test_refused(script, capsys, options, message):
    script("pass")
    assert main(["launch", *options]) == 1
    assert message in capsys.readouterr().err
