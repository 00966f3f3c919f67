"""The command `detect`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqkeras._checks import bad_argument, check_integer
from seqkeras._cli._detection_table import TIMES, Table, read_table
from seqkeras._cli._table_options import add_table_options
from seqkeras._cli._targets import (
    check_different,
    picture_to_write,
    table_to_write,
)
from seqkeras._cli._terminal import hold_back_notices, records, save_picture, show
from seqkeras._drawing import timestamps

if TYPE_CHECKING:
    from seqkeras.anomaly import Detector
    from seqkeras.anomaly._detection import Detection

DETECTORS = {"forecast": "ForecastDetector", "autoencoder": "AutoencoderDetector"}

#: Share of rows that are flagged unless an option says otherwise.
CONTAMINATION = 0.01
#: Most intervals that are printed.
MOST_INTERVALS = 10


def add_detect_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    add = parser.add_argument
    add(
        "file",
        type=Path,
        help="table with a row for each timestep, .csv or .parquet; - is standard input",
    )
    add(
        "--time-col",
        help=f"column of timestamps (default: the first of {', '.join(TIMES)} in the file; without "
        "one, rows are numbered)",
    )
    add("--columns", nargs="+", metavar="NAME", help="columns to score (default: all others)")
    add(
        "--context",
        nargs="*",
        default=[],
        metavar="NAME",
        help="columns that explain the scored ones, such as commands; not scored themselves",
    )
    add("--id-col", help="column of series ids; omit it for one series")
    add("--detector", choices=list(DETECTORS), default="forecast", help="default: forecast")
    add("--lookback", type=int, default=100, help="timesteps that a score reads (default: 100)")
    threshold = parser.add_mutually_exclusive_group()
    threshold.add_argument(
        "--contamination",
        type=float,
        help=f"share of the training rows to flag (default: {CONTAMINATION:g})",
    )
    threshold.add_argument(
        "--false-alarm-rate",
        type=float,
        help="promised share of usual rows to flag; the threshold follows the scores",
    )
    add("--train-rows", type=int, help="train on the first rows of each series (default: all)")
    add(
        "--clean",
        action="store_true",
        help="the training rows hold no anomalies (default threshold: --false-alarm-rate 0.01)",
    )
    add("--merge", type=int, default=0, help="join intervals with fewer rows than this in between")
    add("--epochs", type=int, default=10, help="maximum number of epochs (default: 10)")
    add("--seed", type=int, default=0, help="seed of weights and shuffles")
    add("--sort", action="store_true", help="sort the rows by time")
    add(
        "--fill",
        choices=["raise", "interpolate"],
        default="raise",
        help="missing values: an error (raise, the default), or linearly interpolated",
    )
    add("--ignore-gaps", action="store_true", help="treat the rows as evenly spaced")
    add(
        "--freq",
        type=int,
        choices=[1],
        help="1 if timestamps that are whole numbers, such as 20241231, count timesteps",
    )
    add("--output", type=Path, help="table of scores (default: FILE_scores.csv or .parquet)")
    add("--intervals", type=Path, help="table of flagged intervals (default: FILE_intervals...)")
    add("--plot", type=Path, help="picture to write (default: FILE_detection.png)")
    add("--force", action="store_true", help="overwrite existing files")
    add_table_options(parser)


def detect(options: argparse.Namespace) -> dict[str, Any]:
    """Score and flag the rows of a file."""
    output, intervals, picture = _check_targets(options)
    _check_options(options)
    table = read_table(options)
    # Keras is slow to import, so the file is checked first.
    with hold_back_notices():
        detector = _detector(options, table)

    from seqkeras._cli._tables import write_file

    detector.fit(table.first(options.train_rows), columns=table.columns)
    detection = detector._detect(table.frame())
    alarms = _intervals(table, detection, options.merge)
    _print_summary(options, table, detection, len(alarms))
    if len(alarms):
        worst = alarms.sort_values("severity", ascending=False, kind="stable")
        print()
        show(worst, rows=MOST_INTERVALS)
    write_file(_scores(table, detection), output)
    print(f"\nScores: {output}")
    write_file(alarms, intervals)
    print(f"Intervals: {intervals}", flush=True)
    times = timestamps(table.rows[table.time])
    figure = detector._plot(detection, times=times, merge=options.merge)
    save_picture(figure, picture)
    print(f"Picture: {picture}")
    return {
        "rows": len(detection.flags),
        "flagged": int(detection.flags.sum()),
        "intervals": records(alarms),
        "output": str(output),
        "intervals_file": str(intervals),
        "picture": str(picture),
    }


def _check_targets(options: argparse.Namespace) -> tuple[Path, Path, Path]:
    output = table_to_write(options, "output", "scores")
    intervals = table_to_write(options, "intervals", "intervals")
    picture = picture_to_write(options, "detection")
    files = [options.file, output, intervals, picture]
    check_different("FILE, --output, --intervals, --plot", files)
    return output, intervals, picture


def _check_options(options: argparse.Namespace) -> None:
    check_integer("--lookback", options.lookback, minimum=2)
    check_integer("--epochs", options.epochs)
    check_integer("--seed", options.seed, minimum=0)
    check_integer("--merge", options.merge, minimum=0)
    if options.train_rows is not None:
        check_integer("--train-rows", options.train_rows)
    share = options.contamination
    if share is not None and not 0 < share <= 0.5:
        raise bad_argument("--contamination", share, "above 0 and at most 0.5")
    if share is not None and options.clean:
        fix = "Use --false-alarm-rate."
        raise bad_argument("--contamination", share, "omitted with --clean", fix)
    rate = options.false_alarm_rate
    if rate is not None and not 0 < rate < 1:
        raise bad_argument("--false-alarm-rate", rate, "a number between 0 and 1, both excluded")


def _detector(options: argparse.Namespace, table: Table) -> "Detector":
    from seqkeras import anomaly
    from seqkeras.anomaly._detector_settings import PATIENCE
    from seqkeras.forecasting import Training

    rate, threshold = options.false_alarm_rate, None
    if rate is not None:
        threshold = anomaly.Conformal(rate)
    detector: Detector = getattr(anomaly, DETECTORS[options.detector])(
        options.lookback,
        scored=table.scored,
        clean=options.clean,
        contamination=options.contamination or CONTAMINATION,
        threshold=threshold,
        training=Training(epochs=options.epochs, patience=PATIENCE),
        seed=options.seed,
    )
    return detector


def _scores(table: Table, detection: "Detection") -> Any:
    restore = detection.rows.form.restore
    return table.rows[table.keys].assign(
        score=restore(detection.scores),
        threshold=restore(detection.limits),
        flagged=restore(detection.flags.astype(np.int64)),
    )


def _intervals(table: Table, detection: "Detection", merge: int) -> Any:
    """Return a frame with a row for each flagged interval; `end` is its last row."""
    form = detection.rows.form
    order = np.arange(len(table.rows)) if form.order is None else form.order
    begins = form.indptr[:-1]
    alarms = [
        (begin, alarm)
        for begin, part in zip(begins, detection.alarms(merge=merge), strict=True)
        for alarm in part
    ]

    def rows_at(positions: list[int]) -> Any:
        return table.rows.iloc[order[np.array(positions, np.int64)]].reset_index(drop=True)

    time = table.time
    frame = rows_at([begin + alarm.start for begin, alarm in alarms])[table.keys]
    return frame.rename(columns={time: "start"}).assign(
        end=rows_at([begin + alarm.stop - 1 for begin, alarm in alarms])[time],
        rows=[alarm.stop - alarm.start for _, alarm in alarms],
        severity=[alarm.severity for _, alarm in alarms],
        peak=rows_at([begin + alarm.peak for begin, alarm in alarms])[time],
    )


def _print_summary(
    options: argparse.Namespace, table: Table, detection: "Detection", intervals: int
) -> None:
    flags, form = detection.flags, detection.rows.form
    series = len(form.indptr) - 1
    names = ", ".join(table.scored[:5])
    if len(table.scored) > 5:
        names += f" and {len(table.scored) - 5} more"
    context = f", with context {', '.join(options.context)}" if options.context else ""
    print(f"Scored: {names}{context}; {len(flags)} rows of {series} series")
    print(f"Flagged: {_share(flags)}, in {intervals} intervals")
    if options.train_rows is not None:
        position = np.concatenate([np.arange(length) for length in np.diff(form.indptr)])
        trained = position < options.train_rows
        print(f"  of those trained on: {_share(flags[trained])}")
        if not trained.all():
            print(f"  of the later ones: {_share(flags[~trained])}")
    elif options.false_alarm_rate is None and not options.clean:
        print("  This share is that of --contamination, not a finding; intervals rank the rows.")


def _share(flags: Any) -> str:
    return f"{int(flags.sum())} of {len(flags)} rows ({flags.mean():.2%})"
