"""The windows that forecasting networks read: sizes, columns, and how a window advances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import keras
import numpy as np
from keras import ops

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument, check_integer, check_one_of
from seqkeras.layers import NORMALIZATIONS, center_and_scale
from seqkeras.models._stack import Stack, StackOptions


class NetworkOptions(StackOptions, total=False):
    """The keywords that every forecasting network takes besides its sizes and its name.

    These come in addition to the keywords of its recurrent layers, see `StackOptions`.

    Attributes:
        normalization: how the target of a window is read: relative to its newest value
            (`"last"`, the default), to its mean absolute value (`"mean_scale"`), to its mean and
            deviation (`"revin"`), or unchanged (`"none"`). The forecast is transformed back.
        future: number of covariates that are known for each step of the horizon, default 0.
        static: number of static covariates of a series, default 0.
        categories: vocabulary size of each categorical column, including slot 0 for unknown
            categories; default none.
        outputs: outputs for each step, such as quantiles or parameters of a distribution, default
            1. The naive forecast is added to each.
    """

    normalization: str
    future: int
    static: int
    categories: Sequence[int]
    outputs: int


@dataclass(frozen=True, kw_only=True)
class NetworkSizes:
    """The sizes of the inputs and outputs of a forecasting network.

    Attributes:
        lookback: timesteps of the window.
        horizon: timesteps to forecast.
        features: columns of `"inputs"`, default 1; the first is the target.
        past: number of these columns that are covariates unknown over the horizon, default 0.
        future: covariates of each step of the horizon, default 0.
        static: static covariates of a series, default 0.
        categories: vocabulary size of each categorical column, default none.
        season_length: timesteps of one season, at most `lookback`, default 1.
        outputs: outputs for each step of the horizon, default 1.
        targets: 1, the default, or as many as `features`.

    Raises:
        ArgumentError: a size cannot work.
    """

    lookback: int
    horizon: int
    features: int = 1
    past: int = 0
    future: int = 0
    static: int = 0
    categories: Sequence[int] = ()
    season_length: int = 1
    outputs: int = 1
    targets: int = 1

    def __post_init__(self) -> None:
        for name in ("features", "lookback", "horizon", "season_length", "outputs", "targets"):
            self._set(name, check_integer(name, getattr(self, name)))
        for name in ("past", "future", "static"):
            self._set(name, check_integer(name, getattr(self, name), minimum=0))
        if not isinstance(self.categories, (tuple, list)):
            expected = "a tuple with the size of each vocabulary"
            raise bad_argument("categories", self.categories, expected)
        fix = f"Got it in {self.categories!r}. Slot 0 of each vocabulary is for unknown categories."
        sizes = (check_integer("categories", size, fix=fix) for size in self.categories)
        self._set("categories", tuple(sizes))
        if self.season_length > self.lookback:
            fix = f"The seasonal naive forecast is read from the lookback of {self.lookback}."
            raise bad_argument("season_length", self.season_length, "at most lookback", fix)
        self._check_targets()

    def _check_targets(self) -> None:
        if self.targets == 1:
            return
        if self.targets != self.features:
            fix = f"There are {self.features} features."
            raise bad_argument("targets", self.targets, "1, or as many as features", fix)
        if self.future or self.static or self.categories:
            fix = "Several targets are forecast only from their own past."
            expected = "1 with future, static or categories"
            raise bad_argument("targets", self.targets, expected, fix)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def builder_options(self) -> dict[str, Any]:
        """Return the keywords that a builder needs besides the lookback and the horizon."""
        sizes = {"future": self.future, "static": self.static, "categories": self.categories}
        options: dict[str, Any] = {name: size for name, size in sizes.items() if size}
        if self.outputs > 1:
            options["outputs"] = self.outputs
        return options

    @property
    def step_shape(self) -> tuple[int, ...]:
        """Return the shape of the output for one step of the horizon."""
        return () if self.outputs == 1 else (self.outputs,)

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each input by its name, without the batch; empty inputs are omitted.

        Example:
            >>> NetworkSizes(lookback=36, horizon=12, features=3, future=2).input_shapes
            {'inputs': (36, 3), 'future': (12, 2)}
        """
        shapes = {
            "inputs": (self.lookback, self.features),
            "future": (self.horizon, self.future),
            "static": (self.static,),
            "categories": (len(self.categories),),
        }
        return {name: shape for name, shape in shapes.items() if shape[-1]}


