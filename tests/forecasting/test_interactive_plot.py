"""Interactive plots show what the others show."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("plotly")

from seqkeras.errors import ArgumentError


def test_it_has_history_forecast_bands_and_actual_values(one, fitted_series, tmp_path):
    later = one.tail(10).assign(ds=lambda df: df.ds + pd.Timedelta(days=10))
    figure = fitted_series.plot(pd.concat([one, later]), title="a title", interactive=True)
    assert figure.layout.title.text == "a title"
    drawn = {line.name: line for line in figure.data if line.showlegend}
    assert list(drawn) == ["history", "95 % interval", "80 % interval", "forecast", "actual"]
    np.testing.assert_allclose(drawn["history"].y, one.y)
    np.testing.assert_allclose(drawn["actual"].y, later.y)
    forecast = fitted_series.predict()
    np.testing.assert_allclose(drawn["forecast"].y[1:], forecast.yhat)
    low, high = (line.y[1:] for line in figure.data if line.name == "80 % interval")
    np.testing.assert_allclose(low, forecast["yhat-lo-80"])
    np.testing.assert_allclose(high, forecast["yhat-hi-80"])
    figure.write_html(tmp_path / "forecast.html")
    assert "a title" in (tmp_path / "forecast.html").read_text(encoding="utf-8")


def test_each_series_has_a_panel_and_the_legend_each_line_once(fitted_panel):
    figure = fitted_panel.plot(interactive=True)
    assert [note.text for note in figure.layout.annotations] == ["a", "b", "c"]
    assert sum(line.showlegend for line in figure.data if line.name == "forecast") == 1
    assert sum(line.name == "forecast" for line in figure.data) == 3


def test_interactive_is_a_flag(fitted_panel):
    with pytest.raises(ArgumentError, match="interactive must be True or False"):
        fitted_panel.plot(interactive="yes")
