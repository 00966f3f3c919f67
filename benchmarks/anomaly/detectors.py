"""Score the detectors next to simpler ones: NAB, VUS-PR, false alarms, and seconds.

    python benchmarks/anomaly/detectors.py nab --data FOLDER [--seeds 3] [--half report]
    python benchmarks/anomaly/detectors.py vus --data FOLDER [--seeds 3] [--half report]
    python benchmarks/anomaly/detectors.py false_alarms --data FOLDER [--seeds 3]
    python benchmarks/anomaly/detectors.py seconds [--seeds 3]

The recipe is the same for every file: the defaults of the detectors, with a lookback of 100. They
were chosen with `--half choose`, which reads every other NAB file in order of their names (from the
first on) and anomalies injected with another seed. `--half report` reads the other NAB files, the
other seed, and series that nothing was chosen on; `--half all` reads all.

    nab          streaming: a `ForecastDetector` learns from the probation rows of each NAB file,
                 and scores each row from the rows before it. A score counts only if it is the
                 highest of the last 100 rows: NAB charges every row of a false alarm. Published
                 scores of other detectors get the same scorer, on the same files.
    vus          VUS-PR. NAB: fitted on the whole file, without labels. UCR: on its training part.
                 Injected: on the first half, which has no anomalies; the second half has four.
                 Windows of VUS-PR are 100 rows, and a day for injected anomalies.
    false_alarms the share of the unseen half of usual series that is flagged, divided by the
                 promised share, with `clean=True` and `Conformal(0.01)`
    seconds      training and detection, of 10,000 rows

`--only TEXT` reads only the series with this text in family or name. `--rows FILE` appends the row
of each series to a file, to run in parts; `--rows FILE show` prints its tables instead. The folder
holds nab_known_artificial, nab_detector_scores, ucr_anomaly_135,
electricity_price_exog, bike_sharing_hourly and taylor_30min, as parquet; see `_anomaly_sets.py`.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from _anomaly_peers import PEERS, REFERENCES
from _anomaly_sets import injected, nab, probation, ucr, usual

from seqkeras.anomaly import AutoencoderDetector, Conformal, ForecastDetector
from seqkeras.anomaly._scorer import Scorer
from seqkeras.errors import DataError
from seqkeras.scoring import nab_score, vus_pr
from seqkeras.windows import GroupedArray

LOOKBACK = 100
WINDOW = 100
#: Rows in which only the highest score counts, in the NAB table.
HOLD = 100
RATE = 0.01
#: Seeds of injected anomalies.
INJECTED = {"choose": [100], "report": [0], "all": [0, 100]}


def halves(cases, half):
    """Return every other case, or all."""
    return {"choose": cases[::2], "report": cases[1::2], "all": cases}[half]


# Streaming on NAB


def onsets(scores):
    """Return each score that is above those of the `HOLD` rows before it, and 0 for others."""
    before = pd.Series(scores).rolling(HOLD, min_periods=1).max().shift(1).fillna(-np.inf)
    return np.where(scores > before, scores, 0.0)


def stream_scores(case, seed):
    """Return the scores of a stream, by name of the recipe."""
    start = case.values[: probation(case)]
    detector = ForecastDetector(LOOKBACK, causal=True, smoothing=None, seed=seed)
    try:
        detector.fit(start)
    except DataError:  # a constant start: any change is an anomaly
        scores = np.abs(case.values[:, 0] - start[0, 0])
        return {"with fusion": scores, "without fusion": scores}
    bare = replace(detector.scorer_, fusion=None)
    alone = bare.scores(GroupedArray.from_series([case.values]))
    return {"with fusion": detector.decision_function(case.values), "without fusion": alone}


def nab_rows(options):
    published = pd.read_parquet(options.data / "nab_detector_scores.parquet")
    for case in chosen(halves(nab(options.data), options.half), options):
        rows = published[published["file"] == case.name].sort_values("row")
        for name in ("skyline", "windowedGaussian", "numenta"):
            scores = rows.loc[rows["detector"] == name, "anomaly_score"].to_numpy()
            yield {"file": case.name, "detector": name, "seed": -1, "scores": scores}
        for seed in range(options.first, options.seeds):
            for name, scores in stream_scores(case, seed).items():
                row = {"file": case.name, "seed": seed}
                yield {**row, "detector": f"forecast, {name}", "scores": onsets(scores)}
                yield {**row, "detector": f"forecast, {name}, each row", "scores": scores}


def nab_table(rows, options):
    labels = {case.name: case.labels for case in nab(options.data)}
    lines, files = [], {}
    for (name, seed), part in rows.groupby(["detector", "seed"], sort=False):
        part = part.drop_duplicates("file", keep="last").sort_values("file")
        flags = [labels[file] for file in part["file"]]
        result = nab_score(flags, [np.asarray(scores) for scores in part["scores"]])
        lines.append((name, len(part), result.file_scores.sum(), result.normalized))
        files[name, seed] = pd.Series(result.file_scores, part["file"])
    frame = pd.DataFrame(lines, columns=["detector", "files", "sum", "normalized"])
    grouped = frame.groupby("detector", sort=False)
    table = grouped.mean().round(2)
    table["spread of normalized"] = grouped["normalized"].std(ddof=0).round(2)
    by_file = pd.DataFrame(files).T.groupby(level=0, sort=False).mean().T
    return [table, by_file.round(2)]


# VUS-PR


def vus_cases(options):
    cases = [case for case in halves(nab(options.data), options.half) if case.labels.any()]
    for seed in INJECTED[options.half]:
        cases += injected(options.data, seed)
    if options.half != "choose":
        cases += ucr(options.data)
    return chosen(cases, options)


def vus_window(case):
    if not case.family.startswith("injected"):
        return WINDOW
    return 48 if case.name.startswith("taylor") else 24


def variants(detector, fitted, errors=None):
    """Return scorers of a fitted detector with fusion, and without."""
    own = detector.scorer_
    series = GroupedArray.from_series([fitted])
    options = {"smoothing": own.smoothing, "fusion": own.fusion}
    if errors is not None:
        own = Scorer.fit(errors, own.scored, series, **options)[0]
    return {"": own, ", no fusion": replace(own, fusion=None)}


def recipes(fitted, seed):
    """Fit the detectors; return their scorers by name."""
    scorers = {}
    forecast = ForecastDetector(LOOKBACK, seed=seed).fit(fitted)
    for name, scorer in variants(forecast, fitted).items():
        scorers[f"ForecastDetector{name}"] = scorer
    centered = ForecastDetector(LOOKBACK, seed=seed, causal=False).settings()
    options = {"smoothing": centered.smoothing, "fusion": centered.fusion}
    series = GroupedArray.from_series([fitted])
    own = forecast.scorer_
    scorers["ForecastDetector, causal=False"] = Scorer.fit(
        own.errors, own.scored, series, **options
    )[0]
    windows = AutoencoderDetector(LOOKBACK, seed=seed).fit(fitted)
    apart = replace(windows.scorer_.errors, stride=LOOKBACK)
    for overlap, errors in (("", None), (", no overlap", apart)):
        for name, scorer in variants(windows, fitted, errors).items():
            scorers[f"AutoencoderDetector{name}{overlap}"] = scorer
    plain = {"cell": "lstm", "linear_skip": False, "horizon": 1}
    lstm = ForecastDetector(LOOKBACK, seed=seed, fusion=None, smoothing=None, **plain)
    scorers["LSTM forecast error"] = lstm.fit(fitted).scorer_
    return scorers


def vus_rows(options):
    fits = {}  # copies of a series differ only in the rows after the fit
    for case in vus_cases(options):
        flags = case.judged(case.labels)[0]
        for name, peer in {**PEERS, **REFERENCES}.items():
            scores = peer(case.fitted, case.values, LOOKBACK, options.first)
            yield vus_row(case, flags, name, options.first, scores)
        for seed in range(options.first, options.seeds):
            key = (case.fitted.tobytes(), seed)
            if key not in fits:
                fits = {key: recipes(case.fitted, seed)} if len(fits) > 6 else fits
                fits.setdefault(key, None)
                fits[key] = fits[key] or recipes(case.fitted, seed)
            for name, scorer in fits[key].items():
                scores = scorer.scores(GroupedArray.from_series([case.values]))
                yield vus_row(case, flags, name, seed, scores)


def vus_row(case, flags, name, seed, scores):
    value = vus_pr(flags, case.judged(scores)[1], window=vus_window(case))
    return {
        "family": case.family,
        "file": case.name,
        "detector": name,
        "seed": seed,
        "value": value,
    }


def vus_table(rows, options):
    def pivot(part, columns):
        seeds = part.groupby(["detector", columns, "seed"], sort=False)["value"].mean()
        by_seed = seeds.groupby(["detector", columns], sort=False)
        return by_seed.mean().unstack(sort=False)

    table = pivot(rows, "family")
    means = rows.groupby(["detector", "family", "seed"])["value"].mean()
    spread = means.groupby(["detector", "seed"]).mean().groupby("detector").std(ddof=0)
    table["mean"], table["spread"] = table.mean(axis=1), spread
    return [table.round(3), pivot(rows[rows["family"] == "NAB"], "file").T.round(2)]


# False alarms, and seconds


def false_alarms_rows(options):
    for name, values, _ in usual(options.data):
        middle = len(values) // 2
        for seed in range(options.first, options.seeds):
            for build in (ForecastDetector, AutoencoderDetector):
                rule = Conformal(RATE)
                detector = build(LOOKBACK, clean=True, threshold=rule, seed=seed)
                flags = detector.fit(values[:middle]).predict(values[middle:])
                row = {"file": name, "detector": build.__name__, "seed": seed}
                yield {**row, "value": flags.mean() / RATE}


def seconds_rows(options):
    random = np.random.default_rng(0)
    x = np.sin(np.arange(10_000) / 8) + random.normal(size=10_000) * 0.2
    for seed in range(options.first, options.seeds):
        for build in (ForecastDetector, AutoencoderDetector):
            wall, processor = time.perf_counter(), time.process_time()
            build(LOOKBACK, seed=seed).fit(x).decision_function(x)
            row = {"detector": build.__name__, "seed": seed}
            yield {**row, "file": "seconds", "value": time.perf_counter() - wall}
            yield {**row, "file": "processor seconds", "value": time.process_time() - processor}


def plain_table(rows, options):
    grouped = rows.groupby(["file", "detector"], sort=False)["value"]
    return [grouped.mean().unstack().round(2), grouped.std(ddof=0).unstack().round(2)]


TASKS = {
    "nab": (nab_rows, nab_table),
    "vus": (vus_rows, vus_table),
    "false_alarms": (false_alarms_rows, plain_table),
    "seconds": (seconds_rows, plain_table),
}


def chosen(cases, options):
    return [case for case in cases if options.only in f"{case.family} {case.name}"]


def markdown(table):
    """Return a frame as a table in Markdown."""
    lines = [["", *map(str, table.columns)], ["---"] * (len(table.columns) + 1)]
    lines += [list(map(str, row)) for row in table.itertuples()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("show", nargs="?", choices=["show"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--half", choices=["choose", "report", "all"], default="report")
    parser.add_argument("--only", default="")
    parser.add_argument("--rows", type=Path)
    options = parser.parse_args()
    run, tables = TASKS[options.task]
    rows = []
    if options.show:
        rows = pd.read_json(options.rows, lines=True)
    else:
        for row in run(options):
            rows.append(row)
            if options.rows is not None:
                line = pd.DataFrame([row]).to_json(orient="records", lines=True, double_precision=6)
                with options.rows.open("a") as file:
                    file.write(line)
        rows = pd.DataFrame(rows)
    for table in tables(rows, options):
        print(markdown(table), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