@dataclass(frozen=True)
class WindowColumns:
    """The columns of a window, the last axis of `"inputs"`.

    Their order is: the target; with `masked`, a flag that is 1 where the target was observed and 0
    where it was missing and is filled in; past covariates, known only up to the newest row; and
    future covariates, known over the horizon as well. `"future"` has the same future covariates.

    Attributes:
        masked: whether there is a flag.
        past_width: number of columns of the past covariates.
        future_width: number of columns of the future covariates.
    """

    masked: bool = False
    past_width: int = 0
    future_width: int = 0

    #: The column of the target.
    TARGET: ClassVar[int] = 0
    #: The column of the flag, with `masked`.
    FLAG: ClassVar[int] = 1

    @classmethod
    def fed_back(cls, features: int, future_width: int) -> "WindowColumns":
        """Return the columns of a network that reads its own outputs.

        Args:
            features: columns of `"inputs"`.
            future_width: columns of `"future"`.

        Raises:
            ArgumentError: there are past covariates, whose values at forecast steps are unknown.
        """
        between = features - 1 - future_width
        if between not in (0, 1):
            actual = f"one that reads {features} features, {future_width} of them in 'future'"
            expected = "one that reads the target, at most one flag, and the features of 'future'"
            fix = "Remove the other features: their values at the forecast steps are unknown."
            raise bad_argument("network", Description(actual), expected, fix)
        return cls(masked=between == 1, future_width=future_width)

    @property
    def target(self) -> slice:
        """Return the columns of the target and its flag."""
        return slice(0, self._first_covariate)

    @property
    def past(self) -> slice:
        """Return the columns of the past covariates."""
        return slice(self._first_covariate, self._first_covariate + self.past_width)

    @property
    def future(self) -> slice:
        """Return the columns of the future covariates."""
        return slice(self.past.stop, self.past.stop + self.future_width)

    @property
    def covariates(self) -> slice:
        """Return the columns of all covariates."""
        return slice(self.past.start, self.future.stop)

    @property
    def count(self) -> int:
        """Return the number of all columns."""
        return self.future.stop

    @property
    def _first_covariate(self) -> int:
        return 2 if self.masked else 1

    def advance(self, windows: Any, outputs: Any, ahead: Any, xp: Any) -> Any:
        """Append a row for each output to windows, and remove as many of the oldest rows.

        The flag of these rows is 1, so that the network treats the outputs as observed values.

        Args:
            windows: `(batch, lookback, features)`, without past covariates.
            outputs: `(batch, steps)`, of the dtype of `windows`.
            ahead: `(batch, steps, future)`, the future covariates of these steps, or None.
            xp: the namespace of the arrays, `numpy` or `keras.ops`.
        """
        target = xp.expand_dims(outputs, -1)
        columns = [target]
        if self.masked:
            columns.append(xp.ones_like(target))
        if ahead is not None:
            columns.append(ahead)
        rows = xp.concatenate(columns, axis=-1)
        return xp.concatenate([windows, rows], axis=1)[:, -windows.shape[1] :]


def steps_ahead(first: int, steps: int, horizon: int) -> Array:
    """Return the positions in the horizon of `steps` steps, beginning with `first`.

    Positions after the horizon, whose outputs are cut off, become the last position.
    """
    return np.minimum(np.arange(first, first + steps), horizon - 1)


