"""A batch split over the devices of JAX: each computes its rows, and nothing is gathered."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

CASES = Path(__file__).parent / "devices_cases.py"
ROOT = Path(__file__).parents[3]


@pytest.mark.backends
@pytest.mark.skipif(keras.config.backend() != "jax", reason="needs the JAX backend")
def test_with_two_devices():
    """Run devices_cases.py in a new process, because JAX counts its devices at the start."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    run = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES)],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-1000:]
