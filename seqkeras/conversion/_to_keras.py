"""Models on the layers of Keras only."""

import inspect
import warnings
from functools import partial
from typing import Any

import keras
from keras import tree

from seqkeras._checks import bad_argument
from seqkeras._keras_graph import layers_within
from seqkeras._keras_graph._rebuild import is_graph, refusal
from seqkeras.conversion._conversion import Conversion, convert, is_ours
from seqkeras.errors import ForgottenStateWarning
from seqkeras.layers import Dispatched, Resettable, branch

#: Arguments of our layers that determine how a layer runs, but not what it computes.
_HOW_IT_RUNS = ("implementation", "save_state")

_EXPECTED = "one that Keras can express"


def to_keras(model: keras.Model) -> keras.Model:
    """Return a copy of a model that uses only layers of Keras, with the same outputs.

    The inverse of `accelerate`: it copies the same things. A saved copy opens where seqkeras is not
    installed. `implementation` and `save_state`, which determine how a layer of ours runs, are
    dropped. An RNN that `accelerate` turned into another layer stays that layer.

    Args:
        model: functional or Sequential, with or without layers of `seqkeras.layers`.

    Returns:
        The copy; the model itself does not change.

    Raises:
        ArgumentError: the model is not built, or is a subclass whose graph is hidden; or Keras
            cannot express it: a layer has zoneout, peephole or normalization, or takes `reset`
            flags (`states.as_stateless` removes them); or a layer of yours hides one of ours. The
            message names the layer.

    Warns:
        ForgottenStateWarning: the layers are stateful, and Keras on JAX forgets their states.

    Example:
        >>> import keras
        >>> from seqkeras import layers
        >>> model = keras.Sequential([keras.Input((None, 3)), layers.LSTM(8)])
        >>> type(to_keras(model).layers[0]).__module__.split(".")[0]
        'keras'
    """
    copy, conversion = convert(model, _ToKeras)
    conversion.check(copy)
    stateful = [layer.name for layer in layers_within(copy) if getattr(layer, "stateful", False)]
    if stateful and keras.backend.backend() == "jax":
        warnings.warn(
            f"On JAX, fit and predict silently forget the states of {', '.join(stateful)}: the "
            "layers of Keras hide them. Only calls such as model(x) keep them.",
            ForgottenStateWarning,
            stacklevel=2,
        )
    return copy


class _ToKeras(Conversion):
    def exchange(self, kind: Any, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if not is_ours(kind):
            return kind, config
        stock = next(base for base in kind.__mro__ if base.__module__.split(".")[0] == "keras")
        own_names = config.keys() - _argument_names(stock)
        for name in own_names - set(_HOW_IT_RUNS):
            if any(tree.flatten(config[name])):
                fix = f"Layer {config['name']!r} ({kind.__name__}) has {name}={config[name]!r}, "
                fix += "which no layer of Keras has."
                raise bad_argument("model", self._root.name, _EXPECTED, fix)
        return stock, {name: value for name, value in config.items() if name not in own_names}

    def check(self, copy: keras.Model) -> None:
        """Check that nothing in the copy needs seqkeras."""
        for layer in layers_within(copy):
            if is_ours(layer):
                reason = "it is created within a layer of another class."
                raise refusal(self._root, _EXPECTED, layer, reason)
            if not is_graph(layer) and _names_ours(layer.get_config()):
                reason = "its config names a function or class of seqkeras."
                raise refusal(self._root, _EXPECTED, layer, reason)

    def _call(self, layer: Any, args: Any, kwargs: Any) -> Any:
        self._check_call(layer, args, kwargs)
        if isinstance(layer, Dispatched) and kwargs.get("branch"):
            arguments = inspect.signature(layer.call).bind(*args, **kwargs).arguments
            queries_and_state = (arguments["sequences"], arguments["initial_state"])
            return self._run(layer, partial(branch, self._layer(layer)), queries_and_state, {})
        return super()._call(layer, args, kwargs)

    def _check_call(self, layer: Any, args: Any, kwargs: Any) -> None:
        if kwargs.get("reset") is not None and isinstance(layer, Resettable):
            reason = "it takes reset flags. Remove them with seqkeras.states.as_stateless."
            raise refusal(self._root, _EXPECTED, layer, reason)
        is_our_wrapper = isinstance(layer, keras.layers.TimeDistributed) and is_ours(layer)
        if is_our_wrapper and args[0].shape[1] is None:
            reason = "that of Keras is wrong for an unknown number of timesteps. Set the number in "
            reason += "the shape of the input."
            raise refusal(self._root, _EXPECTED, layer, reason)


def _names_ours(config: Any) -> bool:
    """Return whether a config names something that seqkeras registered."""
    texts = (value for value in tree.flatten(config) if isinstance(value, str))
    return any(text.startswith(("seqkeras>", "seqkeras.")) for text in texts)


def _argument_names(kind: Any) -> set[str]:
    """Return the names of the arguments of a class and of its bases."""
    return {name for base in kind.__mro__ for name in inspect.signature(base.__init__).parameters}
