"""Compare ways to train a recursive network: on true values, on its own outputs, and in between.

    python benchmarks/forecasting/teacher_forcing.py [--data ar1 airline] [--seeds 0 1 2]

`network="recursive"` with each `teacher_forcing` of `Training`. `ar1` are the series of
right_heads.py: root mean squared errors at leads 1, 6 and 12, over those of the oracle. `airline`
is the held-out last year of the airline passengers: the mean absolute error, and MASE.
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


def ar1(forcing, seed, rows=600, test=300):
    df = simulate(30, rows + test, seed)
    forecaster = Forecaster(
        HORIZON,
        lookback=LOOKBACK,
        network="recursive",
        intervals=(),
        training=Training(patience=10, teacher_forcing=forcing, progress=False),
        seed=seed,
    )
    result = backtest(forecaster, df, windows=test - HORIZON + 1, step=1)
    frame = with_baselines(result, df)
    ratios = lead_errors(frame, "yhat") / lead_errors(frame, "oracle")
    return {f"lead {lead}": ratios[lead].round(3) for lead in (1, 6, 12)}


def airline(forcing, seed):
    training = Training(teacher_forcing=forcing, progress=False)
    forecaster = Forecaster(HORIZON, network="recursive", training=training, seed=seed)
    held_out = evaluate_holdout(forecaster, load_air_passengers())
    scores = held_out.scores.loc["seqkeras", ["MAE", "MASE"]].round(3).to_dict()
    return {**scores, "epochs": held_out.forecaster.log_.best_epoch}


MEASURES = {"ar1": ar1, "airline": airline}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=list(MEASURES), choices=MEASURES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--forcings", nargs="+", default=FORCINGS)
    options = parser.parse_args()
    print(f"{keras.backend.backend()}, {vars(options)}")
    for name in options.data:
        for text in options.forcings:
            forcing = text if text == "scheduled" else float(text)
            for seed in options.seeds:
                start = time.process_time()
                line = MEASURES[name](forcing, seed)
                line["processor seconds"] = round(time.process_time() - start)
                values = ", ".join(f"{key} {value}" for key, value in line.items())
                print(f"{name:8} {forcing!s:10} seed {seed}: {values}", flush=True)


if __name__ == "__main__":
    main()
