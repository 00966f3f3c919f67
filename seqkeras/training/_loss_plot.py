"""Plot the losses of a training run."""

from collections.abc import Sequence
from typing import Any

from seqkeras._drawing import ACTUAL, FORECAST, HISTORY, blank, dress


def draw_losses(
    loss: Sequence[float], held_out: Sequence[float], best: int, *, title: str = ""
) -> Any:
    """The losses by epoch, and the epoch whose weights were kept.

    Args:
        loss: on the training windows, from the first epoch on.
        held_out: on the held-out windows, from before the first epoch on; may be empty.
        best: the number of the epoch; 0 is before the first.
        title: above the picture.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = blank(8, 4, title)
    axis = figure.subplots()
    mark = {"marker": "o", "ms": 3} if len(loss) < 15 else {}
    axis.plot(range(1, len(loss) + 1), loss, color=HISTORY, lw=1.4, label="training", **mark)
    if held_out:
        axis.plot(range(len(held_out)), held_out, color=FORECAST, lw=2, label="held out", **mark)
        label = f"kept: epoch {best}" if best else "kept: untrained"
        style = {"color": ACTUAL, "lw": 0, "marker": "o", "ms": 7}
        axis.plot([best], [held_out[best]], label=label, **style)
    dress(axis, "", "loss")
    axis.set_xlabel("epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False, fontsize=9)
    return figure
