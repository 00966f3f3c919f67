"""From a stateless model to a stateful one of the same weights, and back."""

from dataclasses import replace

import keras

from seqkeras._checks import bad_argument, check_flag, check_integer
from seqkeras._keras_graph._rebuild import CannotBuildError, check_graph, name_of
from seqkeras.states._recurrent_states import Recurrent, reads_time
from seqkeras.states._reform import Form, Reform


def as_stateful(
    model: keras.Model, batch_size: int, *, reset_input: bool = False, save_state: bool = False
) -> keras.Model:
    """A copy of a model that goes on, with each batch, where the batch before it ended.

    Row `i` of a batch continues row `i` of the batch before. Read in chunks of any lengths, the
    copy gives what the model gives for whole sequences, if all its other layers look at one
    timestep at a time. Keras' recurrent layers become those of `seqkeras.layers`, which keep their
    states on every backend; to load a saved copy, `import seqkeras.layers` first. Layers have the
    same names, and weights are copied. What the model was compiled with is not copied, nor are the
    states of a model that is stateful already.

    Args:
        model: functional or Sequential, of any batch size, with recurrent layers at any depth. A
            class of your own becomes `keras.Model`, unless it is made of inputs and outputs.
        batch_size: number of rows; one for each sequence that is read at the same time.
        reset_input: take flags that clear the state of a row, as models of the builders do: the
            inputs are then a dict of `"reset"`, `(batch, 1)` or `(batch, timesteps)`, and of
            `"inputs"`, or, where there are several, of their names. A model that has this input
            keeps it in any case.
        save_state: keep the states in files that the copy is saved to.

    Returns:
        The model; the given one is left as it is. Its inputs take any number of timesteps, where
        the layers allow it, and exactly `batch_size` rows.

    Raises:
        ArgumentError: the model has no recurrent layer, is not built, or is a subclass whose graph
            cannot be seen; a layer reads backwards, is given its state by other layers, is called
            twice, or lies hidden within another. The message names it.

    Example:
        >>> import numpy as np
        >>> from seqkeras import many_to_many
        >>> model = many_to_many(1, units=8, timesteps=100)
        >>> x = np.random.default_rng(0).normal(size=(2, 100, 1))
        >>> stateful = as_stateful(model, batch_size=2)
        >>> parts = [stateful.predict(part, verbose=0) for part in (x[:, :70], x[:, 70:])]
        >>> whole = model.predict(x, verbose=0)
        >>> bool(np.allclose(np.concatenate(parts, axis=1), whole, atol=1e-5))
        True
    """
    _check_model(model)
    batch_size = check_integer("batch_size", batch_size)
    flags = check_flag("reset_input", reset_input) or _takes_reset(model)
    recurrent = Recurrent(True, check_flag("save_state", save_state), flags)
    return _with_open_time(model, Form(recurrent, batch_size, flags))


def as_stateless(model: keras.Model) -> keras.Model:
    """A copy of a stateful model that reads each batch from the beginning, in batches of any size.

    The opposite of `as_stateful`: layers keep their names and weights, and a `reset` input is left
    away; where one other is left, it is the input itself instead of a dict. LSTM, GRU and SimpleRNN
    stay those of `seqkeras.layers`, which are faster; `conversion.to_keras` brings Keras' own back.
    What the model was compiled with is not copied.

    Args:
        model: functional or Sequential, with recurrent layers.

    Returns:
        The model; the given one is left as it is.

    Raises:
        ArgumentError: the model has no recurrent layer, is not built, or is a subclass whose graph
            cannot be seen.

    Example:
        >>> from seqkeras import many_to_one
        >>> model = many_to_one(3, units=8, stateful=True, batch_size=4)
        >>> as_stateless(model).input_shape
        (None, None, 3)
    """
    _check_model(model)
    return _build(model, Form(Recurrent(False), None, flags=False))


def _check_model(model: keras.Model) -> None:
    check_graph(model)
    if not reads_time(model):
        fix = "It has none that reads along its timesteps."
        raise bad_argument("model", model.name, "one with recurrent layers", fix)


def _takes_reset(model: keras.Model) -> bool:
    return any(name_of(tensor) == "reset" for tensor in model.inputs)


def _with_open_time(model: keras.Model, form: Form) -> keras.Model:
    """The copy with as many inputs of any length as its layers allow."""
    shapes = [tensor.shape for tensor in model.inputs]
    fixed = [number for number, shape in enumerate(shapes) if len(shape) > 1 and shape[1]]
    # An unrolled loop needs their number, but asks for it only when it is run.
    if not fixed or any(layer.unroll for layer in reads_time(model)):
        return _build(model, form)
    opened = _try(model, form, fixed)
    if opened is None and len(fixed) > 1:
        fixed = [number for number in fixed if _try(model, form, [number]) is not None]
        opened = _try(model, form, fixed)
    return opened if opened is not None else _build(model, form)


def _try(model: keras.Model, form: Form, opened: list[int]) -> keras.Model | None:
    try:
        copy = Reform(model, replace(form, opened=frozenset(opened))).run()
    except CannotBuildError:
        return None
    # Only the time may be open: features that became unknown were timesteps before.
    pairs = zip(model.outputs, copy.outputs, strict=True)
    same = all(before.shape[2:] == after.shape[2:] for before, after in pairs)
    return copy if same else None


def _build(model: keras.Model, form: Form) -> keras.Model:
    try:
        return Reform(model, form).run()
    except CannotBuildError as error:
        expected = f"one that can be called with batch_size={form.batch_size}"
        raise bad_argument("model", model.name, expected, str(error)) from error
