"""The example series that comes with the package."""

from pathlib import Path

import pandas as pd

AIR_PASSENGERS = Path(__file__).parent / "data" / "air_passengers.csv"


def load_air_passengers() -> pd.DataFrame:
    """Load monthly totals of international airline passengers, 1949 to 1960, in thousands.

    Series G of Box & Jenkins, Time Series Analysis: Forecasting and Control (1976).

    Returns:
        144 rows, January 1949 to December 1960: `ds` (first day of the month) and `y`.

    Example:
        >>> load_air_passengers().y.iloc[[0, -1]].tolist()
        [112, 432]
    """
    return pd.read_csv(AIR_PASSENGERS, parse_dates=["ds"])
