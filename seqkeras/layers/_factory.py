"""From the name of a cell, or a Keras cell, to a recurrent layer."""

from typing import Any, TypeAlias

import keras

from seqkeras._checks import bad_argument, check_flag, check_one_of
from seqkeras.layers import _recurrent, _resettable

#: Cells that have a name, and the layer that runs each over time.
CELLS: dict[str, type[keras.layers.RNN]] = {
    "lstm": _recurrent.LSTM,
    "gru": _recurrent.GRU,
    "simple_rnn": _recurrent.SimpleRNN,
}

#: A name of `CELLS`, or a Keras RNN cell: a layer with `state_size` and `call(inputs, states)`.
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
    """A Keras layer that runs `cell` over time.

    Args:
        cell: `"lstm"`, `"gru"`, `"simple_rnn"`, or a Keras cell. A cell is a pattern: the layer
            gets a fresh copy of it, so that one cell can be given to many builders and none
            shares weights with another.
        units: width of the state; a Keras cell brings its own, and this is not looked at.
        dropout: share of the inputs dropped in training; of named cells alone.
        recurrent_dropout: share of the state dropped in training; of named cells alone.
        stateful: keep the state from batch to batch, and take `reset` flags in the call; see
            `Resettable`.
        implementation: the kernel that runs the loop over time, see `Dispatched`; of named cells
            alone.
        **options: of `keras.layers.RNN`, such as `return_sequences` and `name`.

    Raises:
        ArgumentError: no such cell or kernel, or dropout beside a Keras cell, which has its own.

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
        fix = "A layer runs a cell over time: give the cell, such as keras.layers.LSTMCell(8)."
        raise bad_argument("cell", cell, f"one of {names}, or a Keras cell with a state_size", fix)
    if dropout or recurrent_dropout:
        rates = f"dropout={dropout}, recurrent_dropout={recurrent_dropout}"
        fix = "Set dropout on the cell itself."
        raise bad_argument("cell", cell, f"a name where {rates} are given", fix)
    if implementation not in ("auto", "scan"):
        given = f"a name where implementation={implementation!r} is given"
        raise bad_argument("cell", cell, given, "Keras cells run as 'scan'.")
    layer = _resettable.RNN if stateful else keras.layers.RNN
    return layer(cell.__class__.from_config(cell.get_config()), **options)
