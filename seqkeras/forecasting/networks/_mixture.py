"""The mixture of a network and a linear expert, chosen by their errors on held-out windows."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from seqkeras._arrays import Floats
from seqkeras.forecasting.networks._inputs import pairs
from seqkeras.forecasting.networks._linear_expert import LinearExpert
from seqkeras.forecasting.networks._predict import BatchPredictor, predict_batches
from seqkeras.forecasting.networks._shares import POWER, shares

#: With this many held-out horizons, shares fall with half of `POWER`. With fewer, errors say less,
#: and the shares are closer to one half.
HALF_POWER_HORIZONS = 10


@dataclass(frozen=True)
class Mixture:
    """How a network and a linear expert were mixed.

    Attributes:
        network_error: mean absolute error of the network on the held-out windows, scaled.
        expert_error: that of the linear expert.
        expert_share: share of the expert in the forecasts, from 0 to 1.
    """

    network_error: float
    expert_error: float
    expert_share: float


@dataclass(frozen=True, eq=False)
class MixedPredictor:
    """A network and a linear expert, mixed outside of Keras.

    Attributes:
        network: network that forecasts the whole horizon.
        expert: the expert.
        mixture: their shares.
    """

    network: BatchPredictor
    expert: LinearExpert
    mixture: Mixture

    @classmethod
    def of(
        cls,
        network: BatchPredictor,
        expert: LinearExpert,
        held_out: keras.utils.PyDataset,
        horizons: float,
    ) -> "MixedPredictor":
        """Choose the shares by the errors on held-out windows.

        Args:
            network: the network.
            expert: the expert.
            held_out: the windows.
            horizons: held-out rows of all series, in horizons. If they are few, errors say little,
                and the shares stay close to one half.
        """
        totals = np.zeros(2)
        count = 0
        for x, y in pairs(held_out):
            outputs = (predict_batches(network, x), expert.predict_on_batch(x))
            totals += [np.nansum(np.abs(y - output)) for output in outputs]
            count += int(np.isfinite(y).sum())
        errors = totals / max(1, count)
        expert_share = shares(errors, POWER * horizons / (horizons + HALF_POWER_HORIZONS))[1]
        mixture = Mixture(float(errors[0]), float(errors[1]), float(expert_share))
        return cls(network, expert, mixture)

    @property
    def output_shape(self) -> Any:
        """Return the shape of the output, `(None, horizon)`."""
        return self.expert.output_shape

    def predict_on_batch(self, x: Any) -> Floats:
        """Return the forecasts of windows, `(batch, horizon)`."""
        share = self.mixture.expert_share
        forecast = (1 - share) * self.network.predict_on_batch(x)
        return forecast + share * self.expert.predict_on_batch(x)
