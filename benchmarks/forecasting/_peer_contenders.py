"""The contenders of `peers.py`; each run of one has its own process.

A contender is a function that takes a task and prepares it (imports, frames, a test of its speed).
It returns a function that trains, which returns a function that forecasts a window: a frame of
unique_id, ds and yhat.

Every network gets the same rows and lookback, the covariates that it can read, each series scaled
to mean 0 and deviation 1, and the absolute error as its loss. Peers have the layers of their
documentation, hold out the newest tenth of the rows and stop when its forecast no longer improves.
Those that can then restore their best weights.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from _peer_sets import KEYS, Task, read

#: Forecast a window; train.
Forecast = Callable[[int], pd.DataFrame]
Train = Callable[[], Forecast]

#: Checks of the held-out rows without a better forecast before a peer stops.
PATIENCE = 10

#: Training steps between two checks, for peers that count steps.
STEPS = 100

#: Rows of each series that the methods of statsforecast read.
NEWEST = 1000


def seqkeras(task: Task, *, network: str = "multi_output", past: bool = True) -> Train:
    """Prepare ours. It holds rows out itself and then continues with all, within the budget.

    With `past=False` it gets no past covariates, which a recursive network cannot read.
    """
    from seqkeras.forecasting import Columns, Forecaster, Training

    about = task.about
    forecaster = Forecaster(
        about.horizon,
        lookback=about.lookback,
        season_length=about.season,
        network=network,
        training=Training(progress=False),
        seed=task.seed,
    )
    columns = Columns(
        freq=about.freq,
        past=about.past if past else (),
        future=about.future,
        static=about.static,
    )

    def forecast(window: int) -> pd.DataFrame:
        if window:
            forecaster.update(task.ahead(window - 1))
        return forecaster.predict(future=task.ahead(window) if about.future else None)

    def train() -> Forecast:
        with _deadline_in_keras(time.perf_counter() + task.budget):
            forecaster.fit(task.train, columns=columns)
        return forecast

    return train


@contextmanager
def _deadline_in_keras(end: float) -> Iterator[None]:
    """Give every fit of Keras in this context a deadline."""
    import keras

    class Deadline(keras.callbacks.Callback):
        """Ends the first training early enough for the second, of half as many epochs."""

        def on_train_begin(self, logs=None):
            self.start = time.perf_counter()
            self.traced = None

        def on_train_batch_end(self, batch, logs=None):
            self.traced = self.traced or time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            if "val_loss" not in logs:
                return  # the second training
            now = time.perf_counter()
            per_epoch = (now - self.traced) / (epoch + 1)
            second_training = self.traced - self.start + per_epoch * (epoch + 2) / 2
            if now + per_epoch + second_training > end:
                self.model.stop_training = True

    fit = keras.Model.fit

    def limited(model, *args, callbacks=(), **options):
        return fit(model, *args, callbacks=[*callbacks, Deadline()], **options)

    keras.Model.fit = limited
    try:
        yield
    finally:
        keras.Model.fit = fit


def neuralforecast(task: Task, *, model: str, stops: bool = True) -> Train:
    """Prepare a model; with `stops=False` without held-out rows, and with at most 1000 steps."""
    import neuralforecast.models
    from neuralforecast import NeuralForecast

    about = task.about
    rows = task.df.drop(columns=list(about.static))
    static = task.df.drop_duplicates("unique_id")[["unique_id", *about.static]]
    static_frame = {"static_df": static} if about.static else {}
    early = {"early_stop_patience_steps": PATIENCE, "val_check_steps": STEPS} if stops else {}

    def network(steps: int, **options):
        return getattr(neuralforecast.models, model)(
            h=about.horizon,
            input_size=about.lookback,
            hist_exog_list=list(about.past) or None,
            futr_exog_list=list(about.future) or None,
            stat_exog_list=list(about.static) or None,
            max_steps=steps,
            random_seed=task.seed + 1,
            alias="yhat",
            logger=False,
            **_lightning(task),
            **options,
        )

    def fitted(steps: int, **options) -> NeuralForecast:
        forecaster = NeuralForecast(
            [network(steps, **options)], freq=about.freq, local_scaler_type="standard"
        )
        held_out = task.held_out if options else 0
        forecaster.fit(rows.loc[task.train.index], val_size=held_out, **static_frame)
        return forecaster

    # Its learning rate may fall with its number of steps, which must therefore fit the time.
    short, long = (_seconds(partial(fitted, steps)) for steps in (5, 45))
    steps = max(1, round(task.budget * 40 / max(long - short, 1e-3)))
    steps = steps if stops else min(steps, 1000)

    def train() -> Forecast:
        forecaster = fitted(steps, **early)

        def forecast(window: int) -> pd.DataFrame:
            ahead = {"futr_df": task.ahead(window)[[*KEYS, *about.future]]} if about.future else {}
            known = rows.loc[task.before(window).index]
            return forecaster.predict(df=known, **static_frame, **ahead)

        return forecast

    return train


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _lightning(task: Task) -> dict:
    """Return options for the trainer of Lightning."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    return {"accelerator": "cpu", "max_time": {"seconds": task.budget}, **quiet}


