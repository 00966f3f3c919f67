"""The command `compare`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqkeras._checks import check_integer, check_positive
from seqkeras._cli._engine_options import add_engine_options
from seqkeras._cli._forecaster_options import (
    add_column_options,
    add_level_option,
    check_horizon,
    check_levels,
    read_future,
    read_series,
)
from seqkeras._cli._table_options import add_table_options
from seqkeras._cli._targets import (
    check_different,
    check_place,
    picture_to_write,
    table_to_write,
)
from seqkeras._cli._terminal import (
    complain,
    hold_back_notices,
    records,
    save_picture,
    score_records,
    show,
    show_scores,
    tell_picture,
)

if TYPE_CHECKING:
    from seqkeras.forecasting import Comparison

#: The values of the library, repeated here because Keras is slow to import; a test compares them.
CONTENDERS = (
    "naive",
    "seasonal naive",
    "linear",
    "AutoETS",
    "AutoTheta",
    "LightGBM",
    "multi_output",
    "segment_rnn",
)
SCORES = ("MAE", "RMSE", "sMAPE", "MASE", "WQL", "CRPS")


def add_compare_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.add_argument("file", type=Path, help="long table, .csv or .parquet; - is standard input")
    parser.add_argument("--horizon", type=int, help="timesteps to forecast; required")
    add_column_options(parser.add_argument_group("columns"))
    add = parser.add_argument_group("comparison").add_argument
    add("--minutes", type=float, default=5.0, help="time for everything (default: 5)")
    add(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        metavar="NAME",
        help=f"from {', '.join(CONTENDERS)} (default: all that are installed)",
    )
    add("--windows", type=int, default=2, help="origins that decide (default: 2)")
    add("--score", choices=SCORES, default="MASE", help="score that decides (default: MASE)")
    add("--season-length", type=int, help="timesteps of a season (default: of the frequency)")
    add_level_option(add)
    add("--seed", type=int, default=0, help="seed of the networks (default: 0)")
    add("--quiet", action="store_true", help="show no progress")
    add_engine_options(add, "contenders")
    add_table_options(parser)
    add = parser.add_argument_group("results").add_argument
    add("--future-file", type=Path, help="table of the --future columns over the horizon")
    add("--output", type=Path, help="table to write (default: FILE_compare.csv or .parquet)")
    add("--plot", type=Path, help="picture to write (default: FILE_compare.png)")
    add("--save", type=Path, help="file to write the best forecaster to, if a network is the best")
    add("--force", action="store_true", help="overwrite existing files")


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Compare forecasters on the series of a file, and forecast with the best one."""
    output, picture = _check_targets(options)
    _check_numbers(options)
    df, columns = read_series(options)
    future = read_future(options)
    # Keras is slow to import, so the files are checked first.
    with hold_back_notices():
        from seqkeras.forecasting import compare as compare_forecasters

    from seqkeras._cli._tables import write_file

    result = compare_forecasters(
        df,
        options.horizon,
        minutes=options.minutes,
        columns=columns,
        future=future,
        contenders=options.contenders,
        windows=options.windows,
        score=options.score,
        levels=tuple(options.levels),
        season_length=options.season_length,
        seed=options.seed,
        progress=not options.quiet,
        engine=options.engine,
        folder=options.folder,
    )
    show_scores(result.scores, f"Contenders, by {options.score} before the last horizon")
    print(f"\nForecast of {result.winner}:")
    show(result.forecast)
    write_file(result.forecast, output)
    print(f"\nForecast: {output}")
    _save(result, options.save)
    save_picture(result.plot(), picture)
    tell_picture(picture, df, options.id_col)
    return {
        "winner": result.winner,
        "scores": score_records(result.scores),
        "forecast": records(result.forecast),
        "output": str(output),
        "picture": str(picture),
    }


def _save(result: "Comparison", path: Path | None) -> None:
    """Write the best forecaster to a file, or say why there is none."""
    if path is None:
        return
    if result.forecaster is None:
        complain(f"not saved: only networks are, and the best contender is {result.winner}")
        return
    result.forecaster.save(path)
    print(f"Forecaster: {path}")


def _check_targets(options: argparse.Namespace) -> tuple[Path, Path]:
    """Return the table and the picture to write, after checking that all files can be written."""
    output = table_to_write(options, "output", "compare")
    picture = picture_to_write(options, "compare")
    files = [options.file, output, picture]
    if options.save is not None:
        check_place("--save", options.save, force=options.force)
        files.append(options.save)
    check_different("FILE, --output, --plot, --save", files)
    return output, picture


def _check_numbers(options: argparse.Namespace) -> None:
    check_horizon(options.horizon)
    check_positive("--minutes", options.minutes)
    check_integer("--windows", options.windows)
    if options.season_length is not None:
        check_integer("--season-length", options.season_length)
    check_integer("--seed", options.seed, minimum=0)
    check_levels(options.levels)
