"""One timestep of a cell, from the products of its input and its state with its kernels."""

from collections.abc import Callable
from typing import Any

from keras import ops

from seqkeras.kernels._layer_spec import cell_name


def product_step(cell: Any) -> Callable[..., list[Any]] | None:
    """Return the function of a timestep of a cell, or None if its products do not suffice.

    Called as `step(cell, product, recurrent_product, *state)`, it returns the new state, whose
    first array is also the output. Both products include their bias.
    """
    variants = ("zoneout", "peephole", "normalization", "num_proj", "cell_clip")
    if any(getattr(cell, name, None) for name in variants):
        return None
    return STEPS.get(str(cell_name(cell)))


def biases(cell: Any) -> tuple[Any, Any]:
    """Return the biases of the input product and of the recurrent product."""
    if not cell.use_bias:
        return 0.0, 0.0
    bias = ops.convert_to_tensor(cell.bias)
    return (bias[0], bias[1]) if len(bias.shape) == 2 else (bias, 0.0)


def _gru(cell: Any, x: Any, recurrent: Any, h: Any) -> list[Any]:
    gate = cell.recurrent_activation
    z, r, new = ops.split(x, 3, axis=-1)
    recurrent_z, recurrent_r, recurrent_new = ops.split(recurrent, 3, axis=-1)
    new = cell.activation(new + gate(r + recurrent_r) * recurrent_new)
    return [new + gate(z + recurrent_z) * (h - new)]


def _lstm(cell: Any, x: Any, recurrent: Any, h: Any, c: Any) -> list[Any]:
    gate = cell.recurrent_activation
    i, f, new, o = ops.split(x + recurrent, 4, axis=-1)
    c = gate(f) * c + gate(i) * cell.activation(new)
    return [gate(o) * cell.activation(c), c]


def _simple_rnn(cell: Any, x: Any, recurrent: Any, h: Any) -> list[Any]:
    return [cell.activation(x + recurrent)]


STEPS: dict[str, Callable[..., list[Any]]] = {
    "gru_reset_after": _gru,
    "lstm": _lstm,
    "simple_rnn": _simple_rnn,
}
