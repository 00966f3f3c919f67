"""The contenders of `peers.py`, one run of one of them in a process of its own.

A contender takes a task and prepares it (imports, frames, a trial of its speed); what it answers
trains, and answers in turn what forecasts a window: a frame of unique_id, ds and yhat.

Every network gets the same rows, lookback and covariates as far as it can read them, each series
scaled to mean 0 and deviation 1, and the absolute error as its loss. Peers have the layers of their
documentation, hold out the newest tenth of the rows and stop when these are forecast no better;
where they can go back to the best weights, they do.
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

from seqkeras.forecasting import Columns, Training

#: Forecasts a window, and trains.
Forecast = Callable[[int], pd.DataFrame]
Train = Callable[[], Forecast]

#: Checks of the held-out rows without a better forecast before a peer stops, and the steps
#: between two checks, for those who count steps.
PATIENCE, STEPS = 10, 100

#: Rows of each series that the methods of statsforecast read.
NEWEST = 1000


def seqkeras(task: Task, *, past: bool = True, **options) -> Train:
    """Ours holds rows out by itself, and then goes on with all: both within the budget.

    With `past=False` it is not given the past covariates, which a recursive network cannot read.
    """
    from seqkeras.forecasting import Forecaster

    about = task.about
    settings = {"lookback": about.lookback, "season_length": about.season, "seed": task.seed}
    forecaster = Forecaster(
        about.horizon, training=Training(progress=False), **{**settings, **options}
    )

    def forecast(window: int) -> pd.DataFrame:
        if window:
            forecaster.update(task.ahead(window - 1))
        return forecaster.predict(future=task.ahead(window) if about.future else None)

    def train() -> Forecast:
        with _deadline_in_keras(time.perf_counter() + task.budget):
            forecaster.fit(
                task.train,
                columns=Columns(
                    freq=about.freq,
                    past=about.past if past else (),
                    future=about.future,
                    static=about.static,
                ),
            )
        return forecast

    return train


@contextmanager
def _deadline_in_keras(end: float) -> Iterator[None]:
    """Every fit of Keras in here has a deadline."""
    import keras

    class Deadline(keras.callbacks.Callback):
        """Ends the first training while there is time for the second, of half as many epochs."""

        def on_train_begin(self, logs=None):
            self.begun, self.traced = time.perf_counter(), None

        def on_train_batch_end(self, batch, logs=None):
            self.traced = self.traced or time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            if "val_loss" not in logs:
                return  # the second training
            now = time.perf_counter()
            each = (now - self.traced) / (epoch + 1)
            again = self.traced - self.begun + each * (epoch + 2) / 2
            if now + each + again > end:
                self.model.stop_training = True

    fit = keras.Model.fit

    def limited(model, *given, callbacks=(), **options):
        return fit(model, *given, callbacks=[*callbacks, Deadline()], **options)

    keras.Model.fit = limited
    try:
        yield
    finally:
        keras.Model.fit = fit


def neuralforecast(task: Task, *, model: str, stops: bool = True) -> Train:
    """With `stops=False` as it comes: no rows are held out, and 1000 steps at most."""
    import neuralforecast.models
    from neuralforecast import NeuralForecast

    about = task.about
    rows = task.df.drop(columns=list(about.static))
    static = task.df.drop_duplicates("unique_id")[["unique_id", *about.static]]
    given = {"static_df": static} if about.static else {}
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
        found = NeuralForecast(
            [network(steps, **options)], freq=about.freq, local_scaler_type="standard"
        )
        held_out = task.held_out if options else 0
        found.fit(rows.loc[task.train.index], val_size=held_out, **given)
        return found

    # Its learning rate may fall with its number of steps, so that has to fit the time.
    short, long = (_seconds(partial(fitted, steps)) for steps in (5, 45))
    steps = max(1, round(task.budget * 40 / max(long - short, 1e-3)))
    steps = steps if stops else min(steps, 1000)

    def forecast(window: int) -> pd.DataFrame:
        ahead = {"futr_df": task.ahead(window)[[*KEYS, *about.future]]} if about.future else {}
        return train.found.predict(df=rows.loc[task.before(window).index], **given, **ahead)

    def train() -> Forecast:
        train.found = fitted(steps, **early)
        return forecast

    return train


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _lightning(task: Task) -> dict:
    """For the trainer of Lightning."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    return {"accelerator": "cpu", "max_time": {"seconds": task.budget}, **quiet}


