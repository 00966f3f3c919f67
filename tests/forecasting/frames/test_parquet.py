"""Parquet files give the panel and the errors of a frame with the same rows."""

import functools

import numpy as np
import pandas as pd
import pytest

from helpers.shops import write_in_two
from seqkeras.errors import ArgumentError, DataError, FileFormatError
from seqkeras.forecasting import Columns
from seqkeras.forecasting.frames import _parquet, _parquet_panel
from seqkeras.forecasting.frames._parquet import is_parquet
from seqkeras.forecasting.frames._parquet_panel import read_parquet
from seqkeras.forecasting.frames._reading import read_panel

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
datasets = pytest.importorskip("pyarrow.dataset")

KEYS = {"id": "shop", "time": "day", "target": "sales"}
COLUMNS = Columns(
    **KEYS, past=["promo"], future=["price"], static=["kind", "size"], calendar=["day_of_week"]
)


def shops():
    """Return thirty series of 5 to 40 days, each with its own begin, one after the other."""
    rng = np.random.default_rng(0)
    frames = []
    for number in range(30):
        rows = int(rng.integers(5, 40))
        start = pd.Timestamp("2024-01-01") + pd.Timedelta(days=int(rng.integers(9)))
        frame = pd.DataFrame({"shop": f"s{number:02d}", "day": pd.date_range(start, periods=rows)})
        frame["sales"] = rng.normal(size=rows)
        frame["price"] = rng.integers(1, 5, rows)
        frame["promo"] = rng.choice(["none", "some", "much"], rows)
        frame["kind"] = rng.choice(["large", "small"])
        frame["size"] = float(rng.integers(9))
        frames.append(frame)
    df = pd.concat(frames, ignore_index=True)
    df.loc[7, "sales"] = np.nan
    return df


@pytest.fixture(scope="module")
def df():
    return shops()


@pytest.fixture
def write(tmp_path):
    return functools.partial(write_in_two, tmp_path)


@pytest.fixture
def read(tmp_path):
    def read(data, columns=COLUMNS):
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        panel = read_parquet(data, columns, str(scratch))
        assert list(scratch.iterdir()) == []
        return panel

    return read


def assert_same(actual, expected):
    pd.testing.assert_index_equal(actual.ids, expected.ids, exact=True)
    pd.testing.assert_index_equal(actual.last, expected.last, exact=True)
    for name in ("calendar", "columns", "covariates"):
        assert getattr(actual, name) == getattr(expected, name)
    for part in ("values", "known.rows"):
        first, second = actual, expected
        for name in part.split("."):
            first, second = getattr(first, name), getattr(second, name)
        np.testing.assert_array_equal(first.values, second.values)
        np.testing.assert_array_equal(first.indptr, second.indptr)
    np.testing.assert_array_equal(actual.known.static, expected.known.static)
    np.testing.assert_array_equal(actual.known.categories, expected.known.categories)


@pytest.mark.parametrize("rows", [1, 50, 2**19])
@pytest.mark.parametrize("columns", [COLUMNS, Columns(**KEYS, calendar="auto")])
def test_files_give_the_panel_of_a_frame(df, write, read, monkeypatch, rows, columns):
    monkeypatch.setattr(_parquet, "ROWS", rows)
    assert_same(read(write(df), columns), read_panel(df, columns))


@pytest.mark.parametrize("fill", ["mask", "interpolate"])
def test_gaps_are_filled_as_in_a_frame(df, write, read, monkeypatch, fill):
    monkeypatch.setattr(_parquet, "ROWS", 50)
    columns = Columns(**KEYS, fill=fill)
    gappy = df.drop(index=[3, 4, 200])
    assert_same(read(write(gappy), columns), read_panel(gappy, columns))


def test_one_file_without_ids_is_one_series(tmp_path, read):
    df = pd.DataFrame({"ds": np.arange(9), "y": np.arange(9.0)})
    df.to_parquet(tmp_path / "one.pq", row_group_size=2)
    assert_same(read(str(tmp_path / "one.pq"), None), read_panel(df))


