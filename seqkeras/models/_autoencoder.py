"""Autoencoder: a sequence through a narrow vector and back."""

from typing import Unpack

import keras

from seqkeras._checks import bad_argument, check_integer
from seqkeras.layers import RepeatLike
from seqkeras.models._stack import Stack, StackOptions


def autoencoder(
    features: int,
    *,
    timesteps: int | None = None,
    latent: int = 16,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """Build a model that encodes a sequence into `latent` numbers and decodes it again.

    Encoder: the stack, its last output, a Dense layer. Decoder: the latent vector repeated at every
    timestep, the stack in the opposite order, a Dense layer.

    Args:
        features: number of features of each timestep.
        timesteps: length of the sequences. Default: any length; the decoder writes as many
            timesteps as the encoder reads.
        latent: width of the latent vector, default 16.
        name: name of the model, default `"autoencoder"`.
        **stack: units, cell, bidirectional, dropout, recurrent_dropout, implementation,
            batch_size; see `StackOptions`. `stateful` is refused: a window is encoded as a whole.

    Returns:
        An uncompiled functional model, `(batch, timesteps, features)` to the same shape. A mask of
        the input reaches the decoder and the loss. `encode`, `decode` and `reconstruct` use the
        trained model, also after save and load. Its two halves are models of their own,
        `get_layer("encoder")` and `get_layer("decoder")`.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> model = autoencoder(3, timesteps=20, latent=4, units=(32, 16))
        >>> model.output_shape, model.get_layer("encoder").output_shape
        ((None, 20, 3), (None, 4))
    """
    if stack.get("stateful"):
        fix = "A window is encoded as a whole; nothing continues in the next batch."
        raise bad_argument("stateful", True, "False for autoencoder", fix)
    plan = Stack.parse(**stack)
    if timesteps is not None:
        timesteps = check_integer("timesteps", timesteps)
    shape = (timesteps, check_integer("features", features))
    latent = check_integer("latent", latent)
    encoder = _encoder(plan, shape, latent)
    decoder = _decoder(plan.mirrored(), shape, latent)
    x = plan.input(*shape)
    return keras.Model(x, decoder([encoder(x), x]), name=name or "autoencoder")


def _encoder(plan: Stack, shape: tuple[int | None, int], latent: int) -> keras.Model:
    x = plan.input(*shape)
    code = keras.layers.Dense(latent, name="latent")(plan(x, return_sequences=False))
    return keras.Model(x, code, name="encoder")


def _decoder(plan: Stack, shape: tuple[int | None, int], latent: int) -> keras.Model:
    """Build the model from codes, and a sequence for their length and mask, to sequences."""
    code = plan.input(latent, name="latent")
    x = plan.input(*shape)
    repeated = RepeatLike(name="repeat")([code, x])
    states = plan(repeated, return_sequences=True)
    y = keras.layers.Dense(shape[1], name="head")(states)
    return keras.Model([code, x], y, name="decoder")
