"""A network that is fast to build and trace, for tests in which the architecture is irrelevant."""

import keras
from keras import ops


def dense(features, *, lookback, horizon, future=0, static=0, categories=()):
    """Build a network of one linear layer over all inputs."""
    shapes = {
        "inputs": (lookback, features),
        "future": (horizon, future),
        "static": (static,),
        "categories": (len(categories),),
    }
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items() if shape[-1]}
    flat = [keras.layers.Flatten()(part) for part in inputs.values()]
    x = ops.concatenate(flat, axis=-1) if len(flat) > 1 else flat[0]
    return keras.Model(
        inputs if len(inputs) > 1 else inputs["inputs"], keras.layers.Dense(horizon)(x)
    )
