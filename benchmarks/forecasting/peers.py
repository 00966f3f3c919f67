"""Compare forecasters with the same rows, covariates and time to train, on four sets of data.

    pip install -r benchmarks/forecasting/peers-requirements.txt    # in a new environment
    python benchmarks/forecasting/peers.py --data FOLDER --output peers.json

The folder holds the sets, as parquet:

    m4_hourly               unique_id, t, y, split; github.com/Mcompetitions/M4-methods
    bike_sharing_hourly     date_time, users, ...; github.com/JoaquinAmatRodrigo/skforecast-datasets
    bank_branch_weekly      unique_id, week_start_date, Act_5_0__40944, ...;
                            github.com/readytensor/rt-datasets-forecasting
    electricity_price_exog  unique_id, ds, y, ...; github.com/Nixtla/transfer-learning-time-series

Each contender runs in its own process, one at a time. It trains once on the rows before the first
window (`_peer_sets.py` has the columns), for at most `--budget` seconds, and forecasts one window
after another. If one fails, that is reported and the others continue. Each result is written at
once, so the same command continues where it was stopped.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from _peer_contenders import CONTENDERS
from _peer_sets import KEYS, SETS, Task, read

from seqkeras.scoring import mase, smape

PACKAGES = (
    "keras",
    "tensorflow-cpu",
    "torch",
    "neuralforecast",
    "darts",
    "skforecast",
    "statsforecast",
    "pandas",
    "numpy",
)

#: How many threads each library uses.
THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "NUMBA_NUM_THREADS",
)

#: The settings of a run; runs with the same settings are not repeated.
KEY = ("set", "contender", "seed", "budget", "series", "earlier", "threads")


def run(order, threads, timeout):
    """Run one contender; return its forecasts and its seconds.

    Raises:
        RuntimeError: it failed, or took longer than `timeout` seconds.
    """
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    environment |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: str(Path(folder, name)) for name in ("forecasts", "seconds", "order")}
        Path(files["order"]).write_text(json.dumps({**order, **files}))
        script = Path(__file__).with_name("_peer_contenders.py")
        try:
            process = subprocess.run(
                [sys.executable, str(script), files["order"]],
                env=environment,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"not done after {timeout:.0f} s") from error
        if process.returncode:
            raise RuntimeError("\n".join(process.stderr.strip().splitlines()[-12:]))
        return pd.read_parquet(files["forecasts"]), json.loads(Path(files["seconds"]).read_text())


def score(task, forecasts):
    """Return MASE and sMAPE: means over the series, each over all its windows."""
    windows = pd.concat([task.ahead(window) for window in range(task.about.windows)])
    scored = windows[[*KEYS, "y"]].merge(forecasts, on=KEYS, how="left", validate="one_to_one")
    missing = int((~np.isfinite(scored.yhat)).sum())
    if missing:
        raise RuntimeError(f"{missing} forecasts are missing or not finite")
    history = {name: rows.y.to_numpy() for name, rows in task.train.groupby("unique_id")}
    season = task.about.season
    by_series = [
        (
            mase(rows.y, rows.yhat, history=history[name], season_length=season),
            smape(rows.y, rows.yhat),
        )
        for name, rows in scored.groupby("unique_id")
    ]
    return dict(zip(("MASE", "sMAPE"), np.mean(by_series, axis=0).tolist(), strict=True))


def table(runs, name):
    """Print a line for each contender of a set: medians over the seeds, and the range of MASE."""
    print(f"\n{name}\n{'':42} {'MASE':>7} {'least':>7} {'most':>7} {'sMAPE':>7}", end="")
    print(f" {'training':>9} {'forecasts':>9}")
    frame = pd.DataFrame([done for done in runs if done["set"] == name and "MASE" in done])
    if len(frame):
        groups = frame.groupby("contender")
        lines = groups[["MASE", "sMAPE", "training", "forecasts"]].median()
        lines = lines.assign(least=groups.MASE.min(), most=groups.MASE.max()).sort_values("MASE")
        for contender, line in lines.iterrows():
            print(
                f"{contender:42} {line.MASE:7.3f} {line.least:7.3f} {line.most:7.3f} "
                f"{line.sMAPE:7.2f} {line.training:7.0f} s {line.forecasts:7.1f} s"
            )
    for done in runs:
        if done["set"] == name and "error" in done:
            print(f"{done['contender']:42} failed: {done['error'].splitlines()[-1]}")
    sys.stdout.flush()


def compete(order, options, task):
    """Run one contender; return its settings with its scores, or with its error."""
    settings = {**order, "threads": options.threads}
    timeout = 4 * options.budget + 600
    try:
        full_order = {**order, "data": str(options.data.resolve())}
        forecasts, seconds = run(full_order, options.threads, timeout)
        return {**settings, **score(task, forecasts), **seconds}
    except RuntimeError as error:
        return {**settings, "error": str(error)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("peers.json"))
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    plain = [name for name in CONTENDERS if "," not in name]
    parser.add_argument("--contenders", nargs="+", default=plain, choices=CONTENDERS)
    parser.add_argument("--budget", type=float, default=120, help="seconds of training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--series", type=int, help="number of series, spread evenly; default: all")
    parser.add_argument(
        "--earlier", action="store_true", help="the windows before, to choose settings by"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    stored = json.loads(options.output.read_text()) if options.output.exists() else {"runs": []}
    stored["versions"] = {name: version(name) for name in PACKAGES}
    stored["machine"] = (
        f"{platform.processor()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
    )
    # Failed runs are repeated.
    runs = stored["runs"] = [done for done in stored["runs"] if "error" not in done]
    finished = {tuple(done[name] for name in KEY) for done in runs}
    for name in options.sets:
        part = {"series": options.series, "earlier": options.earlier}
        about, df = read(options.data, name, **part)
        for seed in options.seeds:
            for contender in options.contenders:
                order = {"set": name, "contender": contender, "seed": seed}
                order |= {"budget": options.budget, **part}
                if (*order.values(), options.threads) in finished:
                    continue
                task = Task(about, df, options.budget, seed)
                result = compete(order, options, task)
                runs.append(result)
                options.output.write_text(json.dumps(stored, indent=1))
                text = f"MASE {result['MASE']:.3f}" if "MASE" in result else result["error"]
                print(f"{name}, {contender}, seed {seed}: {text}", file=sys.stderr, flush=True)
        same = {"budget": options.budget, "threads": options.threads, **part}
        table([done for done in runs if same.items() <= done.items()], name)


if __name__ == "__main__":
    main()
