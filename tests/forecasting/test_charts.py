import numpy as np
import pandas as pd
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Components, Importance
from seqkeras.training import TrainingLog


def lines(axis):
    return {line.get_label(): line.get_xydata().tolist() for line in axis.get_lines()}


def test_the_losses_are_drawn_and_the_epoch_that_was_kept(tmp_path):
    figure = TrainingLog((4.0, 3.0, 2.0), (5.0, 3.5, 2.5, 2.75), 2).plot(title="a title")
    drawn = lines(figure.axes[0])
    assert drawn["training"] == [[1, 4.0], [2, 3.0], [3, 2.0]]
    assert drawn["held out"] == [[0, 5.0], [1, 3.5], [2, 2.5], [3, 2.75]]
    assert drawn["kept: epoch 2"] == [[2, 2.5]]
    figure.savefig(tmp_path / "log.png")
    assert (tmp_path / "log.png").stat().st_size > 1000


def test_without_held_out_rows_and_without_an_epoch_there_is_a_picture_too():
    assert list(lines(TrainingLog((1.0,), (), 1).plot().axes[0])) == ["training"]
    drawn = lines(TrainingLog((1.0,), (0.5, 0.7), 0).plot().axes[0])
    assert drawn["kept: untrained"] == [[0, 0.5]]


def importance(features, lags):
    rows = [(name, "all", place / 10, 0.01) for place, name in enumerate(features)]
    rows += [("y", str(lag), 1 / lag, np.nan) for lag in range(1, lags + 1)]
    frame = pd.DataFrame(rows, columns=["feature", "lag", "importance", "spread"])
    return Importance(frame, 0.25)


def test_features_are_in_order_and_the_newest_lag_is_on_the_right(tmp_path):
    figure = importance(["y", "price", "load"], 30).plot(title="a title")
    left, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["y", "price", "load"]
    assert [round(bar.get_width(), 3) for bar in left.patches] == [0, 0.1, 0.2]
    assert right.patches[-1].get_height() == 1
    names = [text.get_text() for text in right.get_xticklabels()]
    assert len(names) <= 12
    assert right.get_xticks()[names.index("1")] == 29
    figure.savefig(tmp_path / "importance.png")
    assert (tmp_path / "importance.png").stat().st_size > 1000


def test_one_feature_needs_no_panel_of_its_own():
    (axis,) = importance(["y"], 3).plot().axes
    assert [bar.get_height() for bar in axis.patches] == [1 / 3, 1 / 2, 1]


def test_components_are_drawn_below_the_forecast_of_each_series(tmp_path):
    stamps = pd.date_range("2024-01-01", periods=3)
    frame = pd.concat(
        pd.DataFrame(
            {"shop": shop, "ds": stamps, "yhat": [6.0, 7.0, 8.0], "seasonal naive": 5.0}
        ).assign(network=lambda df: df.yhat - 6, price=1.0)
        for shop in ("east", "west")
    )
    figure = Components(frame).plot(title="a title")
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "east",
        "west",
        "+ network",
        "+ network",
        "+ price",
        "+ price",
    ]
    top, below = lines(figure.axes[0]), figure.axes[2].get_lines()[0]
    assert [y for _, y in top["forecast"]] == [6, 7, 8]
    assert [y for _, y in top["seasonal naive"]] == [5, 5, 5]
    assert below.get_ydata().tolist() == [0, 1, 2]
    figure.savefig(tmp_path / "components.png")
    assert (tmp_path / "components.png").stat().st_size > 1000
    assert len(Components(frame).plot(series="west").axes) == 3
    with pytest.raises(ArgumentError, match="series must be among the ids of the 2 series"):
        Components(frame).plot(series="north")
