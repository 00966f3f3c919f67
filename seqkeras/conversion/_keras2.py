"""Files of Keras 2 (`.h5`), with what Keras 3 no longer reads, or reads as something else.

The file is copied, its copy translated, and that is what Keras reads: the layers, the order of the
weights and the safety against foreign code are those of Keras.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import keras
import numpy as np
from keras import ops

from seqkeras._files import DAMAGE
from seqkeras._keras_graph._rebuild import check_graph
from seqkeras.conversion._cudnn_weights import from_cudnn, places
from seqkeras.errors import FileFormatError

_CUDNN: dict[str, tuple[str, dict[str, Any]]] = {
    "CuDNNLSTM": ("LSTM", {"recurrent_activation": "sigmoid"}),
    "CuDNNGRU": ("GRU", {"recurrent_activation": "sigmoid", "reset_after": True}),
}
#: Recurrent layers and cells: `implementation` and `time_major` were theirs alone.
_RECURRENT = ("LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "RNN")


@keras.saving.register_keras_serializable(package="seqkeras")
def keras_2_hard_sigmoid(x: Any) -> Any:
    """The `hard_sigmoid` of Keras 2: `0.2 * x + 0.5`, cut off at 0 and 1.

    In Keras 3 the function of that name is less steep, `x / 6 + 0.5`.

    Example:
        >>> import keras
        >>> x = keras.ops.array([1.0])
        >>> round(float(keras_2_hard_sigmoid(x)[0]), 3)
        0.7
        >>> round(float(keras.activations.hard_sigmoid(x)[0]), 3)
        0.667
    """
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def load_legacy(path: str | os.PathLike[str]) -> keras.Model:
    """A model from an `.h5` file of Keras 2, CuDNNLSTM and CuDNNGRU included.

    The model has stock Keras layers and gives what it gave in Keras 2:

    - CuDNNLSTM and CuDNNGRU become LSTM and GRU, at any depth, with their weights converted;
    - arguments of recurrent layers that Keras 3 lacks are left out; a GRU whose file has no
      `reset_after` is one without;
    - `hard_sigmoid` becomes `conversion.keras_2_hard_sigmoid`, as Keras 3 has another function of
      that name. To open what is saved of such a model, `import seqkeras.layers` first.

    It is not compiled. Layers of your own are found in a `keras.saving.custom_object_scope`; code
    within the file, such as that of a Lambda, is refused, as Keras does. The h5 files of Keras 3
    load as well.

    Args:
        path: of a whole model, as `model.save("NAME.h5")` wrote it.

    Raises:
        FileFormatError: not such a file, damaged, from before Keras 2, with layers that read
            `time_major=True`, or with what Keras cannot make.
    """
    with _translated(path, whole=True) as copy, _damage(path):
        return keras.models.load_model(copy, compile=False)


def load_legacy_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Reads weights from an `.h5` file of Keras 2 into a model, those of cuDNN layers included.

    Layers are matched by their order, as Keras does.

    Args:
        model: built as the one that was saved, with LSTM in place of CuDNNLSTM, and GRU with
            `reset_after=True` in place of CuDNNGRU; stock layers, or those of `seqkeras.layers`.
            Its activations are left as they are: see `load_legacy` about `hard_sigmoid`.
        path: of weights, as `model.save_weights("NAME.h5")` wrote them, or of a whole model.

    Raises:
        ArgumentError: the model is none, or is not built.
        FileFormatError: not such a file, damaged, or of another model.
    """
    check_graph(model)
    with _translated(path, whole=False) as copy, _damage(path):
        model.load_weights(copy)


@contextmanager
def _damage(path: Any) -> Iterator[None]:
    try:
        yield
    except FileFormatError:
        raise
    # h5py raises SystemError at a name that is no text.
    except (OSError, SystemError, *DAMAGE) as error:
        raise FileFormatError(f"{os.fspath(path)!r} cannot be loaded: {error}") from error


