"""Convert models to plain Keras layers."""

import inspect
from functools import partial
from typing import Any

import keras
from keras import tree

from seqkeras._checks import bad_argument
from seqkeras._keras_graph import ModelGraph, conversion_error, is_graph, self_and_sublayers
from seqkeras._keras_graph._calls import calls_of, is_masked
from seqkeras._warnings import warn
from seqkeras.conversion._conversion import Conversion, convert, is_from_seqkeras
from seqkeras.conversion._token_layers import TokenLayers
from seqkeras.errors import ArgumentError, ForgottenStateWarning, UntiedWeightsWarning
from seqkeras.layers import (
    Bidirectional,
    Dispatched,
    RepeatLike,
    Resettable,
    ReverseTime,
    TokenVectors,
    branch,
)
from seqkeras.layers._keras_2_masks import KERAS_2_MASKS
from seqkeras.layers._repeat_like import repeat_like
from seqkeras.layers._reverse_time import reverse_time

#: Arguments of seqkeras layers that determine how a layer runs, but not its outputs.
_EXECUTION_ARGUMENTS = ("implementation", "save_state")

_EXPECTED = "one that Keras can express"


def to_keras(model: keras.Model) -> keras.Model:
    """Return a copy of a model that uses only Keras layers, with the same outputs.

    A saved copy opens where seqkeras is not installed. Each seqkeras layer becomes the Keras layer
    of the same kind, without the arguments `implementation` and `save_state`, which only determine
    how a seqkeras layer runs. As with `accelerate`, the copy keeps names, weights, states, random
    seeds and trainable flags, and is compiled in the same way with the variables of the optimizer.

    It does not restore what `accelerate` rearranged: an `RNN(LSTMCell(...))` that became an LSTM
    stays an LSTM, and an RNN over several cells stays one layer for each cell.

    A `layers.TokenVectors`, which most language models have, becomes an Embedding, a Dense that
    returns the logits, or both. Their weights have other shapes, so the optimizer of such a copy
    starts anew.

    Args:
        model: functional or Sequential, with or without layers of `seqkeras.layers`.

    Returns:
        The copy; the model itself does not change.

    Raises:
        ArgumentError: the model cannot be converted, for one of these reasons. The message names
            the layer responsible, if any.

            - `model` is not a Keras model, is not built, or is a subclass with its own `call`.
            - A layer cannot be recreated from its config, or cannot be called again.
            - A layer uses an argument that its Keras layer does not have, such as zoneout, peephole
              or normalization.
            - A layer created by `load_legacy` treats masks as Keras 2 did.
            - A layer takes `reset` flags (`states.as_stateless` removes them), or `constants`.
            - The directions of a `layers.Bidirectional` have different widths.
            - A `layers.TimeDistributed` reads an unknown number of timesteps.
            - A `layers.RepeatLike` or `layers.ReverseTime` passes on a mask.
            - A layer has no counterpart in Keras, such as `layers.ConditionalDecoder`.
            - A layer of another class creates a seqkeras layer, or its config names a function or
              class of seqkeras.

    Warns:
        ForgottenStateWarning: some layers are stateful, and Keras on JAX does not carry their
            states from batch to batch.
        UntiedWeightsWarning: an embedding and the layer of logits share their weights, as with
            `tied=True`. No layer of Keras does that with a bias, so the copy has these weights
            twice. The outputs are the same until it is trained, which changes the two separately.

    Example:
        >>> import keras
        >>> from seqkeras import layers
        >>> model = keras.Sequential([keras.Input((None, 3)), layers.LSTM(8)])
        >>> type(to_keras(model).layers[0]).__module__.split(".")[0]
        'keras'
    """
    copy, conversion = convert(model, _ToKeras)
    conversion.check(copy)
    if conversion.untied:
        warn(
            f"The vectors of {', '.join(conversion.untied)} are also the weights of the logits. "
            "Keras cannot share them, so the copy has them twice, and training it changes the two "
            "separately.",
            UntiedWeightsWarning,
        )
    layers = self_and_sublayers(copy)
    stateful = [layer.name for layer in layers if getattr(layer, "stateful", False)]
    if stateful and keras.backend.backend() == "jax":
        warn(
            f"On JAX, fit and predict do not update the states of {', '.join(stateful)}: Keras "
            "does not pass the states of its layers to JAX, and every batch starts from the same "
            "states. Only calls such as model(x) update them.",
            ForgottenStateWarning,
        )
    return copy


