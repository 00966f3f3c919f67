"""Our sMAPE, MASE, OWA and Naive2 against what the M4 competition published.

    python benchmarks/forecasting/m4_scoring.py --data FOLDER

The folder holds, from github.com/Mcompetitions/M4-methods:

    m4_hourly.parquet, m4_weekly.parquet    unique_id, t, y, split ("train" or "test")
    m4_points_hourly_weekly.parquet         method, freq, unique_id, step, yhat: forecasts sent in
    m4_accuracy_published.parquet           method, breakdown, metric, group, value: their scores

Prints each published score beside ours, and how far our Naive2 is from the published forecast.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from seqkeras.scoring import mase, naive, naive2, owa, smape

#: As the competition scored them: weekly series have no season there.
SEASONS = {"Hourly": 24, "Weekly": 1}
BASELINES = {"Naive": (naive, 1), "sNaive": (naive, None), "Naive2": (naive2, None)}


def series(folder, group):
    """For each id its history and what came."""
    df = pd.read_parquet(folder / f"m4_{group.lower()}.parquet").sort_values(["unique_id", "t"])
    parts = {
        split: {
            name: rows.y.to_numpy() for name, rows in df[df.split == split].groupby("unique_id")
        }
        for split in ("train", "test")
    }
    return {name: (history, parts["test"][name]) for name, history in parts["train"].items()}


def forecasts(folder, group):
    """For each method the forecast of each id."""
    points = pd.read_parquet(folder / "m4_points_hourly_weekly.parquet")
    points = points[points.freq == group].sort_values(["method", "unique_id", "step"])
    return {
        method: {name: one.yhat.to_numpy() for name, one in rows.groupby("unique_id")}
        for method, rows in points.groupby("method")
    }


def score(data, guesses, season):
    """Mean sMAPE and mean MASE over the series."""
    smapes = [smape(actual, guesses[name]) for name, (_, actual) in data.items()]
    mases = [
        mase(actual, guesses[name], history=history, season_length=season)
        for name, (history, actual) in data.items()
    ]
    return np.mean(smapes), np.mean(mases)


def published(folder):
    table = pd.read_parquet(folder / "m4_accuracy_published.parquet")
    table = table[table.breakdown == "frequency"]
    return table.set_index(["method", "group", "metric"]).value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data
    known = published(folder)
    for group, season in SEASONS.items():
        data, sent = series(folder, group), forecasts(folder, group)
        sent |= {
            f"{name} (ours)": {
                one: function(history, horizon=len(actual), season_length=own or season)
                for one, (history, actual) in data.items()
            }
            for name, (function, own) in BASELINES.items()
        }
        bars = score(data, sent["Naive2"], season)
        print(f"\n{group:14} {'sMAPE':>18} {'MASE':>18} {'OWA':>18}    ours, published")
        for method, guesses in sent.items():
            found = score(data, guesses, season)
            ours = dict(zip(("sMAPE", "MASE"), found, strict=True))
            ours["OWA"] = owa(
                smape=found[0], mase=found[1], naive2_smape=bars[0], naive2_mase=bars[1]
            )
            name = method.removesuffix(" (ours)").lstrip("0")
            row = [f"{one:9.3f}{known[name, group, m]:9.3f}" for m, one in ours.items()]
            print(f"{method:14} {' '.join(row)}")
        far = [np.abs(sent["Naive2 (ours)"][i] / sent["Naive2"][i] - 1).max() for i in data]
        print(f"our Naive2 differs from theirs by at most {max(far):.1e} of the value")


if __name__ == "__main__":
    main()
