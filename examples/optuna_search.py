"""Search for parameters with plain Optuna, and score the result on rows that it has not seen.

python examples/optuna_search.py [--quick]

`seqkeras.forecasting.tune` does such a search in one call. Written out, the objective can be
anything: here it weighs the error of the forecast against the size of the network.
"""

import argparse

import optuna

from seqkeras.forecasting import (
    Forecaster,
    Network,
    Training,
    backtest,
    evaluate_holdout,
    load_air_passengers,
)

HORIZON = 12


def build(trial: optuna.trial.BaseTrial, epochs: int) -> Forecaster:
    architecture = trial.suggest_categorical("architecture", ["multi_output", "encoder_decoder"])
    lookback = trial.suggest_int("lookback", 12, 36, step=12)
    units = trial.suggest_int("units", 4, 64, log=True)
    rate = trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True)
    return Forecaster(
        HORIZON,
        lookback=lookback,
        network=Network(architecture, units=units),
        intervals=(),
        training=Training(epochs=epochs, learning_rate=rate, progress=False),
        seed=0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size")
    quick = parser.parse_args().quick
    trials, windows, epochs = (1, 1, 1) if quick else (30, 3, 100)

    df = load_air_passengers()
    seen = df.iloc[:-HORIZON]  # the search never sees the last year

    def objective(trial: optuna.Trial) -> float:
        candidate = build(trial, epochs)
        errors = []
        for window in range(windows):
            rows_after = HORIZON * (windows - 1 - window)
            rows = seen.iloc[: len(seen) - rows_after]
            errors.append(backtest(candidate, rows).scores.loc["seqkeras", "MASE"])
            trial.report(sum(errors) / len(errors), window)
            if trial.should_prune():
                raise optuna.TrialPruned
        return sum(errors) / len(errors) + 0.001 * trial.params["units"]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=trials)
    print("best:", study.best_params)

    best = build(optuna.trial.FixedTrial(study.best_params), epochs)
    print(evaluate_holdout(best, df).scores.round(3))


if __name__ == "__main__":
    main()
