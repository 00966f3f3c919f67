"""Compare the scores of anomaly detectors with published ones and with other implementations.

    python benchmarks/anomaly/scores.py --data FOLDER [--peers] [--window 20]

The folder holds, from github.com/numenta/NAB:

    nab_known_artificial.parquet        file, in_window: the rows of 18 files in order
    nab_detector_scores.parquet         detector, file, row, anomaly_score
    nab_published_file_scores.parquet   detector, profile, file, threshold, score

Prints the largest difference of our NAB scores from the published ones, and the normalized score of
each detector on these files, with a threshold chosen on them. With `--peers`, also the largest
differences of VUS, affiliation and range scores from TSB-AD and prts, on these files and on random
short series with ties, and the time of VUS. Peers need an environment of their own:

    pip install "numpy<2" pandas "pyarrow<20" scipy scikit-learn aeon==1.6.0
    pip install --no-deps TSB-AD==1.5 prts==1.0.0.3
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from seqkeras.scoring import (
    affiliation_precision_recall,
    nab_score,
    range_precision_recall,
    vus_pr,
    vus_roc,
)

PROFILES = ("standard", "reward_low_FP_rate", "reward_low_FN_rate")


def read(folder):
    """Return the labels of each file, and the scores of each detector by file."""
    series = pd.read_parquet(folder / "nab_known_artificial.parquet")
    labels = {file: rows.in_window.to_numpy() for file, rows in series.groupby("file", sort=False)}
    table = pd.read_parquet(folder / "nab_detector_scores.parquet").sort_values("row")
    scores = {
        detector: {file: rows.anomaly_score.to_numpy() for file, rows in own.groupby("file")}
        for detector, own in table.groupby("detector")
    }
    return labels, scores


def compare_nab(folder, labels, scores):
    published = pd.read_parquet(folder / "nab_published_file_scores.parquet")
    published = published.set_index(["detector", "profile", "file"])
    print(f"{'NAB score':18} {'profile':20} {'largest difference':>20} {'on these files':>16}")
    for detector, by_file in scores.items():
        for profile in PROFILES:
            differences = []
            for file, flags in labels.items():
                row = published.loc[detector, profile, file]
                ours = nab_score([flags], [by_file[file]], profile=profile, threshold=row.threshold)
                differences.append(abs(ours.file_scores[0] - row.score))
            best = nab_score(
                list(labels.values()), [by_file[file] for file in labels], profile=profile
            )
            print(f"{detector:18} {profile:20} {max(differences):20.1e} {best.normalized:16.2f}")


def random_cases(count):
    """Yield labels and scores of short series, with ties and anomalies at the ends."""
    random = np.random.default_rng(0)
    for case in range(count):
        rows = int(random.integers(4, 120))
        labels = np.zeros(rows, int)
        for start in random.integers(0, rows, random.integers(1, 6)):
            labels[start : start + random.integers(1, 2 + rows // 8)] = 1
        labels[[0, rows - 1]] |= case % 4 == 0
        labels[rows // 2] = 0
        labels[rows // 3] = 1
        scores = random.random(rows) + 0.5 * labels
        yield labels, np.round(scores * 5) if case % 2 else scores


def nab_cases(labels, scores):
    for by_file in scores.values():
        for file, flags in labels.items():
            if flags.any():
                yield flags.astype(int), by_file[file]


def differences(labels, scores, window):
    """Return the differences of our scores from those of the peers, by name."""
    from prts import ts_precision, ts_recall
    from TSB_AD.evaluation.affiliation.generics import convert_vector_to_events
    from TSB_AD.evaluation.affiliation.metrics import pr_from_events
    from TSB_AD.evaluation.basic_metrics import generate_curve

    *_, roc, pr = generate_curve(labels, scores, window)
    flagged = (scores >= np.quantile(scores, 0.9)).astype(int)
    events = [convert_vector_to_events(flags) for flags in (flagged, labels)]
    affiliation = pr_from_events(*events, (0, len(labels)))
    ours = affiliation_precision_recall(labels, flagged)
    ranges = range_precision_recall(labels, flagged, existence=0.2, bias="front")
    options = {"alpha": 0.2, "bias": "front", "cardinality": "reciprocal"}
    return {
        "VUS-PR (TSB-AD)": vus_pr(labels, scores, window=window) - pr,
        "VUS-ROC (TSB-AD)": vus_roc(labels, scores, window=window) - roc,
        "affiliation precision": ours.precision - affiliation["Affiliation_Precision"],
        "affiliation recall": ours.recall - affiliation["Affiliation_Recall"],
        "range recall (prts)": ranges.recall - ts_recall(labels, flagged, **options),
        "range precision (prts)": ranges.precision
        - ts_precision(labels, flagged, alpha=0, cardinality="reciprocal"),
    }


def difference_from_aeon(labels, scores, window):
    from aeon.benchmarking.metrics.anomaly_detection import range_pr_vus_score

    return vus_pr(labels, scores, window=window) - range_pr_vus_score(labels, scores, window)


def compare_peers(cases, window):
    table = pd.DataFrame([differences(*case, window) for case in cases])
    print(table.abs().max().map("{:.1e}".format).to_string())


def time_vus(rows=10_000, window=100):
    from TSB_AD.evaluation.basic_metrics import generate_curve

    labels = (np.arange(rows) % 1_000 < 60).astype(int)
    scores = np.random.default_rng(0).random(rows) + 0.3 * labels
    started = time.perf_counter()
    vus_pr(labels, scores, window=window)
    ours = time.perf_counter() - started
    started = time.perf_counter()
    generate_curve(labels, scores, window)
    theirs = time.perf_counter() - started
    print(f"\n{rows} rows, window {window}: {ours * 1e3:.0f} ms, TSB-AD {theirs:.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--window", type=int, default=20)
    options = parser.parse_args()
    labels, scores = read(options.data)
    compare_nab(options.data, labels, scores)
    if not options.peers:
        return
    print(f"\nlargest differences on random short series, window {options.window}")
    compare_peers(random_cases(200), options.window)
    gaps = [abs(difference_from_aeon(*case, options.window)) for case in random_cases(200)]
    print(f"VUS-PR (aeon, which sums trapezoids)  {max(gaps):.1e}")
    print(f"\nlargest differences on the NAB files, window {options.window}")
    compare_peers(nab_cases(labels, scores), options.window)
    time_vus()


if __name__ == "__main__":
    main()
