"""Scatter plots of embeddings."""

import numpy as np
import pytest

from seqkeras.anomaly import plot_embedding
from seqkeras.errors import ArgumentError, DataError


def points(figure):
    return np.concatenate([part.get_offsets().data for part in figure.axes[0].collections])


def test_the_first_principal_components_are_drawn():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(50, 6)) * [9, 1, 1, 4, 1, 1] + 100
    drawn = points(plot_embedding(codes))
    assert np.abs(np.corrcoef(drawn[:, 0], codes[:, 0])[0, 1]) > 0.99
    assert np.abs(np.corrcoef(drawn[:, 1], codes[:, 3])[0, 1]) > 0.97


def test_two_dimensions_are_drawn_as_they_are_and_one_over_its_number():
    codes = np.random.default_rng(0).normal(size=(5, 2))
    assert np.allclose(points(plot_embedding(codes)), codes)
    assert np.allclose(points(plot_embedding(codes[:, :1])), np.c_[np.arange(5), codes[:, 0]])


def test_labels_are_a_legend_or_a_scale():
    codes = np.random.default_rng(0).normal(size=(30, 4))
    names = plot_embedding(codes, ["a", "b", "c"] * 10, title="Machines")
    assert [text.get_text() for text in names.axes[0].get_legend().get_texts()] == ["a", "b", "c"]
    assert len(plot_embedding(codes, np.arange(30) / 7).axes) == 2  # a color bar


@pytest.mark.parametrize(
    ("codes", "labels", "error", "words"),
    [
        (np.zeros(3), None, ArgumentError, r"embedding must be of shape \(n, latent\)"),
        (np.zeros((0, 3)), None, ArgumentError, "embedding"),
        (np.full((3, 3), np.nan), None, DataError, "embedding must be finite"),
        (np.zeros((3, 3)), ["a"], ArgumentError, "labels must be of shape"),
        (np.zeros((11, 3)), list("abcdefghijk"), ArgumentError, "at most 10 categories"),
    ],
)
def test_what_cannot_be_drawn_is_refused(codes, labels, error, words):
    with pytest.raises(error, match=words):
        plot_embedding(codes, labels)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_points_are_drawn(rows):
    assert points(plot_embedding(np.eye(3)[:rows])).shape == (rows, 2)