def test_partitions_are_columns(df, tmp_path, read):
    table = arrow.Table.from_pandas(df.sort_values(["kind", "shop", "day"]), preserve_index=False)
    parquet.write_to_dataset(table, tmp_path / "sales", partition_cols=["kind"])
    assert_same(read(tmp_path / "sales"), read_panel(table.to_pandas(), COLUMNS))


def test_a_dataset_of_pyarrow_is_read_in_its_order(df, tmp_path, read):
    parts = [df[df.shop >= "s10"], df[df.shop < "s10"]]
    files = [tmp_path / "z.parquet", tmp_path / "a.parquet"]
    for part, file in zip(parts, files, strict=True):
        part.to_parquet(file, index=False)
    assert_same(read(datasets.dataset(files)), read_panel(pd.concat(parts), COLUMNS))


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("freq", ["D", "MS", "h", "W-WED"])
def test_the_frequency_is_that_of_a_frame(tmp_path, read, monkeypatch, freq, zone):
    """The first series are too short for pandas to infer a frequency."""
    monkeypatch.setattr(_parquet, "ROWS", 3)
    lengths = [2, 1, 6, 5, 9]
    df = pd.concat(
        pd.DataFrame(
            {
                "unique_id": number,
                "ds": pd.date_range("2024-01-03", periods=rows, freq=freq, tz=zone),
            }
        )
        for number, rows in enumerate(lengths)
    ).assign(y=1.0)
    df.to_parquet(tmp_path / "sales.parquet", row_group_size=4, index=False)
    assert_same(read(tmp_path / "sales.parquet", None), read_panel(df))


def test_integers_count_by_their_most_frequent_step(tmp_path, read, monkeypatch):
    monkeypatch.setattr(_parquet, "ROWS", 3)
    times = [np.arange(2) * 9, np.arange(6) * 4, np.arange(9) * 4]
    df = pd.concat(
        pd.DataFrame({"unique_id": number, "ds": time}) for number, time in enumerate(times)
    ).assign(y=1.0)
    df.to_parquet(tmp_path / "sales.parquet", index=False)
    with pytest.raises(DataError, match=r"sales.parquet, row group 0: Series 0.*frequency '4'"):
        read(tmp_path / "sales.parquet", None)
    df = df[df.unique_id > 0]
    df.to_parquet(tmp_path / "sales.parquet", index=False)
    assert_same(read(tmp_path / "sales.parquet", None), read_panel(df))


