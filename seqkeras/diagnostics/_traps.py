"""What goes wrong without a word in recurrent models of Keras, looked for in a model at hand."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
from keras import tree

from seqkeras import layers
from seqkeras._checks import bad_argument
from seqkeras._keras_graph import recurrent_layers
from seqkeras._keras_graph._calls import calls_of, lost_masks, takes_mask, upstream
from seqkeras.states._named import rows_of, stateful_layers
from seqkeras.states._recurrent_states import reads_time, within
from seqkeras.stepwise._timewise import why_not_stepwise


class Trap(NamedTuple):
    """One thing to know about a model.

    Attributes:
        layer: names of the layer and of what it lies in, or of the model.
        problem: what happens.
        fix: what to do about it.
    """

    layer: str
    problem: str
    fix: str


def find_traps(model: keras.Model) -> list[Trap]:
    """What goes wrong without a word in a recurrent model, and what to do about it.

    All of it was seen on Keras 3.15. Most is about stateful models: states that are lost in files
    or forgotten on JAX, that are shared by all callers, or that mean nothing, because a layer reads
    backwards or sees several timesteps. Masks that are lost on their way are found as well.

    Args:
        model: any Keras model. Of a subclass of `keras.Model` the layers are looked at, but not
            the calls between them.

    Returns:
        What was found; an empty list is no proof that all is well.

    Raises:
        ArgumentError: it is not a Keras model.

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
    traps: list[Trap] = []
    stateful, calls = stateful_layers(model), calls_of(model)
    if stateful:
        traps += [*_of_the_model(model, stateful), *_of_those_without(model)]
    for path, layer in stateful.items():
        traps += _of_a_layer(path, layer)
    for path, layer in _parts(model):
        traps += _of_a_part(path, layer, calls.get(id(layer), []))
    return list(dict.fromkeys(traps))


_CONVOLUTIONS = (keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D)
_WHOLE = (
    "At the border of a batch it does not see the timesteps of the batch before, so outputs differ "
    "from those of whole sequences. Keep them yourself, or use a stateless model on whole windows."
)
_MASK = (
    "Use layers that keep masks, or give the recurrent layer its mask: layer(x, mask=mask). For "
    "padding at the end, sample weights keep it out of the loss."
)
_FORWARD = "Use a stateless model on whole windows, or a layer that reads forward."


def _of_the_model(model: keras.Model, stateful: dict[str, Any]) -> Iterator[Trap]:
    yield Trap(
        model.name,
        "One state serves all callers: threads or clients that call one model by turns mix their "
        "sequences, and what model.export writes has one hidden state too.",
        "Give each its own row and clear it for a new one, keep a state for each with "
        "seqkeras.states.get_state and set_state, or export it with seqkeras.export.",
    )
    rows = next((rows_of(layer) for layer in stateful.values() if layer.states), None)
    if rows is None:
        return
    yield Trap(
        model.name,
        f"The number of rows is fixed at {rows}: any other batch size is an error.",
        "seqkeras.states.as_stateful(model, batch_size) makes a copy for another.",
    )
    stock = any(not isinstance(layer, layers.Resettable) for layer in stateful.values())
    where = "on JAX, and on TensorFlow with one row" if stock and rows == 1 else "on JAX"
    yield Trap(
        model.name,
        f"model.export fails without an input_signature: {where}.",
        f"model.export(path, input_signature=...) with a keras.InputSpec of batch size {rows}.",
    )


def _of_those_without(model: keras.Model) -> Iterator[Trap]:
    inside = [one for _, part in _parts(model) if _is_per_step(part) for one in within(part)]
    for path, layer in recurrent_layers(model).items():
        if not layer.stateful and not any(layer is one for one in inside):
            yield Trap(
                path,
                "It begins each batch from zeros, while other layers of the model go on.",
                "seqkeras.states.as_stateful(model, batch_size) makes all of them stateful.",
            )


