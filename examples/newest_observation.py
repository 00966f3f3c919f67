"""Does a forecast read the newest observation? Errors lead by lead on AR(1) series.

Each series is y[t] = 0.95 y[t-1] + noise, with noise of deviation 1. The best possible forecast of
lead k is 0.95^k times the newest value. A network that answers lead 1 from an older state cannot
come near it.

    python examples/newest_observation.py [--quick]
"""

import argparse

import numpy as np
import pandas as pd

from seqkeras.forecasting import Forecaster, Training
from seqkeras.windows import GroupedArray, Windows, WindowSpec

PHI, HORIZON = 0.95, 12


def autoregressive(series: int, rows: int, seed: int) -> np.ndarray:
    """`(series, rows)` values, started from the stationary distribution."""
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
    """Root mean squared error of each lead, over all windows."""
    return np.sqrt(np.mean((forecast - actual) ** 2, axis=0))


def forecast_windows(forecaster: Forecaster, context: np.ndarray) -> np.ndarray:
    """Forecasts of scaled windows by the trained network, a plain Keras model."""
    known = context
    while known.shape[1] < context.shape[1] + HORIZON:
        answer = forecaster.model_.predict(known[:, -context.shape[1] :], verbose=0)
        known = np.concatenate([known, answer[..., np.newaxis]], axis=1)
    return known[:, -HORIZON:, 0]


def run(model: str, *, series: int, rows: int, epochs: int, seed: int = 0) -> pd.DataFrame:
    """Trains on the first part of each series; errors over all windows of the last third."""
    values = autoregressive(series, rows, seed)
    train, test = np.split(values, [2 * rows // 3], axis=1)
    forecaster = Forecaster(
        HORIZON, lookback=24, network=model, training=Training(epochs=epochs), seed=seed
    )
    forecaster.fit(long_frame(train))

    scaled = forecaster.scaler_.transform(GroupedArray.from_series(test))
    windows = Windows(scaled, WindowSpec(24, horizon=HORIZON), batch_size=2**20)
    context, _ = windows[0]
    true = Windows(GroupedArray.from_series(test), windows.spec, batch_size=2**20)
    past, actual = true[0]
    of_series = np.repeat(np.arange(series), windows.count // series)
    forecast = forecaster.scaler_.inverse_transform(
        forecast_windows(forecaster, context), series=of_series
    )
    newest = past[:, -1]
    return pd.DataFrame(
        {
            "oracle": lead_errors(newest * PHI ** np.arange(1, HORIZON + 1), actual),
            "naive": lead_errors(np.repeat(newest, HORIZON, axis=1), actual),
            model: lead_errors(forecast, actual),
        },
        index=pd.RangeIndex(1, HORIZON + 1, name="lead"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size")
    quick = parser.parse_args().quick
    size = (
        {"series": 4, "rows": 300, "epochs": 5}
        if quick
        else {"series": 30, "rows": 600, "epochs": 50}
    )
    for model in ("multi_output", "recursive"):
        errors = run(model, **size)
        print(errors.round(3), "\n")
        ratio = errors[model].iloc[0] / errors["oracle"].iloc[0]
        print(f"{model}: lead 1 is {ratio:.3f} x the oracle\n")


if __name__ == "__main__":
    main()
