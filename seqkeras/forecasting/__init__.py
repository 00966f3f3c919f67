"""Forecasts from pandas frames, with intervals, and honest scores beside them."""

from seqkeras._lazy import optional

# Asked for first, so that a missing one is answered with the command that installs it.
for _package in ("keras", "pandas", "sklearn", "tqdm"):
    optional(_package, extra="tensorflow")

from seqkeras.forecasting._datasets import load_air_passengers as load_air_passengers  # noqa: E402
from seqkeras.forecasting._evaluate import Holdout as Holdout  # noqa: E402
from seqkeras.forecasting._evaluate import evaluate_holdout as evaluate_holdout  # noqa: E402
from seqkeras.forecasting._forecaster import Forecaster as Forecaster  # noqa: E402
