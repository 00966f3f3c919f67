"""The commands `forecast` and `demo`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqkeras._checks import bad_argument, check_fraction, check_integer, is_level
from seqkeras._cli._targets import PICTURES, TABLES, check_different, check_target
from seqkeras._cli._terminal import complain, hold_back_notices, show, show_scores
from seqkeras._files import whole_file
from seqkeras.errors import SeqkerasError

if TYPE_CHECKING:
    import pandas as pd

    from seqkeras.forecasting import Columns, Forecaster


def demo(options: argparse.Namespace) -> None:
    """Forecast the example series."""
    check_integer("--seed", options.seed, minimum=0)
    check_target("--plot", options.plot, PICTURES, force=options.force)
    with hold_back_notices():
        from seqkeras.forecasting import Forecaster, evaluate_holdout, load_air_passengers

    df = load_air_passengers()
    forecaster = Forecaster(horizon=12, seed=options.seed)
    print("Passengers of international airlines, thousands a month, 1949 to 1960: 144 values.")
    print("Training a recurrent network on all but the last 12 ...", flush=True)
    held_out = evaluate_holdout(forecaster, df)
    show(held_out.forecast)
    show_scores(held_out.scores, "Scores on the 12 months that the network never saw")
    title = "Airline passengers: forecast of the held-out year"
    figure = held_out.forecaster.plot(df.tail(72), title=title)
    figure.axes[0].set_ylabel("passengers, thousands a month")
    _save_picture(figure, options.plot)
    print(f"\nPicture: {options.plot}")


def forecast(options: argparse.Namespace) -> None:
    """Forecast the series of a file."""
    stem = options.file.stem
    suffix = options.file.suffix if options.file.suffix.lower() == ".parquet" else ".csv"
    output = options.output or Path(f"{stem}_forecast{suffix}")
    picture = options.plot or Path(f"{stem}_forecast.png")
    check_target("--output", output, TABLES, force=options.force)
    check_target("--plot", picture, PICTURES, force=options.force)
    check_different("FILE, --output, --plot", [options.file, output, picture])
    _check_numbers(options)
    df, columns = read_series(options)
    # Keras is slow to import, so the file is checked first.
    with hold_back_notices():
        from seqkeras.forecasting import Forecaster, Network, Training
        from seqkeras.forecasting.frames._reading import split_last

    from seqkeras._cli._tables import write_file

    forecaster = Forecaster(
        options.horizon,
        lookback=options.lookback,
        network=Network(options.model),
        intervals=tuple(options.levels),
        training=Training(epochs=options.epochs, validation=options.validation),
        seed=options.seed,
    )
    predicted = forecaster.fit(df, columns=columns).predict()
    show(predicted)
    write_file(predicted, output)
    print(f"\nForecast: {output}")
    # Show enough history to put the forecast in context, but not so much that it looks small.
    rows = 4 * options.horizon + forecaster.lookback_
    recent = split_last(df, rows, forecaster.panel_.columns)[1]
    _save_picture(forecaster.plot(recent), picture)
    print(f"Picture: {picture}", flush=True)
    if not options.no_score:
        _score(forecaster, df, columns)


def read_series(options: argparse.Namespace) -> "tuple[pd.DataFrame, Columns]":
    """Read and check the series of a file, which needs pandas but not Keras.

    Args:
        options: the parsed options of the command `forecast`.

    Raises:
        ArgumentError: an option is invalid.
        DataError: the contents of the file cannot be used.
        OSError: the file does not exist or cannot be opened.
    """
    from seqkeras._cli._tables import Keys, Style, read_file, sort_rows
    from seqkeras.forecasting.frames._columns import Columns
    from seqkeras.forecasting.frames._reading import read_panel

    keys = Keys(options.time_col, options.target_col, options.id_col)
    columns = Columns(
        id=options.id_col,
        time=options.time_col,
        target=options.target_col,
        freq=options.freq,
        fill=options.fill,
        short_series="skip" if options.skip_short else "raise",
    )
    style = Style.of(options, counts=isinstance(options.freq, int))
    df = read_file(options.file, keys, style)
    missing = int(df[options.target_col].isna().sum())
    if missing:
        print(f"seqkeras: {missing} of {len(df)} targets are missing: masked", file=sys.stderr)
    if options.sort:
        df = sort_rows(df, keys)
    read_panel(df, columns)
    return df, columns


def _check_numbers(options: argparse.Namespace) -> None:
    check_integer("--horizon", options.horizon)
    check_integer("--epochs", options.epochs)
    check_integer("--seed", options.seed, minimum=0)
    check_fraction("--validation", options.validation)
    levels = {f"{level:g}" for level in options.levels if is_level(level)}
    if len(levels) < len(options.levels):
        expected = "different numbers from 1 to below 100"
        raise bad_argument("--levels", options.levels, expected, "For example --levels 80 95.")
    if levels and not options.validation:
        fix = "Use --levels without values: intervals are calibrated on the validation rows."
        raise bad_argument("--validation", options.validation, "above 0 with --levels", fix)
    if options.lookback is not None:
        check_integer("--lookback", options.lookback)


def _score(forecaster: "Forecaster", df: "pd.DataFrame", columns: "Columns") -> None:
    """Print the scores of a forecast of the last rows, or why they cannot be computed."""
    from seqkeras.forecasting import evaluate_holdout

    try:
        scores = evaluate_holdout(forecaster, df, columns=columns).scores
    except SeqkerasError as error:
        complain(f"not scored: {error}")
        return
    show_scores(scores, f"Scores on the last {forecaster.horizon} rows of each series, held out")


def _save_picture(figure: Any, path: Path) -> None:
    with whole_file(path) as part:
        figure.savefig(part)
