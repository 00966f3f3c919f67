"""Frames in csv and parquet files."""

import warnings
from pathlib import Path

import pandas as pd

from seqkeras._checks import bad_argument, bad_data, nearest
from seqkeras._lazy import import_optional
from seqkeras.forecasting.frames._stamps import check_whole


def read_file(path: str | Path, *, time_col: str, id_col: str | None = None) -> pd.DataFrame:
    """Read a csv or parquet file, and convert text in the time column into timestamps.

    Ids in a csv file stay text, such as 007 or NA. Timestamps whose offset from UTC changes, as
    with daylight saving time, are converted to UTC.

    Args:
        path: the file.
        time_col: its column of timestamps.
        id_col: its column of series ids, if it has one.

    Raises:
        ArgumentError: the file is neither csv nor parquet, or lacks the time column.
        DataError: the file is empty, damaged or not what its name says, or its time column cannot
            be read as timestamps.
        OSError: the file does not exist or cannot be opened.
        MissingDependencyError: reading parquet needs pyarrow, which is not installed.
    """
    kind = Path(path).suffix.lower()
    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if kind not in readers:
        raise bad_argument("file", str(path), "a .csv or .parquet file")
    if kind == ".parquet":
        import_optional("pyarrow", extra="parquet")
    Path(path).open("rb").close()  # raises OSError, which is not about the contents
    try:
        df = readers[kind](path)
        if kind == ".csv" and id_col in df.columns:
            # Read once more: pandas cannot set `na_values` for all columns but one.
            text = {"dtype": str, "keep_default_na": False, "na_values": [""]}
            df[id_col] = pd.read_csv(path, usecols=[id_col], **text)[id_col]
    except (ValueError, OSError) as error:
        fix = "Save it as csv in UTF-8 with a header and equally long rows, or as parquet."
        raise bad_data(str(path), _first_line(error), f"be readable as {kind[1:]}", fix) from error
    if time_col not in df.columns:
        names = ", ".join(repr(name) for name in df.columns[:20])
        fix = nearest(time_col, df.columns)
        raise bad_argument("time_col", time_col, f"a column of {path}, which has {names}", fix)
    if pd.api.types.is_string_dtype(df[time_col]):
        text = df[time_col]
        try:
            df[time_col] = _timestamps(text)
        except ValueError as error:
            fix = "Write all in one format, such as 2024-12-31 or 2024-12-31 23:00:00."
            problem = _first_line(error)
            raise bad_data(f"Column {time_col!r}", problem, "hold timestamps", fix) from error
        check_whole(text, df[time_col])
    return df


def _timestamps(text: pd.Series) -> pd.Series:
    with warnings.catch_warnings():
        # pandas 2 warns about mixed offsets where pandas 3 raises.
        warnings.simplefilter("error", FutureWarning)
        try:
            return pd.to_datetime(text)
        except (ValueError, FutureWarning):
            return pd.to_datetime(text, utc=True)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def write_file(df: pd.DataFrame, path: str | Path) -> None:
    """Write a frame as parquet if the file is named so, or else as csv."""
    if Path(path).suffix.lower() == ".parquet":
        import_optional("pyarrow", extra="parquet")
        df.to_parquet(path, index=False)
    else:
        df.to_csv(path, index=False)
