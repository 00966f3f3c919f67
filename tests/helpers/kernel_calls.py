"""Calls of recurrent layers on any backend: outputs, states, and gradients to all inputs."""

import contextlib
from typing import NamedTuple
from unittest import mock

import keras
import numpy as np

from helpers.arrays import random_array
from seqkeras import kernels, layers
from seqkeras.kernels.fused import _fused

BACKEND = keras.backend.backend()
LAYERS = {
    "LSTM": (layers.LSTM, keras.layers.LSTM),
    "GRU": (layers.GRU, keras.layers.GRU),
    "SimpleRNN": (layers.SimpleRNN, keras.layers.SimpleRNN),
}
STATES = {"LSTM": 2, "GRU": 1, "SimpleRNN": 1}


class Problem(NamedTuple):
    """Arguments of a call, as NumPy arrays."""

    x: np.ndarray
    states: list[np.ndarray] | None = None
    mask: np.ndarray | None = None
    reset: np.ndarray | None = None
    training: bool = False


class Results(NamedTuple):
    """Outputs, and gradients of their weighted sum to x, initial states and weights."""

    outputs: list[np.ndarray]
    gradients: list[np.ndarray]


def problem(kind, batch=3, timesteps=5, features=2, units=4, seed=0, mask=None, given_states=True):
    """Make random inputs, with a mask of the pattern `mask` unless it is None."""
    rng = np.random.default_rng(seed)
    states = [random_array(batch, units, seed=seed + 1 + n) / 2 for n in range(STATES[kind])]
    flags = {
        "right": np.arange(timesteps) < rng.integers(0, timesteps + 1, (batch, 1)),
        "left": np.arange(timesteps) >= rng.integers(0, timesteps + 1, (batch, 1)),
        "any": rng.random((batch, timesteps)) < 0.6,
        "empty": np.zeros((batch, timesteps), bool),
    }
    if mask == "any":
        flags["any"][0] = False  # a row that is fully masked
    return Problem(
        random_array(batch, timesteps, features, seed=seed),
        states if given_states else None,
        flags.get(mask),
    )


def built(kind, units=4, features=2, *, stock=False, rows=None, weights=0, **options):
    """Build our layer, or with `stock` Keras' own, with random weights from the seed `weights`."""
    # Not the default initializers: JAX takes seconds to draw orthogonal matrices.
    zeros = dict.fromkeys(("kernel_initializer", "recurrent_initializer"), "zeros")
    layer = LAYERS[kind][stock](units, **zeros, **options)
    layer.build((rows, None, features))
    rng = np.random.default_rng(weights)
    layer.set_weights([rng.normal(0, 0.5, weight.shape) for weight in layer.get_weights()])
    return layer


@contextlib.contextmanager
def as_kernel(layer, name):
    """Run a layer on this kernel, requested by name or chosen because `fused` is disabled."""
    if name in kernels.IMPLEMENTATIONS:
        with mock.patch.object(layer, "implementation", name):
            yield
        return
    with mock.patch.object(_fused, "why_not", return_value="disabled by the test"):
        yield


def run(layer, problem, kernel=None, graph=False):
    """Return outputs and gradients of a layer; with `kernel`, run it on that kernel and check that.

    JAX always compiles the call; TensorFlow does with `graph=True`.
    """
    weights = [keras.ops.convert_to_numpy(weight.value) for weight in layer.trainable_variables]
    values = {"x": problem.x, "states": problem.states or [], "weights": weights}
    values = keras.tree.map_structure(
        lambda array: keras.ops.convert_to_tensor(array, dtype=layer.variable_dtype), values
    )
    options = {"mask": problem.mask, "training": problem.training}
    if problem.reset is not None:
        options["reset"] = problem.reset
    options = {name: _tensor(value) for name, value in options.items()}

    def call(values):
        mapping = list(zip(layer.trainable_variables, values["weights"], strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            result = layer(values["x"], initial_state=values["states"] or None, **options)
            outputs = [*result] if isinstance(result, (list, tuple)) else [result]
            if layer.stateful:
                states = keras.tree.flatten(layer.states)
                outputs += [scope.get_current_value(state) for state in states]
        return weighted(outputs), outputs

    with (
        kernels.counting() as chosen,
        as_kernel(layer, kernel) if kernel else contextlib.ExitStack(),
    ):
        outputs, gradients = _differentiate(call, values, graph)
    if kernel:
        assert set(chosen) == {kernel}
    arrays = keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)
    gradients = keras.tree.map_structure(keras.ops.convert_to_numpy, gradients)
    flat = [gradients["x"], *gradients["states"], *gradients["weights"]]
    return Results(
        [array.astype("float64") for array in arrays], [array.astype("float64") for array in flat]
    )


def _tensor(value):
    return keras.ops.convert_to_tensor(value) if isinstance(value, np.ndarray) else value


def weighted(outputs):
    """Sum all numbers of the outputs, each with a random weight."""
    outputs = keras.tree.map_structure(keras.ops.convert_to_tensor, outputs)
    return sum(
        keras.ops.sum(
            output
            * keras.ops.convert_to_tensor(
                random_array(*output.shape, seed=9 + number), output.dtype
            )
        )
        for number, output in enumerate(outputs)
    )


def _differentiate(call, values, graph):
    """Return outputs, and gradients in the structure of `values`, with zeros for missing ones."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def step(values):
            with tf.GradientTape() as tape:
                tape.watch(values)
                loss, outputs = call(values)
            return outputs, tape.gradient(loss, values, unconnected_gradients="zero")

        return (tf.function(step, autograph=False) if graph else step)(values)
    if BACKEND == "jax":
        import jax

        step = jax.grad(call, has_aux=True)
        # Compile without optimization: compilation takes nearly all the time of a test.
        quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
        compiled = jax.jit(step).lower(values).compile(compiler_options=quick)
        gradients, outputs = compiled(values)
        return outputs, gradients
    flat = keras.tree.flatten(values)
    for value in flat:
        value.requires_grad_()
    loss, outputs = call(values)
    loss.backward()
    gradients = [
        keras.ops.zeros_like(value) if value.grad is None else value.grad for value in flat
    ]
    outputs = [output.detach() for output in outputs]
    return outputs, keras.tree.pack_sequence_as(values, gradients)


def assert_same(actual, expected, outputs=2e-6, gradients=5e-6):
    """Compare results; tolerances are relative to the largest number of an array, or to 1."""
    for name, tolerance in (("outputs", outputs), ("gradients", gradients)):
        pairs = zip(getattr(actual, name), getattr(expected, name), strict=True)
        for number, (result, reference) in enumerate(pairs):
            scale = max(1.0, np.abs(reference).max(initial=0))
            np.testing.assert_allclose(
                result, reference, rtol=0, atol=tolerance * scale, err_msg=f"{name} {number}"
            )