def changed(column, value):
    def change(df):
        row = df.index[len(df) // 2 + 60]
        df[column] = df[column].where(df.index != row, value)
        return df

    return change


#: Changes of a frame, and whether the message of files differs from that of the frame only by the
#: place that it begins with.
FAULTS = {
    "a gap": (lambda df: df.drop(index=len(df) // 2 + 60), True),
    "twice": (lambda df: pd.concat([df.iloc[:361], df.iloc[360:]]), True),
    "not in order": (lambda df: df.iloc[::-1], False),
    "huge": (changed("sales", 1e300), False),
    "no covariate": (changed("promo", None), True),
    "not static": (changed("kind", "tiny"), True),
    "no targets": (lambda df: df.assign(sales=df.sales.where(df.shop != "s20")), True),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("rows", [50, 2**19])
def test_errors_are_those_of_a_frame_with_their_file_and_row_group(
    df, write, read, monkeypatch, fault, rows
):
    monkeypatch.setattr(_parquet, "ROWS", rows)
    change, is_same = FAULTS[fault]
    wrong = change(df.copy())
    with pytest.raises(DataError) as expected:
        read_panel(wrong, COLUMNS)
    with pytest.raises(
        DataError, match=r"^\S+(a|b)\.parquet, row groups? \d+( to \d+)?: "
    ) as actual:
        read(write(wrong))
    message = str(actual.value).partition(": ")[2]
    if is_same:
        assert message == str(expected.value)
    assert message[:20] == str(expected.value)[:20]


@pytest.mark.parametrize(("column", "what"), [("shop", "an id"), ("day", "a timestamp")])
def test_a_row_without_a_key_is_named(df, write, read, column, what):
    half = len(df) // 2
    df = df.copy()
    df[column] = df[column].where(df.index != half + 40)
    place = r"none in row 3 of \S+b\.parquet, row group 1\."
    with pytest.raises(DataError, match=rf"'{column}' must have {what} in every row.*{place}"):
        read(write(df))


@pytest.mark.parametrize("rows", [50, 2**19])
def test_rows_of_a_series_in_two_places_are_refused(df, write, read, monkeypatch, rows):
    monkeypatch.setattr(_parquet, "ROWS", rows)
    moved = pd.concat(
        [df.iloc[5:], df.iloc[:5].assign(day=lambda df: df.day + pd.Timedelta("99D"))]
    )
    places = r"rows in \S+a\.parquet, row group 0, and after those of other series in \S+b\.parquet"
    with pytest.raises(DataError, match=f"series 's00' must follow each other.*{places}") as caught:
        read(write(moved))
    assert 'ORDER BY "shop", "day"' in str(caught.value)


def test_files_of_other_types_are_refused(df, write, read):
    folder = write(df)
    other = parquet.read_table(folder / "b.parquet")
    place = other.schema.get_field_index("price")
    parquet.write_table(
        other.set_column(place, "price", other["price"].cast("float")), folder / "b.parquet"
    )
    with pytest.raises(DataError, match=r"'price' must have the same type.*float in \S+b\.parquet"):
        read(folder)
    parquet.write_table(other.drop_columns("price"), folder / "b.parquet")
    with pytest.raises(ArgumentError, match=r"must have the column 'price'.*b\.parquet"):
        read(folder)
    read(folder, Columns(**KEYS))  # other columns do not matter


@pytest.mark.parametrize("field", ["id", "time", "target", "past", "static"])
def test_a_missing_column_is_named(df, write, read, field):
    columns = Columns(**{**KEYS, field: "nothing"})
    with pytest.raises(ArgumentError, match=rf"Columns\({field}='nothing'\)"):
        read(write(df), columns)


def test_damaged_files_are_named(df, write, read):
    folder = write(df)
    whole = (folder / "b.parquet").read_bytes()
    (folder / "b.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match=r"b\.parquet cannot be read"):
        read(folder)
    damaged = bytearray(whole)
    damaged[4:400] = bytes(396)
    (folder / "b.parquet").write_bytes(damaged)
    with pytest.raises(FileFormatError, match=r"b\.parquet, row group 0 cannot be read"):
        read(folder)


def test_files_that_change_while_they_are_read_are_refused(df, write, read, monkeypatch):
    """Ids are read before values, so another file in between could have those of other series."""
    folder = write(df)
    learned = _parquet_panel._learned

    def change_files(*arguments):
        (folder / "b.parquet").touch()
        return learned(*arguments)

    monkeypatch.setattr(_parquet_panel, "_learned", change_files)
    with pytest.raises(FileFormatError, match=r"b\.parquet must stay as it was while it is read"):
        read(folder)


def test_what_is_no_table_is_refused(df, write, read, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArgumentError, match="df must be a file or a folder with parquet files"):
        read(tmp_path / "empty")
    with pytest.raises(ArgumentError, match="df must be a file or a folder that exists"):
        read(tmp_path / "nothing")
    df.iloc[:0].to_parquet(tmp_path / "no_rows.parquet")
    with pytest.raises(DataError, match="df must have rows"):
        read(tmp_path / "no_rows.parquet")
    filtered = datasets.dataset(write(df)).filter(datasets.field("sales") > 0)
    with pytest.raises(ArgumentError, match="a dataset with a filter"):
        read(filtered)


def test_frames_and_other_files_are_not_parquet(df, write, tmp_path):
    folder = write(df)
    (tmp_path / "sales.csv").write_text("shop,day,sales\n")
    parquet.write_table(arrow.table({"y": [1]}), tmp_path / "sales.table")
    for data in (folder, str(folder), folder / "a.parquet", tmp_path / "sales.table"):
        assert is_parquet(data)
    assert is_parquet(datasets.dataset(folder))
    for data in (df, None, tmp_path / "sales.csv", 3, arrow.table({"y": [1]})):
        assert not is_parquet(data)
