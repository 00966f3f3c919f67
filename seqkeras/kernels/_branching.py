"""One timestep for each of many inputs, all from the same state: its products are made once."""

from collections.abc import Callable
from typing import Any

from keras import ops, tree

from seqkeras._checks import bad_argument
from seqkeras.kernels._dispatch import check_features
from seqkeras.kernels._layer_spec import Spec, cell_name


def why_not_branch(layer: Any) -> str | None:
    """In words, why `branch` cannot run a layer, or None."""
    spec, cell = Spec.of(layer), layer.cell
    if spec.cell not in _GATES:
        return f"{spec.kind} is none of LSTM, GRU with reset_after, and SimpleRNN"
    for name in ("zoneout", "peephole", "normalization"):
        if getattr(spec, name):
            return f"it has {name}"
    if cell.dropout or cell.recurrent_dropout:
        return "it has dropout, which is drawn for each step by itself"
    return None


def check_branch(layer: Any, queries: Any, state: Any) -> None:
    """Refuses what cannot be a branch of a layer, whichever way it runs.

    Raises:
        ArgumentError: the layer keeps its state, the state is not one of the layer, or the queries
            are not `(rows, timesteps, features)` of the features of the layer, and of a number of
            rows that divides the batch.
    """
    if layer.stateful:
        fix = "A branch neither reads nor changes the state that a layer keeps."
        raise bad_argument("layer", f"{layer.name!r}, stateful", "one that is not stateful", fix)
    states, sizes = tree.flatten(state), tree.flatten(layer.state_size)
    if not isinstance(state, (list, tuple)) or len(states) != len(sizes):
        expected = f"a list of {len(sizes)} arrays (batch, units)"
        raise bad_argument("initial_state", _shapes(state), expected, "It is that of the layer.")
    if len(queries.shape) != 3 or queries.shape[1] is None:
        expected = "(rows, timesteps, features), with a known number of timesteps"
        raise bad_argument("queries", f"shape {tuple(queries.shape)}", expected)
    rows, batch = queries.shape[0], states[0].shape[0]
    if None not in (rows, batch) and rows != batch and (rows == 0 or batch % rows):
        fix = f"The state has {batch} rows, which read those of the queries in turns."
        raise bad_argument("queries", f"{rows} rows", "a number that divides the batch", fix)
    if layer.built and cell_name(layer.cell) is not None:
        check_features(layer, queries, "queries")


def _shapes(state: Any) -> str:
    return f"arrays of shapes {[tuple(one.shape) for one in tree.flatten(state)]}"


def branch(layer: Any, queries: Any, state: list[Any]) -> Any:
    """What a layer gives that reads each timestep of the queries from the same state.

    A loop over queries, each from a copy of the state, would give the same: this makes the product
    of the state and the recurrent kernel once for all of a row, and that of the queries and the
    kernel once for all rows that share them.

    Args:
        layer: that `why_not_branch` has nothing against.
        queries: `(rows, timesteps, features)`. Fewer rows than those of the state are read again
            and again, in their order.
        state: a list of `(batch, units)`.

    Returns:
        `(batch, timesteps, units)`.
    """
    cell = layer.cell
    bias, recurrent_bias = _biases(cell)
    products = ops.matmul(queries, cell.kernel) + bias
    recurrent = ops.matmul(state[0], cell.recurrent_kernel) + recurrent_bias
    gates, rows = _GATES[str(cell_name(cell))], queries.shape[0]
    if rows in (None, state[0].shape[0]):
        return gates(cell, products, *(one[:, None] for one in (recurrent, *state)))
    # (times that the queries are read, rows of the queries, 1, width)
    beside = (ops.reshape(one, (-1, rows, 1, one.shape[-1])) for one in (recurrent, *state))
    answer = gates(cell, products, *beside)
    return ops.reshape(answer, (-1, *answer.shape[2:]))


def _biases(cell: Any) -> tuple[Any, Any]:
    """Of the product of the inputs and of that of the state."""
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


#: From a cell, the product of the inputs, that of the state, and the state, to its output.
_GATES: dict[str, Callable[..., Any]] = {
    "gru_reset_after": _gru,
    "lstm": _lstm,
    "simple_rnn": _simple_rnn,
}
