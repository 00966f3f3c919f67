"""Score forecasters on thirty single series of many kinds, next to AutoETS and AutoTheta.

    python benchmarks/forecasting/everyday.py FOLDER --origins 1 2 --out scores.json

The series have 84 to 1,500 rows, by year, quarter, month, week, day and hour: sales, prices,
exchange rates, loads, weather, rivers, sunspots. FOLDER has the parquet files of `SERIES` and
`PANELS`; the other series come with statsmodels. Each series is forecast from one origin or more:
0 is the last horizon of the series, 1 the horizon before it, and so on. Choose settings by origins
from 1 on, and report origin 0.

The scores of each contender are kept in the json file `--out`, and the table has all that it holds.
So contenders that need different environments are run one after the other, with `--contenders`.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

#: Longest history; longer series are cut at the front.
MOST_ROWS = 1500
#: Files with a series in each column: name, columns, season, horizon, frequency, rows to sum.
SERIES = [
    ("air_passengers", ["passengers"], 12, 12, "MS", 1),
    ("exchange_rate", ["britain", "australia"], 5, 20, "B", 1),
    ("items_sales", ["item_1", "item_2", "item_3"], 7, 28, "D", 1),
    ("sunspots_monthly", ["sunspots"], 12, 12, "MS", 1),
    ("sunspots_yearly", ["SUNACTIVITY"], 1, 6, "YS", 1),
    ("taylor_30min", ["demand"], 24, 24, "h", 2),
    ("taylor_30min", ["demand"], 7, 14, "D", 48),
    ("bike_sharing_hourly", ["users"], 24, 24, "h", 1),
    ("bike_sharing_hourly", ["users"], 7, 14, "D", 24),
    ("ETTh1", ["OT", "HUFL"], 24, 24, "h", 1),
]
#: Files with all series in one column: name, column, number of series, season, horizon, frequency.
PANELS = [
    ("bank_branch_weekly", "Act_5_0__40944", 3, 52, 13, "W"),
    ("electricity_price_exog", "y", 2, 24, 24, "h"),
    ("walmart_sales_weekly", "Weekly_Sales", 3, 52, 13, "W"),
    ("demo_multi_series_exog", "value", 2, 7, 14, "D"),
]


def from_statsmodels():
    """Yield the series that come with statsmodels: name, values, season, horizon, frequency."""
    import statsmodels.api as sm

    co2 = sm.datasets.co2.load_pandas().data.co2.resample("MS").mean().interpolate()
    yield "co2", co2, 12, 12, "MS"
    yield "nile", sm.datasets.nile.load_pandas().data.volume, 1, 6, "YS"
    macro = sm.datasets.macrodata.load_pandas().data
    for name in ("realgdp", "unemp", "infl"):
        yield name, macro[name], 4, 8, "QS"
    el_nino = sm.datasets.elnino.load_pandas().data.iloc[:, 1:].to_numpy().ravel()
    yield "elnino", el_nino, 12, 12, "MS"


def everyday_series(folder):
    """Yield the series: name, values, season, horizon, frequency."""
    for file, columns, season, horizon, frequency, summed in SERIES:
        frame = pd.read_parquet(folder / f"{file}.parquet")
        for column in columns:
            values = frame[column].to_numpy(float)
            values = values[: len(values) // summed * summed].reshape(-1, summed).sum(axis=1)
            yield f"{file} {column} {frequency}", values, season, horizon, frequency
    for file, column, count, season, horizon, frequency in PANELS:
        frame = pd.read_parquet(folder / f"{file}.parquet")
        for name, rows in list(frame.groupby("unique_id"))[:count]:
            yield f"{file} {name}", rows[column], season, horizon, frequency
    yield from from_statsmodels()


def histories(folder, origins):
    """Yield for each series and origin: key, history, actual values, season, frequency."""
    for name, values, season, horizon, frequency in everyday_series(folder):
        values = np.asarray(values, float)
        values = values[~np.isnan(values)][-MOST_ROWS:]
        for origin in origins:
            last = len(values) - horizon * (1 + origin)
            key = f"{name} | {origin}"
            yield key, values[:last], values[last : last + horizon], season, frequency


def seqkeras(**options):
    """Return a contender: a forecaster with these options of its network, else the default one."""

    def forecast(history, horizon, season, frequency):
        import keras

        from seqkeras.forecasting import Forecaster, Network, Training

        ds = pd.date_range("1950-01-01", periods=len(history), freq=frequency)
        forecaster = Forecaster(
            horizon,
            season_length=season,
            network=Network(**options),
            training=Training(progress=False),
            seed=0,
        ).fit(pd.DataFrame({"ds": ds, "y": history}))
        result = forecaster.predict()
        keras.backend.clear_session()
        return result

    return forecast


def statsforecast(model):
    """Return a contender: a model of statsforecast."""

    def forecast(history, horizon, season, frequency):
        from statsforecast import models

        length = season if season <= 24 or model == "AutoTheta" else 1
        result = getattr(models, model)(season_length=length).forecast(
            history, horizon, level=[80, 95]
        )
        names = {"mean": "yhat"} | {
            f"{end}-{level}": f"yhat-{end}-{level}" for end in ("lo", "hi") for level in (80, 95)
        }
        return pd.DataFrame({new: result[old] for old, new in names.items() if old in result})

    return forecast


def seasonal_naive(history, horizon, season, frequency):
    """Repeat the last season."""
    return pd.DataFrame({"yhat": history[-season:][np.arange(horizon) % season]})


CONTENDERS = {
    "seasonal naive": seasonal_naive,
    "default": seqkeras(),
    "network only": seqkeras(linear_expert=False),
    "AutoETS": statsforecast("AutoETS"),
    "AutoTheta": statsforecast("AutoTheta"),
}


def score(forecast, history, actual, season):
    """Return the MASE and the share of values inside each interval."""
    scale = np.abs(history[season:] - history[:-season]).mean()
    result = {"MASE": np.abs(actual - forecast["yhat"].to_numpy()).mean() / scale}
    for level in (80, 95):
        if f"yhat-lo-{level}" in forecast:
            low, high = (forecast[f"yhat-{end}-{level}"].to_numpy() for end in ("lo", "hi"))
            result[f"in {level} %"] = np.mean((low <= actual) & (actual <= high))
    return {name: float(value) for name, value in result.items()}


def table(scores, origins):
    """Return a table of all contenders, over the series that all of them forecast."""
    keys = set.intersection(*(set(scores[name]) for name in scores))
    keys = [key for key in keys if int(key.rsplit("|")[-1]) in origins]
    rows = {}
    by_series = {}
    for name, results in scores.items():
        errors = defaultdict(list)
        for key in keys:
            errors[key.rsplit(" | ")[0]].append(results[key]["MASE"])
        by_series[name] = pd.Series({series: np.mean(e) for series, e in errors.items()})
        coverage = {
            column: np.mean([results[key].get(column, np.nan) for key in keys])
            for column in ("in 80 %", "in 95 %")
        }
        rows[name] = {
            "geometric mean of MASE": np.exp(np.log(by_series[name].clip(1e-9)).mean()),
            "above 1.2 x naive": (by_series[name] > 1.2 * by_series["seasonal naive"]).mean(),
            **coverage,
            "processor seconds": np.mean([results[key]["seconds"] for key in keys]),
        }
    print(f"{len(by_series['seasonal naive'])} series, {len(keys)} forecasts")
    return pd.DataFrame(rows).T


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--origins", type=int, nargs="+", default=[0])
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=[*CONTENDERS])
    parser.add_argument("--out", type=Path, default=Path("everyday.json"))
    options = parser.parse_args()
    scores = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in options.contenders:
        done = scores.setdefault(name, {})
        for key, history, actual, season, frequency in histories(options.folder, options.origins):
            if key in done:
                continue
            start = time.process_time()
            forecast = CONTENDERS[name](history, len(actual), season, frequency)
            seconds = time.process_time() - start
            done[key] = {**score(forecast, history, actual, season), "seconds": seconds}
            options.out.write_text(json.dumps(scores))
            print(name, key, f"{done[key]['MASE']:.3f}", flush=True)
    print(table(scores, options.origins).round(3).to_string())


if __name__ == "__main__":
    main()
