"""What a forecasting network reads of a series, and what it learns, without Keras."""

from dataclasses import dataclass

import numpy as np

from seqkeras._arrays import Floats, Floats32, Integers
from seqkeras.anomaly._linear_forecast import LinearForecast
from seqkeras.anomaly._row_scaler import RowScaler


@dataclass(frozen=True)
class ForecastInputs:
    """What turns the rows of a series into inputs and units of a forecasting network.

    The network reads each row, and how far the linear forecast of it was off; it learns what the
    linear forecast of the next timesteps lacks.

    Attributes:
        scaler: scaling of all features.
        scored: the features that are forecast and scored.
        linear: the linear forecast of the scored features.
        unit: `(horizon, scored)`, the usual size of errors of the linear forecast; the unit of the
            outputs of the network.
    """

    scaler: RowScaler
    scored: Integers
    linear: LinearForecast
    unit: Floats

    def read(self, rows: Floats) -> tuple[Floats32, Floats]:
        """Return the inputs of the network, and the linear forecasts.

        Args:
            rows: `(n, features)` of one series.

        Returns:
            `(n, features + scored)`, and `(n, horizon, scored)`, scaled values of the next rows.
        """
        scaled = self.scaler.transform(rows)
        clipped = self.scaler.clip(scaled)
        targets = scaled[:, self.scored]
        ahead = targets[:, np.newaxis] + self.linear.predict(clipped[:, self.scored])
        surprise = np.zeros_like(targets)
        surprise[1:] = (targets[1:] - ahead[:-1, 0]) / self.unit[0]
        limit = self.scaler.limit[self.scored]
        surprise = np.clip(surprise, -limit, limit)
        return np.concatenate([clipped, surprise], axis=1).astype(np.float32), ahead

    def corrections(self, rows: Floats) -> Floats:
        """Return what the linear forecasts lack, within limits: what the network learns.

        Args:
            rows: `(n, features)` of one series.

        Returns:
            `(n - horizon, horizon * scored)`, in units.
        """
        _, ahead = self.read(rows)
        targets = self.scaler.transform(rows)[:, self.scored]
        horizon, scored = self.unit.shape
        count = len(rows) - horizon
        lacks = np.stack(
            [targets[k : k + count] - ahead[:count, k - 1] for k in range(1, horizon + 1)], axis=1
        )
        limit = self.scaler.limit[self.scored]
        return np.clip(lacks / self.unit, -limit, limit).reshape(count, horizon * scored)
