"""Sales of shops, as a frame and as parquet files."""

import numpy as np
import pandas as pd

from seqkeras.forecasting import Columns

COLUMNS = Columns(
    id="shop", time="day", target="sales", past="promo", future="price", static=["kind", "size"]
)
PLAIN = Columns(id="shop", time="day", target="sales")


def shops(first=0, *, missing=False):
    """Return twelve series of 20 to 60 days, one after the other."""
    rng = np.random.default_rng(first)
    frames = []
    for number in range(first, first + 12):
        rows = int(rng.integers(20, 60))
        frame = pd.DataFrame({"shop": f"s{number:02d}"}, index=range(rows))
        frame["day"] = pd.date_range("2024-01-01", periods=rows)
        week = np.resize([1.0, 2, 3, 4, 5, 9, 0], rows)
        frame["sales"] = 10.0**number * (week + rng.normal(0, 0.3, rows))
        frame["price"] = rng.integers(1, 5, rows)
        frame["promo"] = rng.choice(["none", "some"], rows)
        frame["kind"] = rng.choice(["large", "small"])
        frame["size"] = float(rng.integers(9))
        frames.append(frame)
    df = pd.concat(frames, ignore_index=True)
    if missing:
        df["sales"] = df.sales.where(rng.random(len(df)) > 0.1)
    return df


def write_in_two(parent, df, name="sales"):
    """Write a frame as a folder of two files with small row groups, and return the folder."""
    folder = parent / name
    folder.mkdir()
    half = len(df) // 2
    df.iloc[:half].to_parquet(folder / "a.parquet", row_group_size=37, index=False)
    df.iloc[half:].to_parquet(folder / "b.parquet", row_group_size=37, index=False)
    return folder
