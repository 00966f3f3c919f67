"""Does it help to train a network on its own answers? Teacher forcing beside scheduled sampling.

    python benchmarks/forecasting/teacher_forcing.py [--data ar1 airline] [--seeds 0 1 2]

`model="recursive"` with each `teacher_forcing`, as `Forecaster` has it. `ar1` are the series of
right_heads.py: root mean squared errors at leads 1, 6 and 12, over those of the oracle. `airline`
is the last year of the airline passengers, held out: the mean absolute error, and MASE.
"""

import argparse
import time

import keras
from right_heads import HORIZON, LOOKBACK, lead_errors, simulate, with_baselines

from seqkeras.forecasting import (
    Forecaster,
    Training,
    backtest,
    evaluate_holdout,
    load_air_passengers,
)

FORCINGS = (1.0, "scheduled", 0.5, 0.0)


def forecaster_of(forcing, seed, **options):
    return Forecaster(
        HORIZON,
        network="recursive",
        training=Training(teacher_forcing=forcing, progress=False),
        seed=seed,
        **options,
    )


def ar1(forcing, seed, rows=600, test=300):
    df = simulate(30, rows + test, seed)
    forecaster = forecaster_of(forcing, seed, lookback=LOOKBACK, patience=10, levels=())
    found = backtest(forecaster, df, windows=test - HORIZON + 1, step=1)
    frame = with_baselines(found, df)
    ratios = lead_errors(frame, "yhat") / lead_errors(frame, "oracle")
    return {f"lead {lead}": ratios[lead].round(3) for lead in (1, 6, 12)}


def airline(forcing, seed):
    found = evaluate_holdout(forecaster_of(forcing, seed), load_air_passengers())
    epochs = found.forecaster.log_.best_epoch
    return {**found.scores.loc["seqkeras", ["MAE", "MASE"]].round(3).to_dict(), "epochs": epochs}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["ar1", "airline"], choices=["ar1", "airline"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--forcings", nargs="+", default=FORCINGS)
    options = parser.parse_args()
    print(f"{keras.backend.backend()}, {vars(options)}")
    for name in options.data:
        for forcing in options.forcings:
            forcing = forcing if forcing == "scheduled" else float(forcing)
            for seed in options.seeds:
                start = time.process_time()
                line = {"ar1": ar1, "airline": airline}[name](forcing, seed)
                line["processor seconds"] = round(time.process_time() - start)
                shown = ", ".join(f"{key} {value}" for key, value in line.items())
                print(f"{name:8} {forcing!s:10} seed {seed}: {shown}", flush=True)


if __name__ == "__main__":
    main()
