"""Encode, decode and reconstruct sequences with a trained autoencoder."""

from typing import Any

import keras
import numpy as np

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument, check_integer
from seqkeras._keras_graph import ModelGraph, is_graph
from seqkeras.errors import ArgumentError

_ENCODER = "_seqkeras_encoder"


def encode(model: keras.Model, x: Any, *, batch_size: int = 32) -> Array:
    """Encode sequences with an autoencoder.

    Args:
        model: a model of `autoencoder`, trained or loaded, or a functional or Sequential model
            that contains one, for example after a Masking layer.
        x: sequences, of the shape that the model reads, such as `(batch, timesteps, features)`.
        batch_size: rows that are computed at once, default 32.

    Returns:
        Codes `(batch, latent)`. Those of a variational autoencoder are the means.

    Raises:
        ArgumentError: the model contains no autoencoder, or `x` does not fit it.

    Example:
        >>> import numpy as np
        >>> from seqkeras.models import autoencoder
        >>> model = autoencoder(1, latent=2, units=4)
        >>> encode(model, np.zeros((5, 20, 1))).shape
        (5, 2)
    """
    encoder = _encoder_of(model)
    return _predict(encoder, _checked(model, x), batch_size)


def decode(
    model: keras.Model, codes: Any, *, timesteps: int | None = None, batch_size: int = 32
) -> Array:
    """Decode codes with an autoencoder.

    Args:
        model: as for `encode`.
        codes: `(batch, latent)`.
        timesteps: length of the sequences to write. May be omitted if the autoencoder was built
            with a fixed number of timesteps.
        batch_size: rows that are computed at once, default 32.

    Returns:
        Sequences `(batch, timesteps, features)`.

    Raises:
        ArgumentError: the model contains no autoencoder, the codes do not fit it, or the number of
            timesteps is missing or is not the fixed one.

    Example:
        >>> import numpy as np
        >>> from seqkeras.models import autoencoder
        >>> model = autoencoder(1, latent=2, units=4)
        >>> decode(model, np.zeros((5, 2)), timesteps=20).shape
        (5, 20, 1)
    """
    decoder = _find_decoder(_graph(model))
    if decoder is None:
        raise _no_autoencoder(model)
    latent, like = decoder.inputs
    length = _length(like.shape[1], timesteps)
    codes = _array("codes", codes, (None, latent.shape[1]))
    sequences = np.zeros((len(codes), length, like.shape[2]), codes.dtype)
    return _predict(decoder, [codes, sequences], batch_size)


def reconstruct(model: keras.Model, x: Any, *, batch_size: int = 32) -> Array:
    """Encode sequences with an autoencoder, and decode them again.

    Args:
        model: as for `encode`.
        x: sequences, as for `encode`.
        batch_size: rows that are computed at once, default 32.

    Returns:
        Sequences `(batch, timesteps, features)`.

    Raises:
        ArgumentError: the model contains no autoencoder, or `x` does not fit it.

    Example:
        >>> import numpy as np
        >>> from seqkeras.models import autoencoder
        >>> model = autoencoder(1, latent=2, units=4)
        >>> reconstruct(model, np.zeros((5, 20, 1))).shape
        (5, 20, 1)
    """
    if _find_decoder(_graph(model)) is None:
        raise _no_autoencoder(model)
    return _predict(model, _checked(model, x), batch_size)


def _graph(model: Any) -> ModelGraph:
    if not isinstance(model, keras.Model):
        raise _no_autoencoder(model)
    return ModelGraph(model)


def _encoder_of(model: Any) -> keras.Model:
    """Return the model from the inputs of a model to its codes, always the same for one model.

    Raises:
        ArgumentError: the model contains no autoencoder.
    """
    graph = _graph(model)
    # Stored in `__dict__`, because Keras would track it as a layer if it were set as an attribute.
    output, encoder = model.__dict__.get(_ENCODER, (None, None))
    if output is not graph.outputs[0]:
        encoder = _up_to_encoder(graph)
        if encoder is None:
            raise _no_autoencoder(model)
        model.__dict__[_ENCODER] = graph.outputs[0], encoder
    return encoder


