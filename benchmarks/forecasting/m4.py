"""How good is a forecaster on the M4 competition? OWA on its hourly or weekly series.

    python benchmarks/forecasting/m4.py m4_hourly.parquet --frequency hourly

The file has the columns unique_id, t, y and split ("train" or "test"), from the csv files of
github.com/Mcompetitions/M4-methods. One network is trained on all series; without options it is the
forecaster as it comes, with the season of the competition. OWA is the mean of sMAPE and MASE, each
relative to that of Naive2; below 1 is better than Naive2. `--held-out` leaves the test part alone
and scores the last horizon of the training part: choose options by that.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from seqkeras.forecasting import Columns, Forecaster, Training
from seqkeras.scoring import mase, naive, naive2, owa, smape

#: Horizon and season of the competition, where weekly series have no season.
FREQUENCIES = {"hourly": (48, 24), "weekly": (13, 1)}


def read(path, *, series, held_out):
    """Training and test rows, of some series."""
    frame = pd.read_parquet(path).sort_values(["unique_id", "t"])
    if series is not None:
        ids = frame.unique_id.unique()
        frame = frame[frame.unique_id.isin(ids[:: max(1, len(ids) // series)][:series])]
    train, test = (frame[frame.split == split] for split in ("train", "test"))
    if held_out:
        steps = len(test) // test.unique_id.nunique()
        last = train.groupby("unique_id").cumcount(ascending=False) < steps
        train, test = train[~last], train[last]
    return train, test


def by_series(frame, column="y"):
    return {name: rows[column].to_numpy() for name, rows in frame.groupby("unique_id")}


def score(histories, actual, guesses, season):
    """Mean sMAPE and mean MASE over the series."""
    smapes = [smape(actual[name], guesses[name]) for name in actual]
    mases = [
        mase(actual[name], guesses[name], history=histories[name], season_length=season)
        for name in actual
    ]
    return np.mean(smapes), np.mean(mases)


def report(method, found, bars):
    value = owa(smape=found[0], mase=found[1], naive2_smape=bars[0], naive2_mase=bars[1])
    print(f"{method:16} {found[0]:8.3f} {found[1]:8.3f} {value:8.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--frequency", required=True, choices=FREQUENCIES)
    parser.add_argument("--series", type=int, help="only so many, spread over all")
    parser.add_argument("--held-out", action="store_true", help="leave the test part alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    ensemble = "several are an ensemble"
    parser.add_argument("--model", nargs="+", default=argparse.SUPPRESS, help=ensemble)
    parser.add_argument("--head", default=argparse.SUPPRESS)
    parser.add_argument("--lookback", type=int, default=argparse.SUPPRESS)
    parser.add_argument("--season-length", type=int)
    parser.add_argument("--units", type=int, default=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, default=argparse.SUPPRESS)
    parser.add_argument("--patience", type=int, default=argparse.SUPPRESS)
    parser.add_argument("--batch-size", type=int, default=argparse.SUPPRESS)
    parser.add_argument("--learning-rate", type=float, default=argparse.SUPPRESS)
    parser.add_argument("--validation", type=float, default=argparse.SUPPRESS)
    options = vars(parser.parse_args())
    train, test = read(
        options.pop("path"), series=options.pop("series"), held_out=options.pop("held_out")
    )
    horizon, season = FREQUENCIES[options.pop("frequency")]
    seeds = options.pop("seeds")
    histories, actual = by_series(train), by_series(test)
    baselines = {
        "Naive2": (naive2, season),
        "naive": (naive, 1),
        "seasonal naive": (naive, season),
    }
    print(f"{len(actual)} series, {keras.backend.backend()}, {options}")
    print(f"{'':16} {'sMAPE':>8} {'MASE':>8} {'OWA':>8}")
    bars = None
    for method, (function, own) in baselines.items():
        guesses = {
            name: function(history, horizon=horizon, season_length=own)
            for name, history in histories.items()
        }
        found = score(histories, actual, guesses, season)
        bars = bars or found
        report(method, found, bars)
    options["season_length"] = options["season_length"] or season
    for seed in seeds:
        start, used = time.perf_counter(), time.process_time()
        forecaster = Forecaster(horizon, training=Training(progress=False), seed=seed, **options)
        forecast = forecaster.fit(train, columns=Columns(time="t")).predict()
        seconds, used = time.perf_counter() - start, time.process_time() - used
        found = score(histories, actual, by_series(forecast, "yhat"), season)
        report(f"seqkeras, seed {seed}", found, bars)
        for log in forecaster.logs_:
            print(
                f"  best of {len(log.loss)} epochs: {log.best_epoch}, "
                f"held-out loss {log.val_loss[0]:.4f} to {min(log.val_loss):.4f}"
            )
        print(f"  lookback {forecaster.lookback_}, {seconds:.0f} s, {used:.0f} s of processor time")


if __name__ == "__main__":
    main()
