"""Codes drawn from a normal distribution, with the loss that keeps it close to the standard one."""

from typing import Any

import keras
from keras import ops

from seqkeras._checks import check_not_negative

#: Default weight of the divergence.
KL_WEIGHT = 1e-3


@keras.saving.register_keras_serializable(package="seqkeras")
class GaussianCode(keras.layers.Layer):
    """A layer that draws the code of a variational autoencoder.

    Called as `layer([mean, log_variance, sequence])` with two tensors `(batch, latent)` and the
    sequence that they encode. In training it returns a draw from the normal distribution, through
    which gradients flow to both (Kingma and Welling 2014, arXiv 1312.6114); otherwise the mean. It
    adds to the loss of the model the Kullback-Leibler divergence from the standard normal
    distribution, in nats: summed over the code, averaged over the rows, and multiplied by
    `kl_weight`. Rows in which every timestep is masked do not count.

    Args:
        kl_weight: weight of the divergence, default 1e-3. It is the initial value of the variable
            `weight`, which is saved with the weights and not trained.
        seed: seed of the draws. Default: a random seed.

    Raises:
        ArgumentError: `kl_weight` is not a number of at least 0.
    """

    def __init__(
        self, kl_weight: float = KL_WEIGHT, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.kl_weight = check_not_negative("kl_weight", kl_weight)
        self.seed = seed
        self._draws = keras.random.SeedGenerator(seed)
        self.weight = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.kl_weight),
            trainable=False,
            name="weight",
        )

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Return a draw in training, otherwise the mean, and add the divergence to the loss."""
        mean, log_variance, _ = inputs
        sequence_mask = mask[2] if mask is not None else None
        self.add_loss(self.weight * self._divergence(mean, log_variance, sequence_mask))
        if not training:
            return mean
        noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=self._draws)
        return mean + ops.exp(log_variance / 2) * noise

    def _divergence(self, mean: Any, log_variance: Any, sequence_mask: Any) -> Any:
        mean = ops.cast(mean, self.variable_dtype)
        log_variance = ops.cast(log_variance, self.variable_dtype)
        terms = ops.square(mean) + ops.exp(log_variance) - log_variance - 1
        rows = ops.sum(terms, axis=-1) / 2
        if sequence_mask is None:
            return ops.mean(rows)
        counts = ops.cast(ops.any(sequence_mask, axis=1), self.variable_dtype)
        return ops.sum(rows * counts) / ops.maximum(ops.sum(counts), 1.0)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """Return None: a code has no timesteps."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the mean."""
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate it."""
        return {**super().get_config(), "kl_weight": self.kl_weight, "seed": self.seed}
