"""Compare our sMAPE, MASE, OWA and Naive2 with those published by the M4 competition.

    python benchmarks/forecasting/m4_scoring.py --data FOLDER

The folder holds, from github.com/Mcompetitions/M4-methods:

    m4_hourly.parquet, m4_weekly.parquet    unique_id, t, y, split ("train" or "test")
    m4_points_hourly_weekly.parquet         method, freq, unique_id, step, yhat: submitted forecasts
    m4_accuracy_published.parquet           method, breakdown, metric, group, value: their scores

Prints our scores next to the published ones, and the difference of our Naive2 from theirs.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from seqkeras.scoring import mase, naive, naive2, owa, smape

#: As in the competition, where weekly series have no season.
SEASONS = {"Hourly": 24, "Weekly": 1}

#: Each with its season; None: that of the series.
BASELINES = {"Naive": (naive, 1), "sNaive": (naive, None), "Naive2": (naive2, None)}


def read_series(folder, group):
    """Return the history and the actual values of each id."""
    df = pd.read_parquet(folder / f"m4_{group.lower()}.parquet").sort_values(["unique_id", "t"])
    parts = {
        split: {
            name: rows.y.to_numpy() for name, rows in df[df.split == split].groupby("unique_id")
        }
        for split in ("train", "test")
    }
    return {name: (history, parts["test"][name]) for name, history in parts["train"].items()}


def read_forecasts(folder, group):
    """Return the forecast of each id by each method."""
    points = pd.read_parquet(folder / "m4_points_hourly_weekly.parquet")
    points = points[points.freq == group].sort_values(["method", "unique_id", "step"])
    return {
        method: {name: series.yhat.to_numpy() for name, series in rows.groupby("unique_id")}
        for method, rows in points.groupby("method")
    }


def forecast_baseline(data, function, season):
    return {
        name: function(history, horizon=len(actual), season_length=season)
        for name, (history, actual) in data.items()
    }


def score(data, forecasts, season):
    """Return the mean sMAPE and the mean MASE over the series."""
    smapes = [smape(actual, forecasts[name]) for name, (_, actual) in data.items()]
    mases = [
        mase(actual, forecasts[name], history=history, season_length=season)
        for name, (history, actual) in data.items()
    ]
    return np.mean(smapes), np.mean(mases)


def read_published(folder):
    table = pd.read_parquet(folder / "m4_accuracy_published.parquet")
    table = table[table.breakdown == "frequency"]
    return table.set_index(["method", "group", "metric"]).value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data
    published = read_published(folder)
    for group, season in SEASONS.items():
        data = read_series(folder, group)
        forecasts = read_forecasts(folder, group)
        for name, (function, season_length) in BASELINES.items():
            baseline = forecast_baseline(data, function, season_length or season)
            forecasts[f"{name} (ours)"] = baseline
        naive2_smape, naive2_mase = score(data, forecasts["Naive2"], season)
        print(f"\n{group:14} {'sMAPE':>18} {'MASE':>18} {'OWA':>18}    ours, published")
        for method, by_series in forecasts.items():
            ours = dict(zip(("sMAPE", "MASE"), score(data, by_series, season), strict=True))
            ours["OWA"] = owa(
                smape=ours["sMAPE"],
                mase=ours["MASE"],
                naive2_smape=naive2_smape,
                naive2_mase=naive2_mase,
            )
            name = method.removesuffix(" (ours)").lstrip("0")
            row = [
                f"{value:9.3f}{published[name, group, metric]:9.3f}"
                for metric, value in ours.items()
            ]
            print(f"{method:14} {' '.join(row)}")
        differences = [
            np.abs(forecasts["Naive2 (ours)"][name] / forecasts["Naive2"][name] - 1).max()
            for name in data
        ]
        print(f"our Naive2 differs from theirs by at most {max(differences):.1e} of the value")


if __name__ == "__main__":
    main()
