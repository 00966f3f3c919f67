"""Which layers of a model are recurrent, and how each is copied into another form."""

import warnings
from dataclasses import dataclass
from typing import Any

import keras

from seqkeras import layers
from seqkeras._checks import bad_argument
from seqkeras._keras_graph._rebuild import new_layer
from seqkeras.errors import ForgottenStateWarning

#: Layers of Keras, and ours that are right about their states on every backend.
_RIGHT = {
    keras.layers.RNN: layers.RNN,
    keras.layers.ConvLSTM1D: layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D: layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D: layers.ConvLSTM3D,
}
OURS = {**layers.FASTER, **_RIGHT}
#: Without states, ours that are faster stay; the others are Keras' again.
STOCK = {ours: stock for stock, ours in _RIGHT.items()}


def reads_time(layer: Any) -> list[Any]:
    """Recurrent layers that this is, or has within it, and that read along the time of the model.

    What TimeDistributed holds reads each timestep anew, from its own beginning.
    """
    if isinstance(layer, keras.layers.RNN):
        return [layer]
    if not isinstance(layer, keras.layers.Layer) or isinstance(layer, keras.layers.TimeDistributed):
        return []
    parts = layer._flatten_layers(recursive=False, include_self=False)
    return [one for part in parts for one in reads_time(part)]


def within(layer: Any) -> list[Any]:
    """All recurrent layers within a layer, those of TimeDistributed as well."""
    if not isinstance(layer, keras.layers.Layer):
        return []
    parts = layer._flatten_layers(include_self=False)
    return [part for part in parts if isinstance(part, keras.layers.RNN)]


@dataclass(frozen=True)
class Recurrent:
    """How recurrent layers are copied."""

    stateful: bool
    save_state: bool = False
    flags: bool = False

    def check(self, model: keras.Model, layer: Any) -> None:
        """Refuses a layer that cannot keep a state, and says why."""
        found = reads_time(layer) if self.stateful else []
        reason = _why_not(layer) if found else ""
        if reason:
            expected = "one that can be read from its beginning on, a few timesteps at a time"
            fix = f"Layer {layer.name!r} ({type(layer).__name__}): {reason}"
            raise bad_argument("model", model.name, expected, fix)
        if found and not issubclass(self.class_of(layer), layers.Resettable):
            self._check_foreign(layer)

    def _check_foreign(self, layer: Any) -> None:
        """A class of the user's own keeps its class, and with it what Keras leaves open."""
        name = f"layer {layer.name!r} ({type(layer).__name__})"
        fix = "Derive its class from seqkeras.layers.Resettable as well, before the Keras layer."
        if self.flags:
            raise bad_argument("reset_input", True, f"False for {name}, which takes no flags", fix)
        if self.save_state:
            raise bad_argument("save_state", True, f"False for {name}, which cannot save it", fix)
        if keras.backend.backend() == "jax":
            warnings.warn(
                f"On JAX, fit and predict silently forget the state of {name}: Keras hides it "
                f"from them. Only calls such as model(x) keep it. {fix}",
                ForgottenStateWarning,
                stacklevel=2,
            )

    def check_call(self, model: keras.Model, layer: Any, args: Any, kwargs: Any) -> None:
        """Refuses a state that is given at each call: there is none to keep."""
        given = args[1] if len(args) > 1 else kwargs.get("initial_state")
        if self.stateful and given is not None:
            fix = f"Layer {layer.name!r} ({type(layer).__name__}): at each call it is given its "
            fix += "state by other layers (initial_state), so it has none to keep between calls."
            raise bad_argument("model", model.name, "one whose layers keep their own state", fix)

    def class_of(self, layer: Any) -> Any:
        """The class of the copy of a recurrent layer."""
        return (OURS if self.stateful else STOCK).get(type(layer), type(layer))

    def copy(self, layer: Any) -> Any:
        """A new layer, or operation, of the same config and name, without weights yet."""
        if isinstance(layer, keras.layers.RNN):
            return self._recurrent(layer)
        if self.stateful and type(layer) is keras.layers.TimeDistributed:
            # Chunks have many lengths, with which Keras' is wrong.
            copy = layers.TimeDistributed.from_config(layer.get_config())
        else:
            copy = new_layer(layer)
        for part in [copy, *within(copy)]:
            if isinstance(part, (keras.layers.RNN, keras.layers.Bidirectional)):
                part.stateful = False
        return copy

    def _recurrent(self, layer: Any) -> Any:
        kind, config = self.class_of(layer), layer.get_config()
        config.pop("save_state", None)
        if self.save_state:
            config["save_state"] = True
        copy = kind.from_config({**config, "stateful": self.stateful})
        copy.stateful = self.stateful  # where the config of a user's own class leaves it out
        if hasattr(layer, "use_cudnn"):
            copy.use_cudnn = layer.use_cudnn  # not in the config of Keras
        return copy


def _why_not(layer: Any) -> str:
    if isinstance(layer, keras.layers.Bidirectional):
        return "its backward direction starts at the end of a sequence, and cannot be continued."
    if not isinstance(layer, keras.layers.RNN):
        inner = reads_time(layer)[0]
        name = f"{inner.name!r} ({type(inner).__name__})"
        if isinstance(layer, keras.Model):
            return f"what its own call() does with {name} cannot be seen from outside."
        return f"what it does with {name}, which lies within it, cannot be seen from outside."
    if layer.go_backwards:
        return "go_backwards=True starts at the end of a sequence, and cannot be continued."
    return ""
