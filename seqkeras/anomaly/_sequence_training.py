"""Training of an autoencoder on whole sequences, some of whose values are hidden or noisy."""

from typing import Any

import keras
import numpy as np

from seqkeras._arrays import Array, Floats
from seqkeras.forecasting import Training
from seqkeras.training import TrainingLog
from seqkeras.training._early_stopping import train
from seqkeras.windows import GroupedArray, Windows, WindowSpec

#: Sequences in a training step, unless `Training` says otherwise, and where they are judged.
_BATCH = 32
_JUDGED_BATCH = 256


@keras.saving.register_keras_serializable(package="seqkeras")
class KnownValues(keras.losses.Loss):
    """The squared error of known values: targets are values, then 1 for each that is known."""

    def __init__(self, features: int, **options: Any) -> None:
        super().__init__(**options)
        self.features = features

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the error of each timestep."""
        known = y_true[..., self.features :]
        errors = (y_true[..., : self.features] - y_pred[..., : self.features]) ** 2
        share = keras.ops.maximum(keras.ops.mean(known), keras.config.epsilon())
        return keras.ops.mean(errors * known, axis=-1) / share

    def get_config(self) -> dict[str, Any]:
        """Return the config, which pickles of a trained model need."""
        return {**super().get_config(), "features": self.features}


class Corruption:
    """Adds noise to sequences and hides values, for a network that learns to undo both.

    Args:
        features: number of features of the sequences; where they have as many columns again, these
            are 1 for known values.
        noise: standard deviation of the noise.
        missing: share of values to hide.
        seed: seed of the draws.
        repeats: whether each batch gets the same draws, to compare losses of different epochs.
    """

    def __init__(
        self, features: int, noise: float, missing: float, seed: int, *, repeats: bool
    ) -> None:
        self._features = features
        self._noise = noise
        self._missing = missing
        self._seed = seed
        self._repeats = repeats
        self._draws = np.random.default_rng(seed)

    def __call__(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return a batch `(x, y)`, with x changed."""
        if self._repeats:
            self._draws = np.random.default_rng(self._seed)
        values = x[..., : self._features]
        known = x[..., self._features :]
        if self._noise:
            values = values + self._noise * self._draws.standard_normal(values.shape, np.float32)
        if known.shape[-1]:
            known = known * (self._draws.random(known.shape) >= self._missing)
            values = values * known
        return np.concatenate([values, known], axis=-1).astype(np.float32), y


def train_on_sequences(
    model: keras.Model,
    x: Array,
    *,
    features: int,
    noise: float,
    missing: float,
    training: Training,
    seed: int,
) -> TrainingLog:
    """Train an autoencoder in place, and keep its best epoch on held-out sequences.

    Args:
        model: from `(batch, timesteps, columns)` to the same shape.
        x: `(n, timesteps, columns)`, the values of the features, and 1 for each known value if the
            model reads that too.
        features: number of features.
        noise, missing: see `Corruption`.
        training: how to train. `validation` is a share of the sequences, which are drawn.
        seed: seed of the draws and of the order.
    """
    order = np.random.default_rng(seed).permutation(len(x))
    held_out = int(np.ceil(training.validation * len(x))) if len(x) > 1 else 0
    has_known = x.shape[-1] > features
    loss = KnownValues(features) if has_known else keras.losses.MeanSquaredError()

    def windows(chosen: Array, batch_size: int, *, repeats: bool, **options: Any) -> Windows:
        sequences = GroupedArray.from_series(x[chosen])
        return Windows(
            sequences,
            WindowSpec(x.shape[1], horizon=0),
            targets=sequences,
            target_rows="lookback",
            transform=Corruption(features, noise, missing, seed, repeats=repeats),
            batch_size=batch_size,
            **options,
        )

    size = training.batch_size or _BATCH
    trained = order[held_out:]
    judged = order[:held_out]
    return train(
        model,
        windows(trained, size, repeats=False, shuffle=True, seed=seed),
        windows(judged, _JUDGED_BATCH, repeats=True) if held_out else None,
        epochs=int(training.epochs),
        patience=int(training.patience),
        learning_rate=float(training.learning_rate),
        progress="training" if training.progress else None,
        loss=loss,
        seconds=training.seconds,
        distributed=training.distributed,
    )


def scale_of(values: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each feature, over sequences and timesteps.

    Args:
        values: `(n, timesteps, features)`, NaN where missing.
    """
    center = np.nanmean(values, axis=(0, 1))
    spread = np.nanstd(values, axis=(0, 1))
    return center, np.where(spread > 1e-12 * np.abs(center), spread, 1.0)
