"""What the tests of the service share: a small program, written without Keras."""

import numpy as np

from helpers.arrays import random_array
from seqkeras._archive import write_archive
from seqkeras.runtime._program import KIND, VERSION

OUTPUTS = 2


def small_program(folder, *, seed=0, units=4, features=("flow", "pressure", "heat")):
    """Write an LSTM with a linear head, `(batch, 3)` to `(batch, 2)`, and return its path.

    Args:
        folder: a folder that exists, such as `tmp_path`.
        seed: another seed gives another program, with another fingerprint.
        units: width of the state.
        features: names of the inputs; their number is that of the inputs.
    """
    sizes = {
        "kernel": (len(features), 4 * units),
        "recurrent": (units, 4 * units),
        "bias": (4 * units,),
        "head": (units, OUTPUTS),
    }
    arrays = {
        name: random_array(*shape, seed=4 * seed + place)
        for place, (name, shape) in enumerate(sizes.items())
    }
    path = folder / f"small_{seed}.program"
    return _write(path, list(features), [_lstm(units), _head()], arrays)


def program_without_state(folder):
    """Write a linear function, `(batch, 3)` to `(batch, 2)`, and return its path."""
    arrays = {"head": random_array(3, OUTPUTS)}
    return _write(folder / "linear.program", ["a", "b", "c"], [_head("x")], arrays)


def uninterrupted(program, x):
    """Return the outputs of one session that reads all observations, `(timesteps, outputs)`."""
    state = program.initial_state(1)
    rows = []
    for row in np.asarray(x, "float32"):
        y, state = program.step(row[np.newaxis], state)
        rows.append(y[0])
    return np.array(rows)


def _write(path, features, nodes, arrays):
    port = {"dtype": "float32", "features": features}
    header = {
        "name": "small",
        "window": None,
        "dtype": "float32",
        "outputs_as": "single",
        "inputs": [{"name": "x", "shape": [len(features)], **port}],
        "outputs": [{"name": "y", "dtype": "float32"}],
        "graph": {"nodes": nodes, "outputs": ["y"]},
    }
    write_archive(path, header, arrays, kind=KIND, version=VERSION)
    return path


def _lstm(units):
    weights = {"kernel": "kernel", "recurrent_kernel": "recurrent", "bias": "bias"}
    options = {
        "cell": "lstm",
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "units": units,
        "sequences": False,
    }
    return _node("recurrent", "x", "hidden", weights, options)


def _head(source="hidden"):
    return _node("dense", source, "y", {"kernel": "head"}, {"activation": "linear"})


def _node(op, source, output, weights, options):
    return {
        "name": output,
        "op": op,
        "inputs": [source],
        "output": output,
        "weights": weights,
        "options": options,
    }
