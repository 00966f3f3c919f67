"""One timestep for each of many inputs from the same state, whose product is computed once."""

from collections.abc import Callable
from typing import Any

from keras import ops, tree

from seqkeras._checks import Description, bad_argument
from seqkeras.kernels._dispatch import check_features
from seqkeras.kernels._layer_spec import Spec, cell_name


def why_not_branch(layer: Any) -> str | None:
    """Return why `branch` cannot run a layer, or None if it can."""
    spec = Spec.of(layer)
    cell = layer.cell
    if spec.cell not in _OUTPUTS:
        return f"{spec.kind} is not an LSTM, a GRU with reset_after=True or a SimpleRNN"
    for name in ("zoneout", "peephole", "normalization", "projection", "clips"):
        if getattr(spec, name):
            return f"it has {name}"
    if cell.dropout or cell.recurrent_dropout or getattr(layer, "weight_drop", 0.0):
        return "it has dropout, which is drawn separately for each step"
    return None


def check_branch(layer: Any, queries: Any, state: Any) -> None:
    """Check that a layer can branch from a state, whichever way the branch is computed.

    Raises:
        ArgumentError: the layer is stateful; the state does not have as many arrays as the layer's;
            or the queries are not `(rows, timesteps, features)` with the features of the layer and
            a number of rows that divides the batch.
    """
    if layer.stateful:
        fix = "Build it without stateful=True: a branch does not use the state that a layer keeps."
        raise bad_argument(
            "layer", Description(f"{layer.name!r}, stateful"), "a layer that is not stateful", fix
        )
    states = tree.flatten(state)
    count = len(tree.flatten(layer.state_size))
    if not isinstance(state, (list, tuple)) or len(states) != count:
        expected = f"a list of {count} arrays (batch, units)"
        fix = "Pass a state of this layer, such as the one that return_state=True returns."
        raise bad_argument("initial_state", Description(_shapes(states)), expected, fix)
    if len(queries.shape) != 3 or queries.shape[1] is None:
        expected = "(rows, timesteps, features), with a known number of timesteps"
        raise bad_argument("queries", Description(f"shape {tuple(queries.shape)}"), expected)
    rows = queries.shape[0]
    batch = states[0].shape[0]
    if None not in (rows, batch) and rows != batch and (rows == 0 or batch % rows):
        expected = "an array whose number of rows divides the batch"
        fix = f"The {batch} rows of the state cycle through the rows of the queries."
        raise bad_argument("queries", Description(f"{rows} rows"), expected, fix)
    if layer.built and cell_name(layer.cell) is not None:
        check_features(layer, queries, "queries")


def _shapes(arrays: list[Any]) -> str:
    return f"arrays of shapes {[tuple(array.shape) for array in arrays]}"


def branch(layer: Any, queries: Any, state: list[Any]) -> Any:
    """Run one timestep of a layer for each timestep of the queries, always from the same state.

    The result is that of a loop over the queries in which each step begins with a copy of the
    state. Here the product of the state and the recurrent kernel is computed once for all queries
    of a row, and that of the queries and the kernel once for all rows that share them.

    Args:
        layer: a layer for which `why_not_branch` returns None.
        queries: `(rows, timesteps, features)`. If there are fewer rows than in the state, the rows
            of the state cycle through them.
        state: a list of `(batch, units)`.

    Returns:
        `(batch, timesteps, units)`.
    """
    cell = layer.cell
    bias, recurrent_bias = _biases(cell)
    products = ops.matmul(queries, cell.kernel) + bias
    recurrent = ops.matmul(state[0], cell.recurrent_kernel) + recurrent_bias
    output_of = _OUTPUTS[str(cell_name(cell))]
    rows = queries.shape[0]
    if rows in (None, state[0].shape[0]):
        return output_of(cell, products, *(array[:, None] for array in (recurrent, *state)))
    # (batch // rows, rows, 1, width): the states in groups that each read all queries once.
    arrays = [ops.reshape(array, (-1, rows, 1, array.shape[-1])) for array in (recurrent, *state)]
    output = output_of(cell, products, *arrays)
    return ops.reshape(output, (-1, *output.shape[2:]))


def _biases(cell: Any) -> tuple[Any, Any]:
    """Return the biases of the input product and of the recurrent product."""
    if not cell.use_bias:
        return 0.0, 0.0
    bias = ops.convert_to_tensor(cell.bias)
    return (bias[0], bias[1]) if len(bias.shape) == 2 else (bias, 0.0)


def _gru(cell: Any, x: Any, recurrent: Any, h: Any) -> Any:
    gate = cell.recurrent_activation
    z, r, new = ops.split(x, 3, axis=-1)
    recurrent_z, recurrent_r, recurrent_new = ops.split(recurrent, 3, axis=-1)
    new = cell.activation(new + gate(r + recurrent_r) * recurrent_new)
    return new + gate(z + recurrent_z) * (h - new)


def _lstm(cell: Any, x: Any, recurrent: Any, h: Any, c: Any) -> Any:
    gate = cell.recurrent_activation
    i, f, new, o = ops.split(x + recurrent, 4, axis=-1)
    return gate(o) * cell.activation(gate(f) * c + gate(i) * cell.activation(new))


def _simple_rnn(cell: Any, x: Any, recurrent: Any, h: Any) -> Any:
    return cell.activation(x + recurrent)


#: The output of each cell, from its input product, its recurrent product, and the old state.
_OUTPUTS: dict[str, Callable[..., Any]] = {
    "gru_reset_after": _gru,
    "lstm": _lstm,
    "simple_rnn": _simple_rnn,
}
