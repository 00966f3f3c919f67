"""Load files of Keras 2, including those that Keras 3 refuses or misreads."""

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import keras
import numpy as np

from seqkeras._files import zip_damage
from seqkeras._keras_graph._rebuild import check_graph
from seqkeras.conversion._cudnn_weights import from_cudnn, places
from seqkeras.conversion._keras2_config import translate_config
from seqkeras.errors import FileFormatError

# Keras itself creates the layers, from a translated config, and reads the weights, from a copy of
# the file. So the order of weights and the protection against code in the file are Keras' own.

#: h5py raises SystemError for a name that is not text.
_DAMAGE: tuple[type[Exception], ...] = (OSError, SystemError, *zip_damage())
#: Name of the group with the layers of a model in a `.weights.h5` file of Keras 2.12.
_LAYERS_2_12 = "_layer_checkpoint_dependencies"
#: Largest config in bytes: a small zip file can expand to a very large text.
_LARGEST_CONFIG = 2**28
_BY_HAND = (
    "Build the model in code, and load its weights with seqkeras.conversion.load_legacy_weights."
)
_IN_KERAS_2 = (
    "Where Keras 2 runs (pip install tf_keras), load it with tf_keras.models.load_model, and save "
    'it again with model.save("NAME.h5").'
)


def load_legacy(path: str | os.PathLike[str]) -> keras.Model:
    """Load a model from a file of Keras 2: `.h5`, `.keras`, or the `.json` of `to_json`.

    The model returns the outputs that it returned in Keras 2. Its layers are Keras' own, except
    where the last of these changes needs others:

    - CuDNNLSTM and CuDNNGRU become LSTM and GRU, at any depth, with their weights converted;
    - arguments that Keras 3 lacks are dropped if they change nothing, and refused otherwise; a GRU
      without `reset_after` in the file gets `reset_after=False`;
    - `hard_sigmoid` becomes `layers.keras_2_hard_sigmoid`, because Keras 3 uses that name for
      another function;
    - in a model with masks, layers that join branches, such as Add and Concatenate, join their
      masks as in Keras 2; recurrent layers called with states become those of `seqkeras.layers`,
      because those of Keras 3 then lose the mask.

    If either of the last two changes was made, `import seqkeras.layers` before you open a saved
    copy of the model.

    The model is not compiled. Layers of your own are looked up in a
    `keras.saving.custom_object_scope`. Code in the file, such as that of a Lambda, is refused. The
    `.h5` and `.keras` files of Keras 3 are loaded by Keras.

    Args:
        path: file of a whole model, written by `model.save("NAME.h5")` or
            `model.save("NAME.keras")`; or a file with the text of `model.to_json()`, which gives a
            model with new weights, for `load_legacy_weights`.

    Raises:
        FileFormatError: the file is of another kind, is damaged, or needs a feature that Keras 3
            does not have. The message says what to do instead.
    """
    with _damage(path), _copy(path) as copy:
        if zipfile.is_zipfile(copy):
            return _load_zip(copy, path)
        if not h5py.is_hdf5(copy):
            return _load_json(copy, path)
        with h5py.File(copy, "r+") as file:
            is_old = _check_file(file, path)
            model = _build(_config(file, path), path) if is_old else None
        if model is None:
            return keras.models.load_model(copy, compile=False)
        model.load_weights(copy)
        return model


def load_legacy_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Load weights from a file of Keras 2, including those of CuDNN layers.

    Layers are matched by their order, as in Keras.

    Args:
        model: a model built like the saved one from layers of Keras or `seqkeras.layers`, with LSTM
            in place of CuDNNLSTM, and GRU with `reset_after=True` in place of CuDNNGRU. Its
            activations do not change: see `load_legacy` about `hard_sigmoid`.
        path: file of weights, written by `model.save_weights("NAME.h5")` or
            `model.save_weights("NAME.weights.h5")`, or of a whole model, `.h5` or `.keras`.

    Raises:
        ArgumentError: `model` is not a Keras model, is not built, or is a subclass with its own
            `call`.
        FileFormatError: the file is of another kind, is damaged, or belongs to another model.
    """
    check_graph(model)
    with _damage(path), _copy(path) as copy:
        if zipfile.is_zipfile(copy):
            copy = shutil.move(copy, copy + ".keras")
        elif not h5py.is_hdf5(copy):
            raise _not_readable(path)
        else:
            with h5py.File(copy, "r+") as file:
                has_paths = _has_paths(file)
                _check_file(file, path)
            if has_paths:
                copy = shutil.move(copy, copy + ".weights.h5")
        model.load_weights(copy)


@contextmanager
def _damage(path: Any) -> Iterator[None]:
    try:
        yield
    except FileFormatError:
        raise
    except _DAMAGE as error:
        raise FileFormatError(f"{os.fspath(path)!r} cannot be loaded: {error}") from error


@contextmanager
def _copy(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the path of a temporary copy of the file, which the caller may change."""
    if os.path.isdir(path):
        raise FileFormatError(
            f"{os.fspath(path)!r} is a folder, such as a SavedModel. {_IN_KERAS_2}"
        )
    if not os.path.isfile(path):
        raise FileFormatError(f"{os.fspath(path)!r} is not a file.")
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "legacy.h5")
        shutil.copyfile(path, copy)
        yield copy


