"""The style of all plots: colors, figures, axes, legends."""

from typing import Any

from seqkeras._lazy import import_optional

HISTORY = "#4a5568"
FORECAST = "#0b7285"
ACTUAL = "#d9480f"
BAR = "#4ba3b1"
BANDS = ("#d7ebef", "#a9d3db", "#7cbac6")


def legend_above(axis: Any) -> None:
    """Draw a legend above the right end of the axes, with each label once."""
    handles, labels = axis.get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}
    axis.legend(by_label.values(), by_label, frameon=False, ncols=6, fontsize=9, **place)


def timestamps(column: Any) -> Any:
    """Convert timestamps for matplotlib: periods to their start, zoned times to local time."""
    if column.dtype.kind == "O":
        column = column.dt.to_timestamp()
    elif column.dtype.kind == "M":
        column = column.dt.tz_localize(None)
    return column.to_numpy()


def blank(width: float, height: float, title: str) -> Any:
    """Return an empty `matplotlib.figure.Figure` of this size in inches."""
    import_optional("matplotlib.figure", extra="plot")
    from seqkeras._notebook_figure import NotebookFigure

    # Not pyplot, which has global state and may open a window.
    figure = NotebookFigure(figsize=(width, height), layout="constrained", dpi=150)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    return figure


def show_dates(axis: Any, times: Any, *, most: int = 9) -> None:
    """Label the axis with at most `most` short dates, and the year or month once at its end."""
    if times.dtype.kind != "M":
        return
    dates = import_optional("matplotlib.dates", extra="plot")
    locator = dates.AutoDateLocator(minticks=3, maxticks=most)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))


def dress(axis: Any, title: str, label: str, *, grid: str = "y") -> None:
    """Add a title, a label and a light grid; remove tick marks and all borders but the bottom."""
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_ylabel(label)
    axis.grid(axis=grid, color="#e2e8f0", lw=0.8)
    axis.set_axisbelow(True)
    axis.margins(x=0.01)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(length=0)
