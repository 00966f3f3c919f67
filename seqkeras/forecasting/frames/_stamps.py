"""Timestamps that were read from text: whether the text says all of them."""

import pandas as pd

from seqkeras._checks import bad_data


def check_whole(text: pd.Series, times: pd.Series) -> None:
    """Check that no year was made up for a text without one, such as `11:34`, `01 Jan` or `1/2/24`.

    Parsers take the missing year from today, from year 1 or from a guess of the century. A month or
    day that is missing is the first one, as in `2024-03`.

    Args:
        text: what was read.
        times: the timestamps that it was read as, NaT where it was empty.

    Raises:
        DataError: the text of a row does not have the four digits of its year.
    """
    years = times.dt.year
    # In another time zone the first and last hours of a year belong to the year next to it.
    for row, (word, year) in enumerate(zip(text, years, strict=True)):
        if year == year and not any(f"{year + near:04.0f}" in word for near in (0, -1, 1)):
            raise bad_data(
                f"Column {text.name!r}",
                f"{word!r} in row {row}, which would be read as {times.iloc[row]}",
                "hold whole dates",
                "Write years with four digits, such as 2024-12-31 or 2024-12-31 23:00:00, or count "
                "with integers.",
            )
