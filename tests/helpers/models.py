"""Models for tests, and comparisons of their outputs."""

import contextlib

import keras
import numpy as np
import pytest


@keras.saving.register_keras_serializable("seqkeras_tests")
class Padding(keras.layers.Layer):
    """A layer that masks timesteps that are all zeros, also timesteps of images."""

    def compute_mask(self, inputs, previous_mask):
        return keras.ops.any(inputs != 0, axis=tuple(range(2, len(inputs.shape))))

    def call(self, inputs):
        return inputs


def to_numpy(tensor):
    """Return a tensor of any backend as an array."""
    return keras.ops.convert_to_numpy(tensor)


def outputs_of(model, values):
    """Return the outputs of a model, as a list of arrays."""
    # Compiling takes longer than a few calls, except on JAX, which compiles these bit by bit.
    is_jax = keras.backend.backend() == "jax"
    outputs = model.predict_on_batch(values) if is_jax else model(values)
    return [to_numpy(output) for output in keras.tree.flatten(outputs)]


@contextlib.contextmanager
def training_eagerly(eagerly=True):
    """Train without compiling, which takes longer than the few small steps of most tests.

    Only on TensorFlow: JAX would compile each operation instead, and PyTorch does not compile.
    `training_eagerly(False)` compiles also where a whole file trains eagerly.
    """

    compile_model = keras.Model.compile

    def compile_so(model, *arguments, run_eagerly=eagerly, **options):
        compile_model(model, *arguments, run_eagerly=run_eagerly, **options)
        # Keras omits an assignment of what the property below has returned so far.
        model._run_eagerly = run_eagerly
        assert model.run_eagerly == run_eagerly

    def runs_eagerly(model):
        return model._run_eagerly if model.compiled else eagerly

    def set_eager(model, value):
        model._run_eagerly = value

    with pytest.MonkeyPatch.context() as patch:
        if keras.backend.backend() == "tensorflow":
            patch.setattr(keras.Model, "compile", compile_so)
            # Models that are never compiled predict so, too.
            patch.setattr(keras.Model, "run_eagerly", property(runs_eagerly, set_eager))
        yield


def sequential(*layers, shape, **options):
    """Return a Sequential for inputs of this shape, without the batch axis."""
    return keras.Sequential([keras.Input(shape), *layers], **options)


def built(layer, shape):
    """Build a layer for inputs of this shape, the batch axis included, and return it."""
    layer.build(shape)
    return layer


def randomized(model, seed=0, scale=0.5):
    """Set normally distributed weights in a built layer or model, and return it."""
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(0, scale, weight.shape) for weight in model.get_weights()])
    return model


def assert_close(actual, expected, tolerance=2e-6):
    """Compare tensors, or structures of them, number by number."""
    pairs = zip(keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True)
    for actual_part, expected_part in pairs:
        np.testing.assert_allclose(to_numpy(actual_part), to_numpy(expected_part), atol=tolerance)
