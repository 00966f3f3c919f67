"""A `.keras` file of Keras 2, from `data/make_keras_zip.py`."""

import json
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from seqkeras import conversion
from seqkeras.errors import FileFormatError

DATA = Path(__file__).parent / "data"
PATH = DATA / "keras_zip.keras"
GOLDEN = json.loads((DATA / "keras_zip.json").read_text())


def check_outputs(model):
    words, numbers = GOLDEN["x"]
    output = model([np.int32(words), np.float32(numbers)], training=False)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(output), GOLDEN["y"], atol=1e-6)


@pytest.mark.backends
def test_a_model_returns_what_it_returned_in_keras_2():
    check_outputs(conversion.load_legacy(PATH))


def test_weights_are_loaded_from_the_file_and_from_weights_h5(tmp_path):
    with zipfile.ZipFile(PATH) as archive:
        archive.extract("model.weights.h5", tmp_path)
    shutil.copyfile(tmp_path / "model.weights.h5", tmp_path / "keras_2_12.h5")
    with h5py.File(tmp_path / "keras_2_12.h5", "r+") as file:
        for model in ("layers/functional", ""):
            file.move(f"{model}/layers", f"{model}/_layer_checkpoint_dependencies")
    for path in (PATH, tmp_path / "model.weights.h5", tmp_path / "keras_2_12.h5"):
        model = conversion.load_legacy(PATH)
        model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
        conversion.load_legacy_weights(model, path)
        check_outputs(model)


def test_keras_2_12_counted_layers_twice(tmp_path):
    model = keras.Sequential([keras.Input((3,)), *(keras.layers.Dense(3) for _ in range(4))])
    model.save_weights(tmp_path / "new.weights.h5")
    with h5py.File(tmp_path / "new.weights.h5", "r+") as file:
        for number in (3, 2, 1):
            file.move(f"layers/dense_{number}", f"layers/dense_{2 * number}")
        file.move("layers", "_layer_checkpoint_dependencies")
    expected = model.get_weights()
    model.set_weights([np.zeros_like(weight) for weight in expected])
    conversion.load_legacy_weights(model, tmp_path / "new.weights.h5")
    for old, new in zip(expected, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_of_keras_3_load(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(2)])
    model.save_weights(tmp_path / "new.weights.h5")
    model.save(tmp_path / "new.keras")
    expected = model.get_weights()
    for name in ("new.weights.h5", "new.keras"):
        model.set_weights([np.zeros_like(weight) for weight in expected])
        conversion.load_legacy_weights(model, tmp_path / name)
        for old, new in zip(expected, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


def test_a_keras_file_of_keras_3_loads_as_keras_loads_it(tmp_path):
    model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(2)])
    model.save(tmp_path / "new.keras")
    loaded = conversion.load_legacy(tmp_path / "new.keras")
    x = np.ones((2, 5, 3), "float32")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: files.pop("config.json"), "cannot be loaded: .*config.json"),
        (lambda files: files.update({"config.json": b"{"}), "cannot be loaded"),
        (lambda files: files.update({"model.weights.h5": b"no"}), "cannot be loaded"),
        (lambda files: files.update({"assets/words.txt": b"a"}), "has vocabularies.*tf_keras"),
    ],
    ids=["no config", "no json", "no weights", "assets"],
)
def test_a_damaged_file_is_refused(change, message, tmp_path):
    with zipfile.ZipFile(PATH) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(tmp_path / "bad.keras", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises(FileFormatError, match=message):
        conversion.load_legacy(tmp_path / "bad.keras")
