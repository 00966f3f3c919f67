"""What forecasting networks read beside the target, and the forecast that they start from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from seqkeras._checks import bad_argument, check_integer, check_one_of
from seqkeras.layers import NORMALIZATIONS, center_and_scale


@dataclass(frozen=True)
class Sizes:
    """The sizes of a forecasting network, checked; the arguments of its builder say what each is.

    Raises:
        ArgumentError: one of them cannot work.
    """

    features: int
    lookback: int
    horizon: int
    season_length: int = 1
    future: int = 0
    static: int = 0
    categories: Sequence[int] = ()
    outputs: int = 1
    targets: int = 1

    def __post_init__(self) -> None:
        for name in ("features", "lookback", "horizon", "season_length", "outputs", "targets"):
            self._set(name, check_integer(name, getattr(self, name)))
        for name in ("future", "static"):
            self._set(name, check_integer(name, getattr(self, name), minimum=0))
        if not isinstance(self.categories, (tuple, list)):
            expected = "a tuple with the size of each vocabulary"
            raise bad_argument("categories", self.categories, expected)
        fix = f"Got it in {self.categories!r}. Slot 0 of each is for what was never seen."
        sizes = (check_integer("categories", one, fix=fix) for one in self.categories)
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
            fix = "Several targets are forecast from their own past alone."
            raise bad_argument("targets", self.targets, "1 beside what else is known", fix)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class Window:
    """A window as the tensors that a forecasting network is made of.

    Attributes:
        relative: `(batch, lookback)`: the target, normalised. Of several targets `(batch,
            lookback, targets)`.
        past: `(batch, lookback, features)`: the target, normalised, and the other features.
        ahead: `(batch, horizon, future + features)`: what is known of each step, and the row of
            `past` that its naive forecast is of; None where nothing is known of the horizon.
        about: `(batch, width)`: the static numbers and the embedded categories, or None.
    """

    def __init__(
        self, sizes: Sizes, normalization: str = "last", batch_size: int | None = None
    ) -> None:
        check_one_of("normalization", normalization, NORMALIZATIONS)
        self._sizes = sizes
        self._inputs = _inputs(sizes, batch_size)
        self.about = _about(self._inputs, sizes.categories)
        x = self._inputs["inputs"]
        self._target = x[:, :, 0] if sizes.targets == 1 else x
        center, self._scale = center_and_scale(self._target, normalization)
        relative = self._target if center is None else self._target - center
        self.relative = relative if self._scale is None else relative / self._scale
        self.past = self.relative if sizes.targets > 1 else ops.expand_dims(self.relative, -1)
        if sizes.features > sizes.targets:
            self.past = ops.concatenate([self.past, x[:, :, sizes.targets :]], axis=-1)
        self.ahead = None
        if "future" in self._inputs:
            self.ahead = ops.concatenate(
                [self._inputs["future"], self._season_before(self.past)], axis=-1
            )

    def _season_before(self, rows: keras.KerasTensor) -> keras.KerasTensor:
        """Of each step of the horizon the newest row of the same place in the season."""
        sizes = self._sizes
        first = sizes.lookback - sizes.season_length
        before = [first + step % sizes.season_length for step in range(sizes.horizon)]
        return ops.take(rows, before, axis=1)

    def beside_about(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """A sequence `(batch, steps, width)`, and at each step what is known of the series."""
        if self.about is None:
            return x
        repeated = keras.layers.RepeatVector(x.shape[1], name=name)(self.about)
        return ops.concatenate([x, repeated], axis=-1)

    def head(self, x: keras.KerasTensor, name: str, *, use_bias: bool = True) -> keras.KerasTensor:
        """A correction of the whole horizon from `(batch, width)`; of zeros, until it is trained.

        From zeros, so that training starts at the naive forecast and not at random.
        """
        steps, outputs = self._sizes.horizon, self._sizes.outputs
        units = steps * outputs
        dense = keras.layers.Dense(units, use_bias=use_bias, kernel_initializer="zeros", name=name)
        answer = dense(x)
        return answer if outputs == 1 else keras.layers.Reshape((steps, outputs))(answer)

    def head_of_steps(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """The same, where each step is read from its own `(batch, horizon, width)`."""
        outputs = self._sizes.outputs
        answer = keras.layers.Dense(outputs, kernel_initializer="zeros", name=name)(x)
        return answer if outputs > 1 else answer[:, :, 0]

    def model(self, correction: keras.KerasTensor, name: str) -> keras.Model:
        """From the inputs to the seasonal naive forecast and a correction, in units of `past`."""
        naive, scale = self._season_before(self._target), self._scale
        if self._sizes.outputs > 1:
            naive = ops.expand_dims(naive, -1)
            scale = None if scale is None else ops.expand_dims(scale, -1)
        forecast = naive + (correction if scale is None else correction * scale)
        only = len(self._inputs) == 1
        return keras.Model(self._inputs["inputs"] if only else self._inputs, forecast, name=name)


def _inputs(sizes: Sizes, batch_size: int | None) -> dict[str, keras.KerasTensor]:
    """The inputs by name, those alone that there are."""
    shapes = {
        "inputs": (sizes.lookback, sizes.features),
        "future": (sizes.horizon, sizes.future),
        "static": (sizes.static,),
        "categories": (len(sizes.categories),),
    }
    return {
        name: keras.Input(
            batch_shape=(batch_size, *shape),
            dtype="int32" if name == "categories" else None,
            name=name,
        )
        for name, shape in shapes.items()
        if shape[-1]
    }


def _about(
    inputs: dict[str, keras.KerasTensor], categories: Sequence[int]
) -> keras.KerasTensor | None:
    """What is known of a series: its numbers, and its categories as vectors."""
    parts = [inputs["static"]] if "static" in inputs else []
    for column, size in enumerate(categories):
        # From zeros: all begin as slot 0, which stays there, and so stands for the unknown.
        embedding = keras.layers.Embedding(
            size, min(50, (size + 1) // 2), "zeros", name=f"category_{column + 1}"
        )
        parts.append(embedding(inputs["categories"][:, column]))
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else next(iter(parts), None)


def learned_vectors(
    rows: keras.KerasTensor, count: int, units: int, name: str
) -> keras.KerasTensor:
    """A learned vector for each of `count` places, the same for each of the rows `(rows, any)`.

    Returns:
        `(rows, count, units)`.
    """
    zeros = ops.cast(ops.zeros_like(rows[:, :1]), "int32")
    places = ops.add(zeros, np.arange(count, dtype="int32"))
    initial = keras.initializers.RandomNormal(stddev=1.0)
    return keras.layers.Embedding(count, units, initial, name=name)(places)
