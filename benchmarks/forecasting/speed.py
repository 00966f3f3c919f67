"""Time forecasts, and compare a backtest in one pass with a loop.

    python benchmarks/forecasting/speed.py [--backend jax] [--series 100000] [--origins 1000]

    predict      one series, frame in and frame out: median and 95 % of 200 calls, and the share of
                 the network
    new rows     one observation added with `update`, and a forecast after it
    backtest     origins without a new fit: one pass compared with a loop of update and predict
    stepper      the same with `stepper`: an update, and a step with a forecast; one series and many
    many series  one call of `predict`: seconds, and the peak of memory above that before
    training     steps per second of `fit`, LSTM(64), compared with a loop over torch.nn.LSTM of the
                 same shape, alternating (needs PyTorch)
    memory       one epoch of `fit` on 10,000 series of 500 rows: the peak compared with the frame

Everything is warmed up with the shapes that are measured. The network is the default one, GRU(64).
"""

import argparse
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np


def milliseconds(function, calls):
    """Return the median and the 95 % quantile of the time of a call, in milliseconds."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return np.percentile(times, [50, 95])


def peak(*, restart=False):
    """Return the peak of memory since the last restart in megabytes; only on Linux."""
    if restart:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def frame(series, rows, pd):
    steps = np.arange(rows)
    waves = 10 + np.sin(2 * np.pi * steps / 24)
    noise = np.random.default_rng(0).normal(0, 0.1, (series, rows))
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(series), rows),
            "ds": np.tile(pd.date_range("2024-01-01", periods=rows, freq="h"), series),
            "y": (waves + noise).ravel(),
        }
    )


def measure_predict(build, pd):
    for horizon, name in ((24, "h"), (12, "MS")):
        times = pd.date_range("2000-01-01", periods=300, freq=name)
        df = pd.DataFrame({"ds": times, "y": np.sin(np.arange(300) / 4)})
        fitted = build(horizon).fit(df)
        window = np.zeros((1, fitted.lookback_, 1), "float32")
        fitted.predict()
        middle, slow = milliseconds(fitted.predict, 200)
        network, _ = milliseconds(lambda: fitted.model_.predict_on_batch(window), 200)  # noqa: B023
        label = f"predict, {horizon} steps of {name}"
        print(f"{label:28} {middle:8.2f} ms, 95 % {slow:6.2f}, network {network:6.2f}")


def measure_backtest(build, origins, pd):
    """Compare a pass with a row at a time, which a user without a backtest would write."""
    from seqkeras.forecasting import insample

    df = frame(1, origins + 400, pd).drop(columns="unique_id")
    known = len(df) - origins - 23
    fitted = build(24).fit(df.iloc[:known])
    fitted.predict()

    start = time.perf_counter()
    rows_one_by_one = range(known, known + origins - 1)
    looped = [fitted.update(df.iloc[row : row + 1]).predict() for row in rows_one_by_one]
    loop = time.perf_counter() - start

    fitted.update(df.iloc[known + origins - 1 :])
    rows = df.iloc[known - fitted.lookback_ :]
    insample(fitted, rows, step=1)
    start = time.perf_counter()
    at_once = insample(fitted, rows, step=1)
    one_pass = time.perf_counter() - start
    difference = np.abs(at_once.yhat.to_numpy()[24:] - pd.concat(looped).yhat.to_numpy()).max()
    assert difference < 1e-4, difference
    print(f"{'update and predict, a row':28} {1e3 * loop / origins:8.2f} ms")
    print(
        f"{f'{origins} origins':28} {loop:8.2f} s in a loop, {1e3 * one_pass:.0f} ms in one pass: "
        f"{loop / one_pass:.0f} times faster"
    )


def measure_stepper(build, pd):
    """Compare with `update` and `predict` of the same series, which read the same values."""
    for series in (1, 1000):
        df = frame(series, 400, pd)
        fitted = build(24).fit(df)
        row = df.groupby("unique_id").tail(1)

        def by_frame():
            row["ds"] += pd.Timedelta(1, "h")  # noqa: B023
            return fitted.update(row).predict()  # noqa: B023

        looped, _ = milliseconds(by_frame, 40)
        for implementation in ("program", "keras"):
            stepper = fitted.stepper(implementation=implementation)
            values = row["y"].to_numpy()
            stepper.step(values)
            update, _ = milliseconds(lambda: stepper.update(values), 200)  # noqa: B023
            step, slow = milliseconds(lambda: stepper.step(values), 100)  # noqa: B023
            label = f"stepper, {series} series, {implementation}"
            print(
                f"{label:28} {update:8.3f} ms an update; {step:.2f} ms with a forecast, 95 % "
                f"{slow:.2f}; update and predict {looped:.2f}: {looped / step:.0f} times as long"
            )


def with_series(forecaster, df):
    """Return a fitted forecaster with its network, but with other series as its history."""
    from sklearn.base import clone

    from seqkeras.forecasting import Columns
    from seqkeras.forecasting.frames._reading import read_panel
    from seqkeras.windows import StandardScaler

    panel = read_panel(df, Columns())
    scaler = StandardScaler().fit(panel.values)
    other = clone(forecaster)
    other.fitted_ = replace(forecaster.fitted_, panel=panel, scaler=scaler)
    return other


def measure_many(build, series, pd):
    fitted = build(24).fit(frame(100, 120, pd))
    many = frame(series, fitted.lookback_, pd)
    megabytes = many.memory_usage(deep=True).sum() / 2**20
    forecaster = with_series(fitted, many)
    before = peak(restart=True)
    start = time.perf_counter()
    forecast = forecaster.predict()
    seconds = time.perf_counter() - start
    print(
        f"{f'{series} series, one call':28} {seconds:8.2f} s for {len(forecast)} rows; peak "
        f"{peak() - before:.0f} MB above; the rows read are a frame of {megabytes:.0f} MB"
    )


def measure_training(build, pd, *, rounds=5, epochs=4):
    """Measure how much longer a fit of more epochs takes, so that work done once does not count."""
    import torch

    horizon = 24
    lookback = 72
    df = frame(20, 700, pd)

    def fit(count):
        options = {"network__cell": "lstm", "training__epochs": count, "training__batch_size": 128}
        forecaster = build(horizon).set_params(**options)
        start = time.perf_counter()
        forecaster.fit(df)
        return time.perf_counter() - start

    values = torch.tensor(df["y"].to_numpy("float32").reshape(20, 700))
    windows = values.unfold(1, lookback + horizon, 1).reshape(-1, lookback + horizon)
    recurrent = torch.nn.LSTM(1, 64, batch_first=True)
    head = torch.nn.Linear(64, horizon)
    weights = [*recurrent.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(weights, 3e-3)

    def loop(steps):
        start = time.perf_counter()
        for _ in range(steps):
            batch = windows[torch.randint(len(windows), (128,))]
            forecast = head(recurrent(batch[:, :lookback, None])[0][:, -1])
            loss = (forecast - batch[:, lookback:]).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
        return time.perf_counter() - start

    fit(1)
    loop(10)
    ratios = []
    for _ in range(rounds):
        steps = 100 * epochs
        ours = steps / (fit(1 + epochs) - fit(1))
        theirs = steps / loop(steps)
        ratios.append(ours / theirs)
    print(
        f"{'training':28} {ours:8.0f} steps per second, torch loop {theirs:.0f}; "
        f"{np.median(ratios):.2f} times ({min(ratios):.2f} .. {max(ratios):.2f})"
    )


def measure_memory(build, pd):
    df = frame(10_000, 500, pd)
    build(24).fit(df[df.unique_id < 100])
    megabytes = df.memory_usage(deep=True).sum() / 2**20
    forecaster = build(24).set_params(intervals=(80, 95), training__validation=0.2)
    before = peak(restart=True)
    start = time.perf_counter()
    forecaster.fit(df)
    print(
        f"{'10,000 series, one epoch':28} {time.perf_counter() - start:8.1f} s; peak "
        f"{peak() - before:.0f} MB above a frame of {megabytes:.0f} MB"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["tensorflow", "jax", "torch"])
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--origins", type=int, default=1000)
    options = parser.parse_args()
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
    import pandas as pd

    from seqkeras.forecasting import Forecaster, Training

    def build(horizon):
        return Forecaster(
            horizon,
            lookback=3 * horizon,
            intervals=(),
            training=Training(epochs=1, validation=0, progress=False),
            seed=0,
        )

    measure_predict(build, pd)
    measure_backtest(build, options.origins, pd)
    measure_stepper(build, pd)
    measure_many(build, options.series, pd)
    measure_training(build, pd)
    measure_memory(build, pd)


if __name__ == "__main__":
    main()
