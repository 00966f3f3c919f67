"""Options of the commands that fit a forecaster, and the objects that they describe."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqkeras._checks import bad_argument, check_fraction, check_integer, check_positive, is_level
from seqkeras._cli._header import Keys
from seqkeras._cli._table_options import check_file
from seqkeras._cli._terminal import notice

if TYPE_CHECKING:
    import pandas as pd

    from seqkeras._cli._tables import Style
    from seqkeras.forecasting import Columns, Forecaster

ARCHITECTURES = ("multi_output", "recursive", "encoder_decoder", "segment_rnn")
CELLS = ("lstm", "gru", "simple_rnn")
#: The values of the library, repeated here because Keras is slow to import; a test compares them.
LIKELIHOODS = ("gaussian", "student_t", "negative_binomial", "quantiles")
NORMALIZATIONS = ("none", "last", "mean_scale", "revin")
METHODS = ("adaptive", "per_series", "split")
FILLS = ("raise", "mask", "interpolate")
SHORT_SERIES = ("pad", "skip", "raise")
#: Values of an option that can also be left to the library.
SWITCHES = {"on": True, "off": False}


def add_forecaster_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the columns, the network, the intervals and the training."""
    parser.add_argument("file", type=Path, help="long table, .csv or .parquet; - is standard input")
    parser.add_argument("--horizon", type=int, help="timesteps to forecast; required")
    add_column_options(parser.add_argument_group("columns"))
    _add_network(parser.add_argument_group("network"))
    _add_training(parser.add_argument_group("intervals and training"))


def forecaster_of(options: argparse.Namespace) -> "Forecaster":
    """Return the unfitted forecaster that the options describe."""
    from seqkeras.forecasting import Forecaster, Intervals, Network, Training

    units = options.units
    if units is not None:
        units = units[0] if len(units) == 1 else tuple(units)
    models = options.model
    return Forecaster(
        options.horizon,
        lookback=options.lookback,
        season_length=options.season_length,
        network=Network(
            models[0] if len(models) == 1 else models,
            units=units,
            cell=options.cell,
            normalization=options.normalization,
            linear_expert=SWITCHES.get(options.linear_expert),
        ),
        likelihood=options.likelihood,
        intervals=Intervals(tuple(options.levels), method=options.interval_method),
        training=Training(
            epochs=options.epochs,
            patience=options.patience,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            validation=options.validation,
            teacher_forcing=options.teacher_forcing,
            seconds=options.seconds,
            progress=not options.quiet,
        ),
        seed=options.seed,
    )


def read_series(options: argparse.Namespace) -> "tuple[pd.DataFrame, Columns]":
    """Read and check the series of a file, which needs pandas but not Keras.

    Args:
        options: the parsed options of a command with `add_forecaster_options`.

    Raises:
        ArgumentError: an option is invalid.
        DataError: the contents of the file cannot be used.
        OSError: the file does not exist or cannot be opened.
    """
    keys = _keys(options, options.target_col, ("past", "future", "static"))
    check_file(options, keys)
    from seqkeras._cli._tables import read_file, sort_rows
    from seqkeras.forecasting.frames._columns import Columns
    from seqkeras.forecasting.frames._reading import read_panel

    columns = Columns(
        id=options.id_col,
        time=options.time_col,
        target=options.target_col,
        freq=options.freq,
        past=options.past,
        future=options.future,
        static=options.static,
        calendar=options.calendar or None,
        missing=options.missing,
        fill=options.fill,
        short_series=options.short_series,
    )
    df = read_file(options.file, keys, _style(options))
    missing = int(df[options.target_col].isna().sum())
    if missing and options.missing == "mask":
        notice(f"{missing} of {len(df)} targets are missing: masked")
    if options.sort:
        df = sort_rows(df, keys)
    read_panel(df, columns)
    return df, columns


