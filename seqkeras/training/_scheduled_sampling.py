"""Scheduled sampling: training feeds back true values at random, less often from epoch to epoch."""

from typing import Any

import keras
from keras import ops

from seqkeras._checks import bad_argument, check_integer, check_probability

#: Epochs over which the probability falls from teacher forcing to free running.
SCHEDULED_EPOCHS = 10


@keras.saving.register_keras_serializable(package="seqkeras")
class ScheduledSampling(keras.layers.Layer):
    """A layer that returns true values or a network's own outputs, chosen independently at random.

    Outside training it returns the network's outputs. From Bengio et al. 2015, arXiv 1506.03099.
    In that paper no gradient flows through the values that are fed back. Here it does, because
    forecasts are numbers, not tokens drawn from a vocabulary.

    Called as `layer(own, truth, training=...)` with two tensors of the same shape. Where the truth
    is NaN, the network's own output is returned.

    Args:
        teacher_forcing: probability of the true value, default 1. It is the initial value of the
            variable `probability`, which is saved with the weights and not trained.
        seed: seed of the random choices. Default: a random seed.
    """

    def __init__(self, teacher_forcing: float = 1.0, seed: int | None = None, **options: Any):
        super().__init__(**options)
        self.teacher_forcing = check_probability("teacher_forcing", teacher_forcing)
        self.seed = seed
        self._coins = keras.random.SeedGenerator(seed)
        self.probability = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.teacher_forcing),
            trainable=False,
            name="probability",
        )

    def call(self, own: Any, truth: Any, training: bool | None = None) -> Any:
        """Return the own outputs, in training some of them replaced by the truth."""
        if not training:
            return own
        coins = keras.random.uniform(ops.shape(own), dtype=own.dtype, seed=self._coins)
        forced = (coins < ops.cast(self.probability, own.dtype)) & ~ops.isnan(truth)
        return ops.where(forced, ops.cast(truth, own.dtype), own)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate it."""
        return {
            **super().get_config(),
            "teacher_forcing": self.teacher_forcing,
            "seed": self.seed,
        }


class TeacherForcingSchedule(keras.callbacks.Callback):
    """A callback that lowers the probability of true values evenly from 1 to 0.

    Args:
        epochs: number of epochs after which it is 0, default 10.

    Raises:
        ArgumentError: when training starts, if the model has no `ScheduledSampling` layer.
    """

    def __init__(self, epochs: int = SCHEDULED_EPOCHS) -> None:
        super().__init__()
        self.epochs = check_integer("epochs", epochs)

    def on_train_begin(self, logs: Any = None) -> None:
        """Find the layers."""
        layers = self.model.layers
        self._layers = [layer for layer in layers if isinstance(layer, ScheduledSampling)]
        if not self._layers:
            fix = "unrolled(network, horizon=..., teacher_forcing=1.0) builds one."
            expected = "a model with a ScheduledSampling layer"
            raise bad_argument("model", self.model.name, expected, fix)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the probability of this epoch."""
        for layer in self._layers:
            layer.probability.assign(max(0.0, 1.0 - epoch / self.epochs))
