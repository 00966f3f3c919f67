"""The state of a stateful model as named arrays: read, written, cleared, kept in files."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from seqkeras import _archive
from seqkeras._checks import bad_argument, nearest
from seqkeras.errors import ForgottenStateWarning
from seqkeras.layers import Resettable
from seqkeras.states._named import clear_rows, rows_of, state_variables, stateful_layers

KIND, VERSION = "seqkeras.State", 1


def get_state(model: keras.Model) -> dict[str, npt.NDArray[Any]]:
    """The state of a stateful model, a copy.

    Args:
        model: with stateful layers, ours or those of Keras.

    Returns:
        An array `(batch, ...)` for each state, by name: the names of the layer and of the models
        that it lies in, and `h` and `c` of an LSTM, `h` of a GRU or SimpleRNN, a number for
        states of other cells, such as `"recurrent_1/c"` or `"encoder/rnn/0/h"`, where 0 is the
        first of several cells.

    Raises:
        ArgumentError: the model is not stateful, or not built.

    Warns:
        ForgottenStateWarning: on JAX, of Keras' own layers: `fit` and `predict` forget their state.

    Example:
        >>> from seqkeras import next_step
        >>> model = next_step(1, units=3, stateful=True, batch_size=2)
        >>> {name: array.shape for name, array in get_state(model).items()}
        {'recurrent_1/h': (2, 3), 'recurrent_1/c': (2, 3)}
    """
    variables = state_variables(model)
    _warn_of_forgotten(model)
    return {name: _to_numpy(variable) for name, variable in variables.items()}


def set_state(model: keras.Model, state: Mapping[str, npt.ArrayLike]) -> None:
    """Writes the state of a stateful model.

    All arrays are checked first: after an error nothing was written.

    Args:
        model: with stateful layers, ours or those of Keras.
        state: as from `get_state`, of this model or of one of the same layers and batch size.

    Raises:
        ArgumentError: an array is missing, unknown, of another shape, or not of numbers.

    Example:
        >>> from seqkeras import next_step
        >>> model = next_step(1, units=3, cell="gru", stateful=True, batch_size=2)
        >>> set_state(model, {"recurrent_1/h": [[1, 2, 3], [4, 5, 6]]})
        >>> get_state(model)["recurrent_1/h"][1].tolist()
        [4.0, 5.0, 6.0]
    """
    variables = state_variables(model)
    _check_names(state, variables)
    arrays = {name: _checked(name, state[name], one) for name, one in variables.items()}
    for name, variable in variables.items():
        variable.assign(arrays[name])


def reset_state(model: keras.Model, rows: Any = None) -> None:
    """Makes the state of rows that of a new sequence.

    Args:
        model: with stateful layers, ours or those of Keras.
        rows: integers, or `(batch,)` booleans; all rows where it is None.

    Raises:
        ArgumentError: the model is not stateful, or has no such rows.

    Example:
        >>> from seqkeras import next_step
        >>> model = next_step(1, units=2, cell="gru", stateful=True, batch_size=3)
        >>> set_state(model, {"recurrent_1/h": [[1, 1], [2, 2], [3, 3]]})
        >>> reset_state(model, rows=[0, 2])
        >>> get_state(model)["recurrent_1/h"].tolist()
        [[0.0, 0.0], [2.0, 2.0], [0.0, 0.0]]
    """
    state_variables(model)  # refuses a model without states
    layers = stateful_layers(model).values()
    flags = [_flags(rows, rows_of(layer)) for layer in layers]
    for layer, chosen in zip(layers, flags, strict=True):
        clear_rows(layer, chosen)


def save_state(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Writes the state of a stateful model to a file, without its weights.

    Args:
        model: with stateful layers, ours or those of Keras.
        path: of the file. One of that name is replaced when the new one is complete.

    Raises:
        ArgumentError: the model is not stateful, or the path is no place for a file.

    Example:
        >>> import tempfile
        >>> from seqkeras import next_step
        >>> model = next_step(1, units=2, cell="gru", stateful=True, batch_size=1)
        >>> set_state(model, {"recurrent_1/h": [[1, 2]]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_state(model, f"{folder}/monday.state")
        ...     reset_state(model)
        ...     load_state(model, f"{folder}/monday.state")
        >>> get_state(model)["recurrent_1/h"].tolist()
        [[1.0, 2.0]]
    """
    arrays = get_state(model)
    _archive.write_archive(path, {"model": model.name}, arrays, kind=KIND, version=VERSION)


