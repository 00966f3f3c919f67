"""The command `backtest`."""

import argparse
from pathlib import Path
from typing import Any

from seqkeras._checks import bad_argument, check_integer
from seqkeras._cli._engine_options import add_engine_options
from seqkeras._cli._forecaster_options import (
    add_forecaster_options,
    check_numbers,
    forecaster_of,
    read_series,
)
from seqkeras._cli._table_options import add_table_options
from seqkeras._cli._targets import (
    check_different,
    picture_to_write,
    table_to_write,
)
from seqkeras._cli._terminal import (
    hold_back_notices,
    save_picture,
    score_records,
    show_scores,
    tell_picture,
)


def add_backtest_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    add_forecaster_options(parser)
    add_table_options(parser)
    add = parser.add_argument_group("origins and results").add_argument
    add("--windows", type=int, default=1, help="origins of each series (default: 1)")
    add("--step", type=int, help="rows from one origin to the next (default: horizon minus gap)")
    add("--gap", type=int, default=0, help="unscored rows after each origin (default: 0)")
    add(
        "--refit",
        type=int,
        default=0,
        metavar="N",
        help="fit again at every N-th origin (default: 0, fit once before the first)",
    )
    add("--jobs", type=int, help="fits that run at the same time (default: 1)")
    add_engine_options(add, "fits")
    add("--output", type=Path, help="table to write (default: FILE_backtest.csv or .parquet)")
    add("--plot", type=Path, help="picture to write (default: FILE_backtest.png)")
    add("--force", action="store_true", help="overwrite existing files")


def backtest(options: argparse.Namespace) -> dict[str, Any]:
    """Score forecasts of the last rows of each series of a file, from rolling origins."""
    output = table_to_write(options, "output", "backtest")
    picture = picture_to_write(options, "backtest")
    check_different("FILE, --output, --plot", [options.file, output, picture])
    check_numbers(options)
    _check_origins(options)
    df, columns = read_series(options)
    # Keras is slow to import, so the file is checked first.
    with hold_back_notices():
        from seqkeras.forecasting import backtest as backtest_frame

    from seqkeras._cli._tables import write_file

    result = backtest_frame(
        forecaster_of(options),
        df,
        columns=columns,
        windows=options.windows,
        step=options.step,
        gap=options.gap,
        refit=options.refit or False,
        n_jobs=options.jobs,
        engine=options.engine,
        folder=options.folder,
    )
    origins = "origin" if options.windows == 1 else "origins"
    show_scores(result.scores, f"Scores of forecasts from {options.windows} {origins}")
    write_file(result.frame, output)
    print(f"\nForecasts: {output}")
    save_picture(result.plot(), picture)
    tell_picture(picture, df, options.id_col)
    return {
        "scores": score_records(result.scores),
        "output": str(output),
        "picture": str(picture),
    }


def _check_origins(options: argparse.Namespace) -> None:
    check_integer("--windows", options.windows)
    check_integer("--gap", options.gap, minimum=0)
    check_integer("--refit", options.refit, minimum=0)
    if options.jobs is not None:
        check_integer("--jobs", options.jobs)
    if options.step is not None:
        check_integer("--step", options.step)
    if options.gap >= options.horizon:
        expected = f"below the {options.horizon} timesteps of --horizon"
        raise bad_argument("--gap", options.gap, expected)
