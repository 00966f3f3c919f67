"""The command `demo`."""

import argparse
from pathlib import Path
from typing import Any

from seqkeras._checks import check_integer
from seqkeras._cli._targets import PICTURES, check_target
from seqkeras._cli._terminal import (
    hold_back_notices,
    records,
    save_picture,
    score_records,
    show,
    show_scores,
)


def add_demo_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    add = parser.add_argument
    add("--plot", type=Path, default=Path("forecast.png"), help="picture (default: forecast.png)")
    add("--seed", type=int, default=0, help="seed of weights and shuffles")
    add("--force", action="store_true", help="overwrite an existing file")


def demo(options: argparse.Namespace) -> dict[str, Any]:
    """Forecast the example series."""
    check_integer("--seed", options.seed, minimum=0)
    check_target("--plot", options.plot, PICTURES, force=options.force)
    with hold_back_notices():
        from seqkeras.forecasting import Forecaster, evaluate_holdout, load_air_passengers

    df = load_air_passengers()
    forecaster = Forecaster(horizon=12, seed=options.seed)
    print("Passengers of international airlines, thousands a month, 1949 to 1960: 144 values.")
    print("Training a recurrent network on all but the last 12 ...", flush=True)
    held_out = evaluate_holdout(forecaster, df)
    show(held_out.forecast)
    show_scores(held_out.scores, "Scores on the 12 months that the network never saw")
    title = "Airline passengers: forecast of the held-out year"
    figure = held_out.forecaster.plot(df.tail(72), title=title)
    figure.axes[0].set_ylabel("passengers, thousands a month")
    save_picture(figure, options.plot)
    print(f"\nPicture: {options.plot}")
    return {
        "forecast": records(held_out.forecast),
        "scores": score_records(held_out.scores),
        "picture": str(options.plot),
    }
