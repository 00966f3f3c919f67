"""Files of Keras 2 (`.h5`), including what Keras 3 refuses or misreads."""

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

from seqkeras._files import DAMAGE
from seqkeras._keras_graph._rebuild import check_graph
from seqkeras.conversion._cudnn_weights import from_cudnn, places
from seqkeras.errors import FileFormatError
from seqkeras.layers import keras_2_hard_sigmoid

# The file is copied, the copy is translated, and Keras reads the copy. So layers, the order of
# weights, and the protection against code in the file are those of Keras.

#: The layer of Keras 3 for each CuDNN layer, and the options that it must have.
_CUDNN: dict[str, tuple[str, dict[str, Any]]] = {
    "CuDNNLSTM": ("LSTM", {"recurrent_activation": "sigmoid"}),
    "CuDNNGRU": ("GRU", {"recurrent_activation": "sigmoid", "reset_after": True}),
}
#: Layers and cells whose options `implementation` and `time_major` are removed.
_RECURRENT = ("LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "RNN")


def load_legacy(path: str | os.PathLike[str]) -> keras.Model:
    """Load a model from an `.h5` file of Keras 2, including CuDNNLSTM and CuDNNGRU.

    The model has stock Keras layers and returns what it returned in Keras 2:

    - CuDNNLSTM and CuDNNGRU become LSTM and GRU, at any depth, with their weights converted;
    - arguments of recurrent layers that Keras 3 lacks are dropped; a GRU without `reset_after` in
      the file gets `reset_after=False`;
    - `hard_sigmoid` becomes `layers.keras_2_hard_sigmoid`, because Keras 3 has another function of
      that name. To open a saved copy of such a model, `import seqkeras.layers` first.

    The model is not compiled. Layers of your own are looked up in a
    `keras.saving.custom_object_scope`. Code in the file, such as that of a Lambda, is refused, as
    in Keras. The h5 files of Keras 3 load as well.

    Args:
        path: file of a whole model, written by `model.save("NAME.h5")`.

    Raises:
        FileFormatError: not an h5 file of Keras 2 or 3, damaged, with layers that read
            `time_major=True`, or with something that Keras cannot create.
    """
    with _translated(path, has_model=True) as copy, _damage(path):
        return keras.models.load_model(copy, compile=False)


def load_legacy_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Load weights from an `.h5` file of Keras 2, including those of CuDNN layers.

    Layers are matched by their order, as in Keras.

    Args:
        model: built like the saved one, with LSTM in place of CuDNNLSTM, and GRU with
            `reset_after=True` in place of CuDNNGRU; stock layers, or those of `seqkeras.layers`.
            Its activations do not change: see `load_legacy` about `hard_sigmoid`.
        path: file of weights, written by `model.save_weights("NAME.h5")`, or of a whole model.

    Raises:
        ArgumentError: not a model, or not built.
        FileFormatError: not an h5 file of Keras 2 or 3, damaged, or of another model.
    """
    check_graph(model)
    with _translated(path, has_model=False) as copy, _damage(path):
        model.load_weights(copy)


@contextmanager
def _damage(path: Any) -> Iterator[None]:
    try:
        yield
    except FileFormatError:
        raise
    # h5py raises SystemError for a name that is not text.
    except (OSError, SystemError, *DAMAGE) as error:
        raise FileFormatError(f"{os.fspath(path)!r} cannot be loaded: {error}") from error


@contextmanager
def _translated(path: str | os.PathLike[str], has_model: bool) -> Iterator[str]:
    """Yield the path of a copy that Keras 3 can read."""
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
                if has_model:
                    _translate_config(file, path)
        yield copy


def _check_links(file: h5py.File, path: Any) -> None:
    """Check that nothing in a file reads other files."""
    external: list[str] = []

    def check_link(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            external.append(name)

    def check_item(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            external.append(name)

    file.visititems_links(check_link)
    file.visititems(check_item)
    if external:
        raise FileFormatError(f"{os.fspath(path)!r} reads other files, at {external[0]!r}.")


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
    for layer_name in _names(weights, "layer_names"):
        group = weights[layer_name]
        names = _names(group, "weight_names")
        shapes = [group[name].shape for name in names]
        for start, _ in places(shapes, "keras_cudnn"):
            layer_names = names[start : start + 3]
            arrays = from_cudnn([group[name][...] for name in layer_names])
            for name, array in zip(layer_names, arrays, strict=True):
                del group[name]
                group[name] = array


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Read a list of names, which Keras splits into pieces if it is long."""
    pieces = []
    while f"{attribute}{len(pieces)}" in group.attrs:
        pieces.append(group.attrs[f"{attribute}{len(pieces)}"])
    names = np.concatenate(pieces) if pieces else group.attrs[attribute]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _translate_config(file: h5py.File, path: Any) -> None:
    if "model_config" not in file.attrs:
        fix = "Build the model, and use seqkeras.conversion.load_legacy_weights."
        raise FileFormatError(f"{os.fspath(path)!r} has weights, but no model. {fix}")
    config = _translate(json.loads(file.attrs["model_config"]), path)
    text = json.dumps(config)
    del file.attrs["model_config"]
    file.attrs["model_config"] = text


def _translate(item: Any, path: Any) -> Any:
    """Translate a config, and the configs within it, to Keras 3."""
    if isinstance(item, list):
        return [_translate(element, path) for element in item]
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
