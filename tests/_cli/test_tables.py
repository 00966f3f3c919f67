"""Files of series as people have them."""

import datetime
import decimal
import re
import shlex
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from seqkeras._cli._forecaster_options import read_series
from seqkeras._cli._header import Keys
from seqkeras._cli._parser import parser
from seqkeras._cli._tables import Style, read_file, sort_rows, write_file
from seqkeras._cli._words import in_options
from seqkeras.errors import ArgumentError, DataError, MissingDependencyError
from seqkeras.forecasting.frames._reading import read_panel

ROWS = 30
VALUES = [f"{10 + i % 7}.5" for i in range(ROWS)]
COMMAS = [value.replace(".", ",") for value in VALUES]
DAYS = pd.date_range("2015-01-01", periods=ROWS)
MONTHS = pd.date_range("2015-01-01", periods=ROWS, freq="MS")
ISO = DAYS.strftime("%Y-%m-%d").tolist()
BERLIN = pd.date_range("2015-03-15", periods=ROWS, tz="Europe/Berlin")
HOURS = pd.date_range("2015-10-24 20:00", periods=ROWS, freq="h", tz="Europe/Berlin")


def table(times, values=VALUES, *, header="ds,y", sep=","):
    rows = [f"{time}{sep}{value}" for time, value in zip(times, values, strict=True)]
    return "\n".join([header, *rows, ""])


def replaced(value, row=16):
    return [*VALUES[:row], value, *VALUES[row + 1 :]]


