"""What notebooks show of an object."""

from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from helpers.forecasters import POINT, flat_forecaster
from helpers.models import training_eagerly
from seqkeras import Forecaster, StatefulBatches, Windows, WindowSpec, explain, layers, many_to_one
from seqkeras._html import html_table
from seqkeras.anomaly import AutoencoderDetector, ForecastDetector
from seqkeras.export import save_program
from seqkeras.forecasting import (
    Columns,
    Tuning,
    backtest,
    compare,
    components,
    evaluate_holdout,
    permutation_importance,
)
from seqkeras.runtime import load
from seqkeras.text import GeneratedText, LanguageModel, Translation, Translator


class Cells(HTMLParser):
    """Reads the text of each cell, and checks that every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.cells = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def test_text_of_a_user_is_escaped():
    text = html_table("<b>", [("<script>", "a & b")], ["<i>"])
    assert "<script>" not in text
    assert Cells(text).cells == ["<i>", "<script>", "a & b"]


@pytest.mark.backends
def test_windows_batches_programs_and_explanations_are_tables(tmp_path):
    wave = np.sin(np.arange(40.0))
    windows = Windows(wave, WindowSpec(8, horizon=2), batch_size=16)
    assert Cells(windows._repr_html_()).cells[:6] == [
        "windows", "31", "series", "1", "batches", "2 of 16"
    ]  # fmt: skip
    batches = StatefulBatches(wave, batch_size=2, bptt_steps=5)
    assert {"timesteps of a batch", "5"} <= set(Cells(batches._repr_html_()).cells)
    model = many_to_one(3, units=4, name="model")
    save_program(model, tmp_path / "model.program")
    cells = Cells(load(tmp_path / "model.program")._repr_html_()).cells
    assert cells[:4] == ["input", "sequence (batch, 3)", "output", cells[3]]
    layer = layers.LSTM(4, implementation="scan", name="memory")
    cells = Cells(explain(layer)._repr_html_()).cells
    assert cells[5:9] == ["memory", "seqkeras LSTM", "scan", "scan"]
    assert "cudnn: " in cells[9]


HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def named_series():
    """A series whose columns, id and category have hostile names."""
    return pd.DataFrame(
        {
            f"id {HOSTILE}": HOSTILE,
            f"time {HOSTILE}": pd.date_range("2020", periods=40),
            f"target {HOSTILE}": np.sin(np.arange(40.0)),
            f"category {HOSTILE}": HOSTILE,
        }
    )


@pytest.fixture(scope="module")
def named_columns(named_series):
    key, time, target, category = named_series.columns
    return Columns(id=key, time=time, target=target, static=[category])


@pytest.fixture(scope="module")
def fitted(named_series, named_columns):
    """A forecaster of these."""
    forecaster = flat_forecaster(2, lookback=4, units=2, epochs=1, progress=False, **POINT)
    with training_eagerly():
        return forecaster.fit(named_series, columns=named_columns)


@pytest.mark.parametrize(
    "estimator",
    [
        Forecaster(12),
        ForecastDetector(Forecaster(12)),
        AutoencoderDetector(),
        LanguageModel(),
        Translator(),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_an_estimator_tells_its_parameters_and_that_it_is_not_fitted(estimator):
    text = estimator._repr_html_()
    assert "Not fitted" in text
    assert type(estimator).__name__ in text
    assert all(name in text for name in estimator.get_params(deep=False))
    assert HOSTILE not in type(estimator)(HOSTILE)._repr_html_()


def test_a_fitted_forecaster_says_so_and_escapes_names(fitted):
    text = fitted._repr_html_()
    assert "Not fitted" not in text
    assert "Fitted" in text
    assert HOSTILE not in text


def test_results_of_forecasters_are_tables_of_escaped_names(fitted, named_series, named_columns):
    with training_eagerly():
        results = {
            "seasonal naive": backtest(fitted, named_series, columns=named_columns),
            "naive": evaluate_holdout(fitted, named_series, columns=named_columns),
            "yhat": components(fitted),
            "why": Tuning(fitted, pd.DataFrame({"why": [HOSTILE]}), study=None),
            "importance": permutation_importance(fitted, named_series, repeats=1),
            HOSTILE: compare(
                named_series, 2, contenders=(), forecasters={HOSTILE: fitted}, windows=1,
                columns=named_columns, progress=False,
            ),
        }  # fmt: skip
    for word, result in results.items():
        text = result._repr_html_()
        assert HOSTILE not in text
        assert word in Cells(text).cells


def test_frames_are_text_where_pandas_shows_them_as_text(fitted):
    result = components(fitted)
    with pd.option_context("display.notebook_repr_html", False):
        assert result._repr_html_() is None


def test_texts_are_tables_of_escaped_text():
    text = GeneratedText(HOSTILE, ["a"], np.zeros(1, np.float32), True)._repr_html_()
    assert Cells(text).cells[:2] == ["text", HOSTILE]
    text = Translation(HOSTILE, ["a", HOSTILE], ["b"], -0.5, False, None)._repr_html_()
    assert Cells(text).cells[1:4:2] == [f"a {HOSTILE}", HOSTILE]
    assert HOSTILE not in text
