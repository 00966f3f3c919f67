"""Find the recurrent layers of a model, and copy each as a stateful or a stateless one."""

from dataclasses import dataclass
from typing import Any

import keras

from seqkeras import layers
from seqkeras._checks import bad_argument
from seqkeras._keras_graph import self_and_sublayers, sublayers
from seqkeras._keras_graph._layer_parts import calls_to
from seqkeras._keras_graph._rebuild import new_layer
from seqkeras._warnings import warn
from seqkeras.errors import ForgottenStateWarning

#: What a model must be to become stateful, as errors say it.
CONTINUED = "one that can read a sequence from its start, a few timesteps at a time"

#: Keras' layers, and the seqkeras layers that keep their states on every backend.
_RESETTABLE = {
    keras.layers.RNN: layers.RNN,
    keras.layers.ConvLSTM1D: layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D: layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D: layers.ConvLSTM3D,
}
OURS = {**layers.FASTER, **_RESETTABLE}
#: Stateless copies keep the faster seqkeras layers; all others become Keras' own again.
STOCK = {ours: stock for stock, ours in _RESETTABLE.items()}


def reads_time(layer: Any) -> list[Any]:
    """Return the recurrent layers in `layer`, or `layer` itself, that run over the time axis.

    Layers inside TimeDistributed do not: they start from scratch at each timestep.
    """
    if isinstance(layer, keras.layers.RNN):
        return [layer]
    if not isinstance(layer, keras.layers.Layer) or isinstance(layer, keras.layers.TimeDistributed):
        return []
    return [inner for part in sublayers(layer) for inner in reads_time(part)]


def within(layer: Any) -> list[Any]:
    """Return all recurrent layers inside a layer, including those in TimeDistributed."""
    if not isinstance(layer, keras.layers.Layer):
        return []
    inner = self_and_sublayers(layer)[1:]  # without the layer itself
    return [part for part in inner if isinstance(part, keras.layers.RNN)]


@dataclass(frozen=True)
class Recurrent:
    """How recurrent layers are copied.

    Attributes:
        stateful: whether the copies keep their states.
        save_state: whether saved files include the states.
        flags: whether the copies take reset flags.
    """

    stateful: bool
    save_state: bool = False
    flags: bool = False

    def check(self, model: keras.Model, layer: Any) -> None:
        """Refuse a layer that cannot keep a state.

        Raises:
            ArgumentError: the layer cannot keep a state; the message says why.
        """
        if not (self.stateful and reads_time(layer)):
            return
        reason = _why_not(layer)
        if reason:
            fix = f"Layer {layer.name!r} ({type(layer).__name__}): {reason}"
            raise bad_argument("model", model.name, CONTINUED, fix)
        if not issubclass(self.class_of(layer), layers.Resettable):
            self._check_foreign(layer)

    def _check_foreign(self, layer: Any) -> None:
        # A copy of a user's own class has the same class, and so the limits of Keras' states.
        name = f"layer {layer.name!r} ({type(layer).__name__})"
        fix = "Derive its class from seqkeras.layers.Resettable as well, before the Keras layer."
        if self.flags:
            raise bad_argument("reset_input", True, f"False for {name}, which takes no flags", fix)
        if self.save_state:
            raise bad_argument("save_state", True, f"False for {name}, which cannot save it", fix)
        if keras.backend.backend() == "jax":
            warn(
                f"On JAX, fit and predict silently forget the state of {name}: Keras hides it "
                f"from them. Only calls such as model(x) keep it. {fix}",
                ForgottenStateWarning,
            )

    def class_of(self, layer: Any) -> Any:
        """Return the class of the copy of a recurrent layer."""
        if self.stateful:
            return OURS.get(type(layer), type(layer))
        if any(call.kwargs.get("constants") is not None for call in calls_to(layer)):
            return type(layer)  # Keras' own layer takes no constants
        return STOCK.get(type(layer), type(layer))

    def copy(self, layer: Any) -> Any:
        """Return a new layer or operation with the same config and name, its weights not set."""
        if isinstance(layer, keras.layers.RNN):
            return self._recurrent(layer)
        if self.stateful and type(layer) is keras.layers.TimeDistributed:
            # Chunks vary in length, and then Keras' own layer is wrong on TensorFlow.
            copy = layers.TimeDistributed.from_config(layer.get_config())
        else:
            copy = new_layer(layer)
        for part in [copy, *within(copy)]:
            if isinstance(part, (keras.layers.RNN, keras.layers.Bidirectional)):
                part.stateful = False
        return copy

    def _recurrent(self, layer: Any) -> Any:
        config = layer.get_config()
        config.pop("save_state", None)
        if self.save_state:
            config["save_state"] = True
        copy = self.class_of(layer).from_config({**config, "stateful": self.stateful})
        copy.stateful = self.stateful  # the config of a user's own class may omit it
        if hasattr(layer, "use_cudnn"):
            copy.use_cudnn = layer.use_cudnn  # missing in Keras' config
        return copy


def _why_not(layer: Any) -> str:
    if isinstance(layer, keras.layers.RNN):
        return ""
    inner = reads_time(layer)[0]
    name = f"{inner.name!r} ({type(inner).__name__})"
    if isinstance(layer, keras.Model):
        return f"its own call() decides how {name} is used, which the graph does not show."
    return f"it decides how {name} inside it is used, which the graph does not show."
