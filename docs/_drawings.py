"""The drawings of the builder pages: boxes, arrows and labels, as SVG text.

`draw("many_to_one")` returns one drawing. Colors and fonts come from `_static/site.css`, so that a
drawing inside a page follows its light or dark theme. Time runs to the right, data upwards.
"""

import re
from collections.abc import Callable, Iterable
from html import escape
from itertools import pairwise
from typing import NamedTuple

Point = tuple[float, float]

LABELS = 238  # center of the first column; row labels are left of it
PITCH_X = 100  # from box to box
PITCH_Y = 84
MARGIN = 34  # from the edge to the center of a box
WIDTH = 54  # of a box
HEIGHT = 40
GAP = 4  # between a box and an arrow
CORNER = 9  # radius where an arrow turns
SHIFT = 22  # of the two directions of a bidirectional layer, to either side of their column


class Box(NamedTuple):
    """The place of a box; arrows start and end at the middle of its edges."""

    x: float
    y: float
    width: float = WIDTH
    height: float = HEIGHT

    @property
    def top(self) -> Point:
        return self.x, self.y - self.height / 2 - GAP

    @property
    def bottom(self) -> Point:
        return self.x, self.y + self.height / 2 + GAP

    @property
    def left(self) -> Point:
        return self.x - self.width / 2 - GAP, self.y

    @property
    def right(self) -> Point:
        return self.x + self.width / 2 + GAP, self.y


