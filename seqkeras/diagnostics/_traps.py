"""Find problems of recurrent Keras models that raise no error."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import tree

from seqkeras import layers
from seqkeras._checks import bad_argument
from seqkeras._keras_graph import ModelGraph, is_graph, recurrent_layers, sublayers
from seqkeras._keras_graph._calls import (
    calls_of,
    drops_mask,
    lost_masks,
    takes_mask,
    upstream,
)
from seqkeras._keras_graph._layer_parts import recorded_arguments
from seqkeras.diagnostics._data_traps import data_traps, read_data
from seqkeras.diagnostics._trap import Trap
from seqkeras.states._continuation import CannotContinueError, judge_model
from seqkeras.states._named import rows_of, stateful_layers
from seqkeras.states._recurrent_states import reads_time, within
from seqkeras.states._timewise import why_not_stepwise
from seqkeras.windows import StatefulBatches, Windows


def find_traps(
    model: keras.Model, data: Windows | StatefulBatches | tuple[Any, ...] | None = None
) -> list[Trap]:
    """Find problems of a recurrent model that raise no error, with a fix for each.

    All traps were observed on Keras 3.15. Most concern stateful models: states that are missing
    from saved files, forgotten on JAX, or shared by all callers, and states that are meaningless
    because a layer reads backwards or sees several timesteps. Lost masks are found as well.

    Args:
        model: any Keras model. In a subclass of `keras.Model` only the layers are examined, not
            the calls between them.
        data: training data for `fit`: a data set, or arrays `(x, y)` with `x` an array, list or
            dict. The model is then also checked together with the data: targets that do not have
            the shape of a compiled model's outputs; in arrays, missing values and ids outside the
            vocabulary; and for a stateful model, rows that do not continue each other and
            validation that moves its state. Default: none.

    Returns:
        The traps that were found. An empty list does not prove that the model is correct.

    Raises:
        ArgumentError: `model` is not a Keras model, or `data` has another type or arrays of
            different lengths.

    Example:
        >>> x = keras.Input(batch_shape=(1, None, 2))
        >>> model = keras.Model(x, keras.layers.GRU(4, stateful=True, name="gru")(x), name="m")
        >>> for trap in find_traps(model):
        ...     print(trap.layer, "|", trap.problem.split(":")[0])
        m | One state serves all callers
        m | The number of rows is fixed at 1
        m | model.export fails without an input_signature
        gru | On JAX its state is forgotten
        gru | Its state is not in the files of model.save
    """
    if not isinstance(model, keras.Model):
        raise bad_argument("model", type(model).__name__, "a keras.Model")
    data = None if data is None else read_data(data)
    traps: list[Trap] = []
    stateful = stateful_layers(model)
    calls = calls_of(model)
    if stateful:
        traps += _stateful_model(model, stateful)
        traps += _stateless_layers_among_stateful(model)
    for path, layer in stateful.items():
        traps += _stateful_layer(path, layer)
    for path, layer in _parts(model):
        traps += _part(path, layer, calls.get(id(layer), []))
    if stateful and is_graph(model):
        traps += _continuation(model, {trap.layer for trap in traps})
    if data is not None:
        traps += data_traps(model, data, stateful=bool(stateful))
    return list(dict.fromkeys(traps))


_CONVOLUTIONS = (keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D)
_SEES_SEVERAL = (
    "At the start of a batch it does not see the timesteps of the batch before, so outputs differ "
    "from those of whole sequences. Prepend them yourself, or use a stateless model on whole "
    "windows."
)
_LOST_MASK = (
    "Use layers that keep masks, or pass the mask to the recurrent layer: layer(x, mask=mask). "
    "For padding at the end, sample weights keep it out of the loss."
)
_BACKWARDS = "Use a stateless model on whole windows, or a layer that reads forward."


def _continuation(model: keras.Model, named: set[str]) -> Iterator[Trap]:
    """Yield a trap for a layer that cannot be continued, unless it already has a trap."""
    try:
        judge_model(ModelGraph(model))
    except CannotContinueError as error:
        if error.layer.name not in {name.split("/")[-1] for name in named}:
            problem = f"It cannot be continued from batch to batch: {error.reason}."
            yield Trap(error.layer.name, problem, _SEES_SEVERAL)


def _stateful_model(model: keras.Model, stateful: dict[str, Any]) -> Iterator[Trap]:
    yield Trap(
        model.name,
        "One state serves all callers: threads or clients that call one model in turn mix their "
        "sequences, and an export by model.export also has one hidden state.",
        "Give each client its own row and clear it for a new client, keep a state for each with "
        "seqkeras.states.get_state and set_state, or export the model with seqkeras.export.",
    )
    rows = next((rows_of(layer) for layer in stateful.values() if layer.states), None)
    if rows is None:
        return
    yield Trap(
        model.name,
        f"The number of rows is fixed at {rows}: any other batch size is an error.",
        "seqkeras.states.as_stateful(model, batch_size) makes a copy for another batch size.",
    )
    has_stock_layers = any(not isinstance(x, layers.Resettable) for x in stateful.values())
    where = "on JAX, and on TensorFlow with one row" if has_stock_layers and rows == 1 else "on JAX"
    yield Trap(
        model.name,
        f"model.export fails without an input_signature: {where}.",
        f"model.export(path, input_signature=...) with a keras.InputSpec of batch size {rows}.",
    )


def _stateless_layers_among_stateful(model: keras.Model) -> Iterator[Trap]:
    per_step = {
        id(layer) for _, part in _parts(model) if _is_per_step(part) for layer in within(part)
    }
    for path, layer in recurrent_layers(model).items():
        if not layer.stateful and id(layer) not in per_step:
            yield Trap(
                path,
                "It begins each batch from zeros, while other layers of the model continue.",
                "seqkeras.states.as_stateful(model, batch_size) makes all of them stateful.",
            )


def _stateful_layer(path: str, layer: Any) -> Iterator[Trap]:
    convert = "seqkeras.states.as_stateful(model, batch_size"
    if not isinstance(layer, layers.Resettable):
        yield Trap(
            path,
            "On JAX its state is forgotten: fit, evaluate and predict begin each batch from zeros.",
            f"{convert}) replaces it by a layer of seqkeras.",
        )
    if not getattr(layer, "save_state", False):
        yield Trap(
            path,
            "Its state is not in the files of model.save: a loaded model begins from zeros.",
            f"{convert}, save_state=True), or also call seqkeras.states.save_state(model, path).",
        )
    if layer.go_backwards:
        yield Trap(
            path,
            "It reads each batch backwards, and continues from the first timestep of the batch "
            "before: its outputs belong to no sequence.",
            _BACKWARDS,
        )


def _part(path: str, layer: Any, calls: list[Any]) -> Iterator[Trap]:
    inner = [part for part in within(layer) if part.stateful]
    if inner and isinstance(layer, keras.layers.Bidirectional):
        yield Trap(
            path,
            "Its backward direction begins each batch with its state from the batch before, and "
            "does not see later batches: its outputs are not those of whole sequences.",
            _BACKWARDS,
        )
    if inner and _is_per_step(layer):
        yield Trap(
            path,
            "The state of its layer continues from one timestep to the next, but each timestep "
            "should start from zeros.",
            "Make the inner layer stateless.",
        )
    if _is_per_step(layer) and getattr(layer.layer, "activity_regularizer", None) is not None:
        yield Trap(
            path,
            "The activity_regularizer of its layer is lost: it is not in the loss.",
            "Put keras.layers.ActivityRegularization after it. Dense needs no TimeDistributed.",
        )
    if _is_per_step(layer) and not isinstance(layer, layers.TimeDistributed):
        shapes = [tensor.shape for call in calls for tensor in call.input_tensors]
        if any(shape[1] is None for shape in shapes):
            yield Trap(
                path,
                "Called with different numbers of timesteps, it is wrong on TensorFlow (Keras "
                "3.15): it reads as many timesteps as the batch has rows.",
                "Use seqkeras.layers.TimeDistributed. Dense needs none.",
            )
    dropped = recorded_arguments(layer).get("activity_regularizer")
    if type(layer) is keras.layers.SimpleRNN and dropped and not layer.activity_regularizer:
        yield Trap(
            path,
            "Its activity_regularizer is dropped (Keras 3.15): no loss is added.",
            "Use seqkeras.layers.SimpleRNN, or put an ActivityRegularization layer after it.",
        )
    yield from _masks(path, layer, calls)
    if isinstance(layer, keras.layers.RNN) and layer.stateful:
        yield from _calls(path, layer, calls)


def _masks(path: str, layer: Any, calls: list[Any]) -> Iterator[Trap]:
    if any(map(drops_mask, calls)):
        yield Trap(
            path,
            "It drops the mask of its input, because it is also called with an initial state: it "
            "reads padding as data.",
            "Pass the mask: layer(x, initial_state=state, mask=mask). The layers of "
            "seqkeras.layers keep the mask without it.",
        )
    if not isinstance(layer, keras.layers.RNN):
        return
    for operation in lost_masks(layer, calls):
        problem = f"A mask ends here: {layer.name!r} reads padding as data."
        yield Trap(operation.name, problem, _LOST_MASK)
    if isinstance(layer, layers.Resettable) or not any(map(takes_mask, calls)):
        return
    if layer.stateful and not layer.zero_output_for_mask:
        yield Trap(
            path,
            "On TensorFlow and PyTorch, the outputs of a batch that begins with masked timesteps "
            "are zeros there, and not the output before them.",
            "seqkeras.states.as_stateful(model, batch_size) replaces it by a layer of seqkeras.",
        )
    if isinstance(layer, _CONVOLUTIONS):
        yield Trap(
            path,
            "On JAX its mask is applied to the wrong axes: an error, or wrong outputs.",
            "Pad at the end and remove the mask; sample weights keep padding out of the loss. "
            "The layers of seqkeras.layers handle masks correctly.",
        )


def _calls(path: str, layer: Any, calls: list[Any]) -> Iterator[Trap]:
    if any(call.arguments.kwargs.get("initial_state") is not None for call in calls):
        yield Trap(
            path,
            "It gets an initial_state at each call, so the state that it keeps is never used.",
            "Remove initial_state or stateful=True.",
        )
    if len(calls) > 1:
        yield Trap(
            path,
            "It is called more than once, and carries its state from one call to the other.",
            "Use a separate layer for each call.",
        )
    for operation, call in upstream(call.input_tensors[0] for call in calls):
        inputs = tree.flatten(call.input_tensors)
        if not inputs or len(inputs[0].shape) < 3 or reads_time(operation):
            continue
        reason = why_not_stepwise(operation, rank=len(inputs[0].shape))
        if reason:
            yield Trap(
                operation.name, f"It does not see one timestep at a time: {reason}.", _SEES_SEVERAL
            )


def _is_per_step(layer: Any) -> bool:
    return isinstance(layer, keras.layers.TimeDistributed)


def _parts(layer: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every layer within a model with its path, except those inside recurrent layers."""
    for part in sublayers(layer):
        name = f"{path}/{part.name}" if path else part.name
        yield name, part
        if not isinstance(part, keras.layers.RNN):
            yield from _parts(part, name)
