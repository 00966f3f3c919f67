"""Cells of Keras with what cuDNN lacks: zoneout, peepholes, layer normalization."""

from typing import Any

import keras
from keras import ops

from seqkeras._checks import bad_argument, check_flag, check_fraction

_register = keras.saving.register_keras_serializable(package="seqkeras")

#: Added to variances before the root is taken.
EPSILON = 1e-3


class Zoneout(keras.layers.Layer):
    """What the cells below share; stands before the Keras cell in their bases.

    With zoneout (Krueger et al. 2017, https://arxiv.org/abs/1606.01305) each number of the state
    keeps its old value with the probability `zoneout_h`, or `zoneout_c`, in training; elsewhere it
    is the expectation of that.
    """

    zoneout_c = 0.0

    def __init__(self, *arguments: Any, zoneout_h: float = 0.0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.zoneout_h = check_fraction("zoneout_h", zoneout_h)

    @property
    def zoneout(self) -> bool:
        """Whether there is any."""
        return bool(self.zoneout_h or self.zoneout_c)

    def call(self, inputs: Any, states: Any, training: bool = False, kept: Any = None) -> Any:
        """One timestep; `kept`, in training, are flags `(batch, units)`: where the old h stays."""
        _, states_new = super().call(inputs, states, training=training)
        old, new = keras.tree.flatten(states)[0], keras.tree.flatten(states_new)[0]
        h = self.zoned(old, new, self.zoneout_h, training, kept and kept[0])
        return h, [h]

    def zoned(self, old: Any, new: Any, rate: float, training: bool, kept: Any) -> Any:
        """The new state where it is not the old one that stays."""
        if not rate:
            return new
        if not training:
            return rate * old + (1 - rate) * new
        if kept is None:
            fix = "Build it with seqkeras.layers: these draw which numbers stay."
            raise bad_argument("zoneout_h", rate, "0.0 for a cell that is trained by itself", fix)
        return ops.where(kept, old, new)

    def get_config(self) -> dict[str, Any]:
        """The config of the Keras cell, and the zoneout."""
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
    """`keras.layers.LSTMCell` with zoneout, peepholes, or layer normalization."""

    fused_as = keras.layers.LSTMCell

    def __init__(
        self,
        *arguments: Any,
        zoneout_c: float = 0.0,
        peephole: bool = False,
        normalization: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.zoneout_c = check_fraction("zoneout_c", zoneout_c)
        self.peephole = check_flag("peephole", peephole)
        self.normalization = check_flag("normalization", normalization)
        self.epsilon = EPSILON
        if peephole and normalization:
            raise bad_argument("peephole", True, "False where normalization=True")

    def build(self, input_shape: Any) -> None:
        """Makes the weights of the Keras cell, and those of the variants."""
        super().build(input_shape)
        units = self.units
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

    def call(self, inputs: Any, states: Any, training: bool = False, kept: Any = None) -> Any:
        """One timestep; `kept`, in training, are flags `(batch, units)`: where old h and c stay."""
        h, c = states
        factors, recurrent_factors = None, None
        if training:
            factors = self.get_dropout_mask(inputs)
            recurrent_factors = self.get_recurrent_dropout_mask(h)
        z = self._normalized(_product(inputs, self.kernel, factors), "kernel")
        z = z + self._normalized(_product(h, self.recurrent_kernel, recurrent_factors), "recurrent")
        z = z if self.bias is None else z + self.bias
        i, f, g, o = ops.split(z, 4, axis=-1)
        if self.peephole:
            i, f = i + c * self.peephole_kernel[0], f + c * self.peephole_kernel[1]
        gate, kept = self.recurrent_activation, kept or (None, None)
        new = gate(f) * c + gate(i) * self.activation(g)
        c = self.zoned(c, new, self.zoneout_c, training, kept[1])
        if self.peephole:
            o = o + c * self.peephole_kernel[2]
        shown = self._normalized(c, "state")
        shown = shown + self.state_shift if self.normalization else shown
        h = self.zoned(h, gate(o) * self.activation(shown), self.zoneout_h, training, kept[0])
        return h, [h, c]

    def _normalized(self, x: Any, name: str) -> Any:
        """Mean 0 and variance 1 in each row, times a scale (Ba et al. 2016, arXiv 1607.06450)."""
        if not self.normalization:
            return x
        mean, variance = ops.moments(x, axes=[-1], keepdims=True)
        return (x - mean) * ops.rsqrt(variance + self.epsilon) * getattr(self, f"{name}_scale")

    def get_config(self) -> dict[str, Any]:
        """The config of the Keras cell, and the variants."""
        names = ("zoneout_c", "peephole", "normalization")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _product(x: Any, kernel: Any, factors: Any) -> Any:
    """`x @ kernel`, each gate with dropout factors of its own where there is a list of them."""
    if factors is None:
        return ops.matmul(x, kernel)
    if not isinstance(factors, list):
        return ops.matmul(x * factors, kernel)
    gates = ops.split(ops.convert_to_tensor(kernel), len(factors), axis=1)
    parts = [ops.matmul(x * one, gate) for one, gate in zip(factors, gates, strict=True)]
    return ops.concatenate(parts, axis=-1)
