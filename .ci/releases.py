"""Test the fused kernel on older releases of the backends: one binary must work with all.

python .ci/releases.py [NAME ...]    # one environment each, in build/releases; gigabytes

It is not part of .ci/run. All other tests run with the newest releases.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RELEASES = {
    "tensorflow-2.16": ("tensorflow", ["tensorflow-cpu==2.16.2", "keras==3.15.1"]),
    "tensorflow-2.18": ("tensorflow", ["tensorflow-cpu==2.18.0", "keras==3.10.0"]),
    "tensorflow-2.20": ("tensorflow", ["tensorflow-cpu==2.20.0", "keras==3.15.1"]),
    "jax-0.4.36": ("jax", ["jax==0.4.36", "jaxlib==0.4.36", "keras==3.15.1"]),
    "jax-0.4.38": ("jax", ["jax==0.4.38", "jaxlib==0.4.38", "keras==3.15.1"]),
}
TESTS = ["tests/kernels/fused/test_bindings.py", "tests/layers/test_bidirectional.py"]


def check(name: str) -> bool:
    """Create the environment of a release if it does not exist, and run the tests in it."""
    backend, packages = RELEASES[name]
    python = ROOT / "build" / "releases" / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *packages, "pytest", "hypothesis", "tqdm"], check=True)
    print(name, flush=True)
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    # Warnings are only errors with the newest releases.
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", *TESTS]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


if __name__ == "__main__":
    names = sys.argv[1:] or list(RELEASES)
    failed = [name for name in names if not check(name)]
    sys.exit(f"failed on {', '.join(failed)}" if failed else 0)
