"""Segment RNN: reads and writes whole segments, each in one step of a recurrent layer."""

from collections.abc import Sequence
from typing import Unpack

import keras
from keras import ops

from seqkeras._checks import bad_argument, check_flag, check_fraction, check_integer
from seqkeras.layers import branch
from seqkeras.models._stack import Stack, StackOptions, one_way, run_from
from seqkeras.models._window import Sizes, Window, learned_vectors

LONGEST = 24  # of the segments where none is asked for


def segment_rnn(
    features: int = 1,
    *,
    lookback: int,
    horizon: int,
    segment: int | None = None,
    targets: int = 1,
    season_length: int = 1,
    normalization: str = "last",
    linear_skip: bool = False,
    future: int = 0,
    static: int = 0,
    categories: Sequence[int] = (),
    outputs: int = 1,
    head_dropout: float = 0.1,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """A forecaster whose recurrent layer takes a segment of the series in each step (SegRNN).

    The lookback is cut into segments, which a recurrent layer reads one after the other. Then the
    same layer, with the same weights, takes one more step for each segment of the horizon: all of
    them from the state that it has at the newest value, and each with a vector of its own that
    says which segment is asked for. So a long window costs few steps, and no forecast is fed back
    (Lin et al. 2023, arXiv 2308.11200).

    What it learns is the correction to the seasonal naive forecast, which an untrained model
    gives.

    Args:
        features: of each timestep; the first is the target, others are read as they are.
        lookback: timesteps of the window. Where segments do not divide it, zeros come before it,
            so that the newest segment is whole.
        horizon: timesteps that are forecast. Where segments do not divide it, what is more is cut
            off at the end.
        segment: timesteps that one step reads or writes. None: 24, and at most the lookback and
            the horizon.
        targets: 1, or as many as `features`: then each of them is forecast, from its own past
            alone, by weights that all share (channel independence), and the vectors say the
            channel, too.
        season_length: timesteps of one season, at most `lookback`; 1 for none.
        normalization: how the target of a window is read: relative to its newest value
            (`"last"`, the default), to its mean absolute value (`"mean_scale"`), to its mean and
            deviation (`"revin"`), or as it is (`"none"`). It is undone in the forecast.
        linear_skip: add a linear map of the lookback (NLinear).
        future: features that are known of each step of the horizon.
        static: numbers that are known of a series.
        categories: size of the vocabulary of each category of a series, with slot 0 for what was
            never seen.
        outputs: numbers for each step, such as quantiles or parameters; the naive forecast is
            added to each.
        head_dropout: share of what the last layer gives that training drops.
        name: of the model.
        **stack: units, cell, dropout, recurrent_dropout, implementation, batch_size; see
            `StackOptions`. The default is one GRU of 512 units; segments are projected to as many.
            `bidirectional` and `stateful` are refused.

    Returns:
        An uncompiled functional model, `(batch, lookback, features)` to `(batch, horizon)`, with
        several targets to `(batch, horizon, targets)`; one more axis with several outputs. With
        `future`, `static` or `categories` it takes a dict, as `multi_output` does.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work; several targets beside other
            features, or with `future`, `static` or `categories`.

    Example:
        >>> segment_rnn(lookback=96, horizon=24, units=16).output_shape
        (None, 24)
        >>> segment_rnn(7, targets=7, lookback=96, horizon=100, units=16).output_shape
        (None, 100, 7)
    """
    one_way("segment_rnn", stack)
    plan = Stack.parse(**_with_defaults(stack))
    check_flag("linear_skip", linear_skip)
    head_dropout = check_fraction("head_dropout", head_dropout)
    sizes = Sizes(
        features, lookback, horizon, season_length, future, static, categories, outputs, targets
    )
    window = Window(sizes, normalization, plan.batch_size)
    segments = _Segments(window, sizes, segment)
    layers = plan.layers(return_sequences=False, return_state=True)
    units = plan.units[0]
    if units == 1 < sizes.targets:
        fix = "A vector of them says both the segment and the channel."
        raise bad_argument("units", units, "at least 2 with several targets", fix)
    past = segments.read(units)
    _, states = run_from(layers, past)
    answer = segments.queries(past)
    for layer, state in zip(layers, states, strict=True):
        answer = branch(layer, answer, state)
    correction = segments.write(keras.layers.Dropout(head_dropout, name="head_dropout")(answer))
    if linear_skip:
        relative = _each_alone(window.relative) if targets > 1 else window.relative
        correction += window.head(relative, "linear_path", use_bias=False)
    if targets > 1:
        correction = _together(correction, targets)
    return window.model(correction, name or "segment_rnn")


def _with_defaults(stack: StackOptions) -> StackOptions:
    options: StackOptions = {"cell": "gru", **stack}
    if isinstance(options["cell"], str):  # a Keras cell brings its own units
        options.setdefault("units", 512)
    return options


class _Segments:
    """How a window is cut into segments: `behind` of the lookback and `ahead` of the horizon."""

    def __init__(self, window: Window, sizes: Sizes, width: int | None) -> None:
        if width is None:
            width = min(LONGEST, sizes.lookback, sizes.horizon)
        self.width = check_integer("segment", width)
        if self.width > sizes.lookback:
            fix = f"There are no more than the {sizes.lookback} timesteps of the lookback to read."
            raise bad_argument("segment", width, "at most lookback", fix)
        self._window, self._sizes = window, sizes
        self.behind = -(-sizes.lookback // self.width)
        self.ahead = -(-sizes.horizon // self.width)

    def read(self, units: int) -> keras.KerasTensor:
        """The segments of the lookback `(rows, behind, units)`: a row for each target."""
        x = self._window.past
        if self._sizes.targets > 1:
            x = ops.expand_dims(_each_alone(x), -1)
        x = self._cut(x, self.behind, before=self.behind * self.width - self._sizes.lookback)
        x = self._window.beside_about(x, "about_past")
        return keras.layers.Dense(units, "relu", name="read_segment")(x)

    def queries(self, past: keras.KerasTensor) -> keras.KerasTensor:
        """What tells the layer which segment it is asked for: `(rows, ahead, units)`.

        A row for each target alone, where nothing is known that differs from row to row.
        """
        units, targets = past.shape[-1], self._sizes.targets
        channel_units = units // 2 if targets > 1 else 0
        # One row, as far as the graph can tell: a slice of the batch might have none.
        one = ops.sum(past[:, 0, :1], axis=0, keepdims=True)
        query = learned_vectors(one, self.ahead, units - channel_units, "position")
        if targets > 1:
            channel = learned_vectors(one, targets, channel_units, "channel")
            channel = ops.repeat(ops.swapaxes(channel, 0, 1), self.ahead, axis=1)
            query = ops.concatenate([ops.repeat(query, targets, axis=0), channel], axis=-1)
        known = self._known_ahead()
        return query if known is None else query + keras.layers.Dense(units, name="known")(known)

    def _known_ahead(self) -> keras.KerasTensor | None:
        """What is known of each segment of the horizon, `(batch, ahead, width)`, or None."""
        window = self._window
        if window.ahead is None:
            if window.about is None:
                return None
            return keras.layers.RepeatVector(self.ahead, name="about_ahead")(window.about)
        after = self.ahead * self.width - self._sizes.horizon
        return window.beside_about(self._cut(window.ahead, self.ahead, after=after), "about_ahead")

    def _cut(
        self, x: keras.KerasTensor, count: int, *, before: int = 0, after: int = 0
    ) -> keras.KerasTensor:
        if before or after:
            x = keras.layers.ZeroPadding1D((before, after))(x)
        return keras.layers.Reshape((count, self.width * x.shape[-1]))(x)

    def write(self, answer: keras.KerasTensor) -> keras.KerasTensor:
        """From the answers `(rows, ahead, units)` to a correction of the horizon."""
        outputs = self._sizes.outputs
        # From zeros, as every head: an untrained model is the naive forecast.
        head = keras.layers.Dense(self.width * outputs, kernel_initializer="zeros", name="head")
        shape = (self.ahead * self.width, *([outputs] if outputs > 1 else []))
        return ops.reshape(head(answer), (-1, *shape))[:, : self._sizes.horizon]


def _each_alone(x: keras.KerasTensor) -> keras.KerasTensor:
    """`(batch, lookback, targets)` to `(batch * targets, lookback)`."""
    return ops.reshape(ops.transpose(x, (0, 2, 1)), (-1, x.shape[1]))


def _together(x: keras.KerasTensor, targets: int) -> keras.KerasTensor:
    """`(batch * targets, horizon, ...)` to `(batch, horizon, targets, ...)`."""
    apart = ops.reshape(x, (-1, targets, *x.shape[1:]))
    return ops.swapaxes(apart, 1, 2)
