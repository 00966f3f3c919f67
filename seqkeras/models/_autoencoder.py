"""Autoencoder: a sequence through a narrow vector and back."""

from typing import Unpack

import keras

from seqkeras._checks import bad_argument, check_integer
from seqkeras.models._stack import Stack, StackOptions


def autoencoder(
    features: int,
    *,
    timesteps: int,
    latent: int = 16,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """Build a model that encodes a sequence into `latent` numbers and decodes it again.

    Encoder: the stack, its last output, a Dense layer. Decoder: the latent vector repeated
    (`RepeatVector`), the stack in the opposite order, a Dense layer.

    Args:
        features: number of features of each timestep.
        timesteps: length of the sequences. It must be fixed, because the decoder writes as many.
        latent: width of the latent vector, default 16.
        name: name of the model, default `"autoencoder"`.
        **stack: units, cell, bidirectional, dropout, recurrent_dropout, implementation,
            batch_size; see `StackOptions`. `stateful` is refused: a window is encoded as a whole.

    Returns:
        An uncompiled functional model, `(batch, timesteps, features)` to the same shape. Its
        two halves are models of their own, also after save and load: `get_layer("encoder")` outputs
        `(batch, latent)`, which is the input of `get_layer("decoder")`.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> model = autoencoder(3, timesteps=20, latent=4, units=(32, 16))
        >>> model.output_shape, model.get_layer("encoder").output_shape
        ((None, 20, 3), (None, 4))
    """
    if timesteps is None:
        fix = "The decoder writes as many timesteps as the encoder reads: give their number."
        raise bad_argument("timesteps", timesteps, "an integer >= 1", fix)
    if stack.get("stateful"):
        fix = "A window is encoded as a whole; nothing continues in the next batch."
        raise bad_argument("stateful", True, "False for autoencoder", fix)
    plan = Stack.parse(**stack)
    shape = (check_integer("timesteps", timesteps), check_integer("features", features))
    latent = check_integer("latent", latent)
    encoder = _encoder(plan, shape, latent)
    decoder = _decoder(plan.mirrored(), shape, latent)
    x = plan.input(*shape)
    return keras.Model(x, decoder(encoder(x)), name=name or "autoencoder")


def _encoder(plan: Stack, shape: tuple[int, int], latent: int) -> keras.Model:
    x = plan.input(*shape)
    code = keras.layers.Dense(latent, name="latent")(plan(x, return_sequences=False))
    return keras.Model(x, code, name="encoder")


def _decoder(plan: Stack, shape: tuple[int, int], latent: int) -> keras.Model:
    timesteps, features = shape
    code = plan.input(latent, name="latent")
    repeated = keras.layers.RepeatVector(timesteps, name="repeat")(code)
    states = plan(repeated, return_sequences=True)
    return keras.Model(code, keras.layers.Dense(features, name="head")(states), name="decoder")