def darts(task: Task, *, block: bool, rate: float = 1e-3) -> Train:
    """A `BlockRNNModel`, or an `RNNModel`, which reads no past or static covariates."""
    import torch
    from darts import TimeSeries
    from darts.dataprocessing.transformers import Scaler
    from pytorch_lightning.callbacks import EarlyStopping
    from sklearn.preprocessing import StandardScaler

    about, lengths = task.about, task.df.groupby("unique_id").size()
    train_rows = lengths - about.horizon * about.windows

    def series(columns: list[str]) -> list[TimeSeries]:
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
        found, scaler = series(columns), Scaler(StandardScaler())
        scaler.fit([one[:rows] for one, rows in zip(found, train_rows, strict=True)])
        return [one.astype(np.float32) for one in scaler.transform(found)], scaler

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
        known = [one[:-back] for one in target]
        found = model.predict(about.horizon, series=known, verbose=False, **covariates)
        values = np.concatenate([one.values()[:, 0] for one in scaler.inverse_transform(found)])
        return task.ahead(window)[KEYS].assign(yhat=values)

    def train() -> Forecast:
        pairs = list(zip(target, train_rows, strict=True))
        last = task.held_out + about.lookback
        model.fit(
            [one[: rows - task.held_out] for one, rows in pairs],
            val_series=[one[rows - last : rows] for one, rows in pairs],
            **covariates,
            **{f"val_{name}": one for name, one in covariates.items()},
            load_best=True,
            verbose=False,
        )
        return forecast

    return train


def _darts_model(task: Task, block: bool, *, stopping, **given):
    from darts.models import BlockRNNModel, RNNModel

    about = task.about
    # Held-out rows are looked at after every epoch, which is cut to so many steps.
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
        **given,
    }
    if block:
        return BlockRNNModel(about.lookback, about.horizon, **options)
    whole = about.lookback + about.horizon
    return RNNModel(about.lookback, training_length=whole, **options)


def skforecast(task: Task) -> Train:
    """One network for all series side by side, as if they shared their stamps.

    It reads a wide frame: of longer series the oldest rows are left away, and covariates are
    columns of their own for each series; those that are the same in all stand once. Past covariates
    are series that are not forecast. It has no static ones.
    """
    from keras.callbacks import EarlyStopping
    from skforecast.deep_learning import ForecasterRnn, create_and_compile_model
    from sklearn.preprocessing import StandardScaler

    about, held_out = task.about, task.held_out
    ids = list(task.df.unique_id.unique())
    wide = _wide(task.df, ["y", *about.past])
    levels = [f"y of {one}" for one in ids]
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
        found = forecaster.predict(last_window=read_rows, exog=ahead)
        by_series = [found.pred[found.level == level].to_numpy() for level in levels]
        return task.ahead(window)[KEYS].assign(yhat=np.concatenate(by_series))

    def train() -> Forecast:
        forecaster.fit(series=series, exog=known)
        return forecast

    return train


def _wide(df: pd.DataFrame, columns) -> pd.DataFrame:
    """The last rows of all series side by side, as many as the shortest has."""
    rows = int(df.groupby("unique_id").size().min())
    parts = {
        f"{column} of {name}": one[column].to_numpy()[-rows:]
        for name, one in df.groupby("unique_id")
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
    """A model for each series, from the newest of its targets; fitted afresh for every window."""
    import statsforecast.models
    from statsforecast import StatsForecast

    about = task.about
    method = getattr(statsforecast.models, model)(season_length=about.season, alias="yhat")

    def forecast(window: int) -> pd.DataFrame:
        found = StatsForecast([method], freq=about.freq)
        rows = task.before(window).groupby("unique_id").tail(NEWEST)
        return found.forecast(df=rows[[*KEYS, "y"]], h=about.horizon)

    return lambda: forecast


#: By default those without a comma in their names run; the others are the same, set otherwise.
CONTENDERS: dict[str, Callable[[Task], Train]] = {
    "seqkeras": seqkeras,
    "seqkeras segment_rnn": partial(seqkeras, model="segment_rnn"),
    "seqkeras encoder_decoder": partial(seqkeras, model="encoder_decoder"),
    "seqkeras recursive": partial(seqkeras, model="recursive", past=False),
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
    """Runs what a file of `peers.py` orders, and leaves the forecasts and the seconds beside it."""
    chosen = {name: order[name] for name in ("series", "earlier")}
    about, df = read(Path(order["data"]), order["set"], **chosen)
    task = Task(about, df, budget=order["budget"], seed=order["seed"])
    prepared = CONTENDERS[order["contender"]](task)
    start = time.perf_counter()
    forecast = prepared()
    trained = time.perf_counter()
    found = pd.concat([forecast(window)[[*KEYS, "yhat"]] for window in range(about.windows)])
    seconds = {"training": trained - start, "forecasts": time.perf_counter() - trained}
    found.to_parquet(order["answer"])
    Path(order["seconds"]).write_text(json.dumps(seconds))


if __name__ == "__main__":
    # numba imports a package called coverage, which coverage.py beside this file would hide.
    sys.path.remove(str(Path(__file__).parent))
    run(json.loads(Path(sys.argv[1]).read_text()))
