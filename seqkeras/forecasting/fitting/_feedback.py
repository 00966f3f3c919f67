"""How to train and judge networks whose outputs are fed back."""

from dataclasses import dataclass

import keras
import numpy as np

from seqkeras._checks import bad_argument
from seqkeras.forecasting._settings import SCHEDULED
from seqkeras.forecasting.networks._inputs import pairs
from seqkeras.forecasting.networks._predict import roll_forward
from seqkeras.likelihoods import Likelihood
from seqkeras.training import TeacherForcingSchedule, unrolled


@dataclass(frozen=True)
class Feedback:
    """How a network is trained and judged if it needs its own outputs to reach the horizon.

    Attributes:
        network: `(batch, lookback, features)` to `(batch, steps)`.
        horizon: timesteps to forecast.
        teacher_forcing: probability of true values in training, or `"scheduled"`.
        likelihood: of the network, or None.

    Raises:
        ArgumentError: `teacher_forcing` is not 1, and either nothing is fed back, or there is a
            likelihood.
    """

    network: keras.Model
    horizon: int
    teacher_forcing: float | str
    likelihood: Likelihood | None

    def __post_init__(self) -> None:
        if not self.runs_free:
            return
        if not self.is_fed_back:
            fix = "Use a network of fewer steps than the horizon, such as 'recursive'."
            expected = "1 for a network that forecasts the whole horizon at once"
            raise bad_argument("teacher_forcing", self.teacher_forcing, expected, fix)
        if self.likelihood is not None:
            fix = "A likelihood learns what follows the true past; drawn values would blur that."
            expected = "1 with a likelihood"
            raise bad_argument("teacher_forcing", self.teacher_forcing, expected, fix)

    @property
    def is_fed_back(self) -> bool:
        """Check whether the network forecasts fewer steps than the horizon."""
        return bool(self.network.output_shape[1] < self.horizon)

    @property
    def runs_free(self) -> bool:
        """Check whether training feeds back outputs, not only true values."""
        return self.teacher_forcing != 1

    @property
    def steps(self) -> int:
        """Return the number of timesteps that a training window predicts."""
        return int(self.horizon if self.runs_free else self.network.output_shape[1])

    def model(self) -> keras.Model:
        """Return what is trained: the network, or the network unrolled over the horizon."""
        if not self.runs_free:
            return self.network
        first = 1.0 if self.teacher_forcing == SCHEDULED else float(self.teacher_forcing)
        return unrolled(self.network, horizon=self.horizon, teacher_forcing=first)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callbacks that lower the probability of true values from epoch to epoch."""
        return [TeacherForcingSchedule()] if self.teacher_forcing == SCHEDULED else []

    @property
    def is_judged_free(self) -> bool:
        """Check whether the network is judged by its forecasts over the whole horizon.

        With a likelihood it is not. The likelihoods of single steps, each given the true steps
        before it, multiply to the likelihood of the whole horizon: the loss of one step is then
        the right measure.
        """
        return self.is_fed_back and self.likelihood is None

    def error(self, windows: keras.utils.PyDataset) -> float:
        """Return the mean absolute error of forecasts over the whole horizon."""
        errors = [
            np.abs(y - roll_forward(self.network, x, self.horizon)) for x, y in pairs(windows)
        ]
        total = sum(float(np.nansum(batch)) for batch in errors)
        return total / max(1, sum(int(np.isfinite(batch).sum()) for batch in errors))
