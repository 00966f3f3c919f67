"""Advice works: the code that an error offers is run, and the frame is read after it."""

import datetime
import decimal
import re

import numpy as np
import pandas as pd
import pytest

from helpers.builders import dense
from helpers.examples import covering
from helpers.forecasters import POINT, flat_forecaster
from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting import Columns
from seqkeras.forecasting.frames._future import read_future
from seqkeras.forecasting.frames._reading import read_alike, read_panel

ROWS = 24
VALUES = np.arange(ROWS) % 7 + 0.5
DAYS = pd.date_range("2015-01-01", periods=ROWS)
MONTHS = pd.date_range("2015-01-01", periods=ROWS, freq="MS")
HOURS = pd.date_range("2015-03-28 12:00", periods=ROWS, freq="h", tz="Europe/Berlin")


def follow(error, **names):
    """Run the code that a message offers first, and return the frame that it leaves as `df`."""
    code = re.search(
        r"(?::| is) ((?:df|future)\b[^:]*? ?= .*?)(?:, or (?:df|have|if)\b.*)?\.(?: [A-Z].*)?$",
        error,
    )
    assert code, error
    exec(code[1], {"pd": pd, **names}, names)
    return names


def long(times=DAYS, values=VALUES):
    return pd.DataFrame({"ds": times, "y": values})


def objects(values):
    return pd.Series(list(values), dtype=object)


TIMES = {
    "text": (DAYS.strftime("%Y-%m-%d"), DAYS),
    "day first": (DAYS.strftime("%d/%m/%Y"), DAYS),
    "month first": (DAYS.strftime("%m/%d/%Y"), DAYS),
    "day or month first": (MONTHS.strftime("%d/%m/%Y"), MONTHS),
    "names of months": (MONTHS.strftime("%Y %b"), MONTHS),
    "quarters": (
        [f"{2000 + i // 4}Q{i % 4 + 1}" for i in range(ROWS)],
        pd.period_range("2000Q1", periods=ROWS, freq="Q"),
    ),
    "float years": (1950.0 + np.arange(ROWS), 1950 + np.arange(ROWS)),
    "text of integers": ([str(1950 + i) for i in range(ROWS)], 1950 + np.arange(ROWS)),
    "months of six digits": (MONTHS.strftime("%Y%m"), MONTHS),
    "months as integers": (MONTHS.strftime("%Y%m").astype(int), MONTHS),
    "days in a zone": (
        [f"{day:%Y-%m-%dT00:00}{'+02:00' if day.day > 12 else '+01:00'}" for day in DAYS],
        DAYS,
    ),
    "noons in a zone": (
        [f"{day:%Y-%m-%dT12:00:00}{'+02:00' if day.day > 12 else '+01:00'}" for day in DAYS],
        DAYS + pd.Timedelta(hours=12),
    ),
    "periods": (objects(MONTHS.to_period("M")), MONTHS.to_period("M")),
    "dates": (objects(DAYS.date), DAYS),
    "datetimes": (objects(day.to_pydatetime() for day in DAYS), DAYS),
    "durations": (pd.to_timedelta(np.arange(ROWS), unit="h"), np.arange(ROWS)),
    "offsets that change": (
        objects(
            time.to_pydatetime().replace(tzinfo=datetime.timezone(time.utcoffset()))
            for time in HOURS
        ),
        HOURS,
    ),
    "text in a zone": (
        [f"{day:%Y-%m-%dT%H:%M:%S}+01:00" for day in DAYS],
        DAYS.tz_localize(datetime.timezone(datetime.timedelta(hours=1))),
    ),
    "years of two digits": (DAYS.strftime("%d/%m/%y"), np.arange(ROWS)),
    "times of day": ([f"{hour:02}:00" for hour in range(ROWS)], np.arange(ROWS)),
    "a word": (["Start", *DAYS.strftime("%Y-%m-%d")[1:]], np.arange(ROWS)),
}  # fmt: skip


FORMS = {
    "long": lambda df: df,
    "panel": lambda df: pd.concat(
        [df.assign(unique_id="a"), df.assign(unique_id="b")], ignore_index=True
    ),
    "series": lambda df: df.set_index("ds")["y"].rename_axis(None),
    "wide": lambda df: df.set_index("ds").rename_axis(None).rename(columns={"y": "a"}).assign(b=1),
    "wide, named": lambda df: df.set_index("ds").rename(columns={"y": "a"}).assign(b=1),
    "levels": lambda df: df.assign(unique_id="a").set_index(["unique_id", "ds"]),
}
UNREADABLE = {"years of two digits", "times of day", "a word"}


