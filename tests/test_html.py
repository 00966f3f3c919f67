"""What notebooks show of an object."""

from html.parser import HTMLParser

import numpy as np
import pytest

from seqkeras import Forecaster, StatefulBatches, Windows, WindowSpec, explain, layers, many_to_one
from seqkeras._html import html_table
from seqkeras.export import save_program
from seqkeras.runtime import load


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


def test_a_forecaster_tells_whether_it_is_fitted():
    assert "Not fitted" in Forecaster(12)._repr_html_()
