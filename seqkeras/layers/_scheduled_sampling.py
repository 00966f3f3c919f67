"""Scheduled sampling: training feeds back true values or a network's own outputs, at random."""

from typing import Any

import keras
from keras import ops

from seqkeras._checks import Description, bad_argument, check_probability


@keras.saving.register_keras_serializable(package="seqkeras")
class ScheduledSampling(keras.layers.Layer):
    """A layer that returns true values or a network's own outputs, chosen independently at random.

    Outside training it returns the network's outputs. From Bengio et al. 2015, arXiv 1506.03099.
    In that paper no gradient flows through the tokens that are fed back. Here it does flow through
    numbers, such as forecasts; ids have no gradient.

    Called as `layer(own, truth, training=...)` with two tensors of the same shape, numbers or ids.
    Where the truth is NaN, the network's own output is returned.

    Args:
        teacher_forcing: probability of the true value, default 1. It is the initial value of the
            variable `probability`, which is saved with the weights and not trained.
        seed: seed of the random choices. Default: a random seed.

    Raises:
        ArgumentError: the probability is not from 0 to 1; or, in a call, the two tensors do not
            have the same number of axes, or only one of them is of ids.
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
        are_numbers = _are_numbers(own)
        if len(own.shape) != len(truth.shape) or are_numbers != _are_numbers(truth):
            actual = Description(f"{_described(own)}, next to a truth of {_described(truth)}")
            fix = "Logits become ids by argmax or by a draw; layers.SequenceDecoder does both."
            raise bad_argument("own", actual, "of the shape and kind of the truth", fix)
        if not training:
            return own
        forced = self.choices(ops.shape(own))
        if are_numbers:
            forced = forced & ~ops.isnan(truth)
        return ops.where(forced, ops.cast(truth, own.dtype), own)

    def choices(self, shape: Any) -> Any:
        """Draw for each number of a shape whether the true value is fed."""
        # Coins of lower precision would miss a small probability.
        coins = keras.random.uniform(shape, dtype="float32", seed=self._coins)
        return coins < ops.cast(self.probability, "float32")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate it."""
        return {
            **super().get_config(),
            "teacher_forcing": self.teacher_forcing,
            "seed": self.seed,
        }


def _are_numbers(x: Any) -> bool:
    return "float" in keras.backend.standardize_dtype(x.dtype)


def _described(x: Any) -> str:
    return f"{keras.backend.standardize_dtype(x.dtype)} {tuple(x.shape)}"