def read_future(options: argparse.Namespace) -> "pd.DataFrame | None":
    """Read the future covariates over the horizon; None without future covariates.

    Raises:
        ArgumentError, DataError, OSError: as `read_series`.
    """
    path = options.future_file
    if not options.future:
        if path is not None:
            fix = "Name the columns that are known over the horizon with --future."
            raise bad_argument("--future-file", str(path), "omitted without --future", fix)
        return None
    if path is None:
        fix = "It holds the ids, timestamps and these columns for each timestep of the horizon."
        raise bad_argument("--future-file", None, "a file, because of --future", fix)
    from seqkeras._cli._tables import read_file

    return read_file(path, _keys(options, None, ("future",)), _style(options))


def check_future(
    options: argparse.Namespace,
    df: "pd.DataFrame",
    columns: "Columns",
    future: "pd.DataFrame | None",
) -> None:
    """Check before the training that `future` has all rows and values that the forecast reads.

    Raises:
        ArgumentError: a column is missing.
        DataError: a row or a value is missing, or a row is repeated.
    """
    # Omitted series need no rows, and only a fit can tell which are omitted.
    if future is None or options.short_series == "skip":
        return
    from seqkeras.forecasting.frames._future import read_future as read_future_rows
    from seqkeras.forecasting.frames._reading import read_panel

    read_future_rows(read_panel(df, columns), future, options.horizon)


def check_numbers(options: argparse.Namespace) -> None:
    """Check the numbers among the options.

    Raises:
        ArgumentError: an option is invalid.
    """
    check_horizon(options.horizon)
    for name in ("epochs", "patience"):
        check_integer(_option(name), getattr(options, name))
    for name in ("lookback", "season_length", "batch_size"):
        if getattr(options, name) is not None:
            check_integer(_option(name), getattr(options, name))
    for width in options.units or ():
        check_integer("--units", width)
    check_integer("--seed", options.seed, minimum=0)
    check_positive("--learning-rate", options.learning_rate)
    if options.seconds is not None:
        check_positive("--seconds", options.seconds)
    check_fraction("--validation", options.validation)
    _check_teacher_forcing(options.teacher_forcing)
    check_levels(options.levels)
    if options.levels and not options.validation:
        fix = "Use --levels without values: intervals are calibrated on the validation rows."
        raise bad_argument("--validation", options.validation, "above 0 with --levels", fix)


def check_horizon(horizon: int | None) -> None:
    """Check the horizon.

    Raises:
        ArgumentError: it is missing or below 1.
    """
    if horizon is None:
        fix = "It is the number of timesteps to forecast, such as --horizon 14."
        raise bad_argument("--horizon", None, "an integer >= 1", fix)
    check_integer("--horizon", horizon)


def check_levels(levels: list[float]) -> None:
    """Check the levels of intervals.

    Raises:
        ArgumentError: a level is invalid or stands twice.
    """
    if len({f"{level:g}" for level in levels if is_level(level)}) < len(levels):
        expected = "different numbers from 1 to below 100"
        raise bad_argument("--levels", levels, expected, "For example --levels 80 95.")


def _check_teacher_forcing(value: float | str) -> None:
    if value != "scheduled" and not (isinstance(value, float) and 0 <= value <= 1):
        expected = "a number from 0 to 1, or the word scheduled"
        raise bad_argument("--teacher-forcing", value, expected)


def _keys(options: argparse.Namespace, target: str | None, roles: tuple[str, ...]) -> Keys:
    covariates = {name: _option(role) for role in roles for name in getattr(options, role)}
    return Keys(options.time_col, target, options.id_col, covariates=covariates)


def _style(options: argparse.Namespace) -> "Style":
    from seqkeras._cli._tables import Style

    return Style.of(options, counts=isinstance(options.freq, int))