def _up_to_encoder(graph: ModelGraph) -> keras.Model | None:
    """Return the model from the inputs of a graph to its codes, or None if it has no encoder."""
    for call in graph.calls:
        part = call.operation
        if not is_graph(part):
            continue
        if _is_part(part, "encoder"):
            reads_inputs = call.input_tensors[0] is graph.inputs[0]
            return part if reads_inputs else keras.Model(graph.inputs, call.outputs[0])
        inner = _up_to_encoder(graph.nested(part))
        if inner is not None:
            return keras.Model(graph.inputs, inner(call.input_tensors[0]))
    return None


def _find_decoder(graph: ModelGraph) -> keras.Model | None:
    for call in graph.calls:
        part = call.operation
        if not is_graph(part):
            continue
        if _is_part(part, "decoder"):
            return part
        inner = _find_decoder(graph.nested(part))
        if inner is not None:
            return inner
    return None


def _is_part(model: keras.Model, name: str) -> bool:
    """Return whether a model is half of an autoencoder: it has the name and the inputs."""
    ranks = [len(tensor.shape) for tensor in model.inputs]
    return model.name == name and ranks == ([3] if name == "encoder" else [2, 3])


def _no_autoencoder(model: Any) -> ArgumentError:
    actual = model.name if isinstance(model, keras.Model) else type(model).__name__
    expected = "one of seqkeras.models.autoencoder, or one that contains it"
    return bad_argument("model", actual, expected)


def _length(fixed: int | None, timesteps: int | None) -> int:
    if timesteps is None:
        if fixed is None:
            fix = "This autoencoder decodes sequences of any length."
            raise bad_argument("timesteps", None, "given", fix)
        return fixed
    timesteps = check_integer("timesteps", timesteps)
    if fixed not in (None, timesteps):
        fix = "The autoencoder was built for this number of timesteps."
        raise bad_argument("timesteps", timesteps, str(fixed), fix)
    return timesteps


def _checked(model: keras.Model, x: Any) -> Array:
    shape = model.inputs[0].shape
    sequences = x if isinstance(x, (list, tuple)) else []
    if len({len(sequence) for sequence in sequences if hasattr(sequence, "__len__")}) > 1:
        fix = (
            "Pad them with a value that does not occur, and mask it: "
            'keras.utils.pad_sequences(x, padding="post", value=-9.0, dtype="float32") for '
            f"keras.Sequential([keras.Input({shape[1:]}), keras.layers.Masking(-9.0), model])."
        )
        actual = Description("sequences of different lengths")
        raise bad_argument("x", actual, "one array of numbers", fix)
    return _array("x", x, (None, *shape[1:]))


def _array(name: str, value: Any, shape: tuple[int | None, ...]) -> Array:
    """Return an array of numbers of this shape, in which None is any length of at least 1."""
    try:
        array = np.asarray(value, dtype=keras.config.floatx())
    except (TypeError, ValueError) as error:
        raise bad_argument(name, Description(str(error)), "an array of numbers") from error
    fits = len(array.shape) == len(shape) and all(
        actual == length if length is not None else actual > 0
        for actual, length in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        actual_shape = Description(f"an array of shape {array.shape}")
        raise bad_argument(name, actual_shape, f"an array of shape ({wanted})")
    return array


def _predict(model: keras.Model, x: Any, batch_size: int) -> Array:
    batch_size = check_integer("batch_size", batch_size)
    fixed = model.inputs[0].shape[0]
    count = len(keras.tree.flatten(x)[0])
    if fixed is not None and count % fixed:
        fix = "The model was built with this batch_size."
        rows = Description(f"{count} rows")
        raise bad_argument("x", rows, f"of a multiple of {fixed} rows", fix)
    return np.asarray(model.predict(x, batch_size=fixed or batch_size, verbose=0))
