"""Files of Keras 2, written by `data/make_legacy.py` and `data/make_keras_zip.py`."""

import json
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from helpers.arrays import assert_arrays_equal
from helpers.models import assert_close, to_numpy
from seqkeras import conversion, layers
from seqkeras.errors import ArgumentError, FileFormatError

DATA = Path(__file__).parent / "data"
GOLDEN = json.loads((DATA / "legacy.json").read_text())["models"]
ZIP = DATA / "keras_zip.keras"
ZIP_GOLDEN = json.loads((DATA / "keras_zip.json").read_text())


def check_golden(model, name):
    """Compare the outputs of a model with those that Keras 2 stored for this name."""
    x, y = (np.array(GOLDEN[name][key], "float32") for key in "xy")
    assert_close(model(x), y, 1e-6)


@pytest.fixture
def edited(tmp_path):
    """Return a function that copies a file and changes its config."""

    def edit(name, change):
        path = tmp_path / name
        shutil.copyfile(DATA / name, path)
        with h5py.File(path, "r+") as file:
            text = change(file.attrs["model_config"])
            del file.attrs["model_config"]
            file.attrs["model_config"] = text
        return path

    return edit


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.backends] if name == "functional" else [])
        for name in GOLDEN
    ],
)
def test_a_model_returns_what_it_returned_in_keras_2(name, tmp_path):
    model = conversion.load_legacy(DATA / f"{name}.h5")
    check_golden(model, name)
    assert not model.compiled
    model.save(tmp_path / "model.keras")
    check_golden(keras.models.load_model(tmp_path / "model.keras"), name)


def test_an_old_model_is_accelerated():
    model = conversion.accelerate(conversion.load_legacy(DATA / "functional.h5"))
    assert isinstance(model.get_layer("back"), layers.GRU)
    check_golden(model, "functional")


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("functional.h5", conversion.accelerate),
        ("functional_weights.h5", conversion.to_keras),
    ],
)
def test_weights_are_loaded_into_a_model(name, convert):
    model = convert(conversion.load_legacy(DATA / "functional.h5"))
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    conversion.load_legacy_weights(model, DATA / name)
    check_golden(model, "functional")


def test_a_gru_from_before_reset_after_gets_false(edited):
    def change(text):
        assert '"reset_after": false' in text
        return text.replace(', "reset_after": false', "")

    check_golden(conversion.load_legacy(edited("old_arguments.h5", change)), "old_arguments")


def test_hard_sigmoid_is_that_of_keras_2():
    activations = [getattr(layer, "recurrent_activation", None) for layer in _old_layers()]
    assert activations.count(layers.keras_2_hard_sigmoid) == 2
    x = np.linspace(-4, 4, 33)
    expected = np.clip(0.2 * x + 0.5, 0, 1)
    actual = keras.ops.convert_to_numpy(layers.keras_2_hard_sigmoid(keras.ops.array(x)))
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def _old_layers():
    return conversion.load_legacy(DATA / "old_arguments.h5").layers


@pytest.mark.parametrize("name", ["new.h5", "new.keras"])
def test_files_of_keras_3_load_as_keras_loads_them(name, tmp_path):
    model = keras.Sequential(
        [keras.Input((5, 3)), keras.layers.GRU(2, recurrent_activation="hard_sigmoid")]
    )
    model.save(tmp_path / name)
    x = np.ones((2, 5, 3), "float32")
    loaded = conversion.load_legacy(tmp_path / name)
    np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"time_major": false', '"time_major": true', "'lstm.* has time_major=True"),
        ('"class_name": "Masking"', '"class_name": "Other"', "cannot be loaded: .*Other"),
        ('"layers"', '"layer"', "cannot be loaded"),
        ("{", "", "cannot be loaded"),
    ],
    ids=["time major", "unknown layer", "no layers", "no json"],
)
def test_what_keras_cannot_create_is_refused(edited, old, new, message):
    path = edited("old_arguments.h5", lambda text: text.replace(old, new))
    with pytest.raises(FileFormatError, match=message):
        conversion.load_legacy(path)


def test_code_in_a_file_is_not_run(edited):
    code = ["4wEAAAAAAAAAAA==\n", None, None]
    config = {"name": "lambda", "function": code, "function_type": "lambda"}
    layer = json.dumps({"class_name": "Lambda", "config": config})

    def change(text):
        return text.replace('{"class_name": "Masking"', layer + ', {"class_name": "Masking"')

    with pytest.raises(FileFormatError, match=r"code in the file.*Build the model"):
        conversion.load_legacy(edited("old_arguments.h5", change))


