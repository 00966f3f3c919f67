"""Random inputs and weights for models of Keras 2, equal in Keras 2 and in the tests.

This module only imports NumPy, as `make_keras_2.py` uses it in an environment without Keras 3.
"""

import numpy as np


def random_values(shapes, seed):
    """Return arrays of these shapes, the same for each seed wherever this is called."""
    random = np.random.default_rng(seed)
    return [random.uniform(0.1, 0.9, shape) * random.choice([-1, 1], shape) for shape in shapes]


def random_weights(shapes, layer):
    """Return positive weights of these shapes, different for each number of a layer."""
    return [np.abs(values) for values in random_values(shapes, seed=3 + layer)]


def random_inputs(kinds):
    """Return an array for each shape and dtype; int32 arrays are words, padded with zeros."""
    inputs = []
    for number, (shape, dtype) in enumerate(kinds):
        (values,) = random_values([shape], seed=number)
        if dtype == "int32":
            values = 1 + np.abs(8 * values)
            values[0, 2 + number :] = 0
            values[1, 4 - number :] = 0
        inputs.append((values > 0 if dtype == "bool" else values).astype(dtype))
    return inputs
