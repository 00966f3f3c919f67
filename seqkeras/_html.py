"""Tables that notebooks show in place of the text of an object."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def html_table(caption: str, rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Return a table in HTML; all text is escaped.

    Args:
        caption: title of the table.
        rows: cells of each row, shown as text. The first cell names the row.
        header: titles of the columns, default none.

    Example:
        >>> html_table("Windows", [("batches", 3)])[:43]
        '<table><caption><b>Windows</b></caption><tb'
    """
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in header)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    head = f"<thead><tr>{head}</tr></thead>" if header else ""
    return f"<table><caption><b>{escape(caption)}</b></caption>{head}<tbody>{body}</tbody></table>"


def html_frame(caption: str, frame: Any) -> str | None:
    """Return a pandas frame with a title in HTML; all text is escaped.

    None if pandas is set to show frames as text in notebooks (`display.notebook_repr_html`).
    """
    table = frame._repr_html_()
    return table and f"<div><b>{escape(caption)}</b>{table}</div>"


def _cells(row: Sequence[object]) -> str:
    name, *values = (escape(str(cell)) for cell in row)
    others = "".join(f'<td style="text-align: left">{value}</td>' for value in values)
    return f'<th scope="row" style="text-align: left">{name}</th>{others}'
