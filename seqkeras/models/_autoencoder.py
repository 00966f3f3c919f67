"""Autoencoder: a sequence through a narrow vector and back."""

from dataclasses import dataclass, replace
from typing import Unpack

import keras

from seqkeras._checks import bad_argument, check_flag, check_integer, check_one_of
from seqkeras.layers import KL_WEIGHT, ConditionalDecoder, GaussianCode, RepeatLike, ReverseTime
from seqkeras.models._stack import Stack, StackOptions, mask_reader

DECODERS = ("repeat", "conditional")


def autoencoder(
    features: int,
    *,
    timesteps: int | None = None,
    latent: int = 16,
    decoder: str = "repeat",
    reverse: bool = False,
    variational: bool = False,
    kl_weight: float | None = None,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """Build a model that encodes a sequence into `latent` numbers and decodes it again.

    Encoder: the stack, its last output, a Dense layer. Decoder: the code repeated at every
    timestep, the stack in the opposite order, a Dense layer.

    Args:
        features: number of features of each timestep.
        timesteps: length of the sequences. Default: any length; the decoder writes as many
            timesteps as the encoder reads.
        latent: width of the code, default 16.
        decoder: `"repeat"` (default) reads only the code. `"conditional"` also reads the timestep
            before: in training the true one, otherwise its own output (Srivastava et al. 2015,
            arXiv 1502.04681; see `layers.ConditionalDecoder`). Its predictions, and the loss of
            `evaluate`, are therefore those of the decoder left to itself.
        reverse: whether the decoder writes the sequence from its end to its start, default False.
            The newest timesteps, which the encoder has read last, then come first (Srivastava et
            al. 2015; Malhotra et al. 2016, arXiv 1607.00148). The output is in the order of the
            input.
        variational: whether the code is drawn from a normal distribution in training, and its
            divergence from the standard one is part of the loss (Kingma and Welling 2014, arXiv
            1312.6114; see `layers.GaussianCode`). Default: False.
        kl_weight: weight of that divergence; only with `variational`, default 1e-3. With a mean
            squared error and errors of variance v, the weight of the evidence lower bound is
            2 v / (timesteps * features). `training.KLAnnealing` raises it from 0.
        name: name of the model, default `"autoencoder"`.
        **stack: units, cell, bidirectional, dropout, recurrent_dropout, implementation,
            batch_size; see `StackOptions`. With `bidirectional` the encoder reads both ways, and so
            does the decoder unless it is conditional or reversed. `stateful` is refused: a window
            is encoded as a whole.

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
    code = None
    if check_flag("variational", variational):
        code = GaussianCode(kl_weight if kl_weight is not None else KL_WEIGHT, name="code")
    elif kl_weight is not None:
        raise bad_argument("kl_weight", kl_weight, "omitted where variational=False")
    plan = _Plan(
        Stack.parse(**stack),
        check_integer("features", features),
        check_integer("timesteps", timesteps) if timesteps is not None else None,
        check_integer("latent", latent),
    )
    check_one_of("decoder", decoder, DECODERS)
    encode = plan.encoder(code)
    decode = plan.decoder(decoder == "conditional", check_flag("reverse", reverse))
    x = plan.sequence()
    return mask_reader(keras.Model(x, decode([encode(x), x]), name=name or "autoencoder"))


@dataclass(frozen=True)
class _Plan:
    """What both halves of an autoencoder are made of."""

    stack: Stack
    features: int
    timesteps: int | None
    latent: int

    def sequence(self) -> keras.KerasTensor:
        """Return an input for sequences."""
        return self.stack.input(self.timesteps, self.features)

    def encoder(self, gaussian: GaussianCode | None) -> keras.Model:
        """Build the model from sequences to codes."""
        x = self.sequence()
        end = self.stack(x, return_sequences=False)
        code = keras.layers.Dense(self.latent, name="latent")(end)
        if gaussian is not None:
            log_variance = keras.layers.Dense(self.latent, name="log_variance")(end)
            code = gaussian([code, log_variance, x])
        return mask_reader(keras.Model(x, code, name="encoder"))

    def decoder(self, conditional: bool, reverse: bool) -> keras.Model:
        """Build the model from codes, and sequences of the same length and mask, to sequences."""
        code = self.stack.input(self.latent, name="latent")
        x = self.sequence()
        read = RepeatLike(name="repeat")([code, x])
        targets = x
        if reverse:
            read = ReverseTime(name="reverse")(read)
            targets = ReverseTime(name="reverse_targets")(x) if conditional else x
        stack = self.stack.mirrored()
        if conditional:
            layers = stack.layers(return_sequences=True)
            y = ConditionalDecoder(layers, self.features, name="conditional")([read, targets])
        else:
            both_ways = stack.bidirectional and not reverse
            states = replace(stack, bidirectional=both_ways)(read, return_sequences=True)
            y = keras.layers.Dense(self.features, name="head")(states)
        if reverse:
            y = ReverseTime(name="in_order")(y)
        return mask_reader(keras.Model([code, x], y, name="decoder"))
