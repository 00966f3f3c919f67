# %% [markdown]
# # Many series with covariates
#
# One network forecasts the sales of twelve shops. It reads prices and promotions that
# are planned ahead, the kind of each shop, and the calendar.
#
# What it learns from one shop, such as what a discount does, it knows for all of them.

# %%
import sys

import numpy as np
import pandas as pd

from seqkeras.forecasting import (
    Columns,
    Forecaster,
    Training,
    evaluate_holdout,
    permutation_importance,
)

QUICK = "--quick" in sys.argv
SHOPS, DAYS, EPOCHS = (3, 100, 1) if QUICK else (12, 500, 10)

# %% [markdown]
# Each shop has its own level, trend and week. Discounts and promotions come at random
# times. A promotion doubles the sales of a small shop, and adds only a fifth to those
# of a large one.

# %%
random = np.random.default_rng(0)
day = np.arange(DAYS)


def sales_of(shop: int) -> pd.DataFrame:
    kind = "small" if shop % 2 else "large"
    price = random.choice([1.0, 0.9, 0.7], size=DAYS, p=[0.8, 0.1, 0.1])
    promotion = random.random(DAYS) < 0.1
    week = random.normal(0, 0.15, size=7)[day % 7]
    effect = 2.0 if kind == "small" else 1.2
    level = random.uniform(50, 100) if kind == "small" else random.uniform(300, 600)
    sales = (
        level * (1 + 0.0005 * day + week) * price**-2 * np.where(promotion, effect, 1)
    )
    return pd.DataFrame(
        {
            "shop": f"shop {shop}",
            "day": pd.date_range("2025-01-01", periods=DAYS),
            "sales": sales * random.normal(1, 0.05, size=DAYS),
            "price": price,
            "promotion": promotion,
            "kind": kind,
        }
    )


df = pd.concat([sales_of(shop) for shop in range(SHOPS)], ignore_index=True)
print(df.tail(3).to_string())

# %% [markdown]
# `Columns` names the columns, and says when covariates are known: `future` ones are
# known in advance, `static` ones never change. The same forecaster without the
# covariates shows what they are worth.

# %%
forecaster = Forecaster(14, training=Training(epochs=EPOCHS, progress=False), seed=0)
plain = Columns(id="shop", time="day", target="sales")
columns = Columns(
    id="shop",
    time="day",
    target="sales",
    future=["price", "promotion"],
    static=["kind"],
    calendar=["day_of_week"],
)

without = evaluate_holdout(forecaster, df[["shop", "day", "sales"]], columns=plain)
held_out = evaluate_holdout(forecaster, df, columns=columns)
scores = pd.concat(
    {
        "with covariates": held_out.scores.loc["seqkeras"],
        "without": without.scores.loc["seqkeras"],
        "a week before": held_out.scores.loc["seasonal naive"],
    },
    axis=1,
).T
print(scores[["MAE", "sMAPE", "MASE", "in 80 %"]].round(2))

# %% [markdown]
# The picture shows a small and a large shop. The network has not seen the sales of the
# last two weeks, but it knew the plan: the forecast rises with each discount and each
# promotion, and promotions count more in the small shop.

# %%
rows = df[df.day > df.day.max() - pd.Timedelta(days=56)]
figure = held_out.forecaster.plot(
    rows,
    series=["shop 1", "shop 2"],
    future=df[df.day > df.day.max() - pd.Timedelta(days=14)],
    title="Sales of a small and a large shop",
)
figure.savefig("many_series.png")
figure

# %% [markdown]
# Which inputs matter? The error is measured again with one input taken from other
# windows. The longer the bar, the more the forecast depends on that input. The day of
# the week adds nothing here, since the sales of the last week tell it too.

# %%
importance = permutation_importance(
    held_out.forecaster,
    df,
    lags=4,
    windows=20 if QUICK else 500,
    repeats=1 if QUICK else 5,
)
figure = importance.plot(title="What the forecast depends on")
figure.savefig("importance.png")
figure

# %% [markdown]
# What if there were a promotion every Saturday? `future_frame` makes the frame of the
# coming days, to fill in. Read on: [covariates](../forecasting.md#covariates).

# %%
plan = held_out.forecaster.future_frame()
plan["price"] = 1.0
plan["promotion"] = plan.day.dt.day_of_week == 5
forecast = held_out.forecaster.predict(future=plan)
print(forecast[forecast.shop == "shop 1"].head(7).to_string(float_format="%.1f"))
