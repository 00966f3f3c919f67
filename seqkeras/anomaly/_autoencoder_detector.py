"""A detector that compares each timestep with its reconstruction from a narrow code."""

from typing import Any

import keras
import numpy as np

from seqkeras._arrays import Floats
from seqkeras._checks import bad_argument, bad_data, check_flag, check_integer
from seqkeras.anomaly._detector import Detector, TrainingSeries
from seqkeras.anomaly._detector_settings import DetectorSettings
from seqkeras.anomaly._network_program import program_of
from seqkeras.anomaly._overlap import Overlap
from seqkeras.anomaly._principal_windows import PrincipalWindows
from seqkeras.anomaly._residuals import ErrorMeasure
from seqkeras.anomaly._row_scaler import RowScaler
from seqkeras.anomaly._spread import centers_and_spreads
from seqkeras.anomaly._warmup import LEAST_SPREAD, fit_errors, with_warmup
from seqkeras.anomaly._window_errors import WindowErrors, WindowInputs
from seqkeras.anomaly._window_training import train_on_windows
from seqkeras.models import autoencoder
from seqkeras.training import TrainingLog
from seqkeras.windows import GroupedArray, Windows, WindowSpec

#: Windows that the usual errors are learned from.
_JUDGED = 1024
#: Windows from which the errors at the start of a series are learned, if the detector is causal.
_STARTS = 16
#: Windows that cover a timestep, unless the detector is causal.
_COVERS = 10