@pytest.fixture
def series():
    return pd.DataFrame({"ds": DAYS, "y": np.arange(ROWS) / 3})


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a table as `seqkeras forecast` does, or returns its message."""
    path = tmp_path / "a.csv"

    def read(content, options=""):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        arguments = ["forecast", str(path), "--horizon", "2", *shlex.split(options)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                return read_series(parser().parse_args(arguments))[0]
            except (ArgumentError, DataError) as error:
                return in_options(str(error))

    return read


#: What a table is, what the message says of it, the options that it advises, and the timestamps
#: with them.
MISTAKES = {
    "a thousand or a fraction": (
        table(ISO, [f'"{value}00"' for value in COMMAS]),
        "'10,500', which is 10.500 or 10500, in row 1. Use --decimal ',' for the first reading, or "
        "--thousands ',' for the second.",
        "--decimal ','",
        DAYS,
    ),
    "groups of three digits": (
        table(ISO, [f"'0,0{value}'".replace("'", '"') for value in VALUES]),
        "Use --thousands ','.",
        "--thousands ','",
        DAYS,
    ),
    "another separator": (
        table(ISO, header="ds;y", sep=";"),
        "columns separated by ';'. Omit --sep, or use --sep ';'.",
        "--sep ';'",
        DAYS,
    ),
    "another encoding": (
        table(ISO, header="ds,y,größe").encode("cp1252"),
        "Use the encoding of the program that wrote it, such as --encoding cp1252.",
        "--encoding cp1252",
        DAYS,
    ),
    "months, day first": (
        table(MONTHS.strftime("%d/%m/%Y")),
        "'01/02/2015' in row 2, which is 1 February 2015 or 2 January 2015. Use --day-first for "
        "the first reading, or --date-format %m/%d/%Y for the second.",
        "--day-first",
        MONTHS,
    ),
    "months, month first": (
        table(MONTHS.strftime("%m/%d/%Y")),
        "Use --day-first for the first reading, or --date-format %m/%d/%Y for the second.",
        "--date-format %m/%d/%Y",
        MONTHS,
    ),
    "years of two digits": (
        table(DAYS.strftime("%d.%m.%y")),
        "'01.01.15' in row 1. Name the format: --date-format %d.%m.%y",
        "--date-format %d.%m.%y",
        DAYS,
    ),
    "months without century": (
        table(MONTHS.strftime("%b-%y")), "--date-format %b-%y", "--date-format %b-%y", MONTHS
    ),
    "numbers that are months": (
        table(MONTHS.strftime("%Y%m")), "201501, which may be", "--date-format %Y%m", MONTHS
    ),
    "numbers that are hours": (
        table([f"20150101{hour:02}" for hour in range(24)], VALUES[:24]),
        "2015010100, which may be",
        "--date-format %Y%m%d%H",
        pd.date_range("2015-01-01", periods=24, freq="h"),
    ),
    "numbers that are dates": (
        table(DAYS.strftime("%Y%m%d")),
        "20150101, which may be a date or a count, in row 1. Use --date-format %Y%m%d",
        "--date-format %Y%m%d",
        DAYS,
    ),
    "dates as floats": (
        table(f"{day}.0" for day in DAYS.strftime("%Y%m%d")),
        "20150101.0, which may be a date or a count, in row 1. Use --date-format %Y%m%d",
        "--date-format %Y%m%d",
        DAYS,
    ),
    "newest first": (table(ISO[::-1], VALUES[::-1]), "Use --sort.", "--sort", DAYS),
    "a gap": (
        table(ISO[:9] + ISO[10:], VALUES[:9] + VALUES[10:]),
        "by --fill mask",
        "--fill mask",
        DAYS.delete(9),
    ),
    "days at two offsets": (
        table([time.isoformat() for time in BERLIN]),
        "at offsets that change, as in '2015-03-15T00:00:00+01:00'. Use --tz",
        "--tz Europe/Berlin",
        BERLIN,
    ),
    "an hour twice": (
        table(HOURS.strftime("%Y-%m-%d %H:%M")),
        "2015-10-25 02:00:00 twice. Drop one of them, or name the column of series ids with "
        "--id-col, or the time zone, in which an hour may be repeated, with --tz.",
        "--tz Europe/Berlin",
        HOURS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISTAKES)
def test_the_options_of_a_message_lead_to_the_series(read, kind):
    content, words, options, times = MISTAKES[kind]
    message = read(content, "--sep ," if kind == "another separator" else "")
    assert isinstance(message, str), message
    assert words in message
    df = read(content, options)
    assert not isinstance(df, str), df
    assert df.ds.tolist() == times.tolist()
    values = VALUES[:9] + VALUES[10:] if kind == "a gap" else VALUES[: len(times)]
    assert df.y.tolist() == [float(value) for value in values]


#: Tables that can be read in only one way, and what is printed about them.
STYLES = {
    "semicolons": (
        table(ISO, COMMAS, header="ds;y", sep=";"),
        ["columns are separated by ';'", "the comma is the decimal sign of column 'y'"],
    ),
    "a mark of byte order": ("\ufeff" + table(ISO), []),
    "semicolons and a mark": ("\ufeff" + table(ISO, header="ds;y", sep=";"), ["by ';'"]),
    "tabs": (table(ISO, header="ds\ty", sep="\t"), ["columns are separated by tab"]),
    "a comma in a name": (table(ISO, header="ds;y;a, b", sep=";"), ["separated by ';'"]),
    "decimal commas": (table(ISO, [f'"{value}"' for value in COMMAS]), ["the decimal sign"]),
}


@pytest.mark.parametrize("kind", STYLES)
def test_separators_and_decimal_signs_are_detected_and_told(read, capsys, kind):
    content, notices = STYLES[kind]
    df = read(content)
    assert df.ds.tolist() == DAYS.tolist()
    assert df.y.tolist() == [float(value) for value in VALUES]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(notices)
    assert all(notice in line for notice, line in zip(notices, lines, strict=True))


def test_columns_of_numbers_and_of_categories_are_covariates(read):
    rows = [f"{day};{i};{i},5;{'ab'[i % 2]}" for i, day in enumerate(ISO)]
    df = read("\n".join(["ds;y;price;kind", *rows]), "--past price --future kind")
    assert df.price.tolist() == [i + 0.5 for i in range(ROWS)]
    assert df.kind.tolist() == ["ab"[i % 2] for i in range(ROWS)]


DATES = {
    "ISO": (ISO, DAYS),
    "ISO, slashes": (DAYS.strftime("%Y/%m/%d"), DAYS),
    "ISO with hours": (
        HOURS.tz_localize(None).strftime("%Y-%m-%dT%H:%M:%S")[:5],
        HOURS.tz_localize(None)[:5],
    ),
    "day first": (DAYS.strftime("%d/%m/%Y"), DAYS),
    "day first, points": (DAYS.strftime("%d.%m.%Y"), DAYS),
    "month first": (DAYS.strftime("%m/%d/%Y"), DAYS),
    "month first, hours": (DAYS.strftime("%m/%d/%Y %I:%M %p"), DAYS),
    "1991 Jul": (MONTHS.strftime("%Y %b"), MONTHS),
    "July 1991": (MONTHS.strftime("%B %Y"), MONTHS),
    "Jul 1, 1991": (DAYS.strftime('"%b %d, %Y"'), DAYS),
    "1-Jul-1991": (DAYS.strftime("%d-%b-%Y"), DAYS),
    "1991-07": (MONTHS.strftime("%Y-%m"), MONTHS),
    "2000Q1": (
        [f"{2000 + i // 4}Q{i % 4 + 1}" for i in range(ROWS)],
        pd.date_range("2000-01-01", periods=ROWS, freq="QS"),
    ),
    "UTC": (DAYS.strftime("%Y-%m-%d 00:00:00 UTC"), DAYS.tz_localize("UTC")),
    "offsets at the turn of a year": (
        ["2025-01-01 00:30+01:00", "2025-01-01 02:30+02:00", "2025-01-01 01:30Z"],
        pd.DatetimeIndex(["2024-12-31 23:30", "2025-01-01 00:30", "2025-01-01 01:30"], tz="UTC"),
    ),
    "years": (range(1950, 1950 + ROWS), range(1950, 1950 + ROWS)),
    "years with a point": ([f"{1950 + i}.0" for i in range(ROWS)], range(1950, 1950 + ROWS)),
    "before 1900": (
        [f"{1700 + row}-01-01" for row in range(ROWS)],
        [pd.Timestamp(1700 + row, 1, 1) for row in range(ROWS)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DATES)
def test_dates_that_can_be_read_one_way_are_read_without_a_warning(read, kind):
    texts, times = DATES[kind]
    df = read(table(texts, VALUES[: len(texts)]))
    assert not isinstance(df, str), df
    assert df.ds.tolist() == list(times)


def test_days_that_begin_with_the_year_are_no_matter_of_day_first(read):
    assert read(table(ISO), "--day-first").ds.tolist() == DAYS.tolist()
    message = read(table(DAYS.strftime("%m/%d/%Y")), "--day-first")
    assert "Got: '01/13/2015' in row 13. Omit --day-first." in message


@pytest.mark.parametrize("value", ["?", "-", "$5", "0.5%", "inf", "1 234", "1.2.3"])
def test_the_first_value_that_is_no_number_is_named_with_its_row(read, value):
    message = read(table(ISO, replaced(value)))
    assert f"Got: {value if value == 'inf' else repr(value)} in row 17." in message
    assert "leave the field empty where one is missing" in message
    assert read(table(ISO, replaced(""))).y.isna().tolist() == [row == 16 for row in range(ROWS)]


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (["", *range(1, ROWS)], "none in row 1"),
        ([*range(ROWS - 1), ""], f"none in row {ROWS}"),
        ([*ISO[:-1], "Total"], f"'Total' in row {ROWS}"),
        ([*ISO[:-1], "2015-02-30"], f"'2015-02-30' in row {ROWS}"),
        ([*ISO[:9], "10/01/2015", *ISO[10:]], "'10/01/2015' in row 10"),
        ([f"{hour:02}:00" for hour in range(ROWS)], "'00:00' in row 1"),
        ([f"{row // 12 + 1}-{row % 12 + 1:02}" for row in range(ROWS)], "'1-01' in row 1"),
        ([f"{1950 + row / 12:.3f}" for row in range(ROWS)], "'1950.033' in row 2"),
        *(
            ([text] * ROWS, f"'{text}' in row 1")
            for text in ("01 Jan", "Jan 1", "01-01", "11:34:05", "today", "now", "2015-W01", "5/2")
        ),
        ([f"{time}+01:00" for time in DAYS[1:]] + [str(DAYS[0])], f"in row {ROWS}"),
    ],
)
def test_the_first_text_that_is_no_timestamp_is_named_with_its_row(read, times, words):
    message = read(table(times).replace("1950.083", "1950.033"))
    assert isinstance(message, str)
    assert words in message


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("ds,y\n", "", "must have rows"),
        ("ds,y,y\n2015-01-01,1,2\n", "", "2 columns called 'y'"),
        (table(ISO, header="date,sales"), "", "--time-col must be a column of"),
        (table(ISO, header="ds,sales"), "", "--target-col must be a column of"),
        (table(ISO), "--id-col shop", "--id-col must be a column of"),
        (table(ISO), "--time-col y --target-col y", "--id-col, --time-col, --target-col must be"),
        (table(ISO), "--tz Berlin", "--tz must be a time zone"),
        (table(ISO), "--date-format dd.mm.yyyy", "that has the year"),
        (table(ISO), "--date-format %Q", "--date-format must be a format"),
        (table(ISO), "--date-format %d.%m.%Y", "'2015-01-01' in row 1"),
        (table(ISO), "--sep ''", "--sep must be one character"),
        (table(ISO), "--decimal ';'", "--decimal must be"),
        (table(ISO), "--freq monthly", "--freq must be a pandas frequency"),
        (table(range(ROWS)), "--freq D", "--freq must be an integer"),
        (table(ISO), "--freq W", "to a regular grid, or pass the right frequency as --freq"),
        (table(ISO, [""] * ROWS), "", "must have at least one target"),
        (table(ISO[:1], VALUES[:1]), "", "use --freq, such as --freq D"),
        (table(ISO, replaced("1,234.5")), "", "Expected 2 fields in line 18, saw 3"),
        (table(ISO, replaced("1,234.5", 0)), "", "rows with more fields than the header"),
        (table(ISO).replace("ds,y", "unique_id,ds,y").replace("\n2", "\n,2"), "", "none in row 1"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_words_of_the_options(
    read, content, options, words
):
    message = read(content, options)
    assert isinstance(message, str)
    assert words in message
    python = re.compile(r"Columns\(|Training\(|\bdf\b|pd\.|=\(\)|np\.")
    assert not python.search(message), message


def test_numbers_that_could_be_dates_count_where_the_frequency_is_a_number(read):
    df = read(table(DAYS.strftime("%Y%m%d")), "--freq 1")
    assert df.ds.tolist() == [20150101 + row for row in range(ROWS)]


def test_an_option_stays_as_it_is_in_a_message():
    message = "--epochs must be an integer >= 1. Got: --epochs=-1."
    assert in_options(message) == message


def test_a_message_is_one_line():
    assert (
        in_options("df must be so.\nGot: a\nb. Pass 1.")
        == "the table must be so. Got: a b. Pass 1."
    )


def test_commas_after_the_last_value_are_not_another_column(read):
    df = read(table(ISO, [f"{value}," for value in VALUES]))
    assert df.y.tolist() == [float(value) for value in VALUES]


def test_sorting_keeps_the_order_of_the_series():
    df = pd.DataFrame({"shop": ["b", "a", "b", "a"], "ds": [3, 2, 1, 1], "y": [1.0, 2, 3, 4]})
    assert sort_rows(df, Keys(id="shop")).y.tolist() == [3, 1, 4, 2]
    assert sort_rows(df[["ds", "y"]], Keys()).y.tolist() == [3, 4, 2, 1]


PARQUET = {
    "dates": (lambda df: df.assign(ds=df.ds.dt.date)),
    "text": (lambda df: df.assign(ds=df.ds.astype(str), y=df.y.astype(str))),
    "decimals": (lambda df: df.assign(y=[decimal.Decimal(str(value)) for value in df.y])),
    "index": (lambda df: df.set_index("ds")),
    "whole floats": (lambda df: df.assign(y=df.y.astype("Float32"))),
}


@pytest.mark.parametrize("kind", PARQUET)
def test_parquet_files_of_other_programs_are_read(tmp_path, kind):
    expected = pd.DataFrame({"ds": DAYS, "y": [float(value) for value in VALUES]})
    PARQUET[kind](expected).to_parquet(tmp_path / "a.parquet")
    df = read_file(tmp_path / "a.parquet", Keys())
    pd.testing.assert_frame_equal(df, expected, check_dtype=False)
    assert df.ds.dtype.kind == "M"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_keeps_a_frame(series, tmp_path, suffix):
    path = tmp_path / f"series{suffix}"
    write_file(series, path)
    pd.testing.assert_frame_equal(read_file(path, Keys()), series)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("empty.csv", b"", "No columns"),
        ("ragged.csv", b"ds,y\n1,2\n1,2,3,4\n", "Expected 2 fields in line 3, saw 4"),
        ("text.parquet", b"ds,y\n1,2\n", "Could not open Parquet"),
        ("cut.parquet", b"PAR1" + bytes(20) + b"\x10\0\0\0PAR1", ""),
    ],
)
def test_a_damaged_file_is_named_with_the_reason(tmp_path, name, content, why):
    (tmp_path / name).write_bytes(content)
    kind = name.rpartition(".")[2]
    with pytest.raises(
        DataError, match=rf"{name} must be readable as {kind}\. Got: .*{why}.*\. Save it"
    ):
        read_file(tmp_path / name, Keys())


def test_a_parquet_file_with_a_flipped_bit_is_read_or_refused(series, tmp_path):
    path = tmp_path / "a.parquet"
    series.head(5).to_parquet(path)
    content = path.read_bytes()
    damaged = 0
    for place in range(4, len(content) - 8, 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            read_file(path, Keys())
        except (ArgumentError, DataError):
            damaged += 1
    assert damaged


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_missing_file_and_a_missing_pyarrow_have_their_own_errors(
    series, tmp_path, monkeypatch, suffix
):
    path = tmp_path / f"series{suffix}"
    with pytest.raises(FileNotFoundError, match=path.name):
        read_file(path, Keys())
    with pytest.raises(ArgumentError, match=r"a \.csv or \.parquet file"):
        read_file(tmp_path / "series.xlsx", Keys())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    if suffix == ".parquet":
        with pytest.raises(MissingDependencyError, match=r"seqkeras\[parquet\]"):
            write_file(series, path)
        with pytest.raises(MissingDependencyError, match=r"seqkeras\[parquet\]"):
            read_file(path, Keys())


def test_ids_of_a_csv_file_are_read_as_text(tmp_path):
    path = tmp_path / "series.csv"
    path.write_text("shop,ds,y\n007,2024-01-01,1\nNA,2024-01-01,NA\n")
    df = read_file(path, Keys(id="shop"))
    assert df["shop"].tolist() == ["007", "NA"]
    assert df["y"].isna().tolist() == [False, True]


def test_timestamps_of_a_csv_file_may_cross_into_daylight_saving_time(series, tmp_path):
    path = tmp_path / "series.csv"
    times = pd.date_range("2024-03-30", periods=len(series), freq="h", tz="Europe/Berlin")
    series.assign(ds=[time.isoformat() for time in times]).to_csv(path, index=False)
    for style in (Style(), Style(tz="Europe/Berlin")):
        df = read_file(path, Keys(), style)
        assert df.ds.tolist() == times.tolist()
        assert read_panel(df).calendar.freq == "h"


def test_a_zone_is_that_of_each_series(tmp_path):
    path = tmp_path / "series.csv"
    frames = [pd.DataFrame({"unique_id": name, "ds": HOURS, "y": 1.0}) for name in "ab"]
    df = pd.concat(frames).sort_values("ds", kind="stable")
    df.assign(ds=df.ds.dt.tz_localize(None)).to_csv(path, index=False)
    read = read_file(path, Keys(), Style(tz="Europe/Berlin"))
    for _, rows in read.groupby("unique_id"):
        assert rows.ds.tolist() == HOURS.tolist()


def test_a_date_of_a_parquet_file_is_a_day(tmp_path):
    days = [datetime.date(2024, 1, day) for day in range(1, 9)]
    pd.DataFrame({"ds": days, "y": np.arange(8)}).to_parquet(tmp_path / "a.parquet")
    assert read_panel(read_file(tmp_path / "a.parquet", Keys())).calendar.freq == "D"