class Window:
    """A window as the tensors that a forecasting network is made of.

    Attributes:
        sizes: sizes of the network.
        relative: the normalized target, `(batch, lookback)`; with several targets `(batch,
            lookback, targets)`.
        past: the normalized target and the other features, `(batch, lookback, features)`.
        ahead: for each step of the horizon, its future covariates and the row of `past` that its
            naive forecast repeats, `(batch, horizon, future + features)`; None without future
            covariates.
        about: the static covariates and the embedded categories, `(batch, width)`, or None.
    """

    def __init__(
        self, sizes: NetworkSizes, normalization: str = "last", batch_size: int | None = None
    ) -> None:
        check_one_of("normalization", normalization, NORMALIZATIONS)
        self.sizes = sizes
        self._inputs = make_inputs(sizes, batch_size)
        self.about = _about(self._inputs, sizes.categories)
        x = self._inputs["inputs"]
        self._target = x[:, :, WindowColumns.TARGET] if sizes.targets == 1 else x
        center, self._scale = center_and_scale(self._target, normalization)
        relative = self._target - center if center is not None else self._target
        self.relative = relative / self._scale if self._scale is not None else relative
        self.past = self.relative if sizes.targets > 1 else ops.expand_dims(self.relative, -1)
        if sizes.features > sizes.targets:
            self.past = ops.concatenate([self.past, x[:, :, sizes.targets :]], axis=-1)
        self.ahead = None
        if "future" in self._inputs:
            self.ahead = ops.concatenate(
                [self._inputs["future"], self._season_before(self.past)], axis=-1
            )

    def _season_before(self, rows: keras.KerasTensor) -> keras.KerasTensor:
        """Return, for each step of the horizon, the newest row at the same place in the season."""
        sizes = self.sizes
        first = sizes.lookback - sizes.season_length
        before = [first + step % sizes.season_length for step in range(sizes.horizon)]
        return ops.take(rows, before, axis=1)

    def with_about(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Append the columns of `about` to each step of a sequence `(batch, steps, width)`."""
        if self.about is None:
            return x
        repeated = keras.layers.RepeatVector(x.shape[1], name=name)(self.about)
        return ops.concatenate([x, repeated], axis=-1)

    def head(self, x: keras.KerasTensor, name: str, *, use_bias: bool = True) -> keras.KerasTensor:
        """Return a correction of the whole horizon from `(batch, width)`.

        The kernel starts at zero, so that training starts from the naive forecast.
        """
        steps = self.sizes.horizon
        outputs = self.sizes.outputs
        dense = keras.layers.Dense(
            steps * outputs, use_bias=use_bias, kernel_initializer="zeros", name=name
        )
        correction = dense(x)
        if outputs == 1:
            return correction
        return keras.layers.Reshape((steps, outputs))(correction)

    def head_of_steps(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Return a correction from `(batch, horizon, width)`, each step from its own values."""
        outputs = self.sizes.outputs
        correction = keras.layers.Dense(outputs, kernel_initializer="zeros", name=name)(x)
        return correction if outputs > 1 else correction[:, :, 0]

    def model(self, correction: keras.KerasTensor, name: str) -> keras.Model:
        """Build the model whose output is the seasonal naive forecast plus a correction.

        Args:
            correction: correction of the whole horizon, in the units of `past`.
            name: name of the model.
        """
        naive = self._season_before(self._target)
        scale = self._scale
        if self.sizes.outputs > 1:
            naive = ops.expand_dims(naive, -1)
            scale = ops.expand_dims(scale, -1) if scale is not None else None
        forecast = naive + (correction * scale if scale is not None else correction)
        only_window = len(self._inputs) == 1
        inputs = self._inputs["inputs"] if only_window else self._inputs
        return keras.Model(inputs, forecast, name=name)


def plan_network(options: NetworkOptions, **sizes: Any) -> tuple[Window, Stack]:
    """Check the keywords of a forecasting network, and return its window and its stack.

    Args:
        options: the keywords.
        **sizes: arguments of `NetworkSizes` that are not among the keywords.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.
    """
    rest: dict[str, Any] = dict(options)
    normalization = rest.pop("normalization", "last")
    for name in ("future", "static", "categories", "outputs"):
        if name in rest:
            sizes[name] = rest.pop(name)
    stack = Stack.parse(**cast(StackOptions, rest))
    return Window(NetworkSizes(**sizes), normalization, stack.batch_size), stack


def check_stateless(builder: str, options: NetworkOptions) -> None:
    """Raise if a forecasting network would be stateful.

    Raises:
        ArgumentError: `stateful` is set.
    """
    if options.get("stateful"):
        fix = "Use next_step for a model that continues from batch to batch."
        raise bad_argument("stateful", True, f"False for {builder}", fix)


def make_inputs(sizes: NetworkSizes, batch_size: int | None = None) -> dict[str, keras.KerasTensor]:
    """Return the inputs of a network by name."""
    return {
        name: keras.Input(
            batch_shape=(batch_size, *shape),
            dtype="int32" if name == "categories" else None,
            name=name,
        )
        for name, shape in sizes.input_shapes.items()
    }


def _about(
    inputs: dict[str, keras.KerasTensor], categories: Sequence[int]
) -> keras.KerasTensor | None:
    parts = [inputs["static"]] if "static" in inputs else []
    for column, size in enumerate(categories):
        # Initialized with zeros: every category starts like slot 0, the unknown categories, which
        # training never changes.
        embedding = keras.layers.Embedding(
            size, min(50, (size + 1) // 2), "zeros", name=f"category_{column + 1}"
        )
        parts.append(embedding(inputs["categories"][:, column]))
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else next(iter(parts), None)


def learned_vectors(
    rows: keras.KerasTensor, count: int, units: int, name: str
) -> keras.KerasTensor:
    """Return `count` learned vectors, repeated for each of the rows.

    Args:
        rows: `(rows, any)`; only the number of rows matters.
        count: number of vectors.
        units: width of a vector.
        name: name of the embedding layer.

    Returns:
        `(rows, count, units)`.
    """
    zeros = ops.cast(ops.zeros_like(rows[:, :1]), "int32")
    places = ops.add(zeros, np.arange(count, dtype="int32"))
    initial = keras.initializers.RandomNormal(stddev=1.0)
    return keras.layers.Embedding(count, units, initial, name=name)(places)
