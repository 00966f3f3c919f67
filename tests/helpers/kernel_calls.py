"""Calls of recurrent layers on any backend: outputs, states, and gradients to all that is read."""

import contextlib
from typing import NamedTuple
from unittest import mock

import keras
import numpy as np

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
    """What a layer is called with; arrays of NumPy."""

    x: np.ndarray
    states: list[np.ndarray] | None = None
    mask: np.ndarray | None = None
    reset: np.ndarray | None = None
    training: bool = False


class Found(NamedTuple):
    """Outputs, and gradients of one fixed sum of them: to x, initial states, trainable weights."""

    outputs: list[np.ndarray]
    gradients: list[np.ndarray]


def random_array(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def problem(kind, batch=3, timesteps=5, features=2, units=4, seed=0, mask=None, given_states=True):
    """Random numbers, and a mask where there is a name for it."""
    rng = np.random.default_rng(seed)
    states = [random_array(batch, units, seed=seed + 1 + n) / 2 for n in range(STATES[kind])]
    flags = {
        "right": np.arange(timesteps) < rng.integers(0, timesteps + 1, (batch, 1)),
        "left": np.arange(timesteps) >= rng.integers(0, timesteps + 1, (batch, 1)),
        "any": rng.random((batch, timesteps)) < 0.6,
        "empty": np.zeros((batch, timesteps), bool),
    }
    if mask == "any":
        flags["any"][0] = False  # a row without a timestep
    return Problem(
        random_array(batch, timesteps, features, seed=seed),
        states if given_states else None,
        flags.get(mask),
    )


def built(kind, units=4, features=2, *, stock=False, rows=None, weights=0, **options):
    """A layer, ours or Keras' own, with random weights of this number."""
    # Drawing orthogonal ones takes JAX seconds.
    zeros = dict.fromkeys(("kernel_initializer", "recurrent_initializer"), "zeros")
    layer = LAYERS[kind][stock](units, **zeros, **options)
    layer.build((rows, None, features))
    rng = np.random.default_rng(weights)
    layer.set_weights([rng.normal(0, 0.5, weight.shape) for weight in layer.get_weights()])
    return layer


@contextlib.contextmanager
def as_kernel(layer, name):
    """The layer runs as this kernel; those that nobody can ask for, once the others are not."""
    if name in kernels.IMPLEMENTATIONS:
        with mock.patch.object(layer, "implementation", name):
            yield
        return
    with mock.patch.object(_fused, "why_not", return_value="of the test"):
        yield


def run(layer, problem, kernel=None, graph=False):
    """What a layer gives, and gradients; with `kernel`, as that kernel, which is counted.

    JAX compiles it in any case, TensorFlow where it shall be a `graph`.
    """
    values = {"x": problem.x, "states": problem.states or []}
    values["weights"] = [keras.ops.convert_to_numpy(one.value) for one in layer.trainable_variables]
    values = keras.tree.map_structure(
        lambda one: keras.ops.convert_to_tensor(one, dtype=layer.variable_dtype), values
    )
    options = {"mask": problem.mask, "training": problem.training}
    if problem.reset is not None:
        options["reset"] = problem.reset
    options = {name: _tensor(one) for name, one in options.items()}

    def call(values):
        mapping = list(zip(layer.trainable_variables, values["weights"], strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            found = layer(values["x"], initial_state=values["states"] or None, **options)
            outputs = [*found] if isinstance(found, (list, tuple)) else [found]
            if layer.stateful:
                kept = keras.tree.flatten(layer.states)
                outputs += [scope.get_current_value(one) for one in kept]
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
    return Found([one.astype("float64") for one in arrays], [one.astype("float64") for one in flat])


def _tensor(value):
    return keras.ops.convert_to_tensor(value) if isinstance(value, np.ndarray) else value


def weighted(outputs):
    """A sum in which each number has a weight of its own."""
    outputs = keras.tree.map_structure(keras.ops.convert_to_tensor, outputs)
    return sum(
        keras.ops.sum(
            one * keras.ops.convert_to_tensor(random_array(*one.shape, seed=9 + number), one.dtype)
        )
        for number, one in enumerate(outputs)
    )


def _differentiate(call, values, graph):
    """Outputs, and gradients in the structure of `values`; zeros where there is none."""
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
        # Compiling is nearly all of the time of a test.
        quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
        compiled = jax.jit(step).lower(values).compile(compiler_options=quick)
        gradients, outputs = compiled(values)
        return outputs, gradients
    flat = keras.tree.flatten(values)
    for one in flat:
        one.requires_grad_()
    loss, outputs = call(values)
    loss.backward()
    zeros = keras.ops.zeros_like
    gradients = [zeros(one) if one.grad is None else one.grad for one in flat]
    outputs = [one.detach() for one in outputs]
    return outputs, keras.tree.pack_sequence_as(values, gradients)


def assert_same(found, wanted, outputs=2e-6, gradients=5e-6):
    """Compares in the scale of the largest number of each array, 1 at least."""
    for name, tolerance in (("outputs", outputs), ("gradients", gradients)):
        pairs = zip(getattr(found, name), getattr(wanted, name), strict=True)
        for number, (one, other) in enumerate(pairs):
            scale = max(1.0, np.abs(other).max(initial=0))
            np.testing.assert_allclose(
                one, other, rtol=0, atol=tolerance * scale, err_msg=f"{name} {number}"
            )
