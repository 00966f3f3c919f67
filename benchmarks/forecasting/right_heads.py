"""Check that every strategy reads the newest observation: errors by lead, over the oracle's.

    python benchmarks/forecasting/right_heads.py

Each series is y[t] = 0.95 y[t-1] + noise, with noise of deviation 1. The best possible forecast of
lead k, the oracle, is 0.95^k times the newest value. Forecasters are trained on the first rows of
each series, and forecast the others from every row. A network whose forecast of lead 1 depends on
an older state cannot come close to the oracle there.
"""

import argparse
import time

import keras
import numpy as np
import pandas as pd

from seqkeras.forecasting import Forecaster, Training, backtest

PHI = 0.95
HORIZON = 12
LOOKBACK = 24
MODELS = ("multi_output", "recursive", "encoder_decoder", "segment_rnn")


def simulate(series, rows, seed):
    """Return a long frame of series that start in the stationary distribution."""
    noise = np.random.default_rng(seed).normal(size=(series, rows))
    values = np.empty_like(noise)
    values[:, 0] = noise[:, 0] / np.sqrt(1 - PHI**2)
    for row in range(1, rows):
        values[:, row] = PHI * values[:, row - 1] + noise[:, row]
    ids = np.repeat(np.arange(series), rows)
    times = np.tile(np.arange(rows), series)
    return pd.DataFrame({"unique_id": ids, "ds": times, "y": values.ravel()})


def with_baselines(result, df):
    """Return the frame of a backtest with the lead, the oracle's and the naive forecast."""
    newest = df.rename(columns={"ds": "cutoff", "y": "naive"})
    frame = result.frame.merge(newest, on=["unique_id", "cutoff"])
    lead = frame.ds - frame.cutoff
    return frame.assign(lead=lead, oracle=PHI**lead * frame.naive)


def lead_errors(frame, method):
    """Return the root mean squared error at each lead."""
    return np.sqrt(((frame[method] - frame.y) ** 2).groupby(frame.lead).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--series", type=int, default=30)
    parser.add_argument("--rows", type=int, default=600, help="training rows of each series")
    parser.add_argument("--test", type=int, default=300, help="test rows of each series")
    parser.add_argument("--patience", type=int, default=25)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    df = simulate(options.series, options.rows + options.test, options.seed)
    print(f"{keras.backend.backend()}, {vars(options)}")
    training = Training(
        patience=options.patience, learning_rate=options.learning_rate, progress=False
    )
    ratios = {}
    for model in options.models:
        forecaster = Forecaster(
            HORIZON,
            lookback=LOOKBACK,
            network=model,
            intervals=(),
            training=training,
            seed=options.seed,
        )
        start = time.process_time()
        result = backtest(forecaster, df, windows=options.test - HORIZON + 1, step=1)
        seconds = time.process_time() - start
        frame = with_baselines(result, df)
        oracle = lead_errors(frame, "oracle")
        ratios.setdefault("naive", lead_errors(frame, "naive") / oracle)
        ratios[model] = lead_errors(frame, "yhat") / oracle
        first = f"lead 1 {ratios[model].iloc[0]:.3f} x the oracle"
        print(f"{model}: {first}, {seconds:.0f} s of processor time", flush=True)
    print("RMSE of the oracle, and the others relative to it")
    print(pd.DataFrame({"oracle": oracle, **ratios}).round(3).to_string())


if __name__ == "__main__":
    main()
