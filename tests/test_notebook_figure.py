"""Figures show as pictures in notebooks."""

import io
import pickle

import matplotlib.image
import pytest

from seqkeras._drawing import blank


@pytest.fixture
def figure():
    figure = blank(4, 2, "Title")
    figure.subplots().plot([1, 3, 2])
    return figure


def test_a_figure_is_a_picture_of_its_size_in_a_notebook(figure):
    picture = matplotlib.image.imread(io.BytesIO(figure._repr_png_()), format="png")
    assert picture.shape[:2] == (300, 600)
    assert picture.min() < picture.max()


def test_a_figure_can_be_pickled(figure):
    again = pickle.loads(pickle.dumps(figure))
    assert again._repr_png_() == figure._repr_png_()
