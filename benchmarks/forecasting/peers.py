"""Forecasters side by side: equal rows, covariates and time to train, on four sets of data.

    pip install -r benchmarks/forecasting/peers-requirements.txt    # an environment of its own
    python benchmarks/forecasting/peers.py --data FOLDER --output peers.json

The folder holds the sets, as parquet:

    m4_hourly               unique_id, t, y, split; github.com/Mcompetitions/M4-methods
    bike_sharing_hourly     date_time, users, ...; github.com/JoaquinAmatRodrigo/skforecast-datasets
    bank_branch_weekly      unique_id, week_start_date, Act_5_0__40944, ...;
                            github.com/readytensor/rt-datasets-forecasting
    electricity_price_exog  unique_id, ds, y, ...; github.com/Nixtla/transfer-learning-time-series

Each contender runs alone in a process of its own, trains once on what comes before the first window
(`_peer_sets.py` says which columns it is given), for `--budget` seconds at most, and forecasts
window after window. One that fails is reported, and the others go on. What a run has found is
written at once: the same command goes on where it was stopped.
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

PACKAGES = ("keras", "tensorflow-cpu", "torch", "neuralforecast", "darts", "skforecast")
PACKAGES += ("statsforecast", "pandas", "numpy")

#: Settings of a run; one of the same settings is not run again.
KEY = ("set", "contender", "seed", "budget", "series", "earlier", "threads")


def run(order, threads, patience):
    """The forecasts of one contender and its seconds; raises RuntimeError with what it said."""
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    variables += ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(variables, str(threads))}
    environment |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: str(Path(folder, name)) for name in ("answer", "seconds", "order")}
        Path(files["order"]).write_text(json.dumps({**order, **files}))
        script = Path(__file__).with_name("_peer_contenders.py")
        try:
            done = subprocess.run(
                [sys.executable, str(script), files["order"]],
                env=environment,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=patience,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"not done after {patience:.0f} s") from error
        if done.returncode:
            raise RuntimeError("\n".join(done.stderr.strip().splitlines()[-12:]))
        return pd.read_parquet(files["answer"]), json.loads(Path(files["seconds"]).read_text())


def score(task, found):
    """Means over the series of MASE and sMAPE, over all windows of a series at once."""
    windows = pd.concat([task.ahead(window) for window in range(task.about.windows)])
    found = windows[[*KEYS, "y"]].merge(found, on=KEYS, how="left", validate="one_to_one")
    if not np.isfinite(found.yhat).all():
        raise RuntimeError(
            f"{(~np.isfinite(found.yhat)).sum()} forecasts are missing or no numbers"
        )
    history = {name: rows.y.to_numpy() for name, rows in task.train.groupby("unique_id")}
    season = task.about.season
    each = [
        (
            mase(rows.y, rows.yhat, history=history[name], season_length=season),
            smape(rows.y, rows.yhat),
        )
        for name, rows in found.groupby("unique_id")
    ]
    return dict(zip(("MASE", "sMAPE"), np.mean(each, axis=0).tolist(), strict=True))


def table(runs, name):
    """One line for each contender of a set: medians over the seeds, and the range of MASE."""
    print(f"\n{name}\n{'':42} {'MASE':>7} {'least':>7} {'most':>7} {'sMAPE':>7}", end="")
    print(f" {'training':>9} {'forecasts':>9}")
    frame = pd.DataFrame([one for one in runs if one["set"] == name and "MASE" in one])
    if len(frame):
        groups = frame.groupby("contender")
        lines = groups[["MASE", "sMAPE", "training", "forecasts"]].median()
        lines = lines.assign(least=groups.MASE.min(), most=groups.MASE.max()).sort_values("MASE")
        for contender, line in lines.iterrows():
            print(
                f"{contender:42} {line.MASE:7.3f} {line.least:7.3f} {line.most:7.3f} "
                f"{line.sMAPE:7.2f} {line.training:7.0f} s {line.forecasts:7.1f} s"
            )
    for one in runs:
        if one["set"] == name and "error" in one:
            print(f"{one['contender']:42} failed: {one['error'].splitlines()[-1]}")
    sys.stdout.flush()


def compete(order, options, task):
    """A run with its scores, or with its error."""
    try:
        patience = 4 * options.budget + 600
        found, seconds = run(
            {**order, "data": str(options.data.resolve())}, options.threads, patience
        )
        return {**order, "threads": options.threads, **score(task, found), **seconds}
    except RuntimeError as error:
        return {**order, "threads": options.threads, "error": str(error)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("peers.json"))
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    plain = [name for name in CONTENDERS if "," not in name]
    parser.add_argument("--contenders", nargs="+", default=plain, choices=CONTENDERS)
    parser.add_argument("--budget", type=float, default=120, help="seconds of training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--series", type=int, help="only so many, spread over all")
    parser.add_argument(
        "--earlier", action="store_true", help="the windows before, by which settings are chosen"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    kept = json.loads(options.output.read_text()) if options.output.exists() else {"runs": []}
    kept["versions"] = {name: version(name) for name in PACKAGES}
    kept["machine"] = (
        f"{platform.processor()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
    )
    # What failed is run again.
    kept["runs"] = [one for one in kept["runs"] if "error" not in one]
    done = {tuple(one[name] for name in KEY) for one in kept["runs"]}
    for name in options.sets:
        chosen = {"series": options.series, "earlier": options.earlier}
        about, df = read(options.data, name, **chosen)
        for seed in options.seeds:
            for contender in options.contenders:
                order = {"set": name, "contender": contender, "seed": seed}
                order |= {"budget": options.budget, **chosen}
                if (*order.values(), options.threads) in done:
                    continue
                task = Task(about, df, options.budget, seed)
                kept["runs"].append(compete(order, options, task))
                options.output.write_text(json.dumps(kept, indent=1))
                one = kept["runs"][-1]
                shown = f"MASE {one['MASE']:.3f}" if "MASE" in one else one["error"]
                print(f"{name}, {contender}, seed {seed}: {shown}", file=sys.stderr, flush=True)
        same = {"budget": options.budget, "threads": options.threads, **chosen}
        table([one for one in kept["runs"] if same.items() <= one.items()], name)


if __name__ == "__main__":
    main()
