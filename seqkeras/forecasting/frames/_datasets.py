"""The example series that comes with the package."""

from pathlib import Path
from typing import TYPE_CHECKING

from seqkeras.forecasting.frames._tables import read_file

if TYPE_CHECKING:
    import pandas as pd

AIR_PASSENGERS = Path(__file__).parent / "data" / "air_passengers.csv"


def load_air_passengers() -> "pd.DataFrame":
    """Load monthly totals of international airline passengers, 1949 to 1960, in thousands.

    Series G of Box & Jenkins, Time Series Analysis: Forecasting and Control (1976).

    Returns:
        144 rows, January 1949 to December 1960: `ds` (first day of the month) and `y`.

    Example:
        >>> load_air_passengers().y.iloc[[0, -1]].tolist()
        [112, 432]
    """
    return read_file(AIR_PASSENGERS, time_col="ds")
