"""Embed series: the last state of a network's recurrent layers after reading a window."""

import keras

from seqkeras.errors import ArgumentError
from seqkeras.forecasting.networks._ensemble import networks_of


def last_state(network: keras.Model) -> keras.Model:
    """Return a model with the inputs of a network and the output of its last recurrent layer.

    If that layer returns a sequence, the model returns its last timestep. In an encoder-decoder
    network the layer is the last one of the encoder, which has read the series. The states of the
    networks of an ensemble are concatenated.

    Raises:
        ArgumentError: the network has no recurrent layer.
    """
    members = networks_of(network)
    if members != [network]:
        states = [last_state(member)(network.input) for member in members]
        return keras.Model(network.input, keras.ops.concatenate(states, axis=-1))
    recurrent = (keras.layers.RNN, keras.layers.Bidirectional)
    layers = [layer for layer in network.layers if isinstance(layer, recurrent)]
    if not layers:
        kinds = sorted({type(layer).__name__ for layer in network.layers})
        raise ArgumentError(
            f"model must be a network with a recurrent layer. Got: {', '.join(kinds)}."
        )
    encoders = [layer for layer in layers if layer.name.startswith("encoder")]
    output = (encoders or layers)[-1].output
    state = output[0] if isinstance(output, list | tuple) else output
    return keras.Model(network.input, state if len(state.shape) == 2 else state[:, -1])
