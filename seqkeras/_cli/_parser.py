"""The commands and their options."""

import argparse
from pathlib import Path

import seqkeras
from seqkeras._cli._detect import add_detect_options, detect
from seqkeras._cli._forecast import demo, forecast
from seqkeras._cli._models import explain, export
from seqkeras._cli._serve import add_serve_options, serve

MODELS = ("multi_output", "recursive", "encoder_decoder", "segment_rnn")
FILLS = ("raise", "mask", "interpolate")


def parser() -> argparse.ArgumentParser:
    """Return the command-line parser; parsed options hold the function of the command as `run`."""
    parser = argparse.ArgumentParser("seqkeras", description="Recurrent forecasts with Keras 3.")
    parser.add_argument("--version", action="version", version=f"seqkeras {seqkeras.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demonstration = commands.add_parser(
        "demo", help="forecast a series that comes with the package"
    )
    demonstration.set_defaults(run=demo)
    _add_demo_options(demonstration)

    forecasting = commands.add_parser(
        "forecast", help="forecast the series of a csv or parquet file"
    )
    forecasting.set_defaults(run=forecast)
    _add_forecast_options(forecasting)
    _add_table_options(forecasting.add_argument_group("format of the file"))

    detecting = commands.add_parser(
        "detect", help="find anomalies in the series of a csv or parquet file"
    )
    detecting.set_defaults(run=detect)
    add_detect_options(detecting)
    _add_table_options(detecting.add_argument_group("format of the file"))

    exporting = commands.add_parser(
        "export", help="write a trained model as a program without Keras"
    )
    exporting.set_defaults(run=export)
    _add_export_options(exporting)

    explaining = commands.add_parser("explain", help="show what a model runs, and its traps")
    explaining.add_argument("model", type=Path, help=".keras or .h5 file; code in it is not run")
    explaining.set_defaults(run=explain)

    serving = commands.add_parser("serve", help="answer requests with one state for each session")
    serving.set_defaults(run=serve)
    add_serve_options(serving)
    return parser


def _add_demo_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--plot", type=Path, default=Path("forecast.png"), help="picture (default: forecast.png)")
    add("--seed", type=int, default=0, help="seed of weights and shuffles")
    add("--force", action="store_true", help="overwrite an existing file")


def _add_forecast_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", type=Path, help="long table, .csv or .parquet")
    add("--horizon", type=int, required=True, help="timesteps to forecast")
    add("--time-col", default="ds", help="column of timestamps (default: ds)")
    add("--target-col", default="y", help="column to forecast (default: y)")
    add("--id-col", help="column of series ids; omit it for one series")
    add(
        "--freq",
        type=_freq,
        help="frequency such as MS, D, h, 1 (default: that of the timestamps)",
    )
    add("--sort", action="store_true", help="sort the rows by time")
    add(
        "--fill",
        choices=FILLS,
        default="raise",
        help="gaps in the timestamps: an error (raise, the default), rows without a target "
        "(mask), or rows with linearly interpolated targets (interpolate)",
    )
    add("--skip-short", action="store_true", help="omit series that are too short")
    add("--lookback", type=int, help="timesteps that a forecast reads")
    add("--model", default="multi_output", choices=MODELS)
    add(
        "--levels",
        type=float,
        nargs="*",
        default=[80, 95],
        help="levels of intervals, in percent (default: 80 95); without values: no intervals",
    )
    add("--epochs", type=int, default=300, help="maximum number of epochs")
    add(
        "--validation",
        type=float,
        default=0.2,
        help="share of each series on which weights are chosen and intervals are calibrated "
        "(default: 0.2); 0 suits short series, and needs --levels without values",
    )
    add("--seed", type=int, default=0, help="seed of weights and shuffles")
    add("--no-score", action="store_true", help="do not score on the last rows")
    add("--output", type=Path, help="table to write (default: FILE_forecast.csv or .parquet)")
    add("--plot", type=Path, help="picture to write (default: FILE_forecast.png)")
    add("--force", action="store_true", help="overwrite existing files")


def _add_table_options(group: "argparse._ArgumentGroup") -> None:
    add = group.add_argument
    add("--sep", default=",", help="separator of the columns of a csv file, such as ';' or tab")
    add("--decimal", default=".", help="decimal sign of a csv file (default: .)")
    add("--date-format", help="format of the timestamps, such as %%d.%%m.%%Y (default: detected)")
    add("--day-first", action="store_true", help="read 1/2/2024 as 1 February")
    add("--tz", help="time zone of the timestamps, such as Europe/Berlin; others are converted")


def _add_export_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="trained model, .keras or .h5")
    add("target", type=Path, metavar="TARGET", help="file to write")
    add("--window", type=int, help="timesteps that each output may read (default: all so far)")
    add("--features", nargs="+", metavar="NAME", help="names of the features, stored in the file")
    add("--float16", action="store_true", help="weights in half precision")
    add("--onnx", choices=["step", "sequence"], help="write an ONNX graph instead of a program")
    add("--force", action="store_true", help="overwrite an existing file")


def _freq(word: str) -> str | int:
    return int(word) if word.isdecimal() else word
