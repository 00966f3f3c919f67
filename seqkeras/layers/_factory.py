"""Recurrent layers from the name of a cell, or from a Keras cell."""

from typing import Any, TypeAlias

import keras

from seqkeras._checks import bad_argument, check_flag, check_one_of
from seqkeras.layers import _recurrent, _resettable

#: The layer that runs each named cell over time.
CELLS: dict[str, type[keras.layers.RNN]] = {
    "lstm": _recurrent.LSTM,
    "gru": _recurrent.GRU,
    "simple_rnn": _recurrent.SimpleRNN,
}

#: A name in `CELLS`, or a Keras RNN cell: a layer with `state_size` and `call(inputs, states)`.
Cell: TypeAlias = str | keras.layers.Layer


def recurrent_layer(
    cell: Cell,
    *,
    units: int,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    stateful: bool = False,
    implementation: str = "auto",
    **options: Any,
) -> keras.layers.RNN:
    """Return a layer that runs `cell` over time.

    Args:
        cell: `"lstm"`, `"gru"`, `"simple_rnn"`, or a Keras cell. The layer gets its own copy of a
            Keras cell, so that several builders can take the same cell without sharing weights.
        units: width of the state; ignored for a Keras cell, which has its own.
        dropout: fraction of the inputs to drop in training; only for named cells. Default: 0.
        recurrent_dropout: fraction of the state to drop in training; only for named cells.
            Default: 0.
        stateful: keep the state from batch to batch, and take `reset` flags in the call; see
            `Resettable`. Default: False.
        implementation: kernel that runs the loop over time, see `Dispatched`; only for named
            cells. Default: `"auto"`.
        **options: arguments of `keras.layers.RNN`, such as `return_sequences` and `name`.

    Raises:
        ArgumentError: the cell or kernel is unknown; or dropout or another kernel than `scan` is
            set for a Keras cell, which has its own dropout.

    Example:
        >>> recurrent_layer("gru", units=8, name="memory").units
        8
    """
    options["stateful"] = check_flag("stateful", stateful)
    if isinstance(cell, str):
        layer = CELLS[check_one_of("cell", cell, CELLS)]
        options |= {"dropout": dropout, "recurrent_dropout": recurrent_dropout}
        return layer(units, implementation=implementation, **options)
    has_state = isinstance(cell, keras.layers.Layer) and hasattr(cell, "state_size")
    if not has_state or isinstance(cell, keras.layers.RNN):
        names = ", ".join(repr(name) for name in CELLS)
        fix = "Pass a cell, such as keras.layers.LSTMCell(8), not a layer that runs it over time."
        raise bad_argument("cell", cell, f"one of {names}, or a Keras cell with a state_size", fix)
    if dropout or recurrent_dropout:
        expected = f"a name with dropout={dropout}, recurrent_dropout={recurrent_dropout}"
        raise bad_argument("cell", cell, expected, "Set dropout on the cell itself.")
    if implementation not in ("auto", "scan"):
        expected = f"a name with implementation={implementation!r}"
        fix = "Omit implementation: Keras cells always run as 'scan'."
        raise bad_argument("cell", cell, expected, fix)
    own_cell = cell.__class__.from_config(cell.get_config())
    if stateful or not _keras_keeps_masks(own_cell):
        return _resettable.RNN(own_cell, **options)
    return keras.layers.RNN(own_cell, **options)


def _keras_keeps_masks(cell: keras.layers.Layer) -> bool:
    # Keras 3.16 drops masks in its own RNN. An explicit name does not advance Keras' counter of
    # automatic names.
    return bool(keras.layers.RNN(cell, name="probe").supports_masking)
