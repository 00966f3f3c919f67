"""Cells of Keras with what cuDNN lacks: zoneout, peepholes, projections, layer normalization."""

from typing import Any

import keras
from keras import ops

from seqkeras._checks import (
    bad_argument,
    check_flag,
    check_fraction,
    check_integer,
    check_positive,
)

_register = keras.saving.register_keras_serializable(package="seqkeras")

#: Added to variances before the square root: the default of `keras.layers.LayerNormalization`.
EPSILON = 1e-3


class Zoneout(keras.layers.Layer):
    """Base of the cells below, listed before the Keras cell.

    With zoneout (Krueger et al. 2017, https://arxiv.org/abs/1606.01305) each number of h keeps its
    old value with probability `zoneout_h` in training, and each number of c with probability
    `zoneout_c`. Outside of training the state is the expectation.
    """

    zoneout_c = 0.0

    def __init__(self, *arguments: Any, zoneout_h: float = 0.0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.zoneout_h = check_fraction("zoneout_h", zoneout_h)

    @property
    def zoneout(self) -> bool:
        """Return whether any rate is above 0."""
        return bool(self.zoneout_h or self.zoneout_c)

    def call(self, inputs: Any, states: Any, training: bool = False, kept: Any = None) -> Any:
        """Run one timestep.

        Args:
            inputs: `(batch, features)`.
            states: list of h, `(batch, units)`.
            training: whether zoneout and dropout apply.
            kept: in training, a list of flags `(batch, units)`, True where h keeps its old value.
        """
        _, new_states = super().call(inputs, states, training=training)
        old_h = keras.tree.flatten(states)[0]
        new_h = keras.tree.flatten(new_states)[0]
        keeps_h = kept[0] if kept is not None else None
        h = self._zone_out(old_h, new_h, "zoneout_h", training, keeps_h)
        return h, [h]

    def _zone_out(self, old: Any, new: Any, name: str, training: bool, keeps_old: Any) -> Any:
        rate = getattr(self, name)
        if not rate:
            return new
        if not training:
            return rate * old + (1 - rate) * new
        if keeps_old is None:
            expected = "0.0 for a cell that is trained outside a layer of seqkeras"
            fix = "Only these layers draw what to keep; use seqkeras.layers.LSTM, for example."
            raise bad_argument(name, rate, expected, fix)
        return ops.where(keeps_old, old, new)

    def get_config(self) -> dict[str, Any]:
        """Return the config of the Keras cell, with `zoneout_h`."""
        config: dict[str, Any] = super().get_config()
        return {**config, "zoneout_h": self.zoneout_h}


@_register
class SimpleRNNCell(Zoneout, keras.layers.SimpleRNNCell):
    """`keras.layers.SimpleRNNCell` with zoneout."""

    fused_as = keras.layers.SimpleRNNCell


@_register
class GRUCell(Zoneout, keras.layers.GRUCell):
    """`keras.layers.GRUCell` with zoneout."""

    fused_as = keras.layers.GRUCell


@_register
class LSTMCell(Zoneout, keras.layers.LSTMCell):
    """`keras.layers.LSTMCell` with zoneout, peepholes, projection, clips, or normalization."""

    fused_as = keras.layers.LSTMCell

    def __init__(
        self,
        *arguments: Any,
        zoneout_c: float = 0.0,
        peephole: bool = False,
        normalization: bool = False,
        num_proj: int | None = None,
        cell_clip: float | None = None,
        proj_clip: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.zoneout_c = check_fraction("zoneout_c", zoneout_c)
        self.peephole = check_flag("peephole", peephole)
        self.normalization = check_flag("normalization", normalization)
        self.epsilon = EPSILON
        if peephole and normalization:
            raise bad_argument("peephole", True, "False where normalization=True")
        self.num_proj = check_integer("num_proj", num_proj) if num_proj is not None else None
        for name, limit in (("cell_clip", cell_clip), ("proj_clip", proj_clip)):
            setattr(self, name, check_positive(name, limit) if limit is not None else None)
        if self.num_proj is not None:
            if self.zoneout:
                raise bad_argument("num_proj", num_proj, "omitted with zoneout")
            self.output_size = self.num_proj
            self.state_size = [self.num_proj, self.units]
        elif proj_clip is not None:
            raise bad_argument("proj_clip", proj_clip, "omitted without num_proj")

    def build(self, input_shape: Any) -> None:
        """Create the weights of the Keras cell and of the variants."""
        super().build(input_shape)
        units = self.units
        if self.num_proj is not None:
            self.projection_kernel = self.add_weight(
                shape=(units, self.num_proj),
                name="projection_kernel",
                initializer="glorot_uniform",
            )
        if self.peephole:
            self.peephole_kernel = self.add_weight(
                shape=(3, units), name="peephole_kernel", initializer="glorot_uniform"
            )
        if self.normalization:
            for name, width in (("kernel", 4 * units), ("recurrent", 4 * units), ("state", units)):
                scale = self.add_weight(shape=(width,), name=f"{name}_scale", initializer="ones")
                setattr(self, f"{name}_scale", scale)
            self.state_shift = self.add_weight(
                shape=(units,), name="state_shift", initializer="zeros"
            )

    def add_weight(self, shape: Any = None, *arguments: Any, **options: Any) -> Any:
        """Create a weight; the recurrent kernel has as many rows as h has numbers."""
        if options.get("name") == "recurrent_kernel":
            shape = (self.state_size[0], shape[1])
        return super().add_weight(shape, *arguments, **options)

    def call(self, inputs: Any, states: Any, training: bool = False, kept: Any = None) -> Any:
        """Run one timestep.

        Args:
            inputs: `(batch, features)`.
            states: list of h and c, each `(batch, units)`; h `(batch, num_proj)` with a projection.
            training: whether zoneout and dropout apply.
            kept: in training, a list of two arrays of flags `(batch, units)`, True where h, and
                where c, keep their old values.
        """
        h, c = states
        keeps_h, keeps_c = kept if kept is not None else (None, None)
        z = self._gate_inputs(inputs, h, training)
        i, f, g, o = ops.split(z, 4, axis=-1)
        if self.peephole:
            i = i + c * self.peephole_kernel[0]
            f = f + c * self.peephole_kernel[1]
        gate = self.recurrent_activation
        new_c = _clipped(gate(f) * c + gate(i) * self.activation(g), self.cell_clip)
        c = self._zone_out(c, new_c, "zoneout_c", training, keeps_c)
        if self.peephole:
            o = o + c * self.peephole_kernel[2]
        scaled_c = self._normalized(c, "state")
        if self.normalization:
            scaled_c = scaled_c + self.state_shift
        new_h = gate(o) * self.activation(scaled_c)
        if self.num_proj is not None:
            new_h = _clipped(ops.matmul(new_h, self.projection_kernel), self.proj_clip)
        h = self._zone_out(h, new_h, "zoneout_h", training, keeps_h)
        return h, [h, c]

    def _gate_inputs(self, inputs: Any, h: Any, training: bool) -> Any:
        factors = self.get_dropout_mask(inputs) if training else None
        recurrent_factors = self.get_recurrent_dropout_mask(h) if training else None
        z = self._normalized(_product(inputs, self.kernel, factors), "kernel")
        z = z + self._normalized(_product(h, self.recurrent_kernel, recurrent_factors), "recurrent")
        return z + self.bias if self.bias is not None else z

    def _normalized(self, x: Any, name: str) -> Any:
        """Normalize and rescale each row (Ba et al. 2016, https://arxiv.org/abs/1607.06450)."""
        if not self.normalization:
            return x
        mean, variance = ops.moments(x, axes=[-1], keepdims=True)
        return (x - mean) * ops.rsqrt(variance + self.epsilon) * getattr(self, f"{name}_scale")

    def get_config(self) -> dict[str, Any]:
        """Return the config of the Keras cell, with the options of the variants."""
        names = (
            *("zoneout_c", "peephole", "normalization"),
            *("num_proj", "cell_clip", "proj_clip"),
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _clipped(x: Any, limit: float | None) -> Any:
    return ops.clip(x, -limit, limit) if limit is not None else x


def _product(x: Any, kernel: Any, factors: Any) -> Any:
    """Return `x @ kernel`, with `x` multiplied by the dropout factors, or by one array per gate."""
    if factors is None:
        return ops.matmul(x, kernel)
    if not isinstance(factors, list):
        return ops.matmul(x * factors, kernel)
    gates = ops.split(ops.convert_to_tensor(kernel), len(factors), axis=1)
    parts = [ops.matmul(x * factor, gate) for factor, gate in zip(factors, gates, strict=True)]
    return ops.concatenate(parts, axis=-1)
