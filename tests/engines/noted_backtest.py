"""A backtest of ten folds that notes each fit in a file; a script, for tests that kill it.

python noted_backtest.py ENGINE FOLDER FITS FRAME
"""

import sys

import numpy as np
import pandas as pd

from seqkeras.forecasting import Forecaster, Network, Training, backtest

FOLDS = 10


class NotedForecaster(Forecaster):
    """Writes a line when a fit begins and when it is done, with the rows that it reads."""

    def fit(self, df, y=None, *, columns=None, backup=None):
        self._note(f"begin {len(df)}")
        super().fit(df, y, columns=columns, backup=backup)
        self._note(f"done {len(df)}")
        return self

    def _note(self, text):
        with open(FITS, "a") as file:
            file.write(f"{text}\n")


def run(engine, folder):
    """Return the frame of the backtest."""
    rows = np.arange(70)
    frames = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2024-01-01", periods=len(rows)),
                "y": np.sin(rows / speed) + rows / 50,
            }
        )
        for name, speed in (("a", 1.1), ("b", 2.3))
    ]
    training = Training(epochs=2, progress=False)
    forecaster = NotedForecaster(2, lookback=7, network=Network(units=4), training=training, seed=0)
    df = pd.concat(frames)
    return backtest(forecaster, df, windows=FOLDS, refit=True, engine=engine, folder=folder).frame


if __name__ == "__main__":
    engine, folder, FITS, frame = sys.argv[1:]
    run(engine or None, folder or None).to_pickle(frame)
