"""From which score on the season of the frequency is assumed: errors of forecasts, by threshold.

    python benchmarks/forecasting/seasons.py FOLDER

For each series of `interval_widths.py` with a frequency that suggests a season, the linear expert
forecasts the horizon before the last twice: with that season, and without one. The score is that of
`seqkeras.forecasting.fitting._season`, from the rows before. For each threshold, the table has the
geometric mean of the error relative to always assuming the season, if it is assumed only from the
threshold on, and in brackets for how many series it is not.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from interval_widths import cases
from linear_expert import fitted_expert

from seqkeras.forecasting.fitting._season import _score
from seqkeras.forecasting.networks._build import default_lookback

THRESHOLDS = (-np.inf, 0, 0.5, 0.75, 1, 1.25, 1.645, 2, 2.5, np.inf)


def mean_error(history, actual, season, lookback):
    """Return the mean absolute error of the linear expert."""
    expert = fitted_expert([history], lookback, len(actual), season)
    [forecast] = expert.forecast(history[np.newaxis, -lookback:])
    return max(np.abs(actual - forecast).mean(), 1e-9)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    results = defaultdict(list)
    for history, actual, season in cases(parser.parse_args().folder):
        values, ahead = np.asarray(history, float), np.asarray(actual, float)
        horizon = len(ahead)
        lookback = default_lookback(horizon, season, len(values) - 2 * horizon)
        if season == 1 or len(values) < lookback + 2 * horizon:
            continue
        score = _score(values, season)
        errors = [mean_error(values, ahead, length, lookback) for length in (season, 1)]
        gain = np.log(errors[1] / errors[0])
        for group in (f"season {season}", "all"):
            results[group].append((np.inf if score is None else score, gain))
    rows = {}
    for group, pairs in results.items():
        score, gain = np.array(pairs).T
        rows[f"{group}, {len(score)} series"] = {
            threshold: f"{np.exp(np.where(score < threshold, gain, 0).mean()):.3f} "
            f"({(score < threshold).sum()})"
            for threshold in THRESHOLDS
        }
    print(pd.DataFrame(rows).to_string())


if __name__ == "__main__":
    main()
