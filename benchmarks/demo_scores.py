"""Errors on the held-out last year of the airline passengers, compared with baselines.

    python benchmarks/demo_scores.py [--seeds 5]

ETS and Theta are from statsmodels. ETS has an additive trend and multiplicative seasons, the
textbook choice for this series, made with knowledge of it; seqkeras runs with its defaults.
"""

import argparse
import statistics
import time

import numpy as np
from statsmodels.tsa.forecasting.theta import ThetaModel
from statsmodels.tsa.holtwinters import ExponentialSmoothing

from seqkeras.forecasting import Forecaster, Training, evaluate_holdout, load_air_passengers
from seqkeras.scoring import mae, mase, rmse, smape

HORIZON = 12
SEASON = 12


def statistical_forecasts(history):
    """Return the forecasts of statsmodels from a series with its timestamps."""
    ets = ExponentialSmoothing(history, trend="add", seasonal="mul", seasonal_periods=SEASON)
    theta = ThetaModel(history, period=SEASON)
    return {"ETS (A, M)": ets.fit().forecast(HORIZON), "Theta": theta.fit().forecast(HORIZON)}


def scores(actual, forecast, history):
    return {
        "MAE": mae(actual, forecast),
        "RMSE": rmse(actual, forecast),
        "sMAPE": smape(actual, forecast),
        "MASE": mase(actual, forecast, history=history, season_length=SEASON),
    }


def show(name, values):
    print(f"{name:24}" + "".join(f"{value:9.3f}" for value in values.values()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)

    df = load_air_passengers()
    series = df.set_index("ds").y.asfreq("MS").astype(float)
    history = series[:-HORIZON]
    actual = series[-HORIZON:].to_numpy()
    print(f"{'':24}" + "".join(f"{name:>9}" for name in ("MAE", "RMSE", "sMAPE", "MASE")))

    ours = []
    seconds = []
    for seed in seeds:
        start = time.perf_counter()
        held_out = evaluate_holdout(
            Forecaster(HORIZON, training=Training(progress=False), seed=seed), df
        )
        seconds.append(time.perf_counter() - start)
        ours.append(held_out.scores.loc["seqkeras", ["MAE", "RMSE", "sMAPE", "MASE"]].to_dict())
        show(f"seqkeras, seed {seed}", ours[-1])
    median = {name: statistics.median(run[name] for run in ours) for name in ours[0]}
    show("seqkeras, median", median)
    for name in ("seasonal naive", "naive"):
        show(name, held_out.scores.loc[name, ["MAE", "RMSE", "sMAPE", "MASE"]].to_dict())
    for name, forecast in statistical_forecasts(history).items():
        show(name, scores(actual, np.asarray(forecast), history.to_numpy()))
    ratio = median["MASE"] / held_out.scores.loc["seasonal naive", "MASE"]
    print(f"\nseqkeras / seasonal naive: {ratio:.3f} (median MASE)")
    print(f"seconds to train, score and forecast: median {statistics.median(seconds):.1f}")


if __name__ == "__main__":
    main()
