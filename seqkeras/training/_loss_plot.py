"""Plot the losses of a training run."""

from collections.abc import Sequence
from typing import Any

from seqkeras._drawing import ACTUAL, FORECAST, HISTORY, blank, dress


def draw_losses(
    loss: Sequence[float], held_out: Sequence[float], best_epoch: int, *, title: str = ""
) -> Any:
    """Plot the losses by epoch, and mark the epoch whose weights were kept.

    Args:
        loss: losses on the training windows, from the first epoch on.
        held_out: losses on the held-out windows, starting before the first epoch; may be empty.
        best_epoch: number of the epoch to mark, from 1; 0 is before the first epoch.
        title: title of the figure, default none.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = blank(8, 4, title)
    axis = figure.subplots()
    dots = {"marker": "o", "ms": 3} if len(loss) < 15 else {}
    axis.plot(range(1, len(loss) + 1), loss, color=HISTORY, lw=1.4, label="training", **dots)
    if held_out:
        axis.plot(range(len(held_out)), held_out, color=FORECAST, lw=2, label="held out", **dots)
        label = f"kept: epoch {best_epoch}" if best_epoch else "kept: untrained"
        style = {"color": ACTUAL, "lw": 0, "marker": "o", "ms": 7}
        axis.plot([best_epoch], [held_out[best_epoch]], label=label, **style)
    dress(axis, "", "loss")
    axis.set_xlabel("epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False, fontsize=9)
    return figure
