"""Series with labeled anomalies: those of three archives, and series with anomalies injected."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

#: Series without known anomalies: file, columns of time and values, rows of a day.
_USUAL = {
    "electricity": ("electricity_price_exog", "ds", "y", 24),
    "bike": ("bike_sharing_hourly", "date_time", "users", 24),
    "taylor": ("taylor_30min", "datetime", "demand", 48),
}
#: The last rows of a longer series are read.
_MOST_ROWS = 4_000
KINDS = ("point", "level", "frequency", "noise", "season")


@dataclass(frozen=True)
class Case:
    """A series, its labels, and how a detector is to be fitted.

    Attributes:
        family: the set that it belongs to.
        name: its name in the set.
        values: `(timesteps, features)`.
        labels: `(timesteps,)`, True where anomalous.
        trained: rows at the start to fit on; scores of the rows after them count. 0: fit on the
            whole series without labels, and all scores count.
    """

    family: str
    name: str
    values: np.ndarray
    labels: np.ndarray
    trained: int = 0

    @property
    def fitted(self):
        """Return the rows to fit on."""
        return self.values[: self.trained or None]

    def judged(self, scores):
        """Return labels and scores of the rows that count."""
        return self.labels[self.trained :], scores[self.trained :]


def nab(folder):
    """Return the NAB files, in order of their names; those without anomalies have no labels."""
    frame = pd.read_parquet(folder / "nab_known_artificial.parquet")
    files = frame.groupby("file", sort=True)
    return [
        Case("NAB", name, rows[["value"]].to_numpy(float), rows["in_window"].to_numpy(bool))
        for name, rows in files
    ]


def probation(case):
    """Return the rows of a NAB file that a detector may learn from before it is judged."""
    return min(int(0.15 * len(case.values)), 750)


def ucr(folder):
    """Return series 135 of the UCR archive, with its clean training part."""
    frame = pd.read_parquet(folder / "ucr_anomaly_135.parquet")
    trained = int((frame["split"] == "train").sum())
    labels = frame["is_anomaly"].to_numpy(bool)
    return [Case("UCR 135", "135", frame[["value"]].to_numpy(float), labels, trained)]


def injected(folder, seed):
    """Return each of six usual series five times, with anomalies of one kind in its second half.

    Args:
        folder: folder of the files.
        seed: seed of places, lengths and sizes.
    """
    cases = []
    for number, (name, values, day) in enumerate(usual(folder)):
        for kind_number, kind in enumerate(KINDS):
            random = np.random.default_rng((seed, number, kind_number))
            changed, labels = _inject(values, kind, day, random)
            trained = len(values) // 2
            cases.append(Case(f"injected {kind}", name, changed[:, None], labels, trained))
    return cases


def usual(folder):
    """Yield name, values and rows of a day of the series that anomalies are injected into."""
    for name, (file, time, column, day) in _USUAL.items():
        frame = pd.read_parquet(folder / f"{file}.parquet").sort_values(time, kind="stable")
        parts = frame.groupby("unique_id") if "unique_id" in frame else [("", frame)]
        for identifier, rows in parts:
            yield f"{name} {identifier}".strip(), rows[column].to_numpy(float)[-_MOST_ROWS:], day


def _inject(values, kind, day, random):
    """Return changed values and labels; the second half is cut in four, with an anomaly in each."""
    changed, labels = values.copy(), np.zeros(len(values), bool)
    spread = values.std()
    bounds = np.linspace(len(values) // 2, len(values), 5).astype(int)
    for low, high in pairwise(bounds):
        length = 1 if kind == "point" else int(random.integers(day // 2, 3 * day))
        start = int(random.integers(low + day, high - 2 * length - day))
        part = slice(start, start + length)
        sign = random.choice([-1.0, 1.0])
        if kind == "point":
            changed[part] += sign * random.uniform(2, 4) * spread
        elif kind == "level":
            changed[part] += sign * random.uniform(0.75, 2) * spread
        elif kind == "frequency":  # twice as fast
            changed[part] = values[start : start + 2 * length : 2]
        elif kind == "noise":
            changed[part] += random.normal(size=length) * random.uniform(0.3, 1) * spread
        else:  # the season is missing: a line between the levels of the days before and after
            before = values[start - day : start].mean()
            after = values[start + length : start + length + day].mean()
            changed[part] = np.linspace(before, after, length)
        labels[part] = True
    return changed, labels
