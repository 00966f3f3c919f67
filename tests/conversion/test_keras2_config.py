"""Models of Keras 2 before 2.13, from `data/make_keras_2.py`, which Keras 3 refuses or misreads."""

import gzip
import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from seqkeras import conversion

DATA = Path(__file__).parent / "data"
CASES = json.loads(gzip.decompress((DATA / "keras_2.json.gz").read_bytes()))


def random_values(shapes):
    """Return arrays of these shapes, those of `make_keras_2.py`."""
    random = np.random.default_rng(3)
    return [random.uniform(0.1, 0.9, shape) * random.choice([-1, 1], shape) for shape in shapes]


def random_inputs(kinds):
    """Return the inputs of `make_keras_2.py`: words of which the last ones are 0, or numbers."""
    inputs = []
    for number, (shape, dtype) in enumerate(kinds):
        (values,) = random_values([shape])
        if dtype == "int32":
            values = 1 + np.abs(8 * values)
            values[0, 2 + number :] = 0
            values[1, 4 - number :] = 0
        inputs.append((values > 0 if dtype == "bool" else values).astype(dtype))
    return inputs


def write(path, case, config=None):
    """Write the file that Keras 2 wrote for a case."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.12.0"
        file.attrs["model_config"] = json.dumps(config or case["config"])
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = list(case["weights"])
        for layer, shapes in case["weights"].items():
            part = group.create_group(layer)
            part.attrs["weight_names"] = np.array(list(shapes), "S")
            for name, values in zip(shapes, random_values(shapes.values()), strict=True):
                part[name] = np.abs(values)
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


@pytest.mark.backends
@pytest.mark.parametrize("name", CASES)
def test_a_model_returns_what_it_returned_in_keras_2(name, tmp_path):
    case = CASES[name]
    model = conversion.load_legacy(write(tmp_path / "old.h5", case))
    check_outputs(model, case, tolerance=1e-3 if name == "two_precisions" else 2e-6)
