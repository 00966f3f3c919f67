"""Sequences as short vectors: an autoencoder as a transformer of scikit-learn."""

from typing import Any, Self

import keras
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from seqkeras._arrays import Array, Floats
from seqkeras._checks import (
    Description,
    bad_argument,
    bad_data,
    check_fraction,
    check_integer,
    check_not_negative,
    check_one_of,
    check_seed,
)
from seqkeras.anomaly._network_program import program_of
from seqkeras.anomaly._sequence_training import scale_of, train_on_sequences
from seqkeras.forecasting import Training
from seqkeras.kernels._randomness import seeded
from seqkeras.layers import CELLS
from seqkeras.models import autoencoder, decode
from seqkeras.runtime import Program
from seqkeras.training import TrainingLog
from seqkeras.training._distribution import common_seed

_ADVICE = "For missing values, use SequenceEncoder(missing=0.2); a single sequence is [sequence]."

#: Sequences that are computed at a time.
_CHUNK = 1024


class SequenceEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Encodes sequences into a few numbers each, by a recurrent autoencoder.

    The codes describe sequences for clustering, classification or plots, in pipelines and searches
    of scikit-learn. `denoise` and `impute` return sequences, rebuilt by the trained network.

    Sequences are scaled by the mean and the standard deviation of each feature in `fit`.

    Args:
        latent: numbers of a code, default 8.
        units: width of the recurrent layers; a tuple is a stack. Default 32.
        cell: `"gru"` (default), `"lstm"` or `"simple_rnn"`.
        noise: noise added to sequences in training, in standard deviations of the feature; the
            network learns to remove it. Default 0.
        missing: share of values that are hidden in training, from 0 to below 1; the network learns
            to fill them in, and sequences may have missing values (NaN). Default 0: they may not.
        training: a `Training`; `validation` is the share of the sequences that are held out. None,
            the default: `Training(epochs=100, patience=15, progress=False)`.
        seed: seed of weights, order and draws, below 2**32; None for different ones each time.

    Attributes:
        model_: the trained `keras.Model`, on scaled sequences.
        log_: losses and the best epoch, a `TrainingLog`.
        center_, scale_: `(features,)`, the scaling.
        shape_: timesteps and features of a sequence.

    Example:
        >>> steps = np.arange(20)
        >>> x = np.sin(steps / np.linspace(1, 4, 50)[:, np.newaxis])
        >>> training = Training(epochs=2, progress=False)
        >>> encoder = SequenceEncoder(3, units=8, training=training, seed=0).fit(x)
        >>> codes = encoder.transform(x)
        >>> codes.shape, encoder.inverse_transform(codes).shape
        ((50, 3), (50, 20))
        >>> encoder.get_feature_names_out().tolist()
        ['sequenceencoder0', 'sequenceencoder1', 'sequenceencoder2']
    """

    model_: keras.Model
    log_: TrainingLog

    def __init__(
        self,
        latent: int = 8,
        *,
        units: int | tuple[int, ...] = 32,
        cell: str = "gru",
        noise: float = 0.0,
        missing: float = 0.0,
        training: Any = None,
        seed: int | None = None,
    ) -> None:
        self.latent = latent
        self.units = units
        self.cell = cell
        self.noise = noise
        self.missing = missing
        self.training = training
        self.seed = seed

    def fit(self, X: Any, y: None = None) -> Self:  # noqa: N803
        """Learn to encode sequences.

        Args:
            X: `(n, timesteps)` or `(n, timesteps, features)`, each row a sequence.
            y: not used; scikit-learn passes it.

        Raises:
            ArgumentError: a parameter is invalid.
            DataError: a value is infinite; or missing, with `missing=0`; or training diverged.
        """
        del y
        training = self._checked_parameters()
        values = self._read(X, reset=True)
        timesteps, features = values.shape[1:]
        columns = 2 * features if self.missing else features
        with seeded(common_seed(self.seed, training.distributed)) as seed:
            model = autoencoder(
                columns,
                timesteps=timesteps,
                latent=self.latent,
                units=self.units,
                cell=self.cell,
                name="sequence_encoder",
            )
            self.center_, self.scale_ = scale_of(values)
            self.shape_ = (timesteps, features)
            self.log_ = train_on_sequences(
                model,
                self._inputs(values),
                features=features,
                noise=float(self.noise),
                missing=float(self.missing),
                training=training,
                seed=seed,
            )
        self.model_ = model
        self._encoder: Program = program_of(model.get_layer("encoder"))
        self._whole: Program = program_of(model, window=timesteps)
        return self

    def transform(self, X: Any) -> Floats:  # noqa: N803
        """Encode sequences.

        Args:
            X: as for `fit`, with as many timesteps and features.

        Returns:
            `(n, latent)`.

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: another shape, or values that cannot be used.
        """
        check_is_fitted(self)
        x = self._inputs(self._read(X, reset=False))
        outputs = [
            self._encoder.scan(part, self._encoder.initial_state(len(part)))[0][:, -1]
            for part in _chunks(x)
        ]
        return np.concatenate(outputs).astype(np.float64)

    def inverse_transform(self, X: Any) -> Floats:  # noqa: N803
        """Decode codes `(n, latent)` into sequences, in the form of `fit`.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: the codes have another shape.
        """
        check_is_fitted(self)
        return self._outputs(decode(self.model_, np.asarray(X)))

    def denoise(self, X: Any) -> Floats:  # noqa: N803
        """Rebuild sequences from their codes, which have no room for noise.

        Args:
            X: as for `transform`.

        Returns:
            Sequences in the shape of X.

        Raises:
            NotFittedError, ValueError: as for `transform`.
        """
        check_is_fitted(self)
        return self._rebuilt(self._read(X, reset=False))

    def impute(self, X: Any) -> Floats:  # noqa: N803
        """Fill in missing values; known values stay as they are.

        Args:
            X: as for `transform`, NaN where missing. Each sequence needs a known value.

        Returns:
            Sequences in the shape of X.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: the encoder has `missing=0`, so it has not learned to fill in values.
            DataError: a sequence has no known value.
        """
        check_is_fitted(self)
        if not self.missing:
            fix = "For example SequenceEncoder(missing=0.2), and fit it."
            raise bad_argument("missing", self.missing, "above 0 to impute", fix)
        values = self._read(X, reset=False)
        known = ~np.isnan(values)
        empty = ~known.any(axis=(1, 2))
        if empty.any():
            raise bad_data(f"Sequence {int(np.argmax(empty))}", "only NaN", "have a known value")
        rebuilt = self._rebuilt(values).reshape(values.shape)
        return np.where(known, values, rebuilt).reshape(np.shape(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = bool(self.missing)
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.latent)

    def _checked_parameters(self) -> Training:
        check_integer("latent", self.latent)
        check_one_of("cell", self.cell, CELLS)
        check_fraction("missing", self.missing)
        check_not_negative("noise", self.noise)
        check_seed(self.seed)
        training = self.training
        if training is None:
            training = Training(epochs=100, patience=15, progress=False)
        if not isinstance(training, Training):
            fix = "Use training=Training(epochs=50), for example."
            raise bad_argument("training", training, "a Training", fix)
        training.check()
        return training

    def _read(self, x: Any, *, reset: bool) -> Floats:
        """Return sequences `(n, timesteps, features)`."""
        finite = "allow-nan" if self.missing else True
        if isinstance(x, np.ndarray | list | tuple) and np.ndim(x) == 3:
            values = self._read_features(x)
            if reset:
                self.n_features_in_ = values.shape[1]
                self._has_features = True
        else:
            options = {"reset": reset, "dtype": np.float64, "ensure_all_finite": finite}
            try:
                values = validate_data(self, x, **options)[..., np.newaxis]
            except ValueError as error:
                problem = str(error).partition("\n")[0].rstrip(".:")
                expected = "hold sequences (n, timesteps) of finite numbers"
                raise bad_data("X", problem, expected, _ADVICE) from error
            if reset:
                self._has_features = False
        if not reset and values.shape[1:] != self.shape_:
            actual = Description(f"sequences of shape {values.shape[1:]}")
            raise bad_argument("X", actual, f"sequences of shape {self.shape_}, as in fit")
        return np.asarray(values)

    def _read_features(self, x: Any) -> Floats:
        try:
            values = np.asarray(x, np.float64)
        except (TypeError, ValueError) as error:
            raise bad_data("X", str(error), "hold numbers in sequences of one length") from error
        if not values.size:
            raise bad_data("X", f"shape {values.shape}", "have sequences, timesteps and features")
        if np.isinf(values).any():
            raise bad_data("X", "infinite values", "be finite")
        missing = np.isnan(values)
        if missing.any() and not self.missing:
            fix = "With SequenceEncoder(missing=0.2), for example, values may be missing."
            raise bad_data("X", f"{int(missing.sum())} NaN", "have no missing values", fix)
        if missing.all(axis=(0, 1)).any():
            feature = int(np.argmax(missing.all(axis=(0, 1))))
            raise bad_data(f"Feature {feature}", "only NaN", "have values")
        return values

    def _inputs(self, values: Floats) -> Array:
        """Return what the network reads: scaled values, and which are known."""
        scaled = (values - self.center_) / self.scale_
        if self.missing:
            known = ~np.isnan(scaled)
            scaled = np.concatenate([np.where(known, scaled, 0.0), known], axis=-1)
        return scaled.astype(np.float32)

    def _rebuilt(self, values: Floats) -> Floats:
        parts = []
        for x in _chunks(self._inputs(values)):
            # The program reads one timestep per step: its state is as if it had read all but one.
            state = self._whole.initial_state(len(x))
            rows, count = state
            rows[:, 1:] = x[:, :-1]
            count[:] = x.shape[1]
            parts.append(self._whole.step(x[:, -1], state)[0])
        return self._outputs(np.concatenate(parts))

    def _outputs(self, outputs: Array) -> Floats:
        """Return outputs of the network in the units and the form of the sequences."""
        scaled = outputs[..., : self.shape_[1]].astype(np.float64)
        values = scaled * self.scale_ + self.center_
        return values if self._has_features else values[..., 0]


def _chunks(x: Array) -> list[Array]:
    return [x[begin : begin + _CHUNK] for begin in range(0, len(x), _CHUNK)]