def darts(task: Task, *, block: bool, rate: float = 1e-3) -> Train:
    """Prepare a `BlockRNNModel`, or an `RNNModel`, which reads no past or static covariates."""
    import torch
    from darts import TimeSeries
    from darts.dataprocessing.transformers import Scaler
    from pytorch_lightning.callbacks import EarlyStopping
    from sklearn.preprocessing import StandardScaler

    about = task.about
    train_rows = task.df.groupby("unique_id").size() - about.horizon * about.windows

    def read_series(columns: list[str]) -> list[TimeSeries]:
        return TimeSeries.from_group_dataframe(
            task.df,
            group_cols="unique_id",
            time_col="ds",
            value_cols=columns,
            static_cols=list(about.static) if block and about.static else None,
            drop_group_cols="unique_id",
            freq=about.freq,
        )

    def scaled(columns: list[str]) -> tuple[list[TimeSeries], Scaler]:
        every = read_series(columns)
        scaler = Scaler(StandardScaler())
        scaler.fit([series[:rows] for series, rows in zip(every, train_rows, strict=True)])
        return [series.astype(np.float32) for series in scaler.transform(every)], scaler

    target, scaler = scaled(["y"])
    covariates = {"future_covariates": scaled(list(about.future))[0]} if about.future else {}
    if block and about.past:
        covariates["past_covariates"] = scaled(list(about.past))[0]
    model = _darts_model(
        task,
        block,
        loss_fn=torch.nn.L1Loss(),
        optimizer_kwargs={"lr": rate},
        stopping=EarlyStopping("val_loss", patience=PATIENCE),
    )

    def forecast(window: int) -> pd.DataFrame:
        back = about.horizon * (about.windows - window)
        known = [series[:-back] for series in target]
        scaled_forecast = model.predict(about.horizon, series=known, verbose=False, **covariates)
        forecasts = scaler.inverse_transform(scaled_forecast)
        values = np.concatenate([series.values()[:, 0] for series in forecasts])
        return task.ahead(window)[KEYS].assign(yhat=values)

    def train() -> Forecast:
        pairs = list(zip(target, train_rows, strict=True))
        last = task.held_out + about.lookback
        model.fit(
            [series[: rows - task.held_out] for series, rows in pairs],
            val_series=[series[rows - last : rows] for series, rows in pairs],
            **covariates,
            **{f"val_{name}": series for name, series in covariates.items()},
            load_best=True,
            verbose=False,
        )
        return forecast

    return train


def _darts_model(task: Task, block: bool, *, stopping, **others):
    from darts.models import BlockRNNModel, RNNModel

    about = task.about
    # Held-out rows are checked after every epoch, so an epoch is cut to a number of steps.
    trainer = {
        **_lightning(task),
        "limit_train_batches": STEPS,
        "callbacks": [stopping],
    }
    options = {
        "model": "LSTM",
        "hidden_dim": 64,
        "n_epochs": 100_000,
        "random_state": task.seed,
        "save_checkpoints": True,
        "work_dir": tempfile.mkdtemp(),
        "pl_trainer_kwargs": trainer,
        **others,
    }
    if block:
        return BlockRNNModel(about.lookback, about.horizon, **options)
    whole = about.lookback + about.horizon
    return RNNModel(about.lookback, training_length=whole, **options)


