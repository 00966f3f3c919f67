"""Workers of Ray Train give what one process gives."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray")
pytest.importorskip("pydantic")  # which Ray Train needs
pytest.importorskip("torch")

SCRIPT = Path(__file__).with_name("ray_train_case.py")


def test_two_workers_train_as_one_process(tmp_path):
    results = []
    for workers in (1, 2):
        file = tmp_path / f"{workers}.npz"
        command = [sys.executable, str(SCRIPT), str(workers), str(file)]
        environment = os.environ | {"KERAS_BACKEND": "torch"}
        subprocess.run(command, env=environment, check=True, timeout=300)
        results.append(np.load(file))
    alone, together = results
    assert set(alone) == set(together)
    for name in alone:
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-6, atol=1e-7)