def _not_readable(path: Any) -> FileFormatError:
    return FileFormatError(
        f"{os.fspath(path)!r} is neither HDF5 nor a .keras file. If it is a checkpoint of "
        "TensorFlow, load it in Keras 2 (pip install tf_keras), and save the weights again with "
        'model.save_weights("NAME.h5").'
    )


def _load_zip(copy: str, path: Any) -> keras.Model:
    copy = shutil.move(copy, copy + ".keras")
    with zipfile.ZipFile(copy) as archive:
        if _major(json.loads(_part(archive, "metadata.json"))["keras_version"]) > 2:
            return keras.models.load_model(copy, compile=False)
        if any(name.startswith("assets/") for name in archive.namelist()):
            raise FileFormatError(
                f"{os.fspath(path)!r} has vocabularies (assets/), which cannot be read. "
                f"{_IN_KERAS_2}"
            )
        model = _build(_decoded(_part(archive, "config.json")), path)
    model.load_weights(copy)
    return model


def _part(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > _LARGEST_CONFIG:
        raise ValueError(f"{name} would have {size} bytes.")
    return archive.read(name)


def _load_json(copy: str, path: Any) -> keras.Model:
    with open(copy, "rb") as file:
        if file.read(1) != b"{":
            raise _not_readable(path)
        file.seek(0)
        return _build(_decoded(file.read()), path)


def _build(config: Any, path: Any) -> keras.Model:
    """Create a model, with new weights."""
    try:
        return keras.saving.deserialize_keras_object(translate_config(config), safe_mode=True)
    except _DAMAGE as error:
        message = f"{os.fspath(path)!r} cannot be loaded: {error} {_BY_HAND}"
        raise FileFormatError(message) from error


def _decoded(text: str | bytes) -> Any:
    """Read JSON, replacing the objects in which Keras 2 stored tuples by lists of their items."""
    return json.loads(text, object_hook=lambda item: item.get("items", item))


def _has_paths(file: h5py.File) -> bool:
    """Return whether weights are named by their place in the model, as in `.weights.h5` files."""
    marks = {"keras_version", "layer_names", "layer_names0"}
    return "model_weights" not in file and not marks & set(file.attrs)


def _check_file(file: h5py.File, path: Any) -> bool:
    """Check an h5 file, and translate its weights; return whether it is a file of Keras 2."""
    _check_links(file, path)
    if _has_paths(file):
        _rename_layers(file)
        return False
    weights = file.get("model_weights", file)
    is_old = _version(file, weights, path) == 2
    if is_old:
        _translate_weights(weights)
    return is_old


def _rename_layers(group: h5py.Group) -> None:
    """Rename the layers of a model and its nested models to the names used since Keras 2.13."""
    if _LAYERS_2_12 in group:
        group.move(_LAYERS_2_12, "layers")
        _renumber(group["layers"])
    for part in group.values():
        if isinstance(part, h5py.Group):
            _rename_layers(part)


def _renumber(group: h5py.Group) -> None:
    """Number layers of a class consecutively; Keras 2.12 counted layers with weights twice."""
    numbers: dict[str, list[int]] = {}
    for name in group:
        kind, _, number = name.rpartition("_")
        if number.isdecimal():
            numbers.setdefault(kind, []).append(int(number))
    for kind, old_numbers in numbers.items():
        for new_number, old_number in enumerate(sorted(old_numbers), start=1):
            if new_number != old_number:
                group.move(f"{kind}_{old_number}", f"{kind}_{new_number}")


def _config(file: h5py.File, path: Any) -> Any:
    if "model_config" not in file.attrs:
        raise FileFormatError(f"{os.fspath(path)!r} has weights, but no model. {_BY_HAND}")
    return _decoded(file.attrs["model_config"])


def _check_links(file: h5py.File, path: Any) -> None:
    """Check that nothing in a file refers to other files."""
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
    major = _major(text)
    if major < 2:
        raise FileFormatError(
            f"{os.fspath(path)!r} was written before Keras 2, or not by Keras (version {text}). "
            "Load and save it with Keras 2 first."
        )
    return major


def _major(version: str) -> int:
    return int(version.split(".")[0])


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
    pieces: list[Any] = []
    while f"{attribute}{len(pieces)}" in group.attrs:
        pieces.append(group.attrs[f"{attribute}{len(pieces)}"])
    names = np.concatenate(pieces) if pieces else group.attrs[attribute]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
