"""A network that reads and writes a whole segment in each step of its recurrent layer."""

from typing import Unpack

import keras
from keras import ops

from seqkeras._checks import bad_argument, check_flag, check_fraction, check_integer
from seqkeras.layers import branch
from seqkeras.models._stack import one_way, run_from
from seqkeras.models._window import NetworkOptions, Window, learned_vectors, plan_network

#: Largest default length of a segment.
LONGEST = 24


def segment_rnn(
    features: int = 1,
    *,
    lookback: int,
    horizon: int,
    segment: int | None = None,
    targets: int = 1,
    season_length: int = 1,
    linear_skip: bool = False,
    head_dropout: float = 0.1,
    name: str | None = None,
    **options: Unpack[NetworkOptions],
) -> keras.Model:
    """Build a forecaster whose recurrent layer reads a segment of the series in each step (SegRNN).

    The lookback is cut into segments, which a recurrent layer reads one after another. Then the
    same layer, with the same weights, takes one more step for each segment of the horizon. All of
    these steps start from the state after the newest value, and each reads its own learned vector
    that identifies the segment. A long window therefore costs few steps, and no forecast is fed
    back (Lin et al. 2023, arXiv 2308.11200).

    It learns the correction to the seasonal naive forecast, which is what an untrained model
    returns.

    Args:
        features: columns of each timestep, default 1. The first is the target; others are read
            unchanged.
        lookback: timesteps of the window. If segments do not divide it, it is padded with zeros at
            the start, which keeps the newest segment whole.
        horizon: timesteps to forecast. If segments do not divide it, the surplus at the end is cut
            off.
        segment: timesteps that one step reads or writes. Default: 24, but at most the lookback and
            the horizon.
        targets: number of targets: 1, the default, or `features`. With several targets, each is
            forecast only from its own past, by the same weights (channel independence), and the
            learned vectors identify the target as well.
        season_length: timesteps of one season, at most `lookback`; default 1, no season.
        linear_skip: whether to add a linear map of the lookback (NLinear), default False.
        head_dropout: share of the last layer's outputs that training drops, default 0.1.
        name: name of the model, default `"segment_rnn"`.
        **options: normalization, future, static, categories, outputs, see `NetworkOptions`; units,
            cell, dropout, recurrent_dropout, implementation, batch_size, see `StackOptions`. The
            default is one GRU of 512 units; segments are projected to the same width.
            `bidirectional` and `stateful` are refused.

    Returns:
        An uncompiled functional model, `(batch, lookback, features)` to `(batch, horizon)`; with
        several targets to `(batch, horizon, targets)`; with several outputs there is one more axis.
        With `future`, `static` or `categories` it takes a dict, as `multi_output` does.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work, such as several targets
            together with other features, `future`, `static` or `categories`.

    Example:
        >>> segment_rnn(lookback=96, horizon=24, units=16).output_shape
        (None, 24)
        >>> segment_rnn(7, targets=7, lookback=96, horizon=100, units=16).output_shape
        (None, 100, 7)
    """
    one_way("segment_rnn", options)
    if options.get("input_projection") is not None:
        fix = "A segment is projected to the units of the lowest layer."
        raise bad_argument(
            "input_projection", options["input_projection"], "omitted for segment_rnn", fix
        )
    check_flag("linear_skip", linear_skip)
    head_dropout = check_fraction("head_dropout", head_dropout)
    window, stack = plan_network(
        _with_defaults(options),
        features=features,
        lookback=lookback,
        horizon=horizon,
        season_length=season_length,
        targets=targets,
    )
    segments = _Segments(window, segment)
    layers = stack.layers(return_sequences=False, return_state=True)
    units = stack.units[0]
    if units == 1 < targets:
        fix = "A vector of this width must identify both the segment and the target."
        raise bad_argument("units", units, "at least 2 with several targets", fix)
    past = segments.read(units)
    _, states = run_from(layers, past)
    x = segments.queries(past)
    for layer, state in zip(layers, states, strict=True):
        x = branch(layer, x, state)
    correction = segments.write(keras.layers.Dropout(head_dropout, name="head_dropout")(x))
    if linear_skip:
        relative = _split_targets(window.relative) if targets > 1 else window.relative
        correction += window.head(relative, "linear_path", use_bias=False)
    if targets > 1:
        correction = _join_targets(correction, targets)
    return window.model(correction, name or "segment_rnn")


