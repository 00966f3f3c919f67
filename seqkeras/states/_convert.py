"""Conversion from a stateless model to a stateful one with the same weights, and back."""

from dataclasses import replace

import keras

from seqkeras._checks import bad_argument, check_flag, check_integer
from seqkeras._keras_graph import ModelGraph
from seqkeras._keras_graph._rebuild import CannotBuildError, check_graph, name_of
from seqkeras.states._continuation import CannotContinueError, Continuation, judge_model
from seqkeras.states._recurrent_states import CONTINUED, Recurrent, reads_time
from seqkeras.states._reform import Form, Reform
from seqkeras.states._tried import why_chunks_differ


def as_stateful(
    model: keras.Model, batch_size: int, *, reset_input: bool = False, save_state: bool = False
) -> keras.Model:
    """Copy a model into one that continues each batch where the batch before it ended.

    Row `i` of a batch continues row `i` of the batch before. Given a sequence in chunks of any
    lengths, the copy returns what the model returns for the whole sequence; all layers that are
    not recurrent must therefore look at one timestep at a time. Keras' recurrent layers become
    those of `seqkeras.layers`, which keep their states on every backend; to load a saved copy,
    `import seqkeras.layers` first. Layers have the same names, and weights are copied. Optimizer,
    loss and metrics are not copied, nor are the states of a model that is already stateful.

    Args:
        model: a functional or Sequential model of any batch size, with recurrent layers at any
            depth. A subclass becomes `keras.Model`, unless it is made of inputs and outputs.
        batch_size: number of rows, which is the number of sequences read at the same time.
        reset_input: add an input for flags that clear the state of a row, default False. The
            model then takes a dict of `"reset"`, `(batch, 1)` or `(batch, timesteps)`, and of
            `"sequence"`, or of the names of its inputs if it has several. A model that already
            has a `reset` input always keeps it.
        save_state: include the states in the files that the copy is saved to, default False.

    Returns:
        The copy. Its inputs take exactly `batch_size` rows, and any number of timesteps where the
        layers allow it. `model` is unchanged.

    Raises:
        ArgumentError: the model has no recurrent layer, is not built, or is a subclass whose graph
            cannot be seen; a layer reads backwards or sees several timesteps at once (attention,
            pooling, convolution, weights for each timestep ...), gets its state from other layers,
            is called twice, or is hidden inside another layer. The message names the layer. A model
            with layers that are not Keras' own is tried on random numbers, whole and in chunks, and
            refused if the outputs differ.

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
    continuation = _judged(model)
    copy = _with_open_time(model, Form(recurrent, batch_size, flags))
    if continuation.unsure:
        _try_out(model, copy, continuation)
    return copy


def as_stateless(model: keras.Model) -> keras.Model:
    """Copy a stateful model into one that starts from cleared states in batches of any size.

    The opposite of `as_stateful`: layers keep their names and weights, and a `reset` input is
    removed; if one other input remains, the model takes it as an array and not in a dict. LSTM,
    GRU and SimpleRNN stay those of `seqkeras.layers`, which are faster; `conversion.to_keras`
    turns them into Keras' own. Optimizer, loss and metrics are not copied.

    Args:
        model: a functional or Sequential model with recurrent layers.

    Returns:
        The copy. `model` is unchanged.

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


def _judged(model: keras.Model) -> Continuation:
    try:
        return judge_model(ModelGraph(model))
    except CannotContinueError as error:
        raise bad_argument("model", model.name, CONTINUED, str(error)) from error


def _try_out(model: keras.Model, copy: keras.Model, continuation: Continuation) -> None:
    reason = why_chunks_differ(copy, continuation.outputs)
    if reason is not None:
        names = ", ".join(repr(name) for name in dict.fromkeys(continuation.unsure))
        fix = f"Tried out: {reason}. A layer reads more than its timestep, one of {names}."
        raise bad_argument("model", model.name, CONTINUED, fix)


def _check_model(model: keras.Model) -> None:
    check_graph(model)
    if not reads_time(model):
        fix = "It has no recurrent layer that runs over the time axis."
        raise bad_argument("model", model.name, "one with recurrent layers", fix)


def _takes_reset(model: keras.Model) -> bool:
    return any(name_of(tensor) == "reset" for tensor in model.inputs)


def _with_open_time(model: keras.Model, form: Form) -> keras.Model:
    """Build the copy, with any number of timesteps in each input whose layers allow it."""
    shapes = [tensor.shape for tensor in model.inputs]
    fixed = [number for number, shape in enumerate(shapes) if len(shape) > 1 and shape[1]]
    # An unrolled loop needs the number of timesteps, but fails only when it runs.
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
    # Only the time axis may become open; an open feature axis was made from timesteps.
    pairs = zip(model.outputs, copy.outputs, strict=True)
    same = all(before.shape[2:] == after.shape[2:] for before, after in pairs)
    return copy if same else None


def _build(model: keras.Model, form: Form) -> keras.Model:
    try:
        return Reform(model, form).run()
    except CannotBuildError as error:
        expected = f"one that can be called with batch_size={form.batch_size}"
        raise bad_argument("model", model.name, expected, str(error)) from error
