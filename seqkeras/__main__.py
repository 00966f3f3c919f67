"""The command line: `seqkeras demo`, `forecast FILE`, `export MODEL TARGET`, `explain MODEL`."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import seqkeras
from seqkeras._checks import bad_argument
from seqkeras._files import zip_damage
from seqkeras._lazy import import_optional
from seqkeras.errors import ArgumentError, DataError, FileFormatError, SeqkerasError

if TYPE_CHECKING:
    import pandas as pd

    from seqkeras.forecasting import Columns, Forecaster

PICTURES = (".png", ".svg", ".pdf", ".jpg")
TABLES = (".csv", ".parquet")
MODELS = ("multi_output", "recursive", "encoder_decoder", "segment_rnn")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status: 0, or 1 after an error message."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        options.run(options)
    except (SeqkerasError, OSError) as error:
        print(f"seqkeras: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("seqkeras: interrupted; only files named above are complete.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("seqkeras", description="Recurrent forecasts with Keras 3.")
    parser.add_argument("--version", action="version", version=f"seqkeras {seqkeras.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="forecast a series that comes with the package")
    demo.add_argument("--plot", type=Path, default=Path("forecast.png"), help="picture to write")
    demo.add_argument("--seed", type=int, default=0, help="seed of weights and shuffles")
    demo.set_defaults(run=_demo)

    forecast = commands.add_parser("forecast", help="forecast the series of a csv or parquet file")
    forecast.set_defaults(run=_forecast)
    _add_forecast_options(forecast)

    export = commands.add_parser("export", help="write a .keras model as a program without Keras")
    export.set_defaults(run=_export)
    _add_export_options(export)

    explain = commands.add_parser("explain", help="show what a .keras model runs, and its traps")
    explain.add_argument("model", type=Path, help=".keras file; code in it is not run")
    explain.set_defaults(run=_explain)
    return parser


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
    add("--lookback", type=int, help="timesteps that a forecast reads")
    add("--model", default="multi_output", choices=MODELS)
    add(
        "--levels",
        type=float,
        nargs="*",
        default=[80, 95],
        help="levels of intervals, in percent",
    )
    add("--epochs", type=int, default=300, help="maximum number of epochs")
    add("--seed", type=int, default=0, help="seed of weights and shuffles")
    add("--skip-short", action="store_true", help="omit series that are too short")
    add("--no-score", action="store_true", help="do not score on the last rows")
    add("--output", type=Path, help="table to write (default: FILE_forecast.csv or .parquet)")
    add("--plot", type=Path, help="picture to write (default: FILE_forecast.png)")
    add("--force", action="store_true", help="overwrite existing files")


def _add_export_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="trained model, .keras")
    add("target", type=Path, metavar="TARGET", help="file to write")
    add("--window", type=int, help="timesteps that each output may read (default: all so far)")
    add("--features", nargs="+", metavar="NAME", help="names of the features, stored in the file")
    add("--float16", action="store_true", help="weights in half precision")
    add("--onnx", choices=["step", "sequence"], help="write an ONNX graph instead of a program")
    add("--force", action="store_true", help="overwrite an existing file")


def _freq(word: str) -> str | int:
    return int(word) if word.isdecimal() else word


def _demo(options: argparse.Namespace) -> None:
    _check_target("--plot", options.plot, PICTURES, force=True)
    with _hold_back_notices():
        from seqkeras.forecasting import Forecaster, evaluate_holdout, load_air_passengers

    df = load_air_passengers()
    forecaster = Forecaster(horizon=12, seed=options.seed)
    print("Passengers of international airlines, thousands a month, 1949 to 1960: 144 values.")
    print("Training a recurrent network on all but the last 12 ...", flush=True)
    held_out = evaluate_holdout(forecaster, df)
    _show(held_out.forecast)
    _show_scores(held_out.scores, "Scores on the 12 months that the network never saw")
    title = "Airline passengers: forecast of the held-out year"
    figure = held_out.forecaster.plot(df.tail(72), title=title)
    figure.axes[0].set_ylabel("passengers, thousands a month")
    figure.savefig(options.plot)
    print(f"\nPicture: {options.plot}")


def _forecast(options: argparse.Namespace) -> None:
    stem = options.file.stem
    suffix = options.file.suffix if options.file.suffix.lower() == ".parquet" else ".csv"
    output = options.output or Path(f"{stem}_forecast{suffix}")
    picture = options.plot or Path(f"{stem}_forecast.png")
    _check_target("--output", output, TABLES, force=options.force)
    _check_target("--plot", picture, PICTURES, force=options.force)
    if len({path.resolve() for path in (options.file, output, picture)}) < 3:
        paths = [str(options.file), str(output), str(picture)]
        raise bad_argument("FILE, --output, --plot", paths, "different files")
    options.file.open("rb").close()
    with _hold_back_notices():
        from seqkeras.forecasting import Columns, Forecaster, Network, Training
        from seqkeras.forecasting.frames._reading import split_last
        from seqkeras.forecasting.frames._tables import read_file, write_file

    columns = Columns(
        id=options.id_col,
        time=options.time_col,
        target=options.target_col,
        freq=options.freq,
        short_series="skip" if options.skip_short else "raise",
    )
    df = read_file(options.file, time_col=columns.time, id_col=columns.names.id)
    forecaster = Forecaster(
        options.horizon,
        lookback=options.lookback,
        network=Network(options.model),
        intervals=tuple(options.levels),
        training=Training(epochs=options.epochs),
        seed=options.seed,
    )
    missing = int(df[columns.target].isna().sum()) if columns.target in df.columns else 0
    if missing:
        print(f"seqkeras: {missing} of {len(df)} targets are missing: masked", file=sys.stderr)
    forecast = forecaster.fit(df, columns=columns).predict()
    _show(forecast)
    write_file(forecast, output)
    print(f"\nForecast: {output}")
    # Show enough history to put the forecast in context, but not so much that it looks small.
    rows = 4 * options.horizon + forecaster.lookback_
    recent = split_last(df, rows, forecaster.panel_.columns)[1]
    forecaster.plot(recent).savefig(picture)
    print(f"Picture: {picture}", flush=True)
    if not options.no_score:
        _score(forecaster, df, columns)


def _score(forecaster: "Forecaster", df: "pd.DataFrame", columns: "Columns") -> None:
    """Score a forecast of the last rows; a history that is too short for it is no failure."""
    from seqkeras.forecasting import evaluate_holdout

    try:
        scores = evaluate_holdout(forecaster, df, columns=columns).scores
    except DataError as error:
        print(f"seqkeras: not scored: {error}", file=sys.stderr)
        return
    _show_scores(scores, f"Scores on the last {forecaster.horizon} rows of each series, held out")


def _export(options: argparse.Namespace) -> None:
    if options.onnx and options.float16:
        raise bad_argument("--float16", True, "omitted with --onnx")
    _check_place("TARGET", options.target, force=options.force)
    model = _load_model(options.model)
    form: dict[str, Any] = {"window": options.window, "features": options.features}
    if options.onnx:
        from seqkeras.export import save_onnx
        from seqkeras.runtime import load_onnx

        save_onnx(model, options.target, form=options.onnx, **form)
        print(f"{options.target}: {load_onnx(options.target)}")
        return
    from seqkeras.export import save_program
    from seqkeras.runtime import load

    if options.float16:
        form["storage"] = "float16"
    save_program(model, options.target, **form)
    print(f"{options.target}: {load(options.target)}")


def _explain(options: argparse.Namespace) -> None:
    model = _load_model(options.model)
    from seqkeras.diagnostics._report import report

    print(report(model))


def _load_model(path: Path) -> Any:
    """Load a .keras file with the layers of seqkeras registered; code in it is not run."""
    path.open("rb").close()
    with _hold_back_notices():
        import keras

        import seqkeras.layers  # noqa: F401  # registers its layers
    try:
        return keras.saving.load_model(path, compile=False)
    except zip_damage() as error:
        raise FileFormatError(f"{path} cannot be loaded as a .keras file: {error}") from error


def _check_target(option: str, path: Path, suffixes: tuple[str, ...], *, force: bool) -> None:
    """Check a target before the training, whose result would otherwise be lost."""
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        raise bad_argument(option, str(path), f"a file that ends in {' or '.join(suffixes)}")
    _check_place(option, path, force=force)
    if suffix in PICTURES:
        import_optional("matplotlib", extra="plot")
    elif suffix == ".parquet":
        import_optional("pyarrow", extra="parquet")


def _check_place(option: str, path: Path, *, force: bool) -> None:
    if not path.absolute().parent.is_dir():
        raise ArgumentError(f"The folder {path.parent} does not exist. Create it first.")
    if path.exists() and not force:
        raise ArgumentError(f"{path} exists already. Use --force to overwrite it.")
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ArgumentError(f"{path} cannot be written. Use another file as {option}.")


@contextmanager
def _hold_back_notices() -> Iterator[None]:
    """Hold back what TensorFlow's C++ code prints while it loads; print it if that fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notices:
        terminal = os.dup(2)
        os.dup2(notices.fileno(), 2)
        try:
            yield
        except BaseException:
            notices.seek(0)
            os.write(terminal, notices.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _show(forecast: "pd.DataFrame", rows: int = 24) -> None:
    print(forecast.head(rows).to_string(index=False, float_format="{:.5g}".format))
    if len(forecast) > rows:
        print(f"... {len(forecast) - rows} more rows")


def _show_scores(scores: Any, title: str) -> None:
    print(f"\n{title}:")
    print(scores.to_string(na_rep="", float_format="{:.4g}".format))


if __name__ == "__main__":
    sys.exit(main())
