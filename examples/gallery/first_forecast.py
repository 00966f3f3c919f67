# %% [markdown]
# # A first forecast
#
# Train a recurrent network on a monthly series, score it on a year that it has not
# seen, and forecast the next year.
#
# The series is the number of airline passengers from 1949 to 1960, in thousands a
# month. A frame has a column `ds` of timestamps and a column `y` of values; other
# names, and many series, are described in [forecasting](../forecasting.md).

# %%
import sys

from seqkeras.forecasting import (
    Forecaster,
    Training,
    evaluate_holdout,
    load_air_passengers,
)

EPOCHS = 1 if "--quick" in sys.argv else 300

df = load_air_passengers()
print(df.tail(3))

# %% [markdown]
# `evaluate_holdout` fits a forecaster without the last twelve months, and scores its
# forecast of them. The two lines below are forecasts that need no training: the values
# of the year before, and the last value. A network has to beat them. With a MASE below
# 1, the errors are smaller than those of repeating the year before were in training.

# %%
forecaster = Forecaster(
    horizon=12, training=Training(epochs=EPOCHS, progress=False), seed=0
)
held_out = evaluate_holdout(forecaster, df)
print(held_out.scores.round(2))

# %% [markdown]
# The picture shows the forecast of 1960 with its intervals, and the actual values as
# dots.

# %%
figure = held_out.forecaster.plot(
    df.tail(72), title="Airline passengers: the year held out"
)
figure.savefig("first_forecast.png")
figure

# %% [markdown]
# For the forecast of next year, fit on all rows. One file holds the fitted forecaster.

# %%
forecaster.fit(df)
print(forecaster.predict().head(3).to_string(float_format="%.1f"))

forecaster.save("air.forecaster")
