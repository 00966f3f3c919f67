"""Train and evaluate networks whose outputs are fed back."""

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
    """How a network is trained and evaluated if it needs its own outputs to reach the horizon.

    Attributes:
        network: maps `(batch, lookback, features)` to `(batch, steps)`.
        horizon: timesteps to forecast.
        teacher_forcing: probability of feeding true values in training, or `"scheduled"`.
        likelihood: likelihood of the network, or None.

    Raises:
        ArgumentError: `teacher_forcing` is not 1, but the network forecasts the whole horizon, or
            there is a likelihood.
    """

    network: keras.Model
    horizon: int
    teacher_forcing: float | str
    likelihood: Likelihood | None

    def __post_init__(self) -> None:
        if not self.trains_on_outputs:
            return
        if not self.is_fed_back:
            fix = "Use a network that forecasts fewer steps than the horizon, such as 'recursive'."
            expected = "1 for a network that forecasts the whole horizon at once"
            raise bad_argument("teacher_forcing", self.teacher_forcing, expected, fix)
        if self.likelihood is not None:
            fix = "Use 1, or remove the likelihood, which can only learn from the true past."
            expected = "1 with a likelihood"
            raise bad_argument("teacher_forcing", self.teacher_forcing, expected, fix)

    @property
    def is_fed_back(self) -> bool:
        """Check whether the network forecasts fewer steps than the horizon."""
        return bool(self.network.output_shape[1] < self.horizon)

    @property
    def trains_on_outputs(self) -> bool:
        """Check whether training feeds back outputs, not only true values."""
        return self.teacher_forcing != 1

    @property
    def steps(self) -> int:
        """Return the number of timesteps that a training window predicts."""
        return int(self.horizon if self.trains_on_outputs else self.network.output_shape[1])

    def model(self) -> keras.Model:
        """Return the model to train: the network, or the network unrolled over the horizon."""
        if not self.trains_on_outputs:
            return self.network
        first = 1.0 if self.teacher_forcing == SCHEDULED else float(self.teacher_forcing)
        return unrolled(self.network, horizon=self.horizon, teacher_forcing=first)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callbacks that lower the probability of true values from epoch to epoch."""
        return [TeacherForcingSchedule()] if self.teacher_forcing == SCHEDULED else []

    @property
    def is_judged_on_horizon(self) -> bool:
        """Check whether a network that is fed back is judged by forecasts of the whole horizon.

        With a likelihood, it is judged by the loss of its own steps. That is the right measure: the
        likelihoods of single steps, each given the true steps before it, multiply to the likelihood
        of the whole horizon.
        """
        return self.is_fed_back and self.likelihood is None

    def error(self, windows: keras.utils.PyDataset) -> float:
        """Return the mean absolute error of forecasts over the whole horizon."""
        errors = [
            np.abs(y - roll_forward(self.network, x, self.horizon)) for x, y in pairs(windows)
        ]
        total = sum(float(np.nansum(batch)) for batch in errors)
        return total / max(1, sum(int(np.isfinite(batch).sum()) for batch in errors))