class AutoencoderDetector(Detector):
    """Flags timesteps that a recurrent autoencoder cannot reconstruct, in windows of a series.

    Each window of `lookback` timesteps is reconstructed from a few numbers: first from its
    principal components, which are fitted in closed form; a recurrent autoencoder then reconstructs
    what they leave. A timestep is covered by about ten windows, and its error is their mean.
    Training stops when the reconstruction of the held-out windows stops improving, and if the
    autoencoder adds nothing to the principal components, it changes nothing.

    The windows that cover a timestep reach up to `lookback - 1` timesteps beyond it. With
    `causal=True` only the window that ends at the timestep counts, and `stepper()` computes the
    same scores one timestep at a time.

    Args:
        lookback: timesteps of a window, default 100.
        latent: number of principal components, and width of the code, default 8.
        units: width of the recurrent layers; a tuple is a stack. Default 32.
        cell: `"gru"` (default), `"lstm"` or `"simple_rnn"`.
        linear_skip: whether to reconstruct from principal components first, default True.
        scored: as for `ForecastDetector`.
        error: as for `ForecastDetector`.
        overlap: `"mean"` (default), `"median"` or `"max"` of the errors of the windows that cover a
            timestep. Not used with `causal=True`.
        smoothing, fusion: as for `ForecastDetector`.
        causal: whether no score may depend on later timesteps, default False.
        clean, contamination, threshold: as for `ForecastDetector`.
        training, seed: as for `ForecastDetector`.

    Attributes:
        decision_scores_, threshold_, labels_, rule_, model_, log_, n_features_in_: as of
            `ForecastDetector`.

    Example:
        >>> from seqkeras.forecasting import Training
        >>> x = np.sin(np.arange(600) / 5)
        >>> x[450] += 3
        >>> training = Training(epochs=1, progress=False)
        >>> options = {"units": 8, "smoothing": None, "training": training, "seed": 0}
        >>> detector = AutoencoderDetector(lookback=20, **options).fit(x)
        >>> int(detector.decision_scores_.argmax())
        450
    """

    _expected_name = "reconstruction"

    def __init__(
        self,
        lookback: int = 100,
        *,
        latent: int = 8,
        units: int | tuple[int, ...] = 32,
        cell: str = "gru",
        linear_skip: bool = True,
        scored: Any = None,
        error: str | ErrorMeasure = "l1",
        overlap: str = "mean",
        smoothing: Any = "auto",
        fusion: Any = "amplitude",
        causal: bool = False,
        clean: bool = False,
        contamination: float = 0.05,
        threshold: Any = None,
        training: Any = None,
        seed: int | None = None,
    ) -> None:
        self.lookback = lookback
        self.latent = latent
        self.units = units
        self.cell = cell
        self.linear_skip = linear_skip
        self.scored = scored
        self.error = error
        self.overlap = overlap
        self.smoothing = smoothing
        self.fusion = fusion
        self.causal = causal
        self.clean = clean
        self.contamination = contamination
        self.threshold = threshold
        self.training = training
        self.seed = seed

    def settings(self) -> DetectorSettings:
        """Check the parameters, and return those that all detectors share.

        Raises:
            ArgumentError: a parameter is invalid.
        """
        settings = super().settings()
        if check_integer("latent", self.latent) >= settings.lookback:
            fix = "Otherwise every window is reconstructed exactly."
            raise bad_argument("latent", self.latent, f"below the lookback, {self.lookback}", fix)
        check_flag("linear_skip", self.linear_skip)
        if self.overlap not in ("mean", "median", "max"):
            fix = "For the window that ends at a timestep use causal=True."
            raise bad_argument("overlap", self.overlap, "'mean', 'median' or 'max'", fix)
        return settings

    def _rows_needed(self, settings: DetectorSettings) -> int:
        return settings.lookback

    def _check_scorable(self, series: GroupedArray) -> None:
        errors = self.scorer_.errors
        assert isinstance(errors, WindowErrors)
        _check_lengths(series, 1 if errors.overlap.causal else errors.lookback)

    def _learn(
        self, series: TrainingSeries, settings: DetectorSettings, seed: int
    ) -> tuple[WindowErrors, keras.Model, TrainingLog]:
        _check_lengths(series.values, 1 if settings.causal else settings.lookback)
        model = autoencoder(
            series.values.values.shape[1],
            timesteps=settings.lookback,
            latent=self.latent,
            units=settings.units,
            cell=settings.cell,
            name="autoencoder_detector",
        )
        head = model.get_layer("decoder").get_layer("head")
        # The untrained network adds nothing.
        head.set_weights([np.zeros_like(array) for array in head.get_weights()])
        inputs = self._inputs(series, settings)
        scaled = GroupedArray(inputs.scaler.transform(series.values.values), series.values.indptr)

        def to_network(x: Any, y: Any) -> tuple[Any, Any]:
            x = inputs.read(np.asarray(x, np.float64))[0]
            return x, x

        log = train_on_windows(
            model,
            series,
            scaled,
            scaled,
            lookback=settings.lookback,
            training=settings.training,
            seed=seed,
            loss=FirstFeatures(len(inputs.scored)) if len(inputs.context) else None,
            transform=to_network,
        )
        errors = WindowErrors(
            inputs,
            program_of(model, window=settings.lookback),
            settings.error,
            Overlap("last" if settings.causal else self.overlap),
            settings.lookback,
            1 if settings.causal else max(1, settings.lookback // _COVERS),
            np.ones(1),
        )
        residuals = errors.residuals(_some_windows(scaled, settings.lookback))
        fit_errors(settings.error, residuals.reshape(-1, residuals.shape[-1]))
        if settings.causal:
            errors = with_warmup(errors, series.values, settings.lookback, _STARTS)
        return errors, model, log

    def _inputs(self, series: TrainingSeries, settings: DetectorSettings) -> WindowInputs:
        values = series.values.values
        scaler = RowScaler.fit(values, clean=settings.clean)
        clipped = GroupedArray(scaler.clip(scaler.transform(values)), series.values.indptr)
        own = GroupedArray(clipped.values[:, series.scored], series.values.indptr)
        if self.linear_skip:
            principal = PrincipalWindows.fit(
                series.train(own),
                lookback=settings.lookback,
                latent=self.latent,
                clean=settings.clean,
            )
        else:
            principal = PrincipalWindows.nothing(len(series.scored), lookback=settings.lookback)
        windows = _some_windows(own, settings.lookback)
        left = windows - principal.reconstruct(windows)
        unit = centers_and_spreads("X", left.reshape(-1, left.shape[-1]))[1]
        context = np.setdiff1d(np.arange(values.shape[1]), series.scored)
        unit = np.maximum(unit, LEAST_SPREAD)
        return WindowInputs(scaler, series.scored, context, principal, unit)


@keras.saving.register_keras_serializable(package="seqkeras")
class FirstFeatures(keras.losses.Loss):
    """The absolute error of the first features; the others are context."""

    def __init__(self, features: int, **options: Any) -> None:
        super().__init__(**options)
        self.features = features

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the error of each timestep."""
        errors = keras.ops.abs(y_true - y_pred)
        return keras.ops.mean(errors[..., : self.features], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the config, which pickles of a trained model need."""
        return {**super().get_config(), "features": self.features}


def _some_windows(series: GroupedArray, lookback: int) -> Floats:
    """Return evenly spaced windows, `(n, lookback, features)`."""
    spec = WindowSpec(lookback, horizon=0)
    windows = Windows(series, spec)
    numbers = np.linspace(0, windows.count - 1, min(windows.count, _JUDGED)).astype(np.int64)
    return np.asarray(windows.take(np.unique(numbers)), np.float64)


def _check_lengths(series: GroupedArray, needed: int) -> None:
    shortest = int(series.lengths.min())
    if shortest < needed:
        fix = "With causal=True, series of any length can be scored."
        expected = f"have at least the {needed} rows of a window"
        raise bad_data("Each series", f"{shortest} rows in one of them", expected, fix)
