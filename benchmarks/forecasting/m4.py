"""Score a forecaster on the M4 competition: OWA on its hourly or weekly series.

    python benchmarks/forecasting/m4.py m4_hourly.parquet --frequency hourly

The file has the columns unique_id, t, y and split ("train" or "test"), from the csv files of
github.com/Mcompetitions/M4-methods. One network is trained on all series; without options it is the
default forecaster, with the season of the competition. OWA is the mean of sMAPE and MASE, each
relative to that of Naive2; below 1 is better than Naive2. `--held-out` does not touch the test part
and scores the last horizon of the training part: choose options by that.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from seqkeras.forecasting import Columns, Forecaster, Network, Training
from seqkeras.scoring import mase, naive, naive2, owa, smape

#: Horizon and season of the competition, where weekly series have no season.
FREQUENCIES = {"hourly": (48, 24), "weekly": (13, 1)}


def read(path, *, series, held_out):
    """Return training and test rows, of all series or of some spread evenly."""
    frame = pd.read_parquet(path).sort_values(["unique_id", "t"])
    if series is not None:
        ids = frame.unique_id.unique()
        frame = frame[frame.unique_id.isin(ids[:: max(1, len(ids) // series)][:series])]
    train = frame[frame.split == "train"]
    test = frame[frame.split == "test"]
    if held_out:
        steps = len(test) // test.unique_id.nunique()
        last = train.groupby("unique_id").cumcount(ascending=False) < steps
        return train[~last], train[last]
    return train, test


def by_series(frame, column="y"):
    return {name: rows[column].to_numpy() for name, rows in frame.groupby("unique_id")}


def score(histories, actual, forecasts, season):
    """Return the mean sMAPE and the mean MASE over the series."""
    smapes = [smape(actual[name], forecasts[name]) for name in actual]
    mases = [
        mase(actual[name], forecasts[name], history=histories[name], season_length=season)
        for name in actual
    ]
    return np.mean(smapes), np.mean(mases)


def report(method, scores, naive2_scores):
    value = owa(
        smape=scores[0],
        mase=scores[1],
        naive2_smape=naive2_scores[0],
        naive2_mase=naive2_scores[1],
    )
    print(f"{method:16} {scores[0]:8.3f} {scores[1]:8.3f} {value:8.3f}", flush=True)


def build(horizon, season, options, seed):
    """Return a forecaster with the options that were set, and the defaults for the others."""

    def chosen(**values):
        return {name: value for name, value in values.items() if value is not None}

    network = chosen(architecture=options.model, units=options.units)
    training = chosen(
        epochs=options.epochs,
        patience=options.patience,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        validation=options.validation,
    )
    return Forecaster(
        horizon,
        lookback=options.lookback,
        season_length=options.season_length or season,
        network=Network(**network),
        likelihood=options.head,
        training=Training(progress=False, **training),
        seed=seed,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--frequency", required=True, choices=FREQUENCIES)
    parser.add_argument("--series", type=int, help="number of series, spread evenly; default: all")
    parser.add_argument("--held-out", action="store_true", help="do not touch the test part")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--model", nargs="+", help="network; several are an ensemble")
    parser.add_argument("--head", help="likelihood")
    parser.add_argument("--lookback", type=int)
    parser.add_argument("--season-length", type=int)
    parser.add_argument("--units", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--patience", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--validation", type=float)
    options = parser.parse_args()
    train, test = read(options.path, series=options.series, held_out=options.held_out)
    horizon, season = FREQUENCIES[options.frequency]
    histories = by_series(train)
    actual = by_series(test)
    baselines = {
        "Naive2": (naive2, season),
        "naive": (naive, 1),
        "seasonal naive": (naive, season),
    }
    print(f"{len(actual)} series, {keras.backend.backend()}, {vars(options)}")
    print(f"{'':16} {'sMAPE':>8} {'MASE':>8} {'OWA':>8}")
    naive2_scores = None
    for method, (function, season_length) in baselines.items():
        forecasts = {
            name: function(history, horizon=horizon, season_length=season_length)
            for name, history in histories.items()
        }
        scores = score(histories, actual, forecasts, season)
        naive2_scores = naive2_scores or scores
        report(method, scores, naive2_scores)
    for seed in options.seeds:
        start = time.perf_counter()
        processor_start = time.process_time()
        forecaster = build(horizon, season, options, seed)
        forecast = forecaster.fit(train, columns=Columns(time="t")).predict()
        seconds = time.perf_counter() - start
        processor_seconds = time.process_time() - processor_start
        scores = score(histories, actual, by_series(forecast, "yhat"), season)
        report(f"seqkeras, seed {seed}", scores, naive2_scores)
        for log in forecaster.logs_:
            print(
                f"  best of {len(log.loss)} epochs: {log.best_epoch}, "
                f"held-out loss {log.val_loss[0]:.4f} to {min(log.val_loss):.4f}"
            )
        print(
            f"  lookback {forecaster.lookback_}, {seconds:.0f} s, "
            f"{processor_seconds:.0f} s of processor time"
        )


if __name__ == "__main__":
    main()