def has_code(kind, form):
    """Whether timestamps of a kind need code in a frame of this form, and can have it."""
    if isinstance(TIMES[kind][0], pd.Series):
        return form in ("long", "panel")  # pandas makes a better index of objects
    # With unreadable timestamps, frames of the last three forms are not recognized as such.
    return kind not in UNREADABLE or form not in ("wide", "wide, named", "levels")


@pytest.mark.parametrize(
    ("kind", "form"), [(kind, form) for kind in TIMES for form in FORMS if has_code(kind, form)]
)
def test_the_code_for_timestamps_leads_to_them(kind, form):
    times, expected = TIMES[kind]
    df = FORMS[form](long(pd.Series(times)))
    with pytest.raises((DataError, ArgumentError)) as caught:
        read_panel(df)
    panel = read_panel(follow(str(caught.value), df=df)["df"])
    assert panel.values[0].tolist() == VALUES.tolist()
    assert panel.calendar.span(panel.last, 0, 0)[0] == expected[-1]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("day or month first", "'01/02/2015' in row 1, which is 1 February 2015 or 2 January 2015"),
        ("a word", "'Start' in row 0"),
        ("years of two digits", "'01/01/15' in row 0"),
    ],
)
def test_the_first_text_that_is_no_timestamp_is_named(kind, words):
    with pytest.raises(DataError, match=words):
        read_panel(long(TIMES[kind][0]))


TARGETS = {
    "text": ([f"{value}" for value in VALUES], VALUES),
    "decimal commas": ([f"{value}".replace(".", ",") for value in VALUES], VALUES),
    "a word": (["?", *(f"{value}" for value in VALUES[1:])], [np.nan, *VALUES[1:]]),
    "durations": (pd.to_timedelta(VALUES, unit="s"), VALUES),
}


@pytest.mark.parametrize("form", ["long", "series", "levels"])
@pytest.mark.parametrize("kind", TARGETS)
def test_the_code_for_targets_leads_to_numbers(kind, form):
    values, expected = TARGETS[kind]
    df = FORMS[form](long(values=values))
    with pytest.raises(DataError) as caught:
        read_panel(df)
    panel = read_panel(follow(str(caught.value), df=df)["df"])
    np.testing.assert_array_equal(panel.values[0], expected)


#: Frames that `fit` refuses with code that mends them.
REFUSED = {
    **{f"timestamps, {kind}": long(TIMES[kind][0]) for kind in TIMES if has_code(kind, "long")},
    **{f"targets, {kind}": long(values=values) for kind, (values, _) in TARGETS.items()},
    "order": long().iloc[::-1],
}


@pytest.mark.parametrize("kind", covering(list(REFUSED), 3))
def test_the_code_of_a_refused_fit_leads_to_a_forecast(kind):
    df = REFUSED[kind]
    forecaster = flat_forecaster(
        2, architecture=dense, lookback=5, epochs=1, seed=0, progress=False, **POINT
    )
    with pytest.raises((DataError, ArgumentError)) as caught:
        forecaster.fit(df)
    forecast = forecaster.fit(follow(str(caught.value), df=df)["df"]).predict()
    assert np.isfinite(forecast.yhat).all()
    assert len(forecast) == 2


@pytest.mark.parametrize("kind", TARGETS)
def test_the_code_for_a_column_of_a_wide_frame_leads_to_numbers(kind):
    values, expected = TARGETS[kind]
    df = pd.DataFrame({"a": pd.Series(values).array, "b": 1.0}, index=DAYS)
    with pytest.raises(DataError) as caught:
        read_panel(df)
    panel = read_panel(follow(str(caught.value), df=df)["df"])
    np.testing.assert_array_equal(panel.values[0][-ROWS + 1 :], expected[1:])


@pytest.mark.parametrize("kind", [decimal.Decimal, float, int])
def test_objects_that_are_numbers_are_targets(kind):
    values = [None, *(kind(value) for value in VALUES[1:])]
    panel = read_panel(long(values=objects(values)))
    assert panel.values[0][1:].tolist() == [float(value) for value in values[1:]]
    assert np.isnan(panel.values[0][0])


@pytest.mark.parametrize("form", FORMS)
def test_the_code_that_sorts_leads_to_order(form):
    df = FORMS[form](long())
    if form == "panel":
        df = df.sample(frac=1, random_state=0)
    with pytest.raises(DataError, match="order of time") as caught:
        read_panel(df.iloc[::-1])
    panel = read_panel(follow(str(caught.value), df=df.iloc[::-1])["df"])
    assert panel.values[0].tolist() == VALUES.tolist()


def test_the_code_that_sorts_a_polars_frame_leads_to_order():
    pl = pytest.importorskip("polars")
    df = pl.from_pandas(long().iloc[::-1])
    with pytest.raises(DataError) as caught:
        read_panel(df)
    assert read_panel(follow(str(caught.value), df=df)["df"]).values[0].tolist() == VALUES.tolist()
    table = df.to_arrow()
    with pytest.raises(DataError) as caught:
        read_panel(table)
    assert read_panel(follow(str(caught.value), df=table)["df"]).last[0] == DAYS[-1]


