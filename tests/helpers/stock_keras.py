"""Calls in a process of Keras without seqkeras, or with its layers only.

A process takes 5 to 8 s to import Keras, so a single process serves all tests: it imports Keras,
and then runs each call in a fork of itself, which is free of traces of earlier calls.
"""

import atexit
import contextlib
import functools
import importlib
import os
import pickle
import subprocess
import sys
import traceback
from typing import Any, NamedTuple


class Saved(NamedTuple):
    """A saved model, batches to call it with, and names of layers to call in turn instead of it."""

    path: Any
    batches: list[Any]
    layers: tuple[str, ...] = ()


def outputs_without_seqkeras(*models):
    """Return the outputs of saved models, a list each, where seqkeras cannot be imported."""
    return _request_outputs(models, imported=None, missing="seqkeras")


def outputs_with_layers_only(*models):
    """Return the outputs of saved models, a list each, where only `seqkeras.layers` is imported.

    `seqkeras.conversion` cannot be imported there.
    """
    return _request_outputs(models, imported="seqkeras.layers", missing="seqkeras.conversion")


def result_of_a_script(code):
    """Run a script where Keras is imported and has not run yet; return its variable `result`."""
    return _request("script", code)


def start_script(code):
    """Start such a script, and return a function that waits for its end and returns `result`."""
    return _start("script", code)


def _request_outputs(models, **modules):
    saved_models = [(str(saved.path), saved.batches, saved.layers) for saved in models]
    return _request("outputs", saved_models, **modules)


def _request(kind, argument, **options):
    return _start(kind, argument, **options)()


def _start(kind, argument, **options):
    process = _process()
    pickle.dump((kind, argument, options), process.stdin)
    process.stdin.flush()
    return functools.partial(_receive, process)


def _receive(process):
    result, error = pickle.load(process.stdout)
    if error:
        raise RuntimeError(f"in a process of Keras: {error}")
    return result


@functools.cache
def _process():
    """Start the process, or return it if it is running."""
    import keras

    # -P: otherwise Python would import `models` and other names from this folder first. It also
    # warns of forks of processes with several threads; the only other thread is an allocator's.
    command = [sys.executable, "-P", "-W", "ignore::DeprecationWarning", __file__]
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    atexit.register(_end, process)
    return process


def _end(process):
    process.stdin.close()
    process.wait()


def _serve():
    """Return the result of each call on standard output, until standard input ends."""
    requests, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # printed text goes to standard error, not among the results
    importlib.import_module("keras")
    assert not _imported("seqkeras")
    with contextlib.suppress(EOFError):
        while True:
            kind, argument, options = pickle.load(requests)
            work = {"outputs": _outputs, "script": _result_of_a_script}[kind]
            results.write(_in_a_fork(functools.partial(work, argument, **options)))
            results.flush()


def _in_a_fork(work):
    """Run a function in a fork, and return its pickled result and error, one of them None."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        try:
            result = (work(), None)
        except BaseException:
            result = (None, traceback.format_exc())
        with os.fdopen(write_end, "wb") as file:
            pickle.dump(result, file)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        result = file.read()
    _, status = os.waitpid(child, 0)
    return result or pickle.dumps((None, f"it ended with status {status}"))


def _result_of_a_script(code):
    names = {}
    exec(compile(code, "script", "exec"), names)
    return names["result"]


def _outputs(saved_models, imported, missing):
    if imported:
        importlib.import_module(imported)
    assert not _imported(missing)
    sys.modules[missing] = None  # importing it is an error now
    outputs = [_outputs_of(*saved) for saved in saved_models]
    assert not _imported(missing)
    return outputs


def _outputs_of(path, batches, layers):
    import keras

    steps = [_opened(path)]
    if layers:
        steps = [steps[0].get_layer(name) for name in layers]
    if keras.backend.backend() == "jax":  # which compiles a plain call bit by bit
        steps = [step.predict_on_batch for step in steps]
    outputs = []
    for batch in batches:
        values = keras.tree.map_structure(keras.ops.convert_to_tensor, batch)
        for step in steps:
            values = step(values)
        outputs.append(keras.tree.map_structure(keras.ops.convert_to_numpy, values))
    return outputs


def _opened(path):
    """Return the model of a file, or the function of a folder that TensorFlow wrote."""
    import keras

    if os.path.isfile(path):
        return keras.saving.load_model(path)
    import tensorflow as tf

    program = tf.saved_model.load(path)

    def call(x):  # its variables live as long as the program is referred to
        return (getattr(program, "serve", None) or program.signatures["serving_default"])(x)

    return call


def _imported(module):
    names = [name for name, value in sys.modules.items() if value is not None]
    return any(name == module or name.startswith(f"{module}.") for name in names)


if __name__ == "__main__":
    _serve()
