"""Scheduled sampling: how often training feeds the true value, and how often the network's own."""

from typing import Any

import keras
from keras import ops

from seqkeras._checks import bad_argument, check_integer, check_probability

#: Over so many epochs the probability falls from teacher forcing to free running.
SCHEDULED_EPOCHS = 10


@keras.saving.register_keras_serializable(package="seqkeras")
class ScheduledSampling(keras.layers.Layer):
    """Gives true values or a network's own, each by a coin of its own; outside training the own.

    From Bengio et al. 2015, arXiv 1506.03099. There no gradient goes through what is fed back; here
    it does, for forecasts are numbers and not words.

    Args:
        teacher_forcing: probability of the true value. It is a variable, `probability`, which is
            saved with the weights and not trained.
        seed: of the coins; None draws one.

    Called as `layer(own, truth, training=...)`, with two tensors of one shape. Where the truth is
    NaN it gives the own value.
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
        """See the class."""
        if not training:
            return own
        coins = keras.random.uniform(ops.shape(own), dtype=own.dtype, seed=self._coins)
        forced = (coins < ops.cast(self.probability, own.dtype)) & ~ops.isnan(truth)
        return ops.where(forced, ops.cast(truth, own.dtype), own)

    def get_config(self) -> dict[str, Any]:
        """What a file needs."""
        return {
            **super().get_config(),
            "teacher_forcing": self.teacher_forcing,
            "seed": self.seed,
        }


class TeacherForcingSchedule(keras.callbacks.Callback):
    """Lowers the probability of the true value from 1 in the first epoch to 0, in equal steps.

    Args:
        epochs: after how many it is 0.

    Raises:
        ArgumentError: when training begins, if the model has no `ScheduledSampling` layer.
    """

    def __init__(self, epochs: int = SCHEDULED_EPOCHS) -> None:
        super().__init__()
        self.epochs = check_integer("epochs", epochs)

    def on_train_begin(self, logs: Any = None) -> None:
        """Looks for the layers."""
        self._layers = [one for one in self.model.layers if isinstance(one, ScheduledSampling)]
        if not self._layers:
            fix = "unrolled(network, horizon=..., teacher_forcing=1.0) makes one."
            raise bad_argument("model", self.model.name, "one with ScheduledSampling", fix)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the probability of the epoch."""
        for layer in self._layers:
            layer.probability.assign(max(0.0, 1.0 - epoch / self.epochs))