def test_rows_that_order_would_not_mend_are_not_to_be_sorted():
    df = FORMS["panel"](long()).drop(columns="unique_id")
    with pytest.raises(DataError, match=r"2015-01-01 00:00:00 twice.*Columns\(id="):
        read_panel(df)


@pytest.mark.parametrize("form", ["series", "wide"])
def test_the_code_for_repeated_and_missing_timestamps_of_an_index_works(form):
    df = FORMS[form](long())
    twice = df.iloc[[0, *range(ROWS)]]
    with pytest.raises(DataError, match="twice") as caught:
        read_panel(twice)
    assert len(read_panel(follow(str(caught.value), df=twice)["df"]).values[0]) == ROWS


def test_the_row_of_a_wide_frame_is_a_row_that_it_has():
    df = FORMS["wide"](long())
    df.index = [*DAYS[:-1], pd.NaT]
    with pytest.raises(DataError, match=r"The index must have .* none in row 23") as caught:
        read_panel(df)
    assert len(read_panel(follow(str(caught.value), df=df)["df"]).values[0]) == ROWS - 1
    df = FORMS["wide"](long()).astype(float)
    df.iloc[9, 1] = np.inf
    with pytest.raises(DataError, match="inf for series 'b' at 2015-01-10 00:00:00 "):
        read_panel(df)


@pytest.mark.parametrize(
    ("freq", "fix"), [("D", "inserted by Columns\\(fill='mask'\\)"), ("W", "to a regular grid")]
)
def test_a_gap_is_filled_where_that_is_advised(freq, fix):
    df = long().drop(index=9)
    with pytest.raises(DataError, match=fix):
        read_panel(df, Columns(freq=freq))
    assert len(read_panel(df, Columns(freq="D", fill="mask")).values[0]) == ROWS


ZONED = DAYS.tz_localize("Europe/Berlin")
FUTURES = {
    "without the zone": (ZONED, lambda times: times.dt.tz_localize(None)),
    "with a zone": (DAYS, lambda times: times.dt.tz_localize("UTC")),
    "text": (DAYS, lambda times: times.dt.strftime("%d/%m/%Y")),
    "text without the zone": (ZONED, lambda times: times.dt.strftime("%Y-%m-%d")),
    "dates": (DAYS, lambda times: times.dt.date),
    "periods": (DAYS, lambda times: times.dt.to_period("D")),
    "stamps": (DAYS.to_period("D"), lambda times: times.dt.to_timestamp()),
}


@pytest.mark.parametrize("kind", [kind for kind in FUTURES if kind not in ("periods", "stamps")])
def test_the_code_for_future_timestamps_leads_to_those_of_fit(kind):
    times, change = FUTURES[kind]
    panel = read_panel(long(times).assign(x=1.0), Columns(future="x"))
    future = panel.future_frame(9).assign(x=np.arange(9.0))
    changed = future.assign(ds=change(future.ds))
    with pytest.raises(DataError) as caught:
        read_future(panel, changed, 9)
    mended = follow(str(caught.value), future=changed)["future"]
    assert read_future(panel, mended, 9)[0, :, 0].tolist() == list(range(9))


@pytest.mark.parametrize("kind", ["without the zone", "with a zone", "periods", "stamps"])
@pytest.mark.parametrize("form", ["long", "series"])
def test_the_code_for_newer_timestamps_leads_to_those_of_fit(kind, form):
    times, change = FUTURES[kind]
    fitted = read_panel(FORMS[form](long(times)))
    newer = FORMS[form](long(change(pd.Series(times))))
    with pytest.raises(DataError, match="as in fit") as caught:
        read_alike(newer, fitted, missing="mask", fill="raise")
    mended = follow(str(caught.value), df=newer)["df"]
    assert read_alike(mended, fitted, missing="mask", fill="raise").last[0] == fitted.last[0]


def test_a_covariate_that_newer_rows_lack_is_named():
    fitted = read_panel(long().assign(sun=1.0), Columns(future="sun"))
    with pytest.raises(ArgumentError, match=r"covariates of fit, .*no 'sun'.* Add the column"):
        read_alike(long(), fitted, missing="mask", fill="raise")


def test_rows_are_forecast_by_place_and_a_horizon_by_name():
    forecaster = flat_forecaster(
        2, lookback=5, units=2, epochs=1, seed=0, validation=0, levels=(), progress=False
    ).fit(long())
    assert forecaster.predict(long().head(9)).ds.tolist() == list(DAYS[9:11])
    with pytest.raises(ArgumentError, match="pass horizon="):
        forecaster.predict(12)
