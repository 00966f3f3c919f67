# %% [markdown]
# # Honest evaluation
#
# How good is a forecaster on rows that it has not seen? Backtest it from several points
# in time, look at its errors on rows of the fit with suspicion, and audit your own code
# for leaks.

# %%
import sys

import matplotlib.pyplot as plt
import pandas as pd

from seqkeras.forecasting import (
    Forecaster,
    Network,
    Training,
    audit_leaks,
    backtest,
    insample,
    load_air_passengers,
)

QUICK = "--quick" in sys.argv
EPOCHS, WINDOWS = (1, 2) if QUICK else (100, 6)

df = load_air_passengers()
training = Training(epochs=EPOCHS, progress=False)
forecaster = Forecaster(horizon=6, lookback=24, training=training, seed=0)

# %% [markdown]
# A backtest moves an origin through the last rows, and forecasts the six months after
# each origin from the rows before it. Here the network is fitted once, before the first
# origin. With `refit=True` it would be fitted at each.
#
# A single origin would be one draw of luck, so the scores cover all of them.

# %%
result = backtest(forecaster, df, windows=WINDOWS)
print(result.scores[["MAE", "MASE", "CRPS", "in 80 %", "in 95 %"]].round(2))

# %% [markdown]
# Each forecast begins at a dot, and has read the actual values only up to there.

# %%
figure = result.plot(title="Forecasts from six origins, and what happened")
figure.savefig("honest_evaluation.png")
figure

# %% [markdown]
# Errors on rows of the fit say nothing about tomorrow. Here is a network that was
# trained far too long, without held-out rows that would have stopped it. The bars
# compare its forecasts of the same months: fitted on them too, and fitted only on the
# months before.


# %%
def errors_by_lead(forecasts: pd.DataFrame) -> pd.Series:
    lead = forecasts.groupby("cutoff").cumcount() + 1
    percent = 100 * (forecasts.yhat / forecasts.y - 1).abs()
    return percent.groupby(lead).mean()


too_long = Forecaster(
    6,
    lookback=24,
    network=Network(linear_expert=False),
    intervals=(),
    training=Training(epochs=1 if QUICK else 200, validation=0, progress=False),
    seed=0,
)
unseen = backtest(too_long, df, windows=WINDOWS).frame
seen = insample(too_long.fit(df), df)
seen = seen[seen.cutoff.isin(unseen.cutoff)]
errors = pd.DataFrame(
    {"rows of the fit": errors_by_lead(seen), "unseen rows": errors_by_lead(unseen)}
)
figure, axes = plt.subplots(figsize=(8, 3.5), layout="constrained")
errors.plot.bar(ax=axes, rot=0, color=["#a9d3db", "#0b7285"])
axes.set(xlabel="months ahead", ylabel="mean error, percent")
axes.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
figure.savefig("errors_by_lead.png")

# %% [markdown]
# A leak makes a backtest look better than reality. `audit_leaks` changes all values
# after a cutoff, fits again, and reports what changed before the cutoff. Nothing
# should, and with the forecaster alone nothing does. The function below looks harmless,
# but it divides by a maximum that was reached after the cutoff.


# %%
def scaled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(y=frame.y / frame.y.max())


small = Forecaster(
    6,
    intervals=(),
    training=Training(epochs=1, validation=0, progress=False),
    seed=0,
)
audit = audit_leaks(small, df, prepare=scaled)
print(audit.to_string())
