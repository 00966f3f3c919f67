"""What the recurrent layers of a network have made of a window: an embedding of the series."""

import keras

from seqkeras.errors import ArgumentError
from seqkeras.forecasting.networks._ensemble import networks_of


def last_state(network: keras.Model) -> keras.Model:
    """A model with the inputs of `network` and the output of its last recurrent layer.

    Where that layer returns a sequence, its last timestep is given. Of an encoder and a decoder it
    is the encoder that has read the series. Of an ensemble it is what each network gives, side by
    side.

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
            f"encode needs a network with a recurrent layer. This one has {', '.join(kinds)}."
        )
    encoders = [layer for layer in layers if layer.name.startswith("encoder")]
    output = (encoders or layers)[-1].output
    state = output[0] if isinstance(output, list | tuple) else output
    return keras.Model(network.input, state if len(state.shape) == 2 else state[:, -1])
