"""Models of Keras 2 before 2.13, from `data/make_keras_2.py`, which Keras 3 refuses or misreads."""

import gzip
import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from helpers.keras_2_numbers import random_inputs, random_weights
from helpers.stock_keras import Saved, outputs_with_layers_only
from seqkeras import conversion
from seqkeras.errors import ArgumentError, FileFormatError
from seqkeras.export import save_program
from seqkeras.runtime import load

DATA = Path(__file__).parent / "data"
CASES = json.loads(gzip.decompress((DATA / "keras_2.json.gz").read_bytes()))


def write(path, case, config=None):
    """Write the file that Keras 2 wrote for a case."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.12.0"
        file.attrs["model_config"] = json.dumps(config or case["config"])
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = list(case["weights"])
        for number, (layer, shapes) in enumerate(case["weights"].items()):
            part = group.create_group(layer)
            part.attrs["weight_names"] = np.array(list(shapes), "S")
            for name, values in zip(shapes, random_weights(shapes.values(), number), strict=True):
                part[name] = values
    return path


def outputs_of(model, case):
    inputs = random_inputs(case["inputs"])
    outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]


def check_outputs(model, case, tolerance=2e-6):
    actual = outputs_of(model, case)
    assert len(actual) == len(case["outputs"])
    for output, expected in zip(actual, case["outputs"], strict=True):
        np.testing.assert_allclose(output, expected, atol=tolerance)


@pytest.mark.parametrize(
    "name",
    [
        # Each fourth is enough for the other backends: the conversion is the same.
        pytest.param(name, marks=[] if number % 4 else [pytest.mark.backends])
        for number, name in enumerate(CASES)
    ],
)
def test_a_model_returns_what_it_returned_in_keras_2(name, tmp_path):
    case = CASES[name]
    model = conversion.load_legacy(write(tmp_path / "old.h5", case))
    check_outputs(model, case, tolerance=1e-3 if name == "two_precisions" else 2e-6)


@pytest.mark.parametrize("name", ["Multiply in a model", "residual", "Concatenate of one mask"])
def test_a_model_that_joins_masks_is_saved_and_copied(name, tmp_path):
    case = CASES[name]
    model = conversion.load_legacy(write(tmp_path / "old.h5", case))
    model.save(tmp_path / "new.keras")
    for copy in (keras.models.load_model(tmp_path / "new.keras"), conversion.accelerate(model)):
        check_outputs(copy, case)


def test_a_saved_copy_opens_in_a_program_that_knows_the_layers_only(tmp_path):
    case = CASES["residual"]
    model = conversion.load_legacy(write(tmp_path / "old.h5", case))
    model.save(tmp_path / "new.keras")
    (inputs,), (expected,) = random_inputs(case["inputs"]), case["outputs"]
    ((output,),) = outputs_with_layers_only(Saved(tmp_path / "new.keras", [inputs]))
    np.testing.assert_allclose(output, expected, atol=2e-6)


def test_a_model_that_joins_masks_has_no_copy_of_stock_layers(tmp_path):
    model = conversion.load_legacy(write(tmp_path / "old.h5", CASES["residual"]))
    with pytest.raises(ArgumentError, match=r"masks as Keras 2 did, which keras\.layers\.\w+ does"):
        conversion.to_keras(model)


def test_layers_are_stock_where_no_mask_is_made(tmp_path):
    model = conversion.load_legacy(write(tmp_path / "old.h5", CASES["siamese"]))
    assert type(model.layers[-1]) is keras.layers.Subtract


def test_a_sequential_from_before_keras_2_2_3_is_a_list(tmp_path):
    case = CASES["bidirectional"]
    first, second = case["config"]["config"]["layers"]
    shape = first["config"]["batch_input_shape"]
    second = {**second, "config": {**second["config"], "batch_input_shape": shape}}
    config = {"class_name": "Sequential", "config": [second]}
    path = write(tmp_path / "old.h5", case, config)
    check_outputs(conversion.load_legacy(path), case)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("spatial dropout", '"noise_shape": null', '"noise_shape": [1]', "has noise_shape="),
        ("bidirectional", '"time_major": false', '"time_major": true', "'lstm.* has time_major=T"),
        ("tensorflow_functions", "math.square", "math.erf", "the TensorFlow function 'math.erf'"),
        ("bidirectional", '"LSTM"', '"LocallyConnected1D"', "LocallyConnected1D"),
    ],
    ids=["argument", "time major", "function", "layer"],
)
def test_what_keras_3_lacks_is_refused_with_the_way_that_remains(name, old, new, message, tmp_path):
    text = json.dumps(CASES[name]["config"])
    assert old in text
    config = json.loads(text.replace(old, new))
    path = write(tmp_path / "old.h5", CASES[name], config)
    with pytest.raises(FileFormatError, match=rf"{message}.*Build the model in code, and load"):
        conversion.load_legacy(path)


def test_a_lambda_of_a_function_needs_the_function(tmp_path):
    case = CASES["leaky relu"]
    function = {"function": "double", "function_type": "function", "module": "main"}
    options = {"name": "twice", "output_shape": None, "output_shape_type": "raw", **function}
    config = json.loads(json.dumps(case["config"]))
    config["config"]["layers"].append({"class_name": "Lambda", "config": options})
    path = write(tmp_path / "old.h5", case, config)
    with pytest.raises(
        FileFormatError, match=r"'twice' is a Lambda .*custom_object_scope\({'double'"
    ):
        conversion.load_legacy(path)
    with keras.saving.custom_object_scope({"double": lambda x: 2 * x}):
        model = conversion.load_legacy(path)
    expected = 2 * np.array(case["outputs"][0])
    np.testing.assert_allclose(outputs_of(model, case)[0], expected, atol=4e-6)


class MyLSTM(keras.layers.LSTM):
    """A subclass that a user wrote, with an option that Keras 2 had with other values."""

    def __init__(self, *arguments, implementation="slow", **options):
        super().__init__(*arguments, **options)
        self.implementation = implementation


def test_a_subclass_of_a_recurrent_layer_loads(tmp_path):
    case = CASES["seq2seq"]
    config = json.loads(json.dumps(case["config"]).replace('"LSTM"', '"MyLSTM"'))
    path = write(tmp_path / "old.h5", case, config)
    with keras.saving.custom_object_scope({"MyLSTM": MyLSTM}):
        model = conversion.load_legacy(path)
    assert any(type(layer) is MyLSTM for layer in model.layers)
    check_outputs(model, case)


def test_a_subclass_keeps_an_option_of_its_own(tmp_path):
    case = CASES["seq2seq"]
    config = json.loads(json.dumps(case["config"]).replace('"LSTM"', '"MyLSTM"'))
    own = [layer for layer in config["config"]["layers"] if layer["class_name"] == "MyLSTM"]
    own[0]["config"]["implementation"] = "fast"
    path = write(tmp_path / "old.h5", case, config)
    with keras.saving.custom_object_scope({"MyLSTM": MyLSTM}):
        model = conversion.load_legacy(path)
    assert model.get_layer(own[0]["config"]["name"]).implementation == "fast"


def test_the_text_of_a_model_loads_and_its_weights_after_it(tmp_path):
    case = CASES["autoencoder"]
    (tmp_path / "model.json").write_text(json.dumps(case["config"]))
    model = conversion.load_legacy(tmp_path / "model.json")
    conversion.load_legacy_weights(model, write(tmp_path / "old.h5", case))
    check_outputs(model, case)


def test_what_is_no_file_of_keras_names_the_way_that_remains(tmp_path):
    (tmp_path / "saved_model").mkdir()
    with pytest.raises(FileFormatError, match=r"is a folder.*pip install tf_keras.*\.h5"):
        conversion.load_legacy(tmp_path / "saved_model")
    (tmp_path / "weights.ckpt").write_bytes(b"\0\0")
    with pytest.raises(FileFormatError, match=r"neither HDF5 nor a \.keras file.*save_weights"):
        conversion.load_legacy(tmp_path / "weights.ckpt")


@pytest.mark.parametrize("name", ["Add of two masks", "Multiply of two masks", "Add of one mask"])
def test_a_model_that_joins_masks_is_exported(name, tmp_path):
    case = CASES[name]
    model = conversion.load_legacy(write(tmp_path / "old.h5", case))
    model = keras.Model(model.inputs, model.outputs[0])
    save_program(model, tmp_path / "old.program")
    program = load(tmp_path / "old.program")
    x = random_inputs(case["inputs"])
    state = program.initial_state(len(x[0]))
    for timestep in range(x[0].shape[1]):
        output, state = program.step([values[:, timestep] for values in x], state)
    np.testing.assert_allclose(output, outputs_of(model, case)[0], atol=2e-6)