def test_a_file_that_reads_another_is_refused(tmp_path):
    path = tmp_path / "file.h5"
    shutil.copyfile(DATA / "functional.h5", path)
    with h5py.File(path, "r+") as file:
        del file["model_weights/out/out/bias:0"]
        file["model_weights/out/out/bias:0"] = h5py.ExternalLink("/etc/secret.h5", "/x")
    with pytest.raises(FileFormatError, match="reads other files, at 'model_weights/out/out/bias"):
        conversion.load_legacy(path)


def test_a_version_that_is_too_old_is_refused(tmp_path):
    path = tmp_path / "file.h5"
    shutil.copyfile(DATA / "functional_weights.h5", path)
    with h5py.File(path, "r+") as file:
        file.attrs["keras_version"] = "1.2.2"
    with pytest.raises(FileFormatError, match=r"before Keras 2.*\(version 1.2.2\)"):
        conversion.load_legacy(path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.h5").write_text("no")
    for name, message in (("text.h5", "is neither HDF5 nor"), ("nothing.h5", "is not a file")):
        with pytest.raises(FileFormatError, match=f"{name}' {message}"):
            conversion.load_legacy(tmp_path / name)
    with pytest.raises(FileFormatError, match="has weights, but no model"):
        conversion.load_legacy(DATA / "functional_weights.h5")
    cut = tmp_path / "cut.h5"
    whole = (DATA / "functional.h5").read_bytes()
    for damaged in (whole[:9000], whole.replace(b"model_weights", b"\xffodel_weights")):
        cut.write_bytes(damaged)
        with pytest.raises(FileFormatError, match="cannot be loaded"):
            conversion.load_legacy(cut)


def test_weights_of_another_model_are_refused():
    model = conversion.load_legacy(DATA / "sequential.h5")
    with pytest.raises(FileFormatError, match="cannot be loaded: "):
        conversion.load_legacy_weights(model, DATA / "functional_weights.h5")
    with pytest.raises(ArgumentError, match=r"a keras\.Model"):
        conversion.load_legacy_weights(3, DATA / "functional_weights.h5")


# -- files that end in .keras --------------------------------------------------------------------


def check_zip_outputs(model):
    words, numbers = ZIP_GOLDEN["x"]
    output = model([np.int32(words), np.float32(numbers)], training=False)
    np.testing.assert_allclose(to_numpy(output), ZIP_GOLDEN["y"], atol=1e-6)


@pytest.mark.backends
def test_a_model_of_a_keras_file_returns_what_it_returned_in_keras_2():
    check_zip_outputs(conversion.load_legacy(ZIP))


def test_weights_are_loaded_from_the_file_and_from_weights_h5(tmp_path):
    with zipfile.ZipFile(ZIP) as archive:
        archive.extract("model.weights.h5", tmp_path)
    shutil.copyfile(tmp_path / "model.weights.h5", tmp_path / "keras_2_12.h5")
    with h5py.File(tmp_path / "keras_2_12.h5", "r+") as file:
        for model in ("layers/functional", ""):
            file.move(f"{model}/layers", f"{model}/_layer_checkpoint_dependencies")
    for path in (ZIP, tmp_path / "model.weights.h5", tmp_path / "keras_2_12.h5"):
        model = conversion.load_legacy(ZIP)
        model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
        conversion.load_legacy_weights(model, path)
        check_zip_outputs(model)


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
    assert_arrays_equal(model.get_weights(), expected)


def test_weights_of_keras_3_load(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(2)])
    model.save_weights(tmp_path / "new.weights.h5")
    model.save(tmp_path / "new.keras")
    expected = model.get_weights()
    for name in ("new.weights.h5", "new.keras"):
        model.set_weights([np.zeros_like(weight) for weight in expected])
        conversion.load_legacy_weights(model, tmp_path / name)
        assert_arrays_equal(model.get_weights(), expected)


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
def test_a_damaged_keras_file_is_refused(change, message, tmp_path):
    with zipfile.ZipFile(ZIP) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(tmp_path / "bad.keras", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises(FileFormatError, match=message):
        conversion.load_legacy(tmp_path / "bad.keras")