class Canvas:
    """An unfinished drawing, on a grid of columns (timesteps) and rows (layers, 0 on top)."""

    def __init__(self, title: str, *, rows: float) -> None:
        self.title = title
        self.width = 0.0  # grows with the drawing
        self.height = 2 * MARGIN + (rows - 1) * PITCH_Y
        self._under: list[str] = []
        self._lines: list[str] = []
        self._over: list[str] = []

    def at(self, column: float, row: float) -> Point:
        return LABELS + column * PITCH_X, MARGIN + row * PITCH_Y

    def box(
        self,
        column: float,
        row: float,
        text: str,
        kind: str,
        *,
        dx: float = 0,
        width: float = WIDTH,
    ) -> Box:
        x, y = self.at(column, row)
        box = Box(x + dx, y, width)
        self._reach(x + dx + width / 2)
        if kind == "dots":
            box = box._replace(width=26)
        else:
            self._over.append(_rectangle(box, f"box {kind}"))
        style = {"dots": "dots", "pill": "code middle in-pill"}.get(kind, "in-box")
        self._over.append(_text(box.x, box.y + 5, text, style))
        return box

    def row(self, row: float, texts: Iterable[str], kind: str, *, dx: float = 0) -> list[Box]:
        """Draw a box for each text; an ellipsis for "⋯", nothing for an empty text."""
        return [
            self.box(column, row, text, "dots" if text == "⋯" else kind, dx=dx)
            for column, text in enumerate(texts)
            if text
        ]

    def label(self, row: float, title: str, detail: str) -> None:
        """Write the name and the shape of a row, at the left."""
        y = self.at(0, row)[1]
        self._over.append(_text(0, y - 3, title, "row-title"))
        self._over.append(_text(0, y + 14, detail, "row-detail"))

    def note(self, x: float, y: float, text: str, *, kind: str = "note") -> None:
        self._over.append(_text(x, y, text, kind))

    def frame(self, left: float, top: float, right: float, bottom: float, text: str) -> None:
        """Draw a dashed border around a named part."""
        box = Box((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        self._reach(right)
        self._under.append(_rectangle(box, "frame", radius=14))
        self._over.append(_text(box.x, bottom + 19, text, "frame-name"))

    def arrow(self, *points: Point, kind: str = "", halo: bool = True) -> None:
        """Draw an arrow through `points`, in horizontal or vertical steps.

        With a halo it leaves a gap in the lines that it crosses.
        """
        end = points[-1]
        direction = _direction(points[-2], end)
        path = _path((*points[:-1], _move(end, direction, -6)))
        if halo:
            self._lines.append(f'<path class="halo" d="{path}"/>')
        self._lines.append(f'<path class="line {kind}" d="{path}"/>')
        self._over.append(f'<path class="head {kind}" d="{_arrowhead(end, direction)}"/>')

    def chain(self, boxes: Iterable[Box], *, backward: bool = False) -> None:
        """Draw the state: an arrow from each box to the next in time, or to the one before."""
        for left, right in pairwise(boxes):
            if backward:
                self.arrow(right.left, left.right)
            else:
                self.arrow(left.right, right.left)

    def upward(self, below: Iterable[Box], above: Iterable[Box]) -> None:
        """Draw the data: an arrow from each box to the one above it, except from an ellipsis."""
        for low, high in zip(below, above, strict=True):
            if low.width >= WIDTH:
                self.arrow(low.top, high.bottom)

    def _reach(self, right: float) -> None:
        self.width = max(self.width, right + 10)

    def svg(self) -> str:
        size = f"0 0 {self.width:g} {self.height:g}"
        return "\n".join(
            [
                f'<svg class="drawing" viewBox="{size}" width="{self.width:g}" '
                f'role="img" aria-label="{escape(self.title)}" xmlns="http://www.w3.org/2000/svg">',
                *self._under,
                *self._lines,
                *self._over,
                "</svg>",
            ]
        )


def _rectangle(box: Box, kind: str, radius: float = 9) -> str:
    left, top = box.x - box.width / 2, box.y - box.height / 2
    return (
        f'<rect class="{kind}" x="{left:g}" y="{top:g}" width="{box.width:g}" '
        f'height="{box.height:g}" rx="{radius:g}"/>'
    )


def _text(x: float, y: float, text: str, kind: str) -> str:
    """Return text; inside a box, `x_1` becomes x with a subscript that ends at the next space."""
    content = escape(text)
    if kind == "in-box":
        # A tspan also moves the text after it, which must be moved back up.
        content = re.sub(r"_(\w+)", r'<tspan class="sub" dy="4">\1</tspan>', content)
        content = re.sub(r"</tspan>(.+)", r'</tspan><tspan dy="-4">\1</tspan>', content)
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{content}</text>'


def _direction(start: Point, end: Point) -> Point:
    def sign(step: float) -> float:
        return (step > 0) - (step < 0)

    return sign(end[0] - start[0]), sign(end[1] - start[1])


def _move(point: Point, direction: Point, distance: float) -> Point:
    return point[0] + direction[0] * distance, point[1] + direction[1] * distance


def _path(points: tuple[Point, ...]) -> str:
    """Return straight lines with rounded corners."""
    parts = ["M {:g} {:g}".format(*points[0])]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        into = _move(corner, _direction(before, corner), -CORNER)
        out = _move(corner, _direction(corner, after), CORNER)
        parts.append("L {:g} {:g} Q {:g} {:g} {:g} {:g}".format(*into, *corner, *out))
    parts.append("L {:g} {:g}".format(*points[-1]))
    return " ".join(parts)


def _arrowhead(tip: Point, direction: Point) -> str:
    x, y = _move(tip, direction, -8)
    dx, dy = direction
    wing = 4.5
    corners = (*tip, x - dy * wing, y + dx * wing, x + dy * wing, y - dx * wing)
    return "M {:g} {:g} L {:g} {:g} L {:g} {:g} Z".format(*corners)


# The drawings. `steps("x")` returns the boxes of a sequence: x_1, x_2, x_3, an ellipsis, x_T.

INPUTS = ("inputs", "(batch, timesteps, features)")


def steps(letter: str) -> list[str]:
    return [f"{letter}_1", f"{letter}_2", f"{letter}_3", "⋯", f"{letter}_T"]


def many_to_one() -> Canvas:
    canvas = Canvas("Many-to-one: a single output, from the last state", rows=3)
    canvas.label(0, "output", "(batch, outputs)")
    canvas.label(1, "recurrent_1", "units=64")
    canvas.label(2, *INPUTS)
    output = canvas.box(4, 0, "y", "output")
    states = canvas.row(1, steps("h"), "state")
    canvas.upward(canvas.row(2, steps("x"), "input"), states)
    canvas.chain(states)
    canvas.arrow(states[-1].top, output.bottom)
    _name_head(canvas, states[-1])
    return canvas


def many_to_one_stack() -> Canvas:
    canvas = Canvas("A stack of two layers: the upper one reads the lower one", rows=4)
    canvas.label(0, "output", "(batch, outputs)")
    canvas.label(1, "recurrent_2", "units=32")
    canvas.label(2, "recurrent_1", "units=64")
    canvas.label(3, *INPUTS)
    output = canvas.box(4, 0, "y", "output")
    upper = canvas.row(1, steps("h"), "state")
    lower = canvas.row(2, steps("h"), "state")
    canvas.upward(canvas.row(3, steps("x"), "input"), lower)
    canvas.upward(lower, upper)
    canvas.chain(lower)
    canvas.chain(upper)
    canvas.arrow(upper[-1].top, output.bottom)
    _name_head(canvas, upper[-1])
    return canvas


def many_to_one_bidirectional() -> Canvas:
    canvas = Canvas("Both directions: the output reads the last state of each", rows=4)
    canvas.label(0, "output", "(batch, outputs)")
    forward, backward = _both_directions(canvas)
    output = canvas.box(4, 0, "y", "output", width=76)
    canvas.arrow(forward[-1].top, (forward[-1].x, output.bottom[1]))
    first = backward[0]
    canvas.arrow(first.top, (first.x, output.y), output.left)
    canvas.note(first.x + 18, output.y - 10, "the backward direction has read everything here")
    return canvas


def many_to_many() -> Canvas:
    canvas = Canvas("Many-to-many: an output at every timestep", rows=3)
    canvas.label(0, "outputs", "(batch, timesteps, outputs)")
    canvas.label(1, "recurrent_1", "units=64")
    canvas.label(2, *INPUTS)
    outputs = canvas.row(0, steps("y"), "output")
    states = canvas.row(1, steps("h"), "state")
    canvas.upward(canvas.row(2, steps("x"), "input"), states)
    canvas.chain(states)
    canvas.upward(states, outputs)
    _name_head(canvas, states[-1])
    return canvas


def many_to_many_bidirectional() -> Canvas:
    canvas = Canvas("Both directions: every output sees past and future", rows=4)
    canvas.label(0, "outputs", "(batch, timesteps, outputs)")
    outputs = canvas.row(0, steps("y"), "output")
    forward, backward = _both_directions(canvas)
    for output, ahead, back in zip(outputs, forward, backward, strict=True):
        if output.width >= WIDTH:
            canvas.arrow(ahead.top, (ahead.x, output.bottom[1]))
            canvas.arrow(back.top, (back.x, output.bottom[1]))
    return canvas


def many_to_many_mask() -> Canvas:
    canvas = Canvas("A padded sequence: masked timesteps hold the state", rows=3)
    canvas.label(0, "outputs", "in the loss: the first three")
    canvas.label(1, "recurrent_1", "holds h_3 where masked")
    canvas.label(2, "inputs", "padded on the right")
    outputs = canvas.row(0, ["y_1", "y_2", "y_3"], "output")
    states = canvas.row(1, ["h_1", "h_2", "h_3"], "state")
    canvas.upward(canvas.row(2, ["x_1", "x_2", "x_3"], "input"), states)
    canvas.upward(states, outputs)
    for column in (3, 4):
        canvas.box(column, 0, "", "output off")
        states.append(canvas.box(column, 1, "h_3", "state off"))
        canvas.box(column, 2, "0", "input off")
    canvas.chain(states)
    return canvas


def one_to_many() -> Canvas:
    canvas = Canvas("One-to-many: one vector becomes the input of every step", rows=3)
    canvas.label(0, "outputs", "(batch, steps, outputs)")
    canvas.label(1, "recurrent_1", "units=64")
    canvas.label(2, "input", "(batch, features)")
    outputs = canvas.row(0, steps("y"), "output")
    states = canvas.row(1, steps("h"), "state")
    canvas.chain(states)
    canvas.upward(states, outputs)
    _name_head(canvas, states[-1])
    source = canvas.box(0, 2, "x", "input")
    canvas.arrow(source.top, states[0].bottom)
    _repeat(canvas, [source.right], [state for state in states[1:] if state.width >= WIDTH])
    canvas.note(canvas.at(2, 2)[0], source.y + 18, "repeat", kind="note code middle")
    return canvas


def next_step() -> Canvas:
    canvas = Canvas("Next step: outputs are fed back as inputs", rows=3.3)
    canvas.label(0, "outputs", "(batch, timesteps, features)")
    canvas.label(1, "recurrent_1", "units=64")
    canvas.label(2, *INPUTS)
    outputs = canvas.row(0, ["y_1", "y_2", "y_3", "y_4", "y_5"], "output")
    states = canvas.row(1, ["h_1", "h_2", "h_3", "h_4", "h_5"], "state")
    inputs = canvas.row(2, ["x_1", "x_2", "x_3"], "input")
    inputs += [canvas.box(column, 2, f"y_{column}", "output fed") for column in (3, 4)]
    canvas.upward(inputs, states)
    canvas.chain(states)
    canvas.upward(states, outputs)
    for output, source in ((outputs[2], inputs[3]), (outputs[3], inputs[4])):
        lane = (output.x + source.x) / 2
        canvas.arrow(output.right, (lane, output.y), (lane, source.y), source.left, kind="feedback")
    below = inputs[0].y + HEIGHT / 2 + 22
    canvas.note(inputs[1].x, below, "observed", kind="note middle")
    canvas.note((inputs[3].x + inputs[4].x) / 2, below, "fed back", kind="note middle")
    return canvas


def autoencoder() -> Canvas:
    canvas = Canvas("Autoencoder: a sequence through a narrow vector and back", rows=3.35)
    canvas.label(0, "outputs", "(batch, timesteps, features)")
    canvas.label(1, "recurrent_1", "units=64")
    canvas.label(2, *INPUTS)
    inputs = _short(canvas, 0, 2, "x", "input")
    read = _short(canvas, 0, 1, "h", "state")
    canvas.upward(inputs, read)
    canvas.chain(read)
    latent = canvas.box(2.45, 1, "z", "latent", width=36)
    canvas.arrow(read[-1].right, latent.left)
    canvas.note(latent.x, latent.y - 46, "latent", kind="note middle")
    canvas.note(latent.x, latent.y - 30, "(batch, 16)", kind="note code middle")
    written = _short(canvas, 3.25, 1, "s", "state")
    outputs = _short(canvas, 3.25, 0, "y", "output")
    canvas.chain(written)
    canvas.upward(written, outputs)
    lane = inputs[0].y
    _repeat(canvas, [latent.bottom, (latent.x, lane)], [written[0], written[-1]])
    canvas.note(written[1].x, lane + 18, "repeat", kind="note code middle")
    floor = lane + HEIGHT / 2 + 14
    canvas.frame(read[0].left[0] - 8, read[0].y - 36, read[-1].right[0] + 8, floor, "encoder")
    canvas.frame(written[0].left[0] - 8, 2, written[-1].right[0] + 8, floor, "decoder")
    return canvas


def conditional_decoder() -> Canvas:
    canvas = Canvas("A conditional decoder: each step also reads the step before", rows=3.3)
    canvas.label(0, "outputs", "(batch, timesteps, features)")
    canvas.label(1, "recurrent_1", "units=64")
    canvas.label(2, "inputs", "the code, and the step before")
    outputs = canvas.row(0, ["y_1", "y_2", "y_3", "y_4", "y_5"], "output")
    states = canvas.row(1, ["s_1", "s_2", "s_3", "s_4", "s_5"], "state")
    inputs = [canvas.box(0, 2, "z, 0", "input")]
    inputs += [canvas.box(column, 2, f"z, y_{column}", "output fed") for column in range(1, 5)]
    canvas.upward(inputs, states)
    canvas.chain(states)
    canvas.upward(states, outputs)
    for output, source in zip(outputs, inputs[1:], strict=False):
        lane = (output.x + source.x) / 2
        canvas.arrow(output.right, (lane, output.y), (lane, source.y), source.left, kind="feedback")
    below = inputs[0].y + HEIGHT / 2 + 22
    note = "fed back; in training, the true x in place of y"
    canvas.note((inputs[1].x + inputs[4].x) / 2, below, note, kind="note middle")
    return canvas


def multi_output() -> Canvas:
    canvas = Canvas("Multi-output: three paths are added up", rows=4)
    canvas.label(0, "outputs", "(batch, horizon)")
    canvas.label(1, "recurrent_1", "units=64")
    canvas.label(2, "minus the newest", "d_t = x_t - x_L")
    canvas.label(3, "inputs", "(batch, lookback, features)")
    states, relative, inputs = (
        _short(canvas, 0, row, letter, kind, last="L")
        for row, letter, kind in ((1, "h", "state"), (2, "d", "plain"), (3, "x", "input"))
    )
    canvas.upward(inputs, relative)
    canvas.upward(relative, states)
    canvas.chain(states)
    output = canvas.box(3.95, 0, "y_1 ⋯ y_H", "output", width=128)
    plus = canvas.box(3.95, 1, "+", "plain round", width=HEIGHT)
    paths = (("head", states), ("linear_path", relative), ("one season back", inputs))
    for row, (text, boxes) in enumerate(paths, start=1):
        step = canvas.box(2.65, row, text, "pill", width=122)
        canvas.arrow(boxes[-1].right, step.left)
        turn = () if row == 1 else ((plus.x, step.y),)
        canvas.arrow(step.right, *turn, plus.bottom if turn else plus.left, halo=False)
    canvas.arrow(plus.top, output.bottom)
    return canvas


def recursive() -> Canvas:
    canvas = Canvas("Recursive: an output becomes the newest value of the next window", rows=3.5)
    canvas.label(0, "outputs", "(batch, 1)")
    canvas.label(1, "recursive", "the same in each step")
    canvas.label(2, "inputs", "(batch, lookback, features)")
    first = _short(canvas, 0, 2, "x", "input", last="L")
    second = [
        canvas.box(2.3, 2, "x_2", "input"),
        canvas.box(3.0, 2, "⋯", "dots"),
        canvas.box(3.7, 2, "x_L", "input"),
        canvas.box(4.4, 2, "y_1", "output fed"),
    ]
    outputs = []
    for window, middle, last in ((first, 0.7, 1.4), (second, 3.35, 4.4)):
        width = window[-1].x - window[0].x + WIDTH
        network = canvas.box(middle, 1, "one step", "pill", width=width)
        outputs.append(canvas.box(last, 0, f"y_{len(outputs) + 1}", "output"))
        for box in window[:1] + window[2:]:
            canvas.arrow(box.top, (box.x, network.bottom[1]))
        canvas.arrow((outputs[-1].x, network.top[1]), outputs[-1].bottom)
    fed = second[-1]
    lane = (first[-1].x + second[0].x) / 2
    floor = fed.bottom[1] + 20
    path = (outputs[0].right, (lane, outputs[0].y), (lane, floor), (fed.x, floor), fed.bottom)
    canvas.arrow(*path, kind="feedback")
    return canvas


def segment_rnn() -> Canvas:
    canvas = Canvas("Segment RNN: one layer reads segments and writes segments", rows=4.35)
    canvas.label(0, "outputs", "(batch, horizon)")
    canvas.label(1, "recurrent_1", "units=512, used twice")
    canvas.label(2, "vectors", "(batch, segments, 512)")
    canvas.label(3, "inputs", "(batch, lookback, features)")
    inputs = _short(canvas, 0, 3, "s", "input", last="n")
    read = _short(canvas, 0, 2, "e", "plain", last="n")
    states = _short(canvas, 0, 1, "h", "state", last="n")
    canvas.upward(inputs, read)
    canvas.upward(read, states)
    canvas.chain(states)
    queries = _short(canvas, 2.75, 2, "q", "latent", last="m")
    written = _short(canvas, 2.75, 1, "g", "state", last="m")
    outputs = _short(canvas, 2.75, 0, "y", "output", last="m")
    canvas.upward(queries, written)
    canvas.upward(written, outputs)
    newest = states[-1]
    first = written[0]
    last = written[-1]
    lane = newest.right[0] + 26
    top = newest.y - 36
    turn = last.left[0] - 14
    canvas.arrow((lane, newest.y), (lane, top), (turn, top), (turn, last.y), last.left)
    canvas.arrow(newest.right, first.left, halo=False)
    canvas.note(newest.right[0] + 4, newest.y + 34, "one copy for each")
    below = HEIGHT / 2 + 22
    canvas.note(inputs[1].x, inputs[0].y + below, "segments of the lookback", kind="note middle")
    canvas.note(queries[1].x, queries[0].y + below, "which segment", kind="note middle")
    return canvas


def encoder_decoder() -> Canvas:
    canvas = Canvas("Encoder and decoder: from the state at the newest value", rows=3.35)
    canvas.label(0, "outputs", "(batch, horizon)")
    canvas.label(1, "recurrent layers", "units=64")
    canvas.label(2, "inputs", "(batch, timesteps, features)")
    inputs = _short(canvas, 0, 2, "x", "input", last="L")
    read = _short(canvas, 0, 1, "h", "state", last="L")
    canvas.upward(inputs, read)
    canvas.chain(read)
    known = _short(canvas, 2.6, 2, "f", "input", last="H")
    written = _short(canvas, 2.6, 1, "s", "state", last="H")
    outputs = _short(canvas, 2.6, 0, "y", "output", last="H")
    canvas.upward(known, written)
    canvas.upward(written, outputs)
    canvas.chain(written)
    canvas.arrow(read[-1].right, written[0].left)
    canvas.note((read[-1].x + written[0].x) / 2, read[0].y - 12, "state", kind="note middle")
    floor = inputs[0].y + HEIGHT / 2 + 14
    canvas.frame(read[0].left[0] - 8, read[0].y - 36, read[-1].right[0] + 8, floor, "encoder")
    canvas.frame(written[0].left[0] - 8, 2, written[-1].right[0] + 8, floor, "decoder")
    return canvas


def _short(
    canvas: Canvas, column: float, row: float, letter: str, kind: str, *, last: str = "T"
) -> list[Box]:
    """Draw the first box of a sequence, an ellipsis and the last box."""
    return [
        canvas.box(column, row, f"{letter}_1", kind),
        canvas.box(column + 0.7, row, "⋯", "dots"),
        canvas.box(column + 1.4, row, f"{letter}_{last}", kind),
    ]


def _both_directions(canvas: Canvas) -> tuple[list[Box], list[Box]]:
    """Draw a bidirectional layer in rows 1 and 2, and its inputs in row 3."""
    canvas.label(1, "backward", "bidirectional_1, units=64")
    canvas.label(2, "forward", "bidirectional_1, units=64")
    canvas.label(3, *INPUTS)
    backward = canvas.row(1, steps("b"), "state back", dx=SHIFT)
    forward = canvas.row(2, steps("h"), "state", dx=-SHIFT)
    canvas.chain(forward)
    canvas.chain(backward, backward=True)
    for source, ahead, back in zip(
        canvas.row(3, steps("x"), "input"), forward, backward, strict=True
    ):
        if source.width >= WIDTH:
            canvas.arrow((ahead.x, source.top[1]), ahead.bottom)
            canvas.arrow((back.x, source.top[1]), back.bottom)
    return forward, backward


def _name_head(canvas: Canvas, state: Box) -> None:
    canvas.note(state.x + 9, state.y - PITCH_Y / 2 + 4, "head", kind="note code")


def _repeat(canvas: Canvas, start: list[Point], targets: list[Box]) -> None:
    """Draw a line through `start` and on to the right, with a branch up into each target."""
    lane = start[-1][1]
    last = targets[-1]
    canvas.arrow(*start, (last.x, lane), last.bottom)
    for target in targets[:-1]:
        canvas.arrow((target.x, lane), target.bottom, halo=False)


DRAWINGS: dict[str, Callable[[], Canvas]] = {
    drawing.__name__: drawing
    for drawing in (
        many_to_one,
        many_to_one_stack,
        many_to_one_bidirectional,
        many_to_many,
        many_to_many_bidirectional,
        many_to_many_mask,
        one_to_many,
        next_step,
        autoencoder,
        conditional_decoder,
        multi_output,
        recursive,
        segment_rnn,
        encoder_decoder,
    )
}


def draw(name: str) -> str:
    """Return the drawing called `name`, as SVG."""
    return DRAWINGS[name]().svg()
