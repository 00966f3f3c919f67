"""Answers that are fed back: how a network of fewer steps than the horizon is trained."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from seqkeras._checks import bad_argument, check_probability
from seqkeras.forecasting.networks._build import roll_forward
from seqkeras.forecasting.networks._inputs import pairs
from seqkeras.likelihoods import Likelihood
from seqkeras.training import TeacherForcingSchedule, unrolled

SCHEDULED = "scheduled"


def check_teacher_forcing(teacher_forcing: Any) -> None:
    """Raises where it is no probability, and not `"scheduled"`.

    Raises:
        ArgumentError: it is neither.
    """
    if not isinstance(teacher_forcing, str) or teacher_forcing != SCHEDULED:
        expected = f"a number from 0 to 1, or {SCHEDULED!r}"
        check_probability("teacher_forcing", teacher_forcing, expected=expected)


@dataclass(frozen=True)
class Feedback:
    """How a network is trained, and what it is judged by, where its answers are fed back.

    Attributes:
        network: `(batch, lookback, features)` to `(batch, steps)`.
        horizon: timesteps to forecast.
        teacher_forcing: as in `Forecaster`.
        head: of the network.

    Raises:
        ArgumentError: there is nothing to feed back, or a head, and it is not 1.
    """

    network: keras.Model
    horizon: int
    teacher_forcing: float | str
    head: Likelihood | None

    def __post_init__(self) -> None:
        if self.teacher_forcing == 1:
            return
        given = "teacher_forcing", self.teacher_forcing
        if not self.is_fed_back:
            fix = "It is of networks with fewer steps than the horizon, such as model='recursive'."
            raise bad_argument(*given, "1 where the whole horizon is answered at once", fix)
        if self.head is not None:
            fix = "A head learns what follows the true past. Draws fed back would blur that."
            raise bad_argument(*given, "1 where there is a head", fix)

    @property
    def is_fed_back(self) -> bool:
        """Whether the horizon needs more than one answer."""
        return bool(self.network.output_shape[1] < self.horizon)

    @property
    def runs_free(self) -> bool:
        """Whether training feeds answers, and not true values alone."""
        return self.teacher_forcing != 1

    @property
    def steps(self) -> int:
        """Timesteps that a training window predicts."""
        return int(self.horizon if self.runs_free else self.network.output_shape[1])

    def model(self) -> keras.Model:
        """What is trained: the network, or the network run over the horizon."""
        if not self.runs_free:
            return self.network
        first = 1.0 if self.teacher_forcing == SCHEDULED else float(self.teacher_forcing)
        return unrolled(self.network, horizon=self.horizon, teacher_forcing=first)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """What lowers the probability of true values from epoch to epoch."""
        return [TeacherForcingSchedule()] if self.teacher_forcing == SCHEDULED else []

    @property
    def is_judged_free(self) -> bool:
        """Whether forecasts over the whole horizon say how good the network is.

        Not with a head: the chances of single steps, each behind the true ones, multiply to that
        of the whole horizon, so that the loss of one step is what to judge by.
        """
        return self.is_fed_back and self.head is None

    def error(self, windows: keras.utils.PyDataset) -> float:
        """The mean absolute error of forecasts that run free."""
        errors = [
            np.abs(y - roll_forward(self.network, x, self.horizon)) for x, y in pairs(windows)
        ]
        total = sum(float(np.nansum(one)) for one in errors)
        return total / max(1, sum(int(np.isfinite(one).sum()) for one in errors))
