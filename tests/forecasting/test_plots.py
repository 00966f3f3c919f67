import numpy as np
import pandas as pd
import pytest

from helpers.builders import dense
from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Backtest, backtest


def bare():
    return flat_forecaster(
        5,
        **{"lookback": 14, "architecture": dense, "epochs": 1, "validation": 0, "levels": ()},
        seed=0,
        progress=False,
    )


def lines(axis):
    return {line.get_label(): line.get_ydata() for line in axis.get_lines()}


def test_the_picture_has_history_forecast_and_what_came(one, fitted_series, tmp_path):
    later = one.tail(10).assign(ds=lambda df: df.ds + pd.Timedelta(days=10))
    figure = fitted_series.plot(pd.concat([one, later]), title="a title")
    (axis,) = figure.axes
    drawn = lines(axis)
    np.testing.assert_allclose(drawn["history"], one.y)
    np.testing.assert_allclose(drawn["actual"], later.y)
    np.testing.assert_allclose(drawn["forecast"][1:], fitted_series.predict().yhat)
    assert drawn["forecast"][0] == one.y.iloc[-1]  # no gap between history and forecast
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["history", "95 % interval", "80 % interval", "forecast", "actual"]
    figure.savefig(tmp_path / "forecast.png")
    assert (tmp_path / "forecast.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_frame_the_rows_that_the_forecast_reads_are_drawn(fitted_panel):
    figure = fitted_panel.plot()
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["a", "b", "c"]
    assert all(len(lines(axis)["history"]) == 14 for axis in figure.axes)


@pytest.mark.parametrize(
    "stamps",
    [
        pd.period_range("2020-01", periods=60, freq="M"),
        pd.date_range("2020-01-01", periods=60, freq="h", tz="Asia/Tokyo"),
        pd.Index(np.arange(60)),
    ],
)
def test_every_kind_of_stamp_can_be_drawn(stamps, tmp_path):
    df = pd.DataFrame({"ds": stamps, "y": np.arange(60.0)})
    bare().fit(df).plot(df).savefig(tmp_path / "forecast.png")
    assert (tmp_path / "forecast.png").stat().st_size > 1000


def test_an_unknown_series_is_refused(fitted_panel):
    with pytest.raises(ArgumentError, match="series must be among the ids of the 3 series"):
        fitted_panel.plot(series="z")


def made(steps, windows, names=("a", "b")):
    """The frame of a backtest, forecasts of so many steps from origins two rows apart."""
    rows = [
        (name, origin, origin + step, 10.0 * step, 10.0 * step - 1, 10.0 * step + 1, origin + step)
        for name in names
        for origin in range(0, 2 * windows, 2)
        for step in range(1, steps + 1)
    ]
    columns = ["unique_id", "cutoff", "ds", "yhat", "yhat-lo-80", "yhat-hi-80", "y"]
    frame = pd.DataFrame(rows, columns=columns)
    frame.insert(3, "y", frame.pop("y").astype(float))
    return Backtest(frame, pd.DataFrame(), pd.DataFrame())


def test_a_backtest_shows_what_came_once_and_a_forecast_from_each_origin(tmp_path):
    figure = made(3, 2).plot(series="b", title="a title")
    (axis,) = figure.axes
    drawn = [line for line in axis.get_lines() if line.get_label() == "forecast"]
    assert [line.get_xdata().tolist() for line in drawn] == [[1, 2, 3], [3, 4, 5]]
    assert [line.get_ydata().tolist() for line in drawn] == [[10, 20, 30]] * 2
    assert lines(axis)["actual"].tolist() == [1, 2, 3, 4, 5]
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["80 % interval", "forecast", "actual"]
    figure.savefig(tmp_path / "backtest.png")
    assert (tmp_path / "backtest.png").stat().st_size > 1000


def test_forecasts_of_one_step_are_one_line():
    first, second = made(1, 5).plot().axes
    assert lines(first)["forecast"].tolist() == [10] * 5
    assert [axis.get_title(loc="left") for axis in (first, second)] == ["a", "b"]
    with pytest.raises(ArgumentError, match="series must be among the ids of the 2 series"):
        made(1, 5).plot(series="c")


def test_a_backtest_of_one_series_without_id_is_drawn(one):
    result = backtest(bare(), one, windows=2)
    (axis,) = result.plot().axes
    assert lines(axis)["actual"].tolist() == one.y.tail(10).tolist()
    with pytest.raises(
        ArgumentError, match="series must be None, because there is only one series"
    ):
        result.plot(series="a")