def load_state(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Reads the state of a stateful model from a file of `save_state`.

    Args:
        model: with the same layers and batch size as that which was saved.
        path: of the file.

    Raises:
        ArgumentError: the states are not those of this model; nothing was written.
        FileFormatError: the file is damaged, of another kind, or of a later version.

    Example:
        See `save_state`.
    """
    set_state(model, _archive.read_archive(path, kind=KIND, version=VERSION).arrays)


@contextmanager
def keep_state(model: keras.Model) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Puts the state of a stateful model back after a block, also after an error.

    Args:
        model: with stateful layers, ours or those of Keras.

    Yields:
        The state that is put back, see `get_state`.

    Raises:
        ArgumentError: the model is not stateful, or not built.

    Example:
        >>> import numpy as np
        >>> from seqkeras import next_step
        >>> model = next_step(1, units=2, cell="gru", stateful=True, batch_size=1)
        >>> with keep_state(model):
        ...     y = model({"inputs": np.ones((1, 5, 1)), "reset": None})
        >>> get_state(model)["recurrent_1/h"].tolist()
        [[0.0, 0.0]]
    """
    state = get_state(model)
    try:
        yield state
    finally:
        set_state(model, state)


def _warn_of_forgotten(model: keras.Model) -> None:
    layers = stateful_layers(model).items()
    foreign = [path for path, layer in layers if not isinstance(layer, Resettable)]
    if foreign and keras.backend.backend() == "jax":
        warnings.warn(
            f"On JAX, fit and predict silently forget the state of {', '.join(foreign)}: Keras "
            "hides it from them, and only calls such as model(x) keep it. "
            "seqkeras.states.as_stateful(model, batch_size) makes a copy that keeps it.",
            ForgottenStateWarning,
            stacklevel=3,
        )


def _to_numpy(variable: Any) -> npt.NDArray[Any]:
    array = np.array(ops.convert_to_numpy(variable))  # a copy: it may be the memory of the variable
    return array if array.dtype.kind == "f" else array.astype("float32")  # bfloat16


def _check_names(state: Any, variables: Mapping[str, Any]) -> None:
    if not isinstance(state, Mapping):
        raise bad_argument("state", type(state).__name__, "a dict of arrays by name")
    missing = [name for name in variables if name not in state]
    unknown = [name for name in state if name not in variables]
    if not (missing or unknown):
        return
    hint = nearest(unknown[0], missing) if unknown else ""
    parts = [f"Missing: {missing}." if missing else "", f"Unknown: {unknown}." if unknown else ""]
    fix = " ".join(part for part in [*parts, hint] if part)
    raise bad_argument("state", list(state), f"a dict of {list(variables)}", fix)


def _checked(name: str, value: Any, variable: Any) -> npt.NDArray[Any]:
    array, shape = np.asarray(value), tuple(variable.shape)
    if array.dtype.kind not in "fiub":
        raise bad_argument(f"state[{name!r}]", array.dtype, "an array of numbers")
    if array.shape != shape:
        fix = "Its first number is the batch size." if array.shape[1:] == shape[1:] else ""
        raise bad_argument(f"state[{name!r}]", array.shape, f"of shape {shape}", fix)
    dtype = keras.backend.standardize_dtype(variable.dtype)
    held = np.finfo(dtype if dtype in ("float16", "float64") else "float32").max
    largest = np.abs(array[np.isfinite(array)]).max(initial=0)
    if largest > held:
        raise bad_argument(f"state[{name!r}]", largest, f"numbers that {dtype} can hold")
    return array


def _flags(rows: Any, count: int) -> npt.NDArray[np.bool_]:
    """`(count, 1)` booleans."""
    flags = np.zeros((count, 1), bool)
    if rows is None:
        return ~flags
    chosen = np.atleast_1d(np.asarray(rows))
    if chosen.size == 0:
        return flags
    whole = chosen.dtype.kind in "iu" and chosen.min() >= 0 and chosen.max() < count
    if chosen.ndim != 1 or not (whole or (chosen.dtype == bool and len(chosen) == count)):
        raise bad_argument("rows", rows, f"integers from 0 to {count - 1}, or {count} booleans")
    flags[chosen] = True
    return flags
