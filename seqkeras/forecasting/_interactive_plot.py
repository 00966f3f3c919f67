"""Forecasts as interactive plots: zoom, and values under the pointer."""

from typing import Any

from seqkeras._drawing import ACTUAL, BANDS, FORECAST, HISTORY
from seqkeras._lazy import import_optional
from seqkeras.forecasting._plots import curves_of


def draw_interactive(
    parts: dict[str, Any],
    time: str,
    target: str,
    levels: tuple[float, ...],
    *,
    title: str = "",
) -> Any:
    """Draw a panel for each series: history, forecast, bands and actual values.

    Args:
        parts, time, target, levels, title: as for `draw`.

    Returns:
        A `plotly.graph_objects.Figure`.
    """
    subplots = import_optional("plotly.subplots", extra="interactive")
    labels = list(parts)
    figure = subplots.make_subplots(
        len(labels), 1, subplot_titles=labels, vertical_spacing=0.3 / len(labels)
    )
    for row, (history, forecast) in enumerate(parts.values(), 1):
        for line in _lines(curves_of(history, forecast, (time, target), levels)):
            in_legend = row == 1 and line.get("fill") != "none"
            group = {"legendgroup": line["name"], "showlegend": in_legend}
            figure.add_scatter(**line, **group, row=row, col=1)
    figure.update_yaxes(title_text=target)
    figure.update_layout(
        title_text=title,
        template="plotly_white",
        hovermode="x unified",
        height=120 + 280 * len(labels),
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    return figure


def _lines(curves: Any) -> list[dict[str, Any]]:
    """Return the arguments of the lines of a series, in the order in which they are drawn."""
    lines = [_line("history", curves.past, HISTORY)]
    for number, (level, (low, high)) in enumerate(curves.bands.items()):
        color = BANDS[min(number, len(BANDS) - 1)]
        name = f"{level:g} % interval"
        # The upper end is filled down to the line before it, the lower end.
        for values, fill in ((low, "none"), (high, "tonexty")):
            style = {"line_width": 0, "fill": fill, "fillcolor": color, "marker_color": color}
            lines.append(_line(name, (curves.times, values), color) | style)
    lines.append(_line("forecast", (curves.times, curves.forecast), FORECAST))
    if len(curves.actual[0]):
        lines.append(_line("actual", curves.actual, ACTUAL) | {"mode": "markers"})
    return lines


def _line(name: str, points: tuple[Any, Any], color: str) -> dict[str, Any]:
    times, values = points
    return {"name": name, "x": times, "y": values, "mode": "lines", "marker_color": color}
