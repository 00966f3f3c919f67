"""Whole models from the recurrent layers of Keras onto ours, and back."""

import inspect
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
from keras import ops, tree

from seqkeras._checks import bad_argument
from seqkeras._keras_graph._compiled import copy_compiled
from seqkeras._keras_graph._rebuild import (
    CannotBuildError,
    Rebuild,
    check_graph,
    is_graph,
    parts_of,
    refusal,
)
from seqkeras.errors import ForgottenStateWarning, KeptLayerWarning
from seqkeras.layers import _resettable
from seqkeras.layers._bidirectional import Bidirectional
from seqkeras.layers._branch import branch
from seqkeras.layers._recurrent import FASTER, Dispatched

#: The layer of ours that runs a cell of Keras.
_OF_CELL: dict[Any, Any] = {
    keras.layers.LSTMCell: FASTER[keras.layers.LSTM],
    keras.layers.GRUCell: FASTER[keras.layers.GRU],
    keras.layers.SimpleRNNCell: FASTER[keras.layers.SimpleRNN],
}
#: Arguments of ours that say how a layer runs, but not what it computes.
_HOW = ("implementation", "save_state")


def accelerate(model: keras.Model) -> keras.Model:
    """A copy of a model on the recurrent layers of `seqkeras.layers`, with the same outputs.

    LSTM, GRU and SimpleRNN of Keras become those of `seqkeras.layers`, wherever they lie: in
    models within the model, in Bidirectional, TimeDistributed and other wrappers. So do
    `RNN(LSTMCell(...))` and the like; an RNN over several such cells becomes a layer for each,
    named `NAME_cell_0` and so on, and the last as the RNN was.

    Layers, names, weights, states, random seeds, what is trainable and what the model was compiled
    with are copied, the variables of the optimizer included, so that training goes on as it would
    have. Metrics begin anew. `to_keras` goes back.

    Args:
        model: functional or Sequential, trained or not. A class of your own becomes `keras.Model`,
            unless it is made of inputs and outputs.

    Returns:
        The copy; the given model is left as it is. It is a copy also where nothing was to do.

    Raises:
        ArgumentError: the model is not built, or is a subclass whose graph cannot be seen, or a
            layer cannot be made again from its config; the message names it.

    Warns:
        KeptLayerWarning: recurrent layers stay as they are, for a reason that it gives: they have
            a cell of another kind, or a class of your own; or are an RNN over several cells that
            is given or gives states, reads backwards, or lies within a wrapper.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(8)])
        >>> type(accelerate(model).layers[0]).__module__.split(".")[0]
        'seqkeras'
    """
    copy, conversion = _converted(model, _Accelerate)
    kept = list(conversion.kept(copy))
    if kept:
        warnings.warn(
            f"accelerate left {len(kept)} recurrent layer(s) as they are: {'; '.join(kept)}.",
            KeptLayerWarning,
            stacklevel=2,
        )
    return copy


def to_keras(model: keras.Model) -> keras.Model:
    """A copy of a model on the layers of Keras alone, with the same outputs.

    The opposite of `accelerate`; what it copies, this does. What is saved of the copy opens where
    seqkeras is not installed. `implementation` and `save_state`, which say how a layer of ours
    runs, are left out; an RNN that `accelerate` made another layer stays that.

    Args:
        model: functional or Sequential, with layers of `seqkeras.layers` or without.

    Returns:
        The copy; the given model is left as it is.

    Raises:
        ArgumentError: the model is not built, or is a subclass whose graph cannot be seen; or
            Keras cannot express it: a layer has zoneout, peephole or normalization, or takes
            `reset` flags (`states.as_stateless` leaves these away); or a layer of ours lies hidden
            in one of your own. The message names it.

    Warns:
        ForgottenStateWarning: the layers are stateful, and Keras on JAX forgets their states.

    Example:
        >>> import keras
        >>> from seqkeras import layers
        >>> model = keras.Sequential([keras.Input((None, 3)), layers.LSTM(8)])
        >>> type(to_keras(model).layers[0]).__module__.split(".")[0]
        'keras'
    """
    copy, conversion = _converted(model, _ToKeras)
    conversion.check(copy)
    stateful = [layer.name for layer in copy._flatten_layers() if getattr(layer, "stateful", False)]
    if stateful and keras.backend.backend() == "jax":
        warnings.warn(
            f"On JAX, fit and predict silently forget the states of {', '.join(stateful)}: stock "
            "layers hide them. Only calls such as model(x) keep them.",
            ForgottenStateWarning,
            stacklevel=2,
        )
    return copy


def _converted(model: keras.Model, kind: Callable[[keras.Model], Any]) -> tuple[Any, Any]:
    check_graph(model)
    conversion = kind(model)
    try:
        return conversion.run(), conversion
    except CannotBuildError as error:
        raise bad_argument(
            "model", model.name, "one that can be called again", str(error)
        ) from error


