"""A figure that notebooks show as a picture."""

import io

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A figure that a notebook shows where it ends a cell.

    Jupyter shows those of matplotlib only after `%matplotlib inline`, or an import of pyplot.
    """

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
