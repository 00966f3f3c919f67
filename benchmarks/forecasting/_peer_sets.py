"""The sets of `peers.py`: what is forecast, what is known beside it, and the rolling origins."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

KEYS = ["unique_id", "ds"]


@dataclass(frozen=True)
class Set:
    """One set of data.

    Attributes:
        columns: of the file, by the names that they get here: unique_id, ds and y.
        freq: of the stamps, as pandas writes it; 1 for integers.
        horizon: rows to forecast at a time.
        windows: horizons at the end of each series that are forecast, one after the other.
        lookback: rows that each network reads for a forecast.
        season: of MASE and of the seasonal naive forecast.
        past: covariates that are known up to the last row.
        future: covariates that are known over the horizon too.
        static: covariates that do not change within a series.
        words: covariates that are texts, and become a column of 0 and 1 for each text.
        cycles: covariates that count around a cycle of such a length, and become sine and cosine.
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
    words: tuple[str, ...] = ()
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
        words=("weather",),
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
    """What a contender is given.

    Attributes:
        about: the set; its covariates are numbers here.
        df: a long frame of all rows, also those to forecast: only `before` may be trained on.
        budget: seconds that training may take.
        seed: of weights and shuffles.
    """

    about: Set
    df: pd.DataFrame
    budget: float
    seed: int

    @property
    def train(self) -> pd.DataFrame:
        """The rows before all that is forecast."""
        return self.before(0)

    @property
    def held_out(self) -> int:
        """Rows at the end of `train` by which a peer may stop: a tenth, at least one horizon."""
        return max(self.about.horizon, int(self.train.groupby("unique_id").size().min()) // 10)

    def before(self, window: int) -> pd.DataFrame:
        """The rows of each series that are known when a window is forecast."""
        return self.df[self._to_end() >= self._back(window)]

    def ahead(self, window: int) -> pd.DataFrame:
        """The rows of a window."""
        to_end, back = self._to_end(), self._back(window)
        return self.df[(to_end < back) & (to_end >= back - self.about.horizon)]

    def _back(self, window: int) -> int:
        return self.about.horizon * (self.about.windows - window)

    def _to_end(self) -> pd.Series:
        return self.df.groupby("unique_id").cumcount(ascending=False)


def read(
    folder: Path, name: str, *, series: int | None = None, earlier: bool = False
) -> tuple[Set, pd.DataFrame]:
    """A set whose covariates are all numbers, and its long frame.

    Of some `series` if so wished; and with `earlier` without the rows that are forecast, so that
    the rows before them are.
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
    about = replace(about, future=tuple(known), words=(), cycles={})
    kept = df[[*KEYS, "y", *about.past, *about.static]]
    df = pd.concat([kept, known], axis=1)
    return about, Task(about, df, budget=0, seed=0).train if earlier else df


def _as_numbers(df: pd.DataFrame, about: Set) -> list[pd.DataFrame]:
    parts = [pd.get_dummies(df[name], prefix=name) for name in about.words]
    for name, length in about.cycles.items():
        angle = 2 * np.pi * df[name] / length
        parts.append(pd.DataFrame({f"{name}_sin": np.sin(angle), f"{name}_cos": np.cos(angle)}))
    return parts
