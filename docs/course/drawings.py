"""The drawings of the course: `python docs/course/drawings.py` writes `docs/_static/course/*.svg`.

They have no background, and colors that read on light and dark pages.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.colors
import matplotlib.patches
import numpy as np

from seqkeras._drawing import ACTUAL, BAR, blank

FOLDER = Path(__file__).resolve().parents[1] / "_static" / "course"
GRAY = "#78808c"
LARGEST = 30_000  # bytes of a drawing
#: Text stays text, and the same drawing is the same file.
SVG = {"svg.fonttype": "none", "svg.hashsalt": "course", "font.size": 11}


def canvas(height: float) -> tuple[Any, Any]:
    """Return a figure as wide as a phone, and axes without a frame."""
    figure = blank(4.8, height, "")
    axis = figure.add_subplot()
    axis.set_axis_off()
    return figure, axis


def chart(height: float, x: str, y: str) -> tuple[Any, Any]:
    """Return a figure as wide as a phone, and gray axes with labels."""
    figure = blank(4.8, height, "")
    axis = figure.add_subplot()
    axis.set_xlabel(x, color=GRAY)
    axis.set_ylabel(y, color=GRAY)
    axis.tick_params(colors=GRAY)
    for side in ("top", "right", "left", "bottom"):
        axis.spines[side].set_color(GRAY)
        axis.spines[side].set_visible(side in ("left", "bottom"))
    return figure, axis


def box(axis: Any, x: float, y: float, text: str, color: str, *, width: float = 0.7) -> None:
    """Draw a box with text around a point."""
    corner = (x - width / 2, y - 0.3)
    light = matplotlib.colors.to_rgba(color, 0.2)
    axis.add_patch(matplotlib.patches.Rectangle(corner, width, 0.6, fc=light, ec=color, lw=1.5))
    axis.text(x, y, text, ha="center", va="center", color=GRAY)


def arrow(axis: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": GRAY, "lw": 1.4})


def note(axis: Any, x: float, y: float, text: str, *, color: str = GRAY) -> None:
    axis.text(x, y, text, ha="left", va="center", color=color)


def state() -> Any:
    """Draw a state that passes from timestep to timestep, and two places to cut."""
    figure, axis = canvas(2.6)
    for step in range(5):
        box(axis, step, 0, f"x{step + 1}", GRAY)
        box(axis, step, 1.2, f"h{step + 1}", BAR)
        arrow(axis, (step, 0.35), (step, 0.85))
        if step:
            arrow(axis, (step - 0.62, 1.2), (step - 0.37, 1.2))
    for cut in (1.5, 3.5):
        axis.plot([cut, cut], [-0.5, 1.9], color=ACTUAL, ls="--", lw=1.3)
    note(axis, -0.4, 2.2, "cut anywhere: only the state crosses the cut", color=ACTUAL)
    axis.set(xlim=(-0.5, 4.5), ylim=(-0.6, 2.5))
    return figure


def validation() -> Any:
    """Plot the state of a counter in training and validation, shared and apart."""
    figure, axis = chart(2.8, "timesteps, in the order that Keras reads them", "count")
    shared = np.arange(1, 31)
    apart = np.concatenate([np.arange(1, 13), np.arange(1, 4)] * 2)
    axis.plot(shared, shared, color=ACTUAL, label="one state for both")
    axis.plot(shared, apart, color=BAR, marker=".", lw=1, label="a state for each")
    for start in (12.5, 27.5):
        axis.axvspan(start, start + 3, color=GRAY, alpha=0.2, lw=0)
        axis.text(start + 1.5, 32, "validation", ha="center", color=GRAY, fontsize=9)
    axis.legend(frameon=False, labelcolor=GRAY, loc="upper left", bbox_to_anchor=(0, 0.93))
    axis.set_ylim(0, 35)
    return figure


def masks() -> Any:
    """Draw which timesteps count, before and after the code of an autoencoder."""
    figure, axis = canvas(2.9)
    rows = (
        (2.6, "the encoder reads", GRAY),
        (1.3, "decoder after RepeatVector", ACTUAL),
        (0.0, "decoder after RepeatLike", GRAY),
    )
    for y, label, padding in rows:
        note(axis, -0.4, y + 0.55, label)
        for step in range(6):
            text, color = ("data", BAR) if step < 3 else ("pad", padding)
            box(axis, step, y, text, color, width=0.9)
    axis.set(xlim=(-0.5, 5.5), ylim=(-0.4, 3.4))
    return figure


def kernels() -> Any:
    """Draw a loop of small calls, and one call."""
    figure, axis = canvas(2.0)
    note(axis, -0.4, 2.3, "a loop: calls for each timestep", color=ACTUAL)
    for step in range(8):
        box(axis, step, 1.7, str(step + 1), ACTUAL, width=0.6)
        if step:
            arrow(axis, (step - 0.68, 1.7), (step - 0.31, 1.7))
    note(axis, -0.4, 0.6, "a kernel: one call for the sequence", color=BAR)
    box(axis, 3.5, 0, "1 … 8", BAR, width=7.6)
    axis.set(xlim=(-0.5, 7.5), ylim=(-0.4, 2.6))
    return figure


def feedback() -> Any:
    """Plot how many timesteps each step of a forecast reads."""
    figure, axis = chart(2.7, "steps of the forecast", "timesteps read so far")
    step = np.arange(1, 21)
    axis.plot(step, np.cumsum(19 + step), color=ACTUAL, label="predict in a loop")
    axis.plot(step, 19 + step, color=BAR, label="rollout")
    axis.legend(frameon=False, labelcolor=GRAY)
    axis.set_ylim(0)
    return figure


def scaling() -> Any:
    """Plot a series, the mean of its training part, and that of the whole."""
    figure, axis = chart(2.7, "row", "value")
    series = np.concatenate([np.tile([8.0, 12.0], 40), np.tile([18.0, 22.0], 10)])
    axis.plot(series, color=GRAY, lw=0.7)
    axis.axvspan(79.5, 99.5, color=GRAY, alpha=0.2, lw=0)
    axis.text(89.5, 24, "test", ha="center", color=GRAY)
    axis.axhline(series.mean(), color=ACTUAL, label="mean of all rows")
    axis.axhline(series[:80].mean(), color=BAR, label="mean of the training rows")
    axis.legend(frameon=False, labelcolor=GRAY, loc="upper left")
    axis.set_ylim(5, 26)
    return figure


def heads() -> Any:
    """Draw which rows of a window each step of a forecast has read."""
    figure, axis = canvas(3.2)
    panels = ((4.2, "rnn_out[:, -3:]", range(6, 9), ACTUAL), (0.0, "the last state", [8] * 3, BAR))
    for bottom, label, newest, color in panels:
        note(axis, -0.4, bottom + 3, label, color=color)
        for step, rows in enumerate(newest):
            y = bottom + 2 - step
            for row in range(8):
                box(axis, row, y, "", color if row < rows else GRAY, width=0.8)
            note(axis, 7.7, y, f"step {step + 1}")
    note(axis, -0.4, -0.9, "rows of the window, the newest on the right")
    axis.set(xlim=(-0.5, 9.5), ylim=(-1.3, 7.6))
    return figure


def splits() -> Any:
    """Draw windows split at random and in time."""
    figure, axis = canvas(2.2)
    test = np.random.default_rng(3).permutation(20) < 4
    in_time = np.arange(20) > 15
    rows = ((1.6, "split at random", test, ()), (0.0, "split in time", in_time, (14, 15)))
    for y, label, held_out, omitted in rows:
        note(axis, -0.4, y + 0.6, label)
        for window in range(20):
            if window not in omitted:
                box(axis, window, y, "", ACTUAL if held_out[window] else BAR, width=0.7)
    note(axis, -0.4, -0.65, "training windows", color=BAR)
    note(axis, 12, -0.65, "test windows", color=ACTUAL)
    axis.set(xlim=(-0.5, 19.5), ylim=(-0.9, 2.5))
    return figure


DRAWINGS: tuple[Callable[[], Any], ...] = (
    state,
    validation,
    masks,
    kernels,
    feedback,
    scaling,
    heads,
    splits,
)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(SVG):
        for draw in DRAWINGS:
            path = FOLDER / f"{draw.__name__}.svg"
            draw().savefig(path, transparent=True, metadata={"Date": None})
            if path.stat().st_size > LARGEST:
                raise SystemExit(f"{path.name} has more than {LARGEST} bytes")


if __name__ == "__main__":
    main()