@contextmanager
def _translated(path: str | os.PathLike[str], whole: bool) -> Iterator[str]:
    """A copy of the file as Keras 3 reads it."""
    if not os.path.isfile(path) or not h5py.is_hdf5(path):
        raise FileFormatError(f"{os.fspath(path)!r} is not an HDF5 file. Expected one of Keras 2.")
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "legacy.h5")
        shutil.copyfile(path, copy)
        with _damage(path), h5py.File(copy, "r+") as file:
            _check_links(file, path)
            weights = file.get("model_weights", file)
            if _version(file, weights, path) == 2:
                _translate_weights(weights)
                if whole:
                    _translate_config(file, path)
        yield copy


def _check_links(file: h5py.File, path: Any) -> None:
    """Refuses what reads other files."""
    found: list[str] = []

    def look(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            found.append(name)

    def look_within(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            found.append(name)

    file.visititems_links(look)
    file.visititems(look_within)
    if found:
        raise FileFormatError(f"{os.fspath(path)!r} reads other files, at {found[0]!r}.")


def _version(file: h5py.File, weights: h5py.Group, path: Any) -> int:
    text = weights.attrs.get("keras_version", file.attrs.get("keras_version", "1"))
    text = text.decode() if isinstance(text, bytes) else str(text)
    major = int(text.split(".")[0])
    if major < 2:
        raise FileFormatError(
            f"{os.fspath(path)!r} was written before Keras 2, or not by Keras (version {text}). "
            "Load and save it with Keras 2 first."
        )
    return major


def _translate_weights(weights: h5py.Group) -> None:
    for group in _groups(weights):
        names = _names(group, "weight_names")
        shapes = [group[name].shape for name in names]
        for start, _ in places(shapes, "keras_cudnn"):
            three = names[start : start + 3]
            arrays = from_cudnn([group[name][...] for name in three])
            for name, array in zip(three, arrays, strict=True):
                del group[name]
                group[name] = array


def _groups(weights: h5py.Group) -> list[h5py.Group]:
    return [weights[name] for name in _names(weights, "layer_names")]


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Names that Keras wrote, in pieces where there are many."""
    pieces, number = [], 0
    while f"{attribute}{number}" in group.attrs:
        pieces.append(group.attrs[f"{attribute}{number}"])
        number += 1
    names = np.concatenate(pieces) if pieces else group.attrs[attribute]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _translate_config(file: h5py.File, path: Any) -> None:
    if "model_config" not in file.attrs:
        fix = "Build the model, and use seqkeras.conversion.load_legacy_weights."
        raise FileFormatError(f"{os.fspath(path)!r} holds weights, but no model. {fix}")
    config = _translate(json.loads(file.attrs["model_config"]), path)
    text = json.dumps(config)
    del file.attrs["model_config"]
    file.attrs["model_config"] = text


def _translate(item: Any, path: Any) -> Any:
    """A config, and those within it, as Keras 3 reads them."""
    if isinstance(item, list):
        return [_translate(one, path) for one in item]
    if not isinstance(item, dict):
        return item
    item = {key: _translate(value, path) for key, value in item.items()}
    if isinstance(item.get("config"), dict) and isinstance(item.get("class_name"), str):
        _translate_layer(item, item["config"], path)
    return item


def _translate_layer(item: dict[str, Any], config: dict[str, Any], path: Any) -> None:
    if item["class_name"] in _CUDNN:
        item["class_name"], options = _CUDNN[item["class_name"]]
        config.update(options)
    if item["class_name"] in _RECURRENT:
        config.pop("implementation", None)
        if config.pop("time_major", False):
            raise FileFormatError(
                f"{os.fspath(path)!r} cannot be loaded: layer {config.get('name')!r} reads "
                "(timesteps, batch, features), by time_major=True, which Keras 3 does not have."
            )
    if item["class_name"] in ("GRU", "GRUCell"):
        config.setdefault("reset_after", False)
    for name in ("activation", "recurrent_activation"):
        if config.get(name) == "hard_sigmoid":
            config[name] = keras.activations.serialize(keras_2_hard_sigmoid)
