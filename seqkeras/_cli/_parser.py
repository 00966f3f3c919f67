"""The commands; each has its options in a file of its own."""

import argparse
import textwrap
from collections.abc import Callable

import seqkeras
from seqkeras._cli._backtesting import add_backtest_options, backtest
from seqkeras._cli._comparing import add_compare_options, compare
from seqkeras._cli._config import add_config_options
from seqkeras._cli._demonstration import add_demo_options, demo
from seqkeras._cli._detect import add_detect_options, detect
from seqkeras._cli._explaining import add_explain_options, explain
from seqkeras._cli._exporting import add_export_options, export
from seqkeras._cli._forecast import add_forecast_options, forecast
from seqkeras._cli._launch import add_launch_options, launch
from seqkeras._cli._serve import add_serve_options, serve

Add = Callable[[argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace], object]

#: For each command: what it does, its function, its options, and an example.
COMMANDS: dict[str, tuple[str, Run, Add, str]] = {
    "demo": ("forecast a series that comes with the package", demo, add_demo_options, "demo"),
    "forecast": (
        "forecast the series of a csv or parquet file",
        forecast,
        add_forecast_options,
        "forecast sales.csv --time-col day --target-col sales --id-col shop --horizon 14",
    ),
    "backtest": (
        "score forecasts of the last rows of a csv or parquet file",
        backtest,
        add_backtest_options,
        "backtest sales.csv --time-col day --target-col sales --horizon 14 --windows 8",
    ),
    "compare": (
        "compare forecasters within some minutes, and forecast with the best one",
        compare,
        add_compare_options,
        "compare sales.csv --time-col day --target-col sales --horizon 14 --minutes 5",
    ),
    "detect": (
        "find anomalies in the series of a csv or parquet file",
        detect,
        add_detect_options,
        "detect pump.csv --columns pressure flow --train-rows 5000 --false-alarm-rate 0.001",
    ),
    "export": (
        "write a trained model as a program without Keras",
        export,
        add_export_options,
        "export model.keras model.program",
    ),
    "explain": (
        "show what a model runs, and its traps",
        explain,
        add_explain_options,
        "explain model.keras",
    ),
    "serve": (
        "answer requests with one state for each session",
        serve,
        add_serve_options,
        "serve model.program --store sqlite:///sessions.db",
    ),
    "launch": (
        "run a script in several processes that train together",
        launch,
        add_launch_options,
        "launch -n 2 train.py",
    ),
}


def parser() -> argparse.ArgumentParser:
    """Return the command-line parser; parsed options hold the function of the command as `run`."""
    parser = argparse.ArgumentParser("seqkeras", description="Recurrent forecasts with Keras 3.")
    parser.add_argument("--version", action="version", version=f"seqkeras {seqkeras.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (summary, run, add_options, example) in COMMANDS.items():
        # This formatter keeps the example in one line, which can be copied.
        command = commands.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.set_defaults(run=run, command=name)
        add_options(command)
        add_config_options(command)
        notes = f"\n\n{textwrap.fill(command.epilog, 78)}" if command.epilog else ""
        command.epilog = f"example:\n  seqkeras {example}{notes}"
    return parser