def _of_a_layer(path: str, layer: Any) -> Iterator[Trap]:
    copy = "seqkeras.states.as_stateful(model, batch_size"
    if not isinstance(layer, layers.Resettable):
        yield Trap(
            path,
            "On JAX its state is forgotten: fit, evaluate and predict begin each batch from zeros.",
            f"{copy}) puts layers of seqkeras in its place.",
        )
    if not getattr(layer, "save_state", False):
        yield Trap(
            path,
            "Its state is not in the files of model.save: a loaded model begins from zeros.",
            f"{copy}, save_state=True), or seqkeras.states.save_state(model, path) beside it.",
        )
    if layer.go_backwards:
        yield Trap(
            path,
            "It reads each batch backwards, and goes on from the first timestep of the batch "
            "before: its outputs are those of no sequence.",
            _FORWARD,
        )


def _of_a_part(path: str, layer: Any, calls: list[Any]) -> Iterator[Trap]:
    inner = [one for one in within(layer) if one.stateful]
    if inner and isinstance(layer, keras.layers.Bidirectional):
        yield Trap(
            path,
            "Its backward direction begins each batch with what it read of the batch before, and "
            "does not see the batches after: its outputs are not those of whole sequences.",
            _FORWARD,
        )
    if inner and _is_per_step(layer):
        yield Trap(
            path,
            "The state of the layer within goes on from one timestep to the next, where each "
            "should begin anew.",
            "Make the layer within stateless.",
        )
    if _is_per_step(layer) and not isinstance(layer, layers.TimeDistributed):
        shapes = [tensor.shape for call in calls for tensor in call.input_tensors]
        if any(shape[1] is None for shape in shapes):
            yield Trap(
                path,
                "Called with several numbers of timesteps, it is wrong on TensorFlow (Keras 3.15): "
                "it goes through as many timesteps as the batch has rows.",
                "Use seqkeras.layers.TimeDistributed; before Dense, none is needed.",
            )
    if isinstance(layer, keras.layers.RNN):
        for operation in lost_masks(layer, calls):
            problem = f"A mask ends here: {layer.name!r} reads padding as data."
            yield Trap(operation.name, problem, _MASK)
        ours = layer.stateful and isinstance(layer, layers.Resettable)
        if isinstance(layer, _CONVOLUTIONS) and any(map(takes_mask, calls)) and not ours:
            yield Trap(
                path,
                "On JAX its mask is laid over the wrong axes: an error, or wrong outputs.",
                "Pad at the end and leave the mask away; sample weights keep padding out of the "
                "loss. Stateful layers of seqkeras are right.",
            )
        if layer.stateful:
            yield from _of_calls(path, layer, calls)


def _of_calls(path: str, layer: Any, calls: list[Any]) -> Iterator[Trap]:
    if any(call.arguments.kwargs.get("initial_state") is not None for call in calls):
        yield Trap(
            path,
            "It is given an initial_state at each call, so the state that it keeps is never used.",
            "Leave initial_state or stateful=True away.",
        )
    if len(calls) > 1:
        yield Trap(
            path,
            "It is called more than once, and carries its state from the one call into the other.",
            "Use a layer of its own for each call.",
        )
    for operation, call in upstream(call.input_tensors[0] for call in calls):
        read = tree.flatten(call.input_tensors)
        if not read or len(read[0].shape) < 3 or reads_time(operation):
            continue
        reason = why_not_stepwise(operation, rank=len(read[0].shape))
        if reason:
            yield Trap(operation.name, f"It does not see one timestep at a time: {reason}.", _WHOLE)


def _is_per_step(layer: Any) -> bool:
    return isinstance(layer, keras.layers.TimeDistributed)


def _parts(layer: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every layer within a model, by its path, without what lies in recurrent layers."""
    for part in layer._flatten_layers(recursive=False, include_self=False):
        name = f"{path}/{part.name}" if path else part.name
        yield name, part
        if not isinstance(part, keras.layers.RNN):
            yield from _parts(part, name)