def add_column_options(group: Any) -> None:
    """Add the options that name the columns of the table, for `read_series`."""
    add = group.add_argument
    add("--time-col", default="ds", help="column of timestamps (default: ds)")
    add("--target-col", default="y", help="column to forecast (default: y)")
    add("--id-col", help="column of series ids; omit it for one series")
    add("--past", nargs="*", default=[], metavar="NAME", help="columns known up to the last row")
    add(
        "--future",
        nargs="*",
        default=[],
        metavar="NAME",
        help="columns that are also known over the horizon",
    )
    add(
        "--static",
        nargs="*",
        default=[],
        metavar="NAME",
        help="columns that do not change within a series",
    )
    add(
        "--calendar",
        nargs="*",
        default=[],
        metavar="NAME",
        help="features of the timestamps: auto, or names such as day_of_week, month, holidays:DE",
    )
    add(
        "--freq",
        type=_freq,
        help="frequency such as MS, D, h, 1 (default: that of the timestamps)",
    )
    add("--sort", action="store_true", help="sort the rows by time")
    add(
        "--missing",
        choices=["mask", "raise"],
        default="mask",
        help="missing targets: marked for the network (mask, the default), or an error (raise)",
    )
    add(
        "--fill",
        choices=FILLS,
        default="raise",
        help="gaps in the timestamps: an error (raise, the default), rows without a target "
        "(mask), or rows with linearly interpolated targets (interpolate)",
    )
    add(
        "--short-series",
        choices=SHORT_SERIES,
        default="pad",
        help="series that are too short to train on: forecast all the same (pad, the default), "
        "omitted (skip), or an error (raise)",
    )


def add_level_option(add: Callable[..., Any]) -> None:
    """Add the option for the levels of intervals, for `check_levels`."""
    add(
        "--levels",
        type=float,
        nargs="*",
        default=[80, 95],
        help="levels of intervals, in percent (default: 80 95); without values: no intervals",
    )


def _add_network(group: Any) -> None:
    add = group.add_argument
    add("--lookback", type=int, help="timesteps that a forecast reads")
    add("--season-length", type=int, help="timesteps of a season (default: of the frequency)")
    add(
        "--model",
        nargs="+",
        default=["multi_output"],
        choices=ARCHITECTURES,
        help="architecture (default: multi_output); several are an ensemble",
    )
    add("--units", type=int, nargs="+", help="width of the recurrent layers (default: 64)")
    add("--cell", choices=CELLS, help="default: gru")
    add("--normalization", choices=NORMALIZATIONS, help="of each window (default: last)")
    add(
        "--linear-expert",
        choices=SWITCHES,
        help="mix the network with a linear forecast (default: wherever it can be)",
    )
    add("--likelihood", choices=LIKELIHOODS, help="distribution to learn (default: none)")


def _add_training(group: Any) -> None:
    add = group.add_argument
    add_level_option(add)
    add("--interval-method", choices=METHODS, default="adaptive", help="default: adaptive")
    add("--epochs", type=int, default=300, help="maximum number of epochs (default: 300)")
    add("--patience", type=int, default=25, help="epochs without a better forecast (default: 25)")
    add("--batch-size", type=int, help="windows in a training step (default: of the data)")
    add("--learning-rate", type=float, default=3e-3, help="of Adam (default: 0.003)")
    add("--seconds", type=float, help="time limit of a fit (default: none)")
    add(
        "--teacher-forcing",
        type=_share_or_word,
        default=1.0,
        metavar="SHARE",
        help="share of true values fed back in training, 0 to 1 (default: 1), or scheduled",
    )
    add(
        "--validation",
        type=float,
        default=0.2,
        help="share of each series on which weights are chosen and intervals are calibrated "
        "(default: 0.2); 0 suits short series, and needs --levels without values",
    )
    add("--seed", type=int, default=0, help="seed of weights and shuffles (default: 0)")
    add("--quiet", action="store_true", help="show no progress")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _freq(word: str) -> str | int:
    return int(word) if word.isdecimal() else word


def _share_or_word(word: str) -> str | float:
    return word if word.isalpha() else float(word)
