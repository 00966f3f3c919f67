"""Score, forecast, save, load and plot several series in one long frame.

python examples/forecast_frame.py [--quick] [--folder .]
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from seqkeras.forecasting import Columns, Forecaster, Training, evaluate_holdout


def shops(count: int, days: int) -> pd.DataFrame:
    """Simulate daily sales of shops, each with its own level, trend, week and noise."""
    random = np.random.default_rng(0)
    day = np.arange(days)
    frames = []
    for shop in range(count):
        level = random.uniform(50, 500)
        week = random.normal(0, 0.2, size=7)
        noise = random.normal(0, 0.05, size=days)
        sales = level * (1 + 0.001 * day + week[day % 7] + noise)
        dates = pd.date_range("2024-01-01", periods=days, freq="D")
        frames.append(pd.DataFrame({"shop": f"shop {shop}", "day": dates, "sales": sales}))
    return pd.concat(frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size")
    parser.add_argument("--folder", type=Path, default=Path(), help="where files are written")
    options = parser.parse_args()

    df = shops(count=3, days=100 if options.quick else 500)
    columns = Columns(id="shop", time="day", target="sales")
    training = Training(epochs=1 if options.quick else 100)
    forecaster = Forecaster(horizon=14, training=training, seed=0)

    print(evaluate_holdout(forecaster, df, columns=columns).scores.round(3))

    forecaster.fit(df, columns=columns)
    print(forecaster.predict().head())

    path = options.folder / "shops.forecaster"
    forecaster.save(path)
    Forecaster.load(path).plot(df.tail(60), series="shop 2").savefig(options.folder / "shops.png")


if __name__ == "__main__":
    main()
