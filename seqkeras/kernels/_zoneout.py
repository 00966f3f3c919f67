"""Which numbers of a state stay as they are, drawn for a whole sequence before it is read."""

from typing import Any

import keras
from keras import ops


def draws(cell: Any, training: bool) -> bool:
    """Whether there is something to draw."""
    return training and bool(getattr(cell, "zoneout", False))


def draw(cell: Any, sequences: Any, training: bool) -> list[Any] | None:
    """Flags `(batch, timesteps, units)` for h, and for c of an LSTM; None where nothing stays."""
    if not draws(cell, training):
        return None
    shape = (*ops.shape(sequences)[:2], cell.units)
    rates = [cell.zoneout_h, cell.zoneout_c] if len(states_of(cell)) == 2 else [cell.zoneout_h]
    return [keras.random.uniform(shape, seed=cell.seed_generator) < rate for rate in rates]


def states_of(cell: Any) -> list[Any]:
    """The sizes of a cell's states."""
    sizes = cell.state_size
    return list(sizes) if isinstance(sizes, (list, tuple)) else [sizes]
