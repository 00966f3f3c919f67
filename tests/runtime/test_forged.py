"""Tests of program files that somebody made to take memory or time, or to fail at the first step.

Their checksums are right: only what they describe is wrong.
"""

import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

from seqkeras import runtime
from seqkeras._archive import write_archive
from seqkeras._files import MAX_MESSAGE
from seqkeras.errors import FileFormatError
from seqkeras.runtime._program import KIND, VERSION

MEGABYTE = 2**20
LSTM = {"cell": "lstm", "activation": "tanh", "recurrent_activation": "sigmoid"}
ROLES = {"kernel": "kernel", "recurrent_kernel": "recurrent", "bias": "bias"}


def node(op, inputs, output, weights=None, **options):
    return {
        "name": output,
        "op": op,
        "inputs": inputs,
        "output": output,
        "weights": weights or {},
        "options": options,
    }


def lstm(output, source="x", units=4, **options):
    return node(
        "recurrent", [source], output, ROLES, units=units, sequences=False, **LSTM | options
    )


def lstm_weights(units, features=3, dtype="float32"):
    random = np.random.default_rng(0)
    shapes = {
        "kernel": (features, 4 * units),
        "recurrent": (units, 4 * units),
        "bias": (4 * units,),
    }
    return {name: random.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


@pytest.fixture
def load(tmp_path):
    """Return a function that writes a program and loads it."""

    def write_and_load(nodes, outputs=None, arrays=None, *, shape=(3,), window=None, **options):
        outputs = outputs or [nodes[-1]["output"]]
        ports = [{"name": f"output_{n}", "dtype": "float32"} for n in range(len(outputs))]
        header = {
            "name": "forged",
            "window": window,
            "dtype": "float32",
            "outputs_as": "single" if len(outputs) == 1 else "list",
            "inputs": [{"name": "x", "shape": list(shape), "dtype": "float32"}],
            "outputs": ports,
            "graph": {"nodes": nodes, "outputs": outputs},
        }
        write_archive(tmp_path / "p", header, arrays or {}, kind=KIND, version=VERSION)
        return runtime.load(tmp_path / "p", **options)

    return write_and_load


@contextmanager
def at_most(megabytes):
    """Assert that a block takes no more memory than this at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEGABYTE
    finally:
        tracemalloc.stop()


@contextmanager
def refused(match=""):
    """Assert that a block refuses the file with a short message."""
    with pytest.raises(FileFormatError, match=match) as caught:
        yield
    assert len(str(caught.value)) < MAX_MESSAGE + 200


@pytest.mark.parametrize("axes", [0, -1, 2, 2**31, 10**400, 1.0, True, [1], None])
def test_axes_that_a_value_does_not_have_take_no_memory(load, axes):
    with at_most(1), refused("axes"):
        load([node("layer_norm", ["x"], "y", axes=axes, epsilon=0.1, rms=False)])


@pytest.mark.parametrize("value", [[[[0.1]] * 3000], "0.1", {"a": 1}, [0.1]])
@pytest.mark.parametrize(
    ("activation", "option"),
    [("leaky_relu", "negative_slope"), ("threshold", "default_value"), ("elu", "alpha")],
)
def test_options_of_an_activation_are_numbers(load, activation, option, value):
    options = {"activation": activation, "activation_options": {option: value}}
    with at_most(2), refused(f"{option} of {activation} is not a number"):
        load([node("activation", ["x"], "y", **options)], shape=(3000,))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("implementation", ["numpy", "auto"])
def test_nodes_of_one_layer_share_its_weights(load, implementation, dtype):
    arrays = lstm_weights(256, dtype=dtype)
    nodes = [lstm(f"y{number}", units=256) for number in range(50)]
    with at_most(16):
        program = load(nodes, arrays=arrays, implementation=implementation)
    outputs, _ = program.step(np.ones((2, 3)), program.initial_state(2))
    single = load(nodes[:1], arrays=arrays, implementation=implementation)
    np.testing.assert_array_equal(outputs, single.step(np.ones((2, 3)), single.initial_state(2))[0])


def test_a_weight_is_cast_once(load):
    nodes = [
        node("dense", ["x"], f"y{number}", {"kernel": "k"}, activation="linear")
        for number in range(100)
    ]
    with at_most(8):
        load(nodes, arrays={"k": np.ones((512, 512), np.float16)}, shape=(512,))


def test_many_forms_of_one_weight_are_refused(load):
    nodes = [lstm(f"y{number}", units=256, number=number) for number in range(100)]
    with at_most(150), refused("bytes of weights"):
        load(nodes, arrays=lstm_weights(256, dtype="float16"))


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ([node("repeat", ["x"], f"y{number}", times=2**10) for number in range(9)], None),
        ([node("negative", ["x"], "y")], ["x"] * 40),
        ([node("negative", ["x"], "y")], ["y"] * 40),
    ],
)
def test_the_numbers_of_a_row_are_limited(load, nodes, outputs):
    with at_most(4), refused("more than 16777216 numbers"):
        load(nodes, outputs, shape=(2**19,) if outputs else (2**12,))


@pytest.mark.parametrize(
    ("nodes", "arrays", "options"),
    [
        ([node("add", ["x"] * 2**15, "y")], {}, {"shape": (2**18,)}),
        ([lstm("y", units=1)], lstm_weights(1, features=1), {"shape": (1,), "window": 2**20}),
        (
            [
                node("dense", ["x"], f"y{number}", {"kernel": "k"}, activation="linear")
                for number in range(3)
            ],
            {"k": np.zeros((2**12, 2**9), np.float16)},
            {"shape": (2**7, 2**5, 2**12)},
        ),
    ],
)
def test_a_step_that_takes_minutes_is_refused_at_once(load, nodes, arrays, options):
    begin = time.perf_counter()
    with refused("more than"):
        load(nodes, arrays=arrays, **options)
    assert time.perf_counter() - begin < 5


def test_a_window_is_not_kept_for_the_last_output(load):
    with at_most(2):
        load([lstm("y", units=64)], arrays=lstm_weights(64, features=1), shape=(1,), window=2**10)


def test_a_message_is_short_whatever_the_file_says(load, tmp_path):
    with refused("valid program"):
        load([lstm("y")], outputs=["z" * 2**20], arrays=lstm_weights(4))
    with refused("indices"):
        indices = np.full(2**18, 7)
        load([node("take", ["x"], "y", {"indices": "i"}, axis=-1)], arrays={"i": indices})
    write_archive(tmp_path / "other", {}, {}, kind="k" * 2**20, version=1)
    with refused("not a"):
        runtime.load(tmp_path / "other")


@pytest.mark.parametrize(
    ("nodes", "arrays"),
    [
        pytest.param(
            [node("constant", [], "y", {"value": "v"})], {"v": np.zeros(3, "f4")}, id="constant"
        ),
        pytest.param(
            [node("constant", [], "c", {"value": "v"}), node("negative", ["c"], "y")],
            {"v": np.zeros(3, "f4")},
            id="of a constant",
        ),
        pytest.param(
            [node("constant", [], "c", {"value": "v"}), lstm("y", "c")],
            {"v": np.zeros(3, "f4"), **lstm_weights(4)},
            id="recurrent",
        ),
        pytest.param(
            [
                node("constant", [], "c", {"value": "v"}),
                node("concatenate", ["x", "c"], "y", axis=-1),
            ],
            {"v": np.zeros(3, "f4")},
            id="concatenate",
        ),
        pytest.param(
            [node("constant", [], "c", {"value": "v"}), node("add", ["x", "c"], "y")],
            {"v": np.zeros((2, 3), "f4")},
            id="larger constant",
        ),
        *(
            pytest.param(
                [node("repeat", ["x"], "r", times=times), node(op, ["x", "r"], "y")],
                {},
                id=f"{op} {times}",
            )
            for op in ("add", "maximum", "average")
            for times in (1, 2, 3)
        ),
        pytest.param(
            [node("prelu", ["x"], "y", {"alpha": "v"})], {"v": np.ones((2, 3), "f4")}, id="prelu"
        ),
        pytest.param(
            [node("layer_norm", ["x"], "y", {"gamma": "v"}, axes=1, epsilon=0.1, rms=False)],
            {"v": np.ones((2, 3), "f4")},
            id="layer_norm",
        ),
        pytest.param(
            [
                node(
                    "affine",
                    ["x"],
                    "y",
                    {"center": "v", "scale": "v", "offset": "v"},
                    dtype="float32",
                )
            ],
            {"v": np.ones((2, 3), "f4")},
            id="affine",
        ),
    ],
)
def test_a_program_whose_rows_would_mix_is_refused(load, nodes, arrays):
    with refused("not a valid program"):
        load(nodes, arrays=arrays)


@pytest.mark.parametrize("states", [["y/h"], ["y/h", "y/c", "y/d"], ["y/h", "y/h"], ["y/h", "x"]])
def test_a_layer_has_as_many_last_states_as_its_cell(load, states):
    layer = {**lstm("y"), "states": states}
    with refused("not a valid program"):
        load([layer], ["y"], lstm_weights(4), window=3)


def test_a_constant_joins_values_of_any_number_of_rows(load):
    nodes = [node("constant", [], "c", {"value": "v"}), node("add", ["x", "c"], "y")]
    program = load(nodes, arrays={"v": np.array([1, 2, 3], np.float32)})
    y, _ = program.step(np.zeros((5, 3)), program.initial_state(5))
    np.testing.assert_array_equal(y, np.tile([1.0, 2.0, 3.0], (5, 1)))


@pytest.mark.parametrize(
    "change",
    [
        {"head/kernel": np.ones((4, 3))},
        {"head/kernel": np.ones(4)},
        {"head/bias": np.ones(3)},
        {"0/kernel": np.ones((3, 16))},
    ],
)
def test_cells_and_head_of_a_feedback_loop_must_fit(load, change):
    arrays = {
        "0/kernel": np.ones((5, 16)),
        "0/recurrent_kernel": np.ones((4, 16)),
        "head/kernel": np.ones((4, 2)),
        "head/bias": np.ones(2),
    }
    options = {"cells": [{**LSTM, "units": 4}]}
    nodes = [node("feedback", ["x"], "y", {role: role for role in arrays}, **options)]
    program = load(nodes, arrays=arrays, window=6)
    ys, _ = program.scan(np.ones((1, 6, 3)), program.initial_state(1))
    assert ys[0, -1].shape == (6, 2)
    with refused("not a valid program"):
        load(nodes, arrays=arrays | change, window=6)
    with refused("values to unpack"):  # a timestep in place of a window
        load(nodes, arrays=arrays)
