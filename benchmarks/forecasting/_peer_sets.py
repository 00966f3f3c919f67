"""The sets of `peers.py`: their targets, their covariates and the rolling origins."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

KEYS = ["unique_id", "ds"]


@dataclass(frozen=True)
class Set:
    """One set of data.

    Attributes:
        columns: new names of columns of the file: unique_id, ds and y.
        freq: frequency of the timestamps, as in pandas; 1 for integers.
        horizon: rows to forecast at a time.
        windows: number of horizons at the end of each series that are forecast in turn.
        lookback: rows that each network reads for a forecast.
        season: season of MASE and of the seasonal naive forecast.
        past: covariates that are known up to the last row.
        future: covariates that are also known over the horizon.
        static: covariates that do not change within a series.
        categorical: future covariates that become a column of 0 and 1 for each category.
        cycles: future covariates that count along a cycle, and its length; they become sine and
            cosine.
    """

    columns: dict[str, str]
    freq: str | int
    horizon: int
    windows: int
    lookback: int
    season: int
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    cycles: dict[str, int] = field(default_factory=dict)


SETS = {
    "m4_hourly": Set({"t": "ds"}, 1, horizon=48, windows=1, lookback=168, season=24),
    "bike_sharing_hourly": Set(
        {"date_time": "ds", "users": "y"},
        "h",
        horizon=24,
        windows=28,
        lookback=168,
        season=24,
        future=("holiday", "workingday", "temp", "atemp", "hum", "windspeed"),
        categorical=("weather",),
        cycles={"hour": 24, "weekday": 7, "month": 12},
    ),
    "bank_branch_weekly": Set(
        {"week_start_date": "ds", "Act_5_0__40944": "y"},
        "W-MON",
        horizon=8,
        windows=4,
        lookback=52,
        season=52,
        past=(
            "Act_5_0__45308",
            "Act_5_0__82324",
            "Act_5_0__89097",
            "Act_5_0__94157",
            "Act_5_0__96723",
        ),
        future=("num_holidays",),
        static=("is_region_1", "is_region_2"),
    ),
    "electricity_price_exog": Set(
        {},
        "h",
        horizon=24,
        windows=14,
        lookback=168,
        season=24,
        future=("Exogenous1", "Exogenous2", *(f"day_{day}" for day in range(7))),
    ),
}


@dataclass(frozen=True)
class Task:
    """The input of a contender.

    Attributes:
        about: the set, with numeric covariates.
        df: a long frame of all rows, including those to forecast; train only on `before`.
        budget: seconds that training may take.
        seed: seed of weights and shuffles.
    """

    about: Set
    df: pd.DataFrame
    budget: float
    seed: int

    @property
    def train(self) -> pd.DataFrame:
        """Return the rows before the first window."""
        return self.before(0)

    @property
    def held_out(self) -> int:
        """Return how many rows peers hold out: a tenth of `train`, at least one horizon."""
        return max(self.about.horizon, int(self.train.groupby("unique_id").size().min()) // 10)

    def before(self, window: int) -> pd.DataFrame:
        """Return the rows of each series that are known when a window is forecast."""
        return self.df[self._to_end() >= self._back(window)]

    def ahead(self, window: int) -> pd.DataFrame:
        """Return the rows of a window."""
        to_end = self._to_end()
        back = self._back(window)
        return self.df[(to_end < back) & (to_end >= back - self.about.horizon)]

    def _back(self, window: int) -> int:
        return self.about.horizon * (self.about.windows - window)

    def _to_end(self) -> pd.Series:
        return self.df.groupby("unique_id").cumcount(ascending=False)


def read(
    folder: Path, name: str, *, series: int | None = None, earlier: bool = False
) -> tuple[Set, pd.DataFrame]:
    """Read a set, with numeric covariates, and its long frame.

    Args:
        folder: where the sets are.
        name: name of the set.
        series: number of series, spread evenly. Default: all.
        earlier: whether to cut off the rows that are forecast, so that the rows before them are
            forecast instead. Default False.
    """
    about = SETS[name]
    df = pd.read_parquet(folder / f"{name}.parquet").rename(columns=about.columns)
    if "unique_id" not in df:
        df["unique_id"] = name
    ids = df.unique_id.unique()
    if series is not None and series < len(ids):
        df = df[df.unique_id.isin(ids[:: len(ids) // series][:series])]
    df = df.sort_values(KEYS, ignore_index=True)
    known = pd.concat([df[list(about.future)], *_as_numbers(df, about)], axis=1).astype(float)
    about = replace(about, future=tuple(known), categorical=(), cycles={})
    df = pd.concat([df[[*KEYS, "y", *about.past, *about.static]], known], axis=1)
    return about, Task(about, df, budget=0, seed=0).train if earlier else df


def _as_numbers(df: pd.DataFrame, about: Set) -> list[pd.DataFrame]:
    parts = [pd.get_dummies(df[name], prefix=name) for name in about.categorical]
    for name, length in about.cycles.items():
        angle = 2 * np.pi * df[name] / length
        parts.append(pd.DataFrame({f"{name}_sin": np.sin(angle), f"{name}_cos": np.cos(angle)}))
    return parts
