"""The example that steps an ONNX file in JavaScript: exported in this process, stepped in Node."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")


EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_step"


def run(*command, cwd):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path):
    """Copy the example, with its package from an existing installation or from npm's cache.

    Outside continuous integration, nothing is downloaded for a test.
    """
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("needs Node.js with npm")
    folder = tmp_path / "onnx_step"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
    installed = EXAMPLE / "node_modules"
    if installed.is_dir():
        (folder / "node_modules").symlink_to(installed, target_is_directory=True)
        return folder
    source = "--prefer-offline" if os.environ.get("CI") else "--offline"
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund")
    if run("npm", "install", source, *quiet, cwd=folder).returncode:
        pytest.skip("needs onnxruntime-node: run npm install in examples/onnx_step")
    return folder


def test_javascript_steps_to_the_numbers_of_keras(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["export.py", "--quick"])
    runpy.run_path("export.py", run_name="__main__")
    step = run("node", "step.mjs", cwd=folder)
    assert step.returncode == 0, step.stderr
    assert len(step.stdout.splitlines()) == 60
    assert "largest difference from Keras" in step.stderr
