"""The command `forecast`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqkeras._checks import bad_argument
from seqkeras._cli._forecaster_options import (
    add_forecaster_options,
    check_future,
    check_numbers,
    forecaster_of,
    read_future,
    read_series,
)
from seqkeras._cli._table_options import add_table_options
from seqkeras._cli._targets import (
    check_different,
    check_place,
    default_picture,
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
from seqkeras.errors import SeqkerasError

if TYPE_CHECKING:
    import pandas as pd

    from seqkeras.forecasting import Columns, Forecaster


def add_forecast_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    add_forecaster_options(parser)
    add_table_options(parser)
    add = parser.add_argument_group("results").add_argument
    add("--future-file", type=Path, help="table of the --future columns over the horizon")
    add("--no-score", action="store_true", help="do not score on the last rows")
    add("--output", type=Path, help="table to write (default: FILE_forecast.csv or .parquet)")
    add("--plot", type=Path, help="picture to write (default: FILE_forecast.png)")
    add("--save", type=Path, help="file to write the fitted forecaster to")
    add("--load", type=Path, help="file of a fitted forecaster; nothing is trained")
    add("--force", action="store_true", help="overwrite existing files")


def forecast(options: argparse.Namespace) -> dict[str, Any]:
    """Forecast the series of a file."""
    output, picture = _check_targets(options)
    check_numbers(options)
    df, columns = read_series(options)
    future = read_future(options)
    if options.load is None:
        check_future(options, df, columns, future)
    # Keras is slow to import, so the files are checked first.
    with hold_back_notices():
        from seqkeras.forecasting import Forecaster

    from seqkeras._cli._tables import write_file

    if options.load is not None:
        forecaster = Forecaster.load(options.load)
        predicted = forecaster.predict(df, horizon=options.horizon, future=future)
    else:
        forecaster = forecaster_of(options).fit(df, columns=columns)
        predicted = forecaster.predict(future=future)
    show(predicted)
    write_file(predicted, output)
    print(f"\nForecast: {output}")
    result = {"forecast": records(predicted), "output": str(output)}
    if options.load is not None:
        return result
    if options.save is not None:
        forecaster.save(options.save)
        print(f"Forecaster: {options.save}")
    _draw(forecaster, df, future, picture)
    tell_picture(picture, df, options.id_col)
    scores = None if options.no_score else _score(forecaster, df, columns)
    return {**result, "picture": str(picture), "scores": scores}


def _draw(forecaster: "Forecaster", df: "pd.DataFrame", future: Any, picture: Path) -> None:
    from seqkeras.forecasting.frames._reading import split_last

    # Show enough history to put the forecast in context, but not so much that it looks small.
    rows = 4 * forecaster.horizon + forecaster.lookback_
    recent = split_last(df, rows, forecaster.panel_.columns)[1]
    save_picture(forecaster.plot(recent, future=future), picture)


def _check_targets(options: argparse.Namespace) -> tuple[Path, Path]:
    """Return the table and the picture to write, after checking that all files can be written."""
    output = table_to_write(options, "output", "forecast")
    picture = default_picture(options.file, "forecast")
    files = [options.file, output]
    if options.load is not None:
        for name in ("plot", "save"):
            if getattr(options, name) is not None:
                fix = "A loaded forecaster is neither trained nor drawn."
                actual = str(getattr(options, name))
                raise bad_argument(f"--{name}", actual, "omitted with --load", fix)
        files.append(options.load)
    else:
        picture = picture_to_write(options, "forecast")
        files.append(picture)
    if options.save is not None:
        check_place("--save", options.save, force=options.force)
        files.append(options.save)
    check_different("FILE, --output, --plot, --save, --load", files)
    return output, picture


def _score(forecaster: "Forecaster", df: "pd.DataFrame", columns: "Columns") -> Any:
    """Print the scores of a forecast of the last rows, or why they cannot be computed."""
    from seqkeras.forecasting import evaluate_holdout

    try:
        scores = evaluate_holdout(forecaster, df, columns=columns).scores
    except SeqkerasError as error:
        complain(f"not scored: {error}")
        return None
    show_scores(scores, f"Scores on the last {forecaster.horizon} rows of each series, held out")
    return score_records(scores)