class _Conversion(Rebuild):
    """A copy with other classes of layers, that goes on where the model is."""

    def run(self) -> keras.Model:
        copy = super().run()
        for old, new in self._pairs:
            for source, target in parts_of(old, new):
                _copy_random(source, target)
                _copy_states(source, target)
        copy_compiled(self._root, copy, self._variables())
        return copy

    def _variables(self) -> dict[int, Any]:
        """The copy of each weight, by the `id` of the weight."""
        return {
            id(before): after
            for old, new in self._pairs
            if isinstance(old, keras.layers.Layer)
            for before, after in zip(old.weights, new.weights, strict=True)
        }

    def _new(self, layer: Any) -> Any:
        config = layer.get_config() if isinstance(layer, keras.layers.Layer) else {}
        kind, changed = self._exchange(type(layer), config)
        changed = self._within(changed)
        if kind is type(layer) and changed == config:
            copy = super()._new(layer)
        else:
            copy = kind.from_config(changed)
        for source, target in parts_of(layer, copy):
            _copy_attributes(source, target)
        return copy

    def _exchange(self, kind: Any, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The class and config of a layer in the copy."""
        raise NotImplementedError

    def _within(self, item: Any) -> Any:
        """A config, with the layers exchanged that are written down within it."""
        if isinstance(item, (list, tuple)):
            return type(item)(self._within(one) for one in item)
        if not isinstance(item, dict):
            return item
        item = {key: self._within(value) for key, value in item.items()}
        kind = _class_in(item)
        if kind is not None:
            new, config = self._exchange(kind, item["config"])
            if new is not kind:
                item = {**item, **_named(new), "config": config}
        return item


class _Accelerate(_Conversion):
    def __init__(self, model: keras.Model) -> None:
        super().__init__(model)
        self._reasons: dict[str, str] = {}
        self._stacks: dict[int, list[Any]] = {}

    def _parts(self, layer: Any) -> list[Any]:
        if type(layer) is not keras.layers.RNN or not _cells(layer.get_config()):
            return super()._parts(layer)
        if id(layer) not in self._stacks:
            reason = _why_no_stack(layer)
            if reason:
                self._reasons[layer.name] = reason
                return super()._parts(layer)
            self._stacks[id(layer)] = self._stack(layer)
        return self._stacks[id(layer)]

    def _stack(self, layer: Any) -> list[Any]:
        """A layer of ours for each cell of an RNN."""
        config = layer.get_config()
        cells, last = config.pop("cell")["config"]["cells"], len(layer.cell.cells) - 1
        stack = []
        for number, cell in enumerate(cells):
            options = dict(config)
            if number < last:
                options |= {"name": f"{layer.name}_cell_{number}", "return_sequences": True}
                options["zero_output_for_mask"] = False
            one = _of_cell({**options, "cell": cell})
            assert one is not None
            stack.append(one[0].from_config(one[1]))
            self._pairs.append((layer.cell.cells[number], stack[-1].cell))
        _copy_attributes(layer, stack[-1])
        return stack

    def run(self) -> keras.Model:
        copy = super().run()
        for layer in self._root._flatten_layers():
            if id(layer) in self._stacks and layer.states is not None:
                for states, part in zip(layer.states, self._stacks[id(layer)], strict=True):
                    _assign(states, part.states)
        return copy

    def _exchange(self, kind: Any, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if kind in FASTER:
            return FASTER[kind], config
        if kind is keras.layers.Bidirectional:
            return Bidirectional, config
        if kind is keras.layers.RNN:
            return _of_cell(config) or (kind, config)
        return kind, config

    def kept(self, copy: keras.Model) -> Iterator[str]:
        """Recurrent layers of Keras in the copy, each with the reason."""
        for layer in copy._flatten_layers():
            if not isinstance(layer, keras.layers.RNN) or _is_ours(layer):
                continue
            reason = self._reasons.get(layer.name) or _why_kept(layer)
            yield f"{layer.name!r} ({type(layer).__name__}): {reason}"


class _ToKeras(_Conversion):
    def _call(self, layer: Any, args: Any, kwargs: Any) -> Any:
        expected = "one that Keras can express"
        if kwargs.get("reset") is not None and isinstance(layer, _resettable.Resettable):
            reason = "it takes reset flags. Leave them away with seqkeras.states.as_stateless."
            raise refusal(self._root, expected, layer, reason)
        timed = isinstance(layer, keras.layers.TimeDistributed) and _is_ours(layer)
        if timed and args[0].shape[1] is None:
            reason = "Keras' own is wrong where the number of timesteps is not known. Give it in "
            reason += "the shape of the input."
            raise refusal(self._root, expected, layer, reason)
        if isinstance(layer, Dispatched) and kwargs.get("branch"):
            given = inspect.signature(layer.call).bind(*args, **kwargs).arguments
            queries_and_state = given["sequences"], given["initial_state"]
            return self._run(layer, partial(branch, self._layer(layer)), queries_and_state, {})
        return super()._call(layer, args, kwargs)

    def _exchange(self, kind: Any, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if not _is_ours(kind):
            return kind, config
        stock = next(base for base in kind.__mro__ if base.__module__.split(".")[0] == "keras")
        own = config.keys() - _accepted(stock)
        for name in own - set(_HOW):
            if any(tree.flatten(config[name])):
                fix = f"Layer {config['name']!r} ({kind.__name__}) has {name}={config[name]!r}, "
                fix += "which no layer of Keras has."
                raise bad_argument("model", self._root.name, "one that Keras can express", fix)
        return stock, {name: value for name, value in config.items() if name not in own}

    def check(self, copy: keras.Model) -> None:
        """Refuses what still needs seqkeras."""
        expected = "one that Keras can express"
        for layer in copy._flatten_layers():
            if _is_ours(layer):
                reason = "it lies within a layer of another class, which makes it itself."
                raise refusal(self._root, expected, layer, reason)
            if not is_graph(layer) and _names_ours(layer.get_config()):
                reason = "its config names a function or class of seqkeras."
                raise refusal(self._root, expected, layer, reason)


def _is_ours(layer: Any) -> bool:
    kind = layer if isinstance(layer, type) else type(layer)
    return bool(kind.__module__.split(".")[0] == "seqkeras")


def _names_ours(config: Any) -> bool:
    """Whether a name in a config is that of something registered by seqkeras."""
    texts = (one for one in tree.flatten(config) if isinstance(one, str))
    return any(text.startswith(("seqkeras>", "seqkeras.")) for text in texts)


def _accepted(kind: Any) -> set[str]:
    """The arguments of a class of Keras, those of its bases included."""
    return {name for base in kind.__mro__ for name in inspect.signature(base.__init__).parameters}


def _class_in(item: dict[str, Any]) -> Any:
    """The class of a layer that is written down here, if it may be exchanged."""
    if not isinstance(item.get("config"), dict) or not isinstance(item.get("class_name"), str):
        return None
    if item.get("registered_name"):
        return keras.saving.get_registered_object(item["registered_name"])
    if item.get("module") == "keras.layers":
        return getattr(keras.layers, item["class_name"], None)
    return None


def _named(kind: Any) -> dict[str, Any]:
    """What a written layer says of its class."""
    if not _is_ours(kind):
        return {"module": "keras.layers", "class_name": kind.__name__, "registered_name": None}
    name = keras.saving.get_registered_name(kind)
    return {"module": kind.__module__, "class_name": kind.__name__, "registered_name": name}


def _of_cell(config: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """The layer of ours for an RNN over one cell, and its config."""
    cell = config["cell"]
    ours = _OF_CELL.get(_class_in(cell))
    if ours is None or cell["config"]["dtype"] != config["dtype"]:
        return None
    inner = {
        name: value
        for name, value in cell["config"].items()
        if name not in ("name", "trainable", "dtype")
    }
    outer = {name: value for name, value in config.items() if name != "cell"}
    return ours, {**inner, **outer}


def _cells(config: dict[str, Any]) -> list[Any]:
    """The cells of an RNN over several."""
    cell = config["cell"]
    stacked = _class_in(cell) is keras.layers.StackedRNNCells
    return list(cell["config"]["cells"]) if stacked else []


def _why_no_stack(layer: Any) -> str:
    """Why an RNN over several cells does not become a layer for each, or an empty text."""
    config = layer.get_config()
    if not all(_of_cell({**config, "cell": cell}) for cell in _cells(config)):
        return "a cell is not one of LSTMCell, GRUCell and SimpleRNNCell, or has another dtype"
    if layer.return_state:
        return "it gives the states of several cells (return_state=True)"
    if layer.go_backwards:
        return "it reads backwards over several cells (go_backwards=True)"
    calls = [node.arguments for node in layer._inbound_nodes]
    if any(len(call.args) > 1 or call.kwargs.get("initial_state") is not None for call in calls):
        return "it is given the states of several cells (initial_state)"
    return ""


def _why_kept(layer: Any) -> str:
    if type(layer) in FASTER:
        return "it lies within a layer of your own, which makes it itself"
    if type(layer) is not keras.layers.RNN:
        return "seqkeras has no faster layer of this class"
    if isinstance(layer.cell, keras.layers.StackedRNNCells):
        return "it lies within a wrapper, which takes one layer, and has several cells"
    if type(layer.cell) in _OF_CELL:
        return "its cell has another dtype than the layer"
    return f"seqkeras has no faster layer for its cell, {type(layer.cell).__name__}"


def _copy_attributes(source: Any, target: Any) -> None:
    """What the configs of Keras leave out."""
    if hasattr(source, "use_cudnn") and hasattr(target, "use_cudnn"):
        target.use_cudnn = source.use_cudnn
    if getattr(source, "activity_regularizer", None) is not None:
        target.activity_regularizer = source.activity_regularizer


def _copy_random(source: Any, target: Any) -> None:
    for old, new in zip(source._seed_generators, target._seed_generators, strict=True):
        _assign(old.state, new.state)


def _copy_states(source: Any, target: Any) -> None:
    if isinstance(source, keras.layers.RNN) and source.states is not None:
        _assign(source.states, target.states)


def _assign(source: Any, target: Any) -> None:
    # By way of NumPy: JAX may free a buffer that two variables share.
    for old, new in zip(tree.flatten(source), tree.flatten(target), strict=True):
        new.assign(ops.convert_to_numpy(old))
