# %% [markdown]
# # Intervals that hold
#
# An 80 % interval should contain 80 % of the actual values, also when a series becomes
# more restless than it ever was in training.
#
# Here are daily values of thirty series. After day 600 their noise grows to three times
# what it was.

# %%
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from seqkeras.forecasting import Forecaster, Intervals, Network, Training, backtest

QUICK = "--quick" in sys.argv
SERIES, DAYS, EPOCHS, WINDOWS = (2, 130, 1, 4) if QUICK else (30, 1000, 10, 70)

random = np.random.default_rng(0)
day = np.arange(DAYS)
spread = np.interp(day, [600, 800], [1, 3])
frames = []
for name in range(SERIES):
    y = 10 * np.sin(
        2 * np.pi * day / 7 + random.uniform(0, 6)
    ) + spread * random.normal(size=DAYS)
    frames.append(
        pd.DataFrame({"unique_id": f"series {name}", "ds": day, "y": 100 + y})
    )
df = pd.concat(frames)

# %% [markdown]
# The network is fitted once, on the calm days. Then it forecasts a week from each of
# many origins. With `method="split"` the intervals keep the width that fitted the calm
# days. With `"adaptive"`, the default, those of each series become wider or narrower
# with what came since. Read on: [intervals that
# adapt](../forecasting.md#intervals-that-adapt).

# %%
training = Training(epochs=EPOCHS, progress=False)


def forecasts(method: str) -> pd.DataFrame:
    forecaster = Forecaster(
        7,
        lookback=28,
        season_length=7,
        network=Network(units=32),
        intervals=Intervals((80,), method=method),
        training=training,
        seed=0,
    )
    return backtest(forecaster, df, windows=WINDOWS).frame


methods = {method: forecasts(method) for method in ("split", "adaptive")}
inside = pd.DataFrame(
    {
        name: rows.y.between(rows["yhat-lo-80"], rows["yhat-hi-80"])
        .groupby(rows.ds)
        .mean()
        for name, rows in methods.items()
    }
)
calm, restless = (
    inside[inside.index < 600].mean(),
    inside[inside.index >= 800].mean(),
)
print((100 * pd.DataFrame({"calm days": calm, "restless days": restless})).round(1))

# %% [markdown]
# Above, the share of actual values inside the interval, averaged over four weeks: the
# fixed intervals fall far below their promise and stay there, and the adaptive ones
# return to it. Below, the errors of the forecasts of one series, and the adaptive
# interval, which grows with them.

# %%
figure, (above, below) = plt.subplots(
    2, 1, figsize=(9, 6), sharex=True, layout="constrained"
)
averaged = 100 * inside.rolling(28).mean()
averaged.plot(ax=above, color=["#d9480f", "#0b7285"])
above.axhline(80, color="#4a5568", lw=0.8, ls="--")
above.set(ylabel="inside, percent", title="Inside the 80 % interval")

rows = methods["adaptive"]
rows = rows[rows.unique_id == "series 0"]
low, high = rows["yhat-lo-80"] - rows.yhat, rows["yhat-hi-80"] - rows.yhat
below.fill_between(rows.ds, low, high, color="#a9d3db", lw=0, label="80 % interval")
below.plot(rows.ds, rows.y - rows.yhat, ".", color="#d9480f", ms=3, label="error")
below.set(xlabel="day", title="Errors of one series")
below.legend(loc="upper left")
figure.savefig("intervals.png")
