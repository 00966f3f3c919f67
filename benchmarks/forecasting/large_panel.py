"""A fit and forecasts of a panel in parquet files: seconds and peak memory of each step.

python benchmarks/forecasting/large_panel.py [--series 1000000] [--rows 100] [--epochs 10]
    [--folder FOLDER]

The panel is made first: a week with noise, at the level of each series. Each step runs in a process
of its own, so that its peak memory is its own. `fit` does all that it does by default: both stages
of training, the linear expert, and the calibration of intervals. Its epochs are a hundred steps of
at most 1024 windows, so ten of them read about a million windows.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HORIZON, LOOKBACK = 14, 28
#: Series that are made at once, a row group, and series of a file.
GROUP, FILE = 10_000, 100_000


def make(folder, series, rows, epochs):
    """Write the panel."""
    import numpy as np
    import pyarrow as arrow
    from pyarrow import parquet

    (folder / "sales").mkdir()
    days = np.arange(rows).astype("M8[D]") + (np.datetime64("2024-01-01") - np.datetime64(0, "D"))
    week = np.array([1.0, 1.1, 1.2, 1.2, 1.5, 2.0, 0.4])[np.arange(rows) % 7]
    columns = {"unique_id": arrow.string(), "ds": arrow.timestamp("us"), "y": arrow.float64()}
    schema = arrow.schema(columns.items())
    for start in range(0, series, FILE):
        file = folder / "sales" / f"part-{start // FILE:03d}.parquet"
        with parquet.ParquetWriter(file, schema) as writer:
            for first in range(start, min(start + FILE, series), GROUP):
                numbers = np.arange(first, min(first + GROUP, series))
                rng = np.random.default_rng(first)
                level = rng.lognormal(3, 1, (len(numbers), 1))
                noise = rng.normal(1, 0.2, (len(numbers), rows))
                table = {
                    "unique_id": np.repeat([f"shop-{number:07d}" for number in numbers], rows),
                    "ds": np.tile(days.astype("M8[us]"), len(numbers)),
                    "y": (level * week * noise).round(2).ravel(),
                }
                writer.write_table(arrow.table(table, schema=schema))
    size = sum(file.stat().st_size for file in (folder / "sales").iterdir())
    return f"{series * rows:,} rows, {size / 1e9:.2f} GB of parquet"


def read(folder, series, rows, epochs):
    """Read the panel as `fit` does before it trains."""
    from seqkeras.forecasting.frames._parquet_panel import read_parquet

    panel = read_parquet(folder / "sales", None, str(folder))
    assert len(panel.ids) == series
    return "checked, and written to temporary files"


def fit(folder, series, rows, epochs):
    """Fit a forecaster."""
    from seqkeras.forecasting import Forecaster, Training
    from seqkeras.forecasting.fitting import _fit

    stages = []
    train = _fit.train

    def timed(*arguments, **options):
        start = time.perf_counter(), time.process_time()
        log = train(*arguments, **options)
        epochs = max(1, len(log.loss))
        clock = (time.perf_counter() - start[0]) / epochs
        stages.append(f"{clock:.1f} s ({(time.process_time() - start[1]) / epochs:.1f} s)")
        return log

    _fit.train = timed
    training = Training(epochs=epochs, patience=epochs, progress=False)
    forecaster = Forecaster(HORIZON, lookback=LOOKBACK, training=training, seed=0)
    forecaster.fit(folder / "sales", scratch=folder)
    memory = peak()
    forecaster.save(folder / "forecaster")
    each = ", then ".join(stages)
    return f"{epochs} epochs of {each} each; {memory:.2f} GB before it was saved"


def predict(folder, series, rows, epochs):
    """Forecast all series with intervals, from the files to a file."""
    from pyarrow import parquet

    from seqkeras.forecasting import Forecaster

    forecaster = Forecaster.load(folder / "forecaster")
    start = time.perf_counter()
    output = forecaster.predict(folder / "sales", output=folder / "forecasts.parquet")
    seconds = time.perf_counter() - start
    written = parquet.ParquetFile(output).metadata
    assert written.num_rows == series * HORIZON
    return f"{written.num_rows:,} rows written in {seconds:.1f} s"


def score(folder, series, rows, epochs):
    """Backtest the last horizon of all series, from the files to a file."""
    from seqkeras.forecasting import Forecaster, Training, backtest

    training = Training(epochs=epochs, patience=epochs, progress=False)
    forecaster = Forecaster(HORIZON, lookback=LOOKBACK, training=training, seed=0)
    output = folder / "backtest.parquet"
    result = backtest(forecaster, folder / "sales", output=output, scratch=folder)
    return f"MASE {', '.join(f'{name} {value:.3f}' for name, value in result.scores.MASE.items())}"


STEPS = {"make": make, "read": read, "fit": fit, "predict": predict, "backtest": score}


def peak():
    """Return the largest memory that this process had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def run_step(name, folder, *sizes):
    start = time.perf_counter()
    result = STEPS[name](Path(folder), *sizes)
    seconds = time.perf_counter() - start
    print(
        f"{name:8}{seconds:8.1f} s {time.process_time():8.1f} s of processors "
        f"{peak():6.2f} GB   {result}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--series", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument(
        "--folder", help="for the panel and temporary files; by default the system's"
    )
    options = parser.parse_args()
    print(
        f"{options.series:,} series of {options.rows} days, lookback {LOOKBACK}, "
        f"horizon {HORIZON}, a GRU of 64 units"
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name in STEPS:
            arguments = json.dumps([name, folder, options.series, options.rows, options.epochs])
            subprocess.run([sys.executable, __file__, "step", arguments], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["step"]:
        run_step(*json.loads(sys.argv[2]))
    else:
        main()
