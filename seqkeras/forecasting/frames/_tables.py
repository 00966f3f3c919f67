"""Files of frames, csv and parquet: read and written."""

import warnings
from pathlib import Path

import pandas as pd

from seqkeras._checks import bad_argument, nearest
from seqkeras._lazy import optional
from seqkeras.errors import DataError


def read_file(path: str | Path, *, time_col: str, id_col: str | None = None) -> pd.DataFrame:
    """Reads a csv or parquet file; text in the time column becomes time stamps.

    Ids of a csv file stay the text that they are, such as 007 or NA. Stamps whose offset from UTC
    changes, as with summer time, become stamps in UTC.

    Raises:
        ArgumentError: another kind of file, or no such column.
        DataError: the file is empty, damaged or not of its kind, or the time column cannot be read
            as time stamps.
        OSError: the file is not there or may not be read.
        MissingDependencyError: a parquet file, and pyarrow is not installed.
    """
    kind = Path(path).suffix.lower()
    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if kind not in readers:
        raise bad_argument("file", str(path), "a .csv or .parquet file")
    if kind == ".parquet":
        optional("pyarrow", extra="parquet")
    Path(path).open("rb").close()
    try:
        df = readers[kind](path)
        if kind == ".csv" and id_col in df.columns:
            # By itself: pandas has no option for what is missing in all columns but one.
            text = {"dtype": str, "keep_default_na": False, "na_values": [""]}
            df[id_col] = pd.read_csv(path, usecols=[id_col], **text)[id_col]
    except (ValueError, OSError) as error:
        fix = "Save it as csv in UTF-8 with a header and equally long rows, or as parquet."
        raise DataError(f"{path} cannot be read as {kind[1:]}: {_line(error)}. {fix}") from error
    if time_col not in df.columns:
        names = ", ".join(repr(name) for name in df.columns[:20])
        fix = nearest(time_col, df.columns)
        raise bad_argument("time_col", time_col, f"a column of {path}, which has {names}", fix)
    if pd.api.types.is_string_dtype(df[time_col]):
        try:
            df[time_col] = _stamps(df[time_col])
        except ValueError as error:
            raise DataError(
                f"Column {time_col!r} cannot be read as time stamps: {_line(error)}. Write them "
                "alike, such as 2024-12-31 or 2024-12-31 23:00:00."
            ) from error
    return df


def _stamps(text: pd.Series) -> pd.Series:
    with warnings.catch_warnings():
        # What pandas 2 says of mixed offsets, where pandas 3 raises.
        warnings.simplefilter("error", FutureWarning)
        try:
            return pd.to_datetime(text)
        except (ValueError, FutureWarning):
            return pd.to_datetime(text, utc=True)


def _line(error: Exception) -> str:
    """The first line of a message, without its full stop."""
    return str(error).strip().partition("\n")[0].rstrip(".")


def write_file(df: pd.DataFrame, path: str | Path) -> None:
    """Writes a frame as csv or parquet, as the name of the file says."""
    if Path(path).suffix.lower() == ".parquet":
        optional("pyarrow", extra="parquet")
        df.to_parquet(path, index=False)
    else:
        df.to_csv(path, index=False)
