"""Get, set, clear, save and load the state of a stateful model, as named arrays."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from seqkeras import _archive
from seqkeras._checks import Description, bad_argument, nearest
from seqkeras._warnings import warn
from seqkeras.errors import ForgottenStateWarning
from seqkeras.layers import Resettable
from seqkeras.states._named import clear_rows, rows_of, state_variables, stateful_layers

KIND, VERSION = "seqkeras.State", 1


def get_state(model: keras.Model) -> dict[str, npt.NDArray[Any]]:
    """Return a copy of the state of a stateful model.

    Args:
        model: a model with stateful layers of seqkeras or Keras.

    Returns:
        An array `(batch, ...)` for each state, by name. A name is the path to the layer, then `h`
        or `c` of an LSTM, `h` of a GRU or SimpleRNN, or a number for other cells:
        `"recurrent_1/c"`, or `"encoder/rnn/0/h"` where 0 is the first of several cells. An RNN
        whose last cell is of another class also has `output`, its last output, which it repeats at
        masked timesteps.

    Raises:
        ArgumentError: the model is not stateful, or not built.

    Warns:
        ForgottenStateWarning: the backend is JAX, and the model has stateful layers of Keras,
            whose state `fit` and `predict` forget there.

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
    """Set the state of a stateful model.

    All arrays are checked first: after an error the state is unchanged.

    Args:
        model: a model with stateful layers of seqkeras or Keras.
        state: arrays by name, as `get_state` returns them for this model or for one with the same
            layers and batch size.

    Raises:
        ArgumentError: an array is missing or unknown, has another shape, or does not hold numbers.

    Example:
        >>> from seqkeras import next_step
        >>> model = next_step(1, units=3, cell="gru", stateful=True, batch_size=2)
        >>> set_state(model, {"recurrent_1/h": [[1, 2, 3], [4, 5, 6]]})
        >>> get_state(model)["recurrent_1/h"][1].tolist()
        [4.0, 5.0, 6.0]
    """
    variables = state_variables(model)
    _check_names(state, variables)
    arrays = {name: _check_array(name, state[name], old) for name, old in variables.items()}
    for name, variable in variables.items():
        variable.assign(arrays[name])


def reset_state(model: keras.Model, rows: Any = None) -> None:
    """Clear the state of a stateful model, before it reads a new sequence.

    Args:
        model: a model with stateful layers of seqkeras or Keras.
        rows: which rows of the batch to clear, as integers or `(batch,)` booleans. Default: all.

    Raises:
        ArgumentError: the model is not stateful, or `rows` is out of range.

    Example:
        >>> from seqkeras import next_step
        >>> model = next_step(1, units=2, cell="gru", stateful=True, batch_size=3)
        >>> set_state(model, {"recurrent_1/h": [[1, 1], [2, 2], [3, 3]]})
        >>> reset_state(model, rows=[0, 2])
        >>> get_state(model)["recurrent_1/h"].tolist()
        [[0.0, 0.0], [2.0, 2.0], [0.0, 0.0]]
    """
    state_variables(model)  # raises for a model without states
    layers = stateful_layers(model).values()
    flags = [_flags(rows, rows_of(layer)) for layer in layers]
    for layer, layer_flags in zip(layers, flags, strict=True):
        clear_rows(layer, layer_flags)


def save_state(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Write the state of a stateful model to a file, without its weights.

    Args:
        model: a model with stateful layers of seqkeras or Keras.
        path: path of the file. An existing file is replaced when the new one is complete.

    Raises:
        ArgumentError: the model is not stateful, or `path` is not a file in a folder that exists.

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
    """Set the state of a stateful model from a file written by `save_state`.

    Args:
        model: a model with the same layers and batch size as the saved one.
        path: path of the file.

    Raises:
        ArgumentError: the states do not fit the model, whose state then stays unchanged.
        FileFormatError: the file is damaged, of another kind, or written by a later version.

    Example:
        See `save_state`.
    """
    set_state(model, _archive.read_archive(path, kind=KIND, version=VERSION).arrays)


@contextmanager
def keep_state(model: keras.Model) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Restore the state of a stateful model after the `with` block, also after an error.

    Args:
        model: a model with stateful layers of seqkeras or Keras.

    Yields:
        The state that will be restored, see `get_state`.

    Raises:
        ArgumentError: the model is not stateful, or not built.

    Example:
        >>> import numpy as np
        >>> from seqkeras import next_step
        >>> model = next_step(1, units=2, cell="gru", stateful=True, batch_size=1)
        >>> with keep_state(model):
        ...     y = model(np.ones((1, 5, 1)))
        >>> get_state(model)["recurrent_1/h"].tolist()
        [[0.0, 0.0]]
    """
    state = get_state(model)
    try:
        yield state
    finally:
        set_state(model, state)


def _warn_of_forgotten(model: keras.Model) -> None:
    layers = stateful_layers(model)
    foreign = [path for path, layer in layers.items() if not isinstance(layer, Resettable)]
    if foreign and keras.backend.backend() == "jax":
        warn(
            f"On JAX, fit and predict silently forget the state of {', '.join(foreign)}: Keras "
            "hides it from them, and only calls such as model(x) keep it. "
            "seqkeras.states.as_stateful(model, batch_size) returns a copy that keeps it.",
            ForgottenStateWarning,
        )


def _to_numpy(variable: Any) -> npt.NDArray[Any]:
    # A copy, because the array may share the memory of the variable.
    array = np.array(ops.convert_to_numpy(variable))
    return array if array.dtype.kind == "f" else array.astype("float32")  # NumPy lacks bfloat16


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


def _check_array(name: str, value: Any, variable: Any) -> npt.NDArray[Any]:
    if np.ma.isMaskedArray(value):
        raise bad_argument(
            f"state[{name!r}]", Description("a masked array"), "an array without a mask"
        )
    array = np.asarray(value)
    shape = tuple(variable.shape)
    if array.dtype.kind not in "fiub":
        raise bad_argument(f"state[{name!r}]", array.dtype, "an array of numbers")
    if array.shape != shape:
        fix = "Its first number is the batch size." if array.shape[1:] == shape[1:] else ""
        raise bad_argument(f"state[{name!r}]", array.shape, f"of shape {shape}", fix)
    dtype = keras.backend.standardize_dtype(variable.dtype)
    limit = np.finfo(dtype if dtype in ("float16", "float64") else "float32").max
    largest = np.abs(array[np.isfinite(array)]).max(initial=0)
    if largest > limit:
        raise bad_argument(f"state[{name!r}]", largest, f"numbers that {dtype} can hold")
    return array


def _flags(rows: Any, count: int) -> npt.NDArray[np.bool_]:
    """Return `(count, 1)` booleans, True in the selected rows."""
    flags = np.zeros((count, 1), bool)
    if rows is None:
        return ~flags
    indices = np.atleast_1d(np.asarray(rows))
    if indices.size == 0:
        return flags
    integers = indices.dtype.kind in "iu" and indices.min() >= 0 and indices.max() < count
    booleans = indices.dtype == bool and len(indices) == count
    if indices.ndim != 1 or not (integers or booleans):
        raise bad_argument("rows", rows, f"integers from 0 to {count - 1}, or {count} booleans")
    flags[indices] = True
    return flags
