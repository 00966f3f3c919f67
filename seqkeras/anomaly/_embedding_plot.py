"""A scatter plot of embeddings."""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Floats
from seqkeras._checks import Description, bad_argument, bad_data
from seqkeras._drawing import ACTUAL, FORECAST, HISTORY, blank, dress
from seqkeras.anomaly._score_rows import as_floats

#: Colors of categories; more categories than colors are refused.
_COLORS = (
    FORECAST, ACTUAL, "#862e9c", "#2b8a3e", "#e67700", "#364fc7", "#a61e4d", HISTORY, "#66a80f",
    "#15aabf",
)  # fmt: skip


def plot_embedding(embedding: npt.ArrayLike, labels: Any = None, *, title: str = "") -> Any:
    """Draw embeddings as points, more than two dimensions as their first principal components.

    Args:
        embedding: `(n, latent)`, such as `SequenceEncoder.transform` returns.
        labels: for each point its category, drawn as a color with a legend, or a number, drawn on a
            scale of colors. None: one color.
        title: title of the figure, default none.

    Returns:
        A `matplotlib.figure.Figure`; `figure.savefig("embedding.png")` saves it.

    Raises:
        ArgumentError: shapes differ, or there are more than 10 categories of text.
        DataError: a value is missing or infinite.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> codes = np.random.default_rng(0).normal(size=(20, 8))
        >>> figure = plot_embedding(codes, ["pump"] * 10 + ["valve"] * 10)
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['pump', 'valve']
    """
    codes = as_floats("embedding", embedding)
    if codes.ndim != 2 or not codes.size:
        expected = "of shape (n, latent)"
        raise bad_argument("embedding", Description(f"shape {codes.shape}"), expected)
    if not np.isfinite(codes).all():
        raise bad_data("embedding", "NaN or infinite values", "be finite")
    kinds = None if labels is None else np.asarray(labels)
    if kinds is not None and kinds.shape != (len(codes),):
        raise bad_argument(
            "labels", Description(f"shape {kinds.shape}"), f"of shape ({len(codes)},)"
        )
    points, names = _two_dimensions(codes)
    figure = blank(7, 5.2, title)
    axis = figure.subplots()
    _scatter(figure, axis, points, kinds)
    dress(axis, "", names[1], grid="both")
    axis.set_xlabel(names[0])
    axis.margins(0.05)
    return figure


def _two_dimensions(codes: Floats) -> tuple[Floats, tuple[str, str]]:
    """Return points `(n, 2)` and the names of their axes."""
    if codes.shape[1] == 1:
        return np.stack([np.arange(len(codes)), codes[:, 0]], axis=1), ("sequence", "latent 0")
    if codes.shape[1] == 2:
        return codes, ("latent 0", "latent 1")
    centered = codes - codes.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centered, full_matrices=False)
    shares = sizes**2 / max(float((sizes**2).sum()), np.finfo(float).tiny)
    # With one or two points there may be fewer components than axes.
    points = np.zeros((len(codes), 2))
    points[:, : len(sizes)] = (left * sizes)[:, :2]
    first, second = (*shares, 0.0)[:2]
    return points, (
        f"first principal component ({first:.0%} of the variance)",
        f"second ({second:.0%})",
    )


def _scatter(figure: Any, axis: Any, points: Floats, labels: Array | None) -> None:
    style = {"s": 18, "alpha": 0.75, "lw": 0}
    if labels is None:
        axis.scatter(*points.T, color=FORECAST, **style)
        return
    categories = np.unique(labels)
    if labels.dtype.kind in "iuf" and len(categories) > len(_COLORS):
        drawn = axis.scatter(*points.T, c=labels, cmap="viridis", **style)
        figure.colorbar(drawn, ax=axis).outline.set_visible(False)
        return
    if len(categories) > len(_COLORS):
        actual = Description(f"{len(categories)} categories")
        raise bad_argument("labels", actual, f"at most {len(_COLORS)} categories, or numbers")
    for category, color in zip(categories, _COLORS, strict=False):
        chosen = labels == category
        axis.scatter(*points[chosen].T, color=color, label=str(category), **style)
    # Beside the points, not over them.
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    axis.legend(frameon=False, fontsize=9, **place)
