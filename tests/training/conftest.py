"""A small training over series that are longer than a batch."""

import keras
import numpy as np
import pytest

from seqkeras import StatefulBatches, many_to_many

ROWS, STEPS = 3, 4


class Problem:
    """Series, batches of them, and models to train, which are built once."""

    rows, steps = ROWS, STEPS
    lengths = (20, 9, 14, 11, 7, 16, 5)

    def __init__(self):
        self._models = {}

    def series(self, lengths=lengths, seed=0):
        random = np.random.default_rng(seed)
        return [np.sin(np.arange(n) * random.uniform(0.3, 1)) + random.normal() for n in lengths]

    def batches(self, **options):
        sizes = {"batch_size": ROWS, "bptt_steps": STEPS}
        return StatefulBatches(self.series(), **{**sizes, **options})

    def validation(self, **options):
        return StatefulBatches(
            self.series((10, 13, 8), seed=9), batch_size=ROWS, bptt_steps=STEPS, **options
        )

    def build(self, dropout=0.0, **options):
        """Build a stack of two layers, compiled with an optimizer that has variables."""
        keras.utils.set_random_seed(3)
        model = many_to_many(
            1, units=(4, 3), dropout=dropout, stateful=True, batch_size=ROWS, **options
        )
        model.compile(keras.optimizers.SGD(0.02, momentum=0.9), "mse")
        return model

    def model(self, dropout=0.0, *, reset_input=True):
        """Return a model as `build` makes it: nothing is left of an earlier training.

        TensorFlow traces a model with a reset input once, and a model without one in each
        `fit_stateful`.
        """
        return self.fresh(self.build, dropout, reset_input=reset_input)

    def fresh(self, build, *arguments, **options):
        """Return what `build` returns for these arguments; it builds only once."""
        key = (build.__name__, *arguments, *sorted(options.items()))
        if key not in self._models:
            model = build(*arguments, **options)
            model.optimizer.build(model.trainable_variables)
            self._models[key] = model, everything(model)
        model, start = self._models[key]
        if hasattr(model, "jax_state_sync"):
            model.jax_state_sync()  # or what an interruption left comes back in the next training
        for variable, value in zip(variables(model), start, strict=True):
            variable.assign(value)
        model.stop_training = False
        keras.utils.set_random_seed(3)  # PyTorch draws dropout from a generator of its own
        return model


def variables(model):
    return [*model.variables, *model.optimizer.variables]


def everything(model):
    """Return weights, states, seeds and the variables of the optimizer."""
    return [np.array(variable.numpy()) for variable in variables(model)]


@pytest.fixture(scope="session")
def problem():
    """A small training; a test gets its models as they were built."""
    return Problem()


@pytest.fixture(scope="session")
def snapshot():
    """`snapshot(model)`: weights, states, seeds and the variables of the optimizer, as arrays."""
    return everything