class _ToKeras(Conversion):
    """Replaces seqkeras layers by their Keras base classes, and rewrites calls with `branch`.

    Attributes:
        untied: names of layers whose weights are no longer shared.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__(model)
        layers = self_and_sublayers(model)
        self._token_layers = TokenLayers(layer.name for layer in layers)
        calls = calls_of(model)
        self.untied = [
            layer.name
            for layer in layers
            if isinstance(layer, TokenVectors) and self._goes_both_ways(layer, calls[id(layer)])
        ]

    @staticmethod
    def _goes_both_ways(layer: TokenVectors, calls: Any) -> bool:
        passed = [call.arguments for call in calls]
        return len({_token_arguments(layer, each.args, each.kwargs)[1] for each in passed}) > 1

    def run(self) -> keras.Model:
        copy = super().run()
        self._token_layers.copy_weights()
        return copy

    def exchange(self, kind: Any, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if not is_from_seqkeras(kind):
            return kind, config
        keras_class = next(
            base for base in kind.__mro__ if base.__module__.split(".")[0] == "keras"
        )
        if keras_class is keras.layers.Layer:
            detail = f"Layer {config['name']!r} ({kind.__name__}) has no counterpart in Keras."
            raise bad_argument("model", self._root.name, _EXPECTED, detail)
        if kind in KERAS_2_MASKS.values():
            detail = (
                f"Layer {config['name']!r} treats masks as Keras 2 did, which "
                f"keras.layers.{keras_class.__name__} does not."
            )
            raise bad_argument("model", self._root.name, _EXPECTED, detail)
        own_names = config.keys() - _argument_names(keras_class)
        for name in own_names - set(_EXECUTION_ARGUMENTS):
            # An argument that is off, such as zoneout=0.0 or (0.0, 0.0), needs no counterpart.
            if any(tree.flatten(config[name])):
                detail = (
                    f"Layer {config['name']!r} ({kind.__name__}) uses {name}={config[name]!r}, "
                    f"which keras.layers.{keras_class.__name__} does not support."
                )
                raise bad_argument("model", self._root.name, _EXPECTED, detail)
        return keras_class, {name: value for name, value in config.items() if name not in own_names}

    def _copied_weights(self) -> dict[int, Any] | None:
        return None if self._token_layers else super()._copied_weights()

    def check(self, copy: keras.Model) -> None:
        """Check that nothing in the copy needs seqkeras."""
        for layer in self_and_sublayers(copy):
            if is_from_seqkeras(layer):
                raise self._error(layer, "it is created within a layer of another class.")
            if not is_graph(layer) and _names_seqkeras(layer.get_config()):
                raise self._error(layer, "its config names a function or class of seqkeras.")

    def _sequential(self, model: keras.Sequential, shape: Any) -> keras.Sequential:
        for call in ModelGraph(model).calls:
            self._refuse_call_without_counterpart(
                call.operation, call.arguments.args, call.arguments.kwargs
            )
        return super()._sequential(model, shape)

    def _layer(self, layer: Any) -> Any:
        if isinstance(layer, TokenVectors):  # in a Sequential, which only passes ids
            return self._token_layers.copy(layer, reverse=False, is_tied=False)
        return super()._layer(layer)

    def _call_copy(self, layer: Any, args: Any, kwargs: Any) -> Any:
        self._refuse_call_without_counterpart(layer, args, kwargs)
        if isinstance(layer, TokenVectors):
            inputs, reverse = _token_arguments(layer, args, kwargs)
            copy = self._token_layers.copy(layer, reverse, layer.name in self.untied)
            return self._run(layer, copy, (inputs,), {})
        if isinstance(layer, Dispatched) and kwargs.get("branch"):
            # Keras layers have no argument `branch`. The function `branch` computes the same
            # outputs with Keras operations, from the weights of the Keras layer.
            arguments = inspect.signature(layer.call).bind(*args, **kwargs).arguments
            queries_and_state = (arguments["sequences"], arguments["initial_state"])
            return self._run(layer, partial(branch, self._layer(layer)), queries_and_state, {})
        if isinstance(layer, RepeatLike):
            return self._run(layer, repeat_like, args[0], {})
        if isinstance(layer, ReverseTime):
            return self._run(layer, reverse_time, args, {})
        return super()._call_copy(layer, args, kwargs)

    def _refuse_call_without_counterpart(self, layer: Any, args: Any, kwargs: Any) -> None:
        if kwargs.get("reset") is not None and isinstance(layer, Resettable):
            reason = "it takes reset flags. Remove them with seqkeras.states.as_stateless."
            raise self._error(layer, reason)
        if kwargs.get("constants") is not None and isinstance(layer, Resettable):
            reason = "its cell reads constants, which keras.layers.RNN does not pass on."
            raise self._error(layer, reason)
        if isinstance(layer, Bidirectional) and not _directions_have_equal_width(layer):
            reason = (
                "its directions have different widths, for which keras.layers.Bidirectional gives "
                "the wrong shape."
            )
            raise self._error(layer, reason)
        is_time_distributed = isinstance(layer, keras.layers.TimeDistributed)
        if is_time_distributed and is_from_seqkeras(layer) and args[0].shape[1] is None:
            reason = (
                "keras.layers.TimeDistributed gives wrong results when the number of timesteps is "
                "unknown. Give the Input a fixed number of timesteps."
            )
            raise self._error(layer, reason)

        if any(map(is_masked, tree.flatten(args))) and _moves_a_mask(layer):
            reason = "it passes on a mask in a way that no layer of Keras does."
            raise self._error(layer, reason)

    def _error(self, layer: Any, reason: str) -> ArgumentError:
        return conversion_error(self._root, _EXPECTED, layer, reason)


def _directions_have_equal_width(layer: Bidirectional) -> bool:
    widths = {
        tuple(direction.compute_output_shape((1, 1, 1)))
        for direction in (layer.forward_layer, layer.backward_layer)
    }
    return len(widths) == 1


def _token_arguments(layer: TokenVectors, args: Any, kwargs: Any) -> tuple[Any, bool]:
    """Return the inputs of a call, and whether it computes logits."""
    passed = inspect.signature(layer.call).bind(*args, **kwargs).arguments
    return passed["inputs"], bool(passed.get("reverse", False))


def _moves_a_mask(layer: Any) -> bool:
    """Return whether a layer, or one within a model, passes a mask on where operations lose it."""
    parts = self_and_sublayers(layer) if is_graph(layer) else [layer]
    return any(isinstance(part, (RepeatLike, ReverseTime)) for part in parts)


def _names_seqkeras(config: Any) -> bool:
    """Return whether a config names a class or function that seqkeras registered."""
    texts = (value for value in tree.flatten(config) if isinstance(value, str))
    return any(text.startswith(("seqkeras>", "seqkeras.")) for text in texts)


def _argument_names(kind: Any) -> set[str]:
    """Return the names of the constructor arguments of a class and of its bases."""
    return {name for base in kind.__mro__ for name in inspect.signature(base.__init__).parameters}