def skforecast(task: Task) -> Train:
    """Prepare one network for all series side by side, as if they had the same timestamps.

    It reads a wide frame: longer series lose their oldest rows, and each series has its own columns
    of covariates; those equal in all series are there once. Past covariates are series that are not
    forecast. It reads no static ones.
    """
    from keras.callbacks import EarlyStopping
    from skforecast.deep_learning import ForecasterRnn, create_and_compile_model
    from sklearn.preprocessing import StandardScaler

    about = task.about
    held_out = task.held_out
    ids = list(task.df.unique_id.unique())
    wide = _wide(task.df, ["y", *about.past])
    levels = [f"y of {name}" for name in ids]
    exog = _wide(task.df, about.future).T.drop_duplicates().T if about.future else None
    first = len(wide) - about.horizon * about.windows

    def rows(start: int, stop: int) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        return wide.iloc[start:stop], None if exog is None else exog.iloc[start:stop]

    series, known = rows(0, first - held_out)
    later, later_known = rows(first - held_out - about.lookback, first)
    network = create_and_compile_model(
        series=series,
        lags=about.lookback,
        steps=about.horizon,
        levels=levels,
        exog=known,
        recurrent_units=64,
        dense_units=64,
        compile_kwargs={"optimizer": "adam", "loss": "mean_absolute_error"},
    )
    stopping = EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    forecaster = ForecasterRnn(
        estimator=network,
        levels=levels,
        lags=about.lookback,
        transformer_series=StandardScaler(),
        transformer_exog=StandardScaler(),
        fit_kwargs={
            "epochs": 100_000,
            "batch_size": 32,
            "verbose": 0,
            "callbacks": [stopping, _stop_in(task.budget)],
            "series_val": later,
            **({} if exog is None else {"exog_val": later_known}),
        },
    )

    def forecast(window: int) -> pd.DataFrame:
        start = first + window * about.horizon
        read_rows, _ = rows(start - about.lookback, start)
        _, ahead = rows(start, start + about.horizon)
        forecasts = forecaster.predict(last_window=read_rows, exog=ahead)
        by_series = [forecasts.pred[forecasts.level == level].to_numpy() for level in levels]
        return task.ahead(window)[KEYS].assign(yhat=np.concatenate(by_series))

    def train() -> Forecast:
        forecaster.fit(series=series, exog=known)
        return forecast

    return train


def _wide(df: pd.DataFrame, columns) -> pd.DataFrame:
    """Put the last rows of all series side by side, as many as the shortest has."""
    rows = int(df.groupby("unique_id").size().min())
    parts = {
        f"{column} of {name}": series[column].to_numpy()[-rows:]
        for name, series in df.groupby("unique_id")
        for column in columns
    }
    return pd.DataFrame(parts)


def _stop_in(budget: float):
    import keras

    class StopIn(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.end = time.perf_counter() + budget

        def on_train_batch_end(self, batch, logs=None):
            if time.perf_counter() > self.end:
                self.model.stop_training = True

    return StopIn()


def statsforecast(task: Task, *, model: str) -> Train:
    """Prepare a model for each series, fitted for every window on the newest of its targets."""
    import statsforecast.models
    from statsforecast import StatsForecast

    about = task.about
    method = getattr(statsforecast.models, model)(season_length=about.season, alias="yhat")

    def forecast(window: int) -> pd.DataFrame:
        forecaster = StatsForecast([method], freq=about.freq)
        rows = task.before(window).groupby("unique_id").tail(NEWEST)
        return forecaster.forecast(df=rows[[*KEYS, "y"]], h=about.horizon)

    return lambda: forecast


#: Those without a comma in their names run by default; the others are variants of them.
CONTENDERS: dict[str, Callable[[Task], Train]] = {
    "seqkeras": seqkeras,
    "seqkeras segment_rnn": partial(seqkeras, network="segment_rnn"),
    "seqkeras encoder_decoder": partial(seqkeras, network="encoder_decoder"),
    "seqkeras recursive": partial(seqkeras, network="recursive", past=False),
    "seqkeras, no past covariates": partial(seqkeras, past=False),
    "neuralforecast LSTM": partial(neuralforecast, model="LSTM"),
    "neuralforecast LSTM, 1000 steps": partial(neuralforecast, model="LSTM", stops=False),
    "neuralforecast NHITS": partial(neuralforecast, model="NHITS"),
    "neuralforecast NHITS, 1000 steps": partial(neuralforecast, model="NHITS", stops=False),
    "darts BlockRNNModel": partial(darts, block=True),
    "darts RNNModel": partial(darts, block=False),
    "darts RNNModel, learning rate 0.003": partial(darts, block=False, rate=3e-3),
    "skforecast ForecasterRnn": skforecast,
    "statsforecast SeasonalNaive": partial(statsforecast, model="SeasonalNaive"),
    "statsforecast AutoTheta": partial(statsforecast, model="AutoTheta"),
}


def run(order: dict) -> None:
    """Run the order of `peers.py`, and write the forecasts and the seconds to its files."""
    data = Path(order["data"])
    about, df = read(data, order["set"], series=order["series"], earlier=order["earlier"])
    task = Task(about, df, budget=order["budget"], seed=order["seed"])
    train = CONTENDERS[order["contender"]](task)
    start = time.perf_counter()
    forecast = train()
    trained = time.perf_counter()
    forecasts = pd.concat([forecast(window)[[*KEYS, "yhat"]] for window in range(about.windows)])
    seconds = {"training": trained - start, "forecasts": time.perf_counter() - trained}
    forecasts.to_parquet(order["forecasts"])
    Path(order["seconds"]).write_text(json.dumps(seconds))


if __name__ == "__main__":
    # numba imports a package called coverage, which coverage.py next to this file would hide.
    sys.path.remove(str(Path(__file__).parent))
    run(json.loads(Path(sys.argv[1]).read_text()))
