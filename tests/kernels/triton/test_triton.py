"""The Triton kernel without a GPU: its numbers in the interpreter, and its compilation for a GPU.

On a GPU, benchmarks/gpu_kernels.py checks the numbers before it measures times.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from seqkeras.kernels.triton import _triton

CASES = Path(__file__).parent / "triton_cases.py"
ROOT = Path(__file__).parents[3]

needs_triton = pytest.mark.skipif(
    keras.config.backend() != "torch" or importlib.util.find_spec("triton") is None,
    reason="needs the torch backend and triton",
)


@needs_triton
@pytest.mark.backends
def test_in_the_interpreter():
    """Run triton_cases.py in a new process, because Triton reads TRITON_INTERPRET at import."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES)],
        cwd=ROOT,
        env={
            **os.environ,
            "TRITON_INTERPRET": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-1000:]


@needs_triton
@pytest.mark.backends
@pytest.mark.parametrize("program", ["forward", "backward"])
@pytest.mark.parametrize(
    ("cell", "meet", "part"),
    [
        ("lstm", "ALONE", 0),
        ("lstm", "WAIT", 0),
        ("gru", "WAIT", 0),
        ("gru", "LAUNCH", 1),
        ("gru", "LAUNCH", 2),
        ("gru_reset_after", "LAUNCH", 0),
        ("simple_rnn", "ALONE", 0),
    ],
)
def test_compiles_for_a_gpu(cell, meet, part, program, monkeypatch, tmp_path):
    """Compile layers with every feature for an A100, within its shared memory."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget

    from seqkeras.kernels.triton import _host

    sizes = {"ALONE": (8, 64), "WAIT": (64, 300), "LAUNCH": (4096, 300)}
    plan = _host.plan_for(*sizes[meet], processors=108)
    source, options = compilation(program, cell, plan, part)
    compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
    assert compiled.metadata.shared <= 163 * 1024
    # Programs that wait must see what the others stored before they counted themselves in.
    for order in ("release", "acquire"):
        assert (order in compiled.asm["ptx"]) == (meet == "WAIT")


def compilation(program, cell, plan, part):
    """Return the arguments of triton.compile, as a launch would have them."""
    from triton.compiler import ASTSource

    from seqkeras.kernels.triton import _host, _programs

    function = getattr(_programs, program)
    constants = {
        "CELL": cell, "GATES": {"lstm": 4, "simple_rnn": 1}.get(cell, 3), "PART": part,
        "SLOTS": _host.SLOTS[cell], "MEET": plan.meet, "ACTIVATION": "tanh",
        "GATE": "sigmoid", "PRECISION": "tf32x3", "ROWS": plan.rows, "WIDE": plan.wide,
        "DEEP": plan.deep, "CHUNK": plan.chunk, "rate_h": None, "rate_c": None,
    }  # fmt: skip
    kinds = dict.fromkeys(("first", "last", "batch", "units", "c_step", "saved_step"), "i32")
    kinds |= {**dict.fromkeys(("flags", "zone_h", "zone_c"), "*u8"), "counters": "*i32"}
    if cell != "lstm":
        constants |= dict.fromkeys({"peephole", "zone_c"})
    signature = {
        name: "constexpr" if name in constants else kinds.get(name, "*fp32")
        for name in function.arg_names
    }
    return ASTSource(function, signature, constants), {"num_warps": plan.warps}


@pytest.mark.backends
def test_says_why_not(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    _triton.why_not.cache_clear()
    reason = _triton.why_not()
    if importlib.util.find_spec("torch") is None:
        assert reason == "torch is not installed"
    elif importlib.util.find_spec("triton") is None:
        assert reason == "triton is not installed"
    else:
        import torch

        assert (reason is None) == torch.cuda.is_available()
