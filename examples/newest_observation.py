"""Check that forecasts read the newest observation: errors by lead on AR(1) series.

Each series is y[t] = 0.95 y[t-1] + noise, with noise of deviation 1. The best possible forecast of
lead k, the oracle, is 0.95^k times the newest value. A network whose forecast of lead 1 depends on
an older state cannot come close to it.

    python examples/newest_observation.py [--quick]
"""

import argparse

import numpy as np
import pandas as pd

from seqkeras.forecasting import Forecaster, Training
from seqkeras.windows import GroupedArray, Windows, WindowSpec

PHI = 0.95
HORIZON = 12


def autoregressive(series: int, rows: int, seed: int) -> np.ndarray:
    """Simulate `(series, rows)` values that start in the stationary distribution."""
    noise = np.random.default_rng(seed).normal(size=(series, rows))
    values = np.empty_like(noise)
    values[:, 0] = noise[:, 0] / np.sqrt(1 - PHI**2)
    for row in range(1, rows):
        values[:, row] = PHI * values[:, row - 1] + noise[:, row]
    return values


def long_frame(values: np.ndarray) -> pd.DataFrame:
    series, rows = values.shape
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(series), rows),
            "ds": np.tile(np.arange(rows), series),
            "y": values.ravel(),
        }
    )


def lead_errors(forecast: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Return the root mean squared error of each lead, over all windows."""
    return np.sqrt(np.mean((forecast - actual) ** 2, axis=0))


def forecast_windows(forecaster: Forecaster, context: np.ndarray) -> np.ndarray:
    """Forecast scaled windows with the trained network, a plain Keras model."""
    lookback = context.shape[1]
    values = context
    while values.shape[1] < lookback + HORIZON:
        outputs = forecaster.model_.predict(values[:, -lookback:], verbose=0)
        values = np.concatenate([values, outputs[..., np.newaxis]], axis=1)
    return values[:, -HORIZON:, 0]


def run(network: str, *, series: int, rows: int, epochs: int, seed: int = 0) -> pd.DataFrame:
    """Train on the first part of each series; return the errors over all windows of the rest."""
    values = autoregressive(series, rows, seed)
    train, test = np.split(values, [2 * rows // 3], axis=1)
    training = Training(epochs=epochs)
    forecaster = Forecaster(
        HORIZON, lookback=24, network=network, intervals=(), training=training, seed=seed
    )
    forecaster.fit(long_frame(train))

    spec = WindowSpec(24, horizon=HORIZON)
    grouped = GroupedArray.from_series(test)
    unscaled = Windows(grouped, spec, batch_size=2**20)
    past, actual = unscaled[0]
    scaled = Windows(forecaster.scaler_.transform(grouped), spec, batch_size=2**20)
    context, _ = scaled[0]
    forecast = forecaster.scaler_.inverse_transform(
        forecast_windows(forecaster, context),
        series=np.repeat(np.arange(series), scaled.count // series),
    )
    newest = past[:, -1]
    return pd.DataFrame(
        {
            "oracle": lead_errors(newest * PHI ** np.arange(1, HORIZON + 1), actual),
            "naive": lead_errors(np.repeat(newest, HORIZON, axis=1), actual),
            network: lead_errors(forecast, actual),
        },
        index=pd.RangeIndex(1, HORIZON + 1, name="lead"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size")
    quick = parser.parse_args().quick
    for network in ("multi_output", "recursive"):
        if quick:
            errors = run(network, series=6, rows=300, epochs=5)
        else:
            errors = run(network, series=30, rows=600, epochs=50)
        print(errors.round(3), "\n")
        ratio = errors[network].iloc[0] / errors["oracle"].iloc[0]
        print(f"{network}: lead 1 is {ratio:.3f} x the oracle\n")


if __name__ == "__main__":
    main()