def _with_defaults(options: NetworkOptions) -> NetworkOptions:
    result: NetworkOptions = {"cell": "gru", **options}
    if isinstance(result["cell"], str):  # a Keras cell brings its own units
        result.setdefault("units", 512)
    return result


class _Segments:
    """A window cut into segments of equal width.

    Attributes:
        width: timesteps of a segment.
        past: number of segments of the lookback.
        ahead: number of segments of the horizon.
    """

    def __init__(self, window: Window, width: int | None) -> None:
        sizes = window.sizes
        if width is None:
            width = min(LONGEST, sizes.lookback, sizes.horizon)
        self.width = check_integer("segment", width)
        if self.width > sizes.lookback:
            fix = f"The lookback has only {sizes.lookback} timesteps."
            raise bad_argument("segment", width, "at most lookback", fix)
        self._window = window
        self._sizes = sizes
        self.past = -(-sizes.lookback // self.width)
        self.ahead = -(-sizes.horizon // self.width)

    def read(self, units: int) -> keras.KerasTensor:
        """Project the segments of the lookback to `(rows, past, units)`, a row for each target."""
        x = self._window.past
        if self._sizes.targets > 1:
            x = ops.expand_dims(_split_targets(x), -1)
        x = self._cut(x, self.past, before=self.past * self.width - self._sizes.lookback)
        x = self._window.with_about(x, "about_past")
        return keras.layers.Dense(units, "relu", name="read_segment")(x)

    def queries(self, past: keras.KerasTensor) -> keras.KerasTensor:
        """Return the vectors that select a segment of the horizon, `(rows, ahead, units)`.

        Without covariates of the horizon or of the series, all windows have the same vectors, so
        there is only one row for each target.
        """
        units = past.shape[-1]
        targets = self._sizes.targets
        channel_units = units // 2 if targets > 1 else 0
        # A sum over the batch and not a slice, so that the graph has a fixed size of one row.
        row = ops.sum(past[:, 0, :1], axis=0, keepdims=True)
        query = learned_vectors(row, self.ahead, units - channel_units, "position")
        if targets > 1:
            channel = learned_vectors(row, targets, channel_units, "channel")
            channel = ops.repeat(ops.swapaxes(channel, 0, 1), self.ahead, axis=1)
            query = ops.concatenate([ops.repeat(query, targets, axis=0), channel], axis=-1)
        known = self._known_ahead()
        return (
            query + keras.layers.Dense(units, name="known")(known) if known is not None else query
        )

    def _known_ahead(self) -> keras.KerasTensor | None:
        """Return the covariates of each segment ahead, `(batch, ahead, width)`, or None."""
        window = self._window
        if window.ahead is None:
            if window.about is None:
                return None
            return keras.layers.RepeatVector(self.ahead, name="about_ahead")(window.about)
        after = self.ahead * self.width - self._sizes.horizon
        return window.with_about(self._cut(window.ahead, self.ahead, after=after), "about_ahead")

    def _cut(
        self, x: keras.KerasTensor, count: int, *, before: int = 0, after: int = 0
    ) -> keras.KerasTensor:
        if before or after:
            x = keras.layers.ZeroPadding1D((before, after))(x)
        return keras.layers.Reshape((count, self.width * x.shape[-1]))(x)

    def write(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Return a correction of the horizon from the layer's outputs `(rows, ahead, units)`."""
        outputs = self._sizes.outputs
        # The kernel starts at zero, as in every head: an untrained model is the naive forecast.
        head = keras.layers.Dense(self.width * outputs, kernel_initializer="zeros", name="head")
        shape = (self.ahead * self.width, *self._sizes.step_shape)
        return ops.reshape(head(x), (-1, *shape))[:, : self._sizes.horizon]


def _split_targets(x: keras.KerasTensor) -> keras.KerasTensor:
    """Reshape `(batch, lookback, targets)` to `(batch * targets, lookback)`."""
    return ops.reshape(ops.transpose(x, (0, 2, 1)), (-1, x.shape[1]))


def _join_targets(x: keras.KerasTensor, targets: int) -> keras.KerasTensor:
    """Reshape `(batch * targets, horizon, ...)` to `(batch, horizon, targets, ...)`."""
    apart = ops.reshape(x, (-1, targets, *x.shape[1:]))
    return ops.swapaxes(apart, 1, 2)
