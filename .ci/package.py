"""Build the wheel and the sdist, install each into a new environment, and use it."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv/bin/python"

# What an installation with only NumPy must be able to do.
USE = """
import sys
import numpy as np
import seqkeras

assert not {"keras", "pandas"} & set(sys.modules), "import seqkeras is not free"
spec = seqkeras.WindowSpec(3, horizon=2)
assert spec.count(10) == 6
assert seqkeras.GroupedArray(np.arange(5), [0, 2, 5]).lengths.tolist() == [2, 3]
for name in ("Forecaster", "many_to_one", "Windows"):
    try:
        getattr(seqkeras, name)
    except seqkeras.errors.MissingDependencyError as error:
        assert 'pip install "seqkeras[tensorflow]"' in str(error), error
    else:
        raise AssertionError(f"{name} works without its dependencies?")
from seqkeras import native
library, reason = native.load(), native.why_not()
if library is None:
    assert "not built" in reason, reason
else:
    ones = [np.ones(shape, np.float32) for shape in [(1, 3, 2), (2, 20), (5, 20)]]
    run = native.forward(native.Layer("lstm", *ones[1:]), ones[0], training=True)
    assert run.y.shape == (1, 3, 5) and native.backward(run, dy=run.y)["x"].any()
print("native library:", library.isa if library else reason)
from importlib.util import find_spec
assert (library is None) == (find_spec("seqkeras.native._tensorflow") is None)
from importlib.resources import files
assert (files("seqkeras") / "py.typed").is_file()
assert (files("seqkeras") / "forecasting/frames/data/air_passengers.csv").is_file()

from seqkeras import runtime
program = runtime.load("pump.program")
expected = np.load("pump.npz")
state = program.initial_state(2)
outputs = []
for x in expected["x"].swapaxes(0, 1):
    y, state = program.step(x, program.unpack_state(program.pack_state(state)))
    outputs.append(y)
assert abs(np.stack(outputs, axis=1) - expected["y"]).max() < 1e-5
assert not {"keras", "tensorflow", "jax", "torch"} & set(sys.modules)
print("seqkeras", seqkeras.__version__, "works with only NumPy from", seqkeras.__file__)
"""

# Run in the development environment: writes a program, and the outputs of its model.
MAKE = """
import numpy as np
from seqkeras import many_to_many
from seqkeras.export import save_program

model = many_to_many(2, units=(16, 8))
save_program(model, "pump.program")
x = np.random.default_rng(0).normal(size=(2, 50, 2)).astype("float32")
np.savez("pump.npz", x=x, y=model.predict(x, verbose=0))
"""


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> None:
    variables = {**os.environ, **environment}
    subprocess.run([str(part) for part in command], check=True, cwd=cwd, env=variables)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(PYTHON, "-c", MAKE, cwd=folder)
        run(PYTHON, "-m", "build", "--outdir", folder / "dist", ROOT)
        for file in sorted((folder / "dist").iterdir()):
            environment = folder / f"venv-{file.suffix[1:]}"
            # The pip of the development environment installs; another takes seconds to unpack.
            run(sys.executable, "-m", "venv", "--without-pip", environment)
            python = environment / "bin/python"
            pip = (PYTHON, "-m", "pip", "--python", python, "install", "--no-compile", "--quiet")
            # The wheel has the native library; installing the sdist must also work without it.
            run(*pip, "--disable-pip-version-check", file, SEQKERAS_BUILD_NATIVE="0")
            # Run in another folder, because Python would import the checkout here.
            run(python, "-c", USE, cwd=folder)


if __name__ == "__main__":
    main()
