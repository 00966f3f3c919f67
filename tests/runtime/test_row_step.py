"""The fast step of one row gives the same numbers as `Program.step`, and takes only what fits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.arrays import random_array
from helpers.examples import examples
from helpers.serve import small_program
from seqkeras import native, runtime
from seqkeras._archive import read_archive, write_archive
from seqkeras.runtime._program import KIND, VERSION

pytestmark = pytest.mark.skipif(native.why_not() is not None, reason="no native library")


def stacked(folder):
    """Write an LSTM, a GRU that reads it, and two Dense layers."""
    archive = read_archive(small_program(folder), kind=KIND, version=VERSION)
    lstm, head = archive.header["graph"]["nodes"]
    gru = {
        **lstm,
        "name": "gru",
        "inputs": ["hidden"],
        "output": "gru",
        "options": {**lstm["options"], "cell": "gru", "units": 5, "reset_after": True},
        "weights": {role: f"gru_{role}" for role in ("kernel", "recurrent_kernel", "bias")},
    }
    middle = {
        **head,
        "name": "middle",
        "inputs": ["gru"],
        "output": "middle",
        "options": {"activation": "tanh"},
        "weights": {"kernel": "middle"},
    }
    nodes = [lstm, gru, middle, {**head, "inputs": ["middle"]}]
    sizes = {
        "gru_kernel": (4, 15),
        "gru_recurrent_kernel": (5, 15),
        "gru_bias": (2, 15),
        "middle": (5, 4),
    }
    arrays = {
        **archive.arrays,
        **{name: random_array(*shape, seed=i) for i, (name, shape) in enumerate(sizes.items())},
    }
    header = {**archive.header, "graph": {"nodes": nodes, "outputs": ["y"]}}
    path = folder / "stacked.program"
    write_archive(path, header, arrays, kind=KIND, version=VERSION)
    return path


@pytest.fixture(scope="module", params=[small_program, stacked])
def program(request, tmp_path_factory):
    return runtime.load(request.param(tmp_path_factory.mktemp("row")))


@given(rows=st.lists(st.lists(st.floats(-10, 10), min_size=3, max_size=3), min_size=1, max_size=9))
@examples(30)
def test_it_gives_the_bits_of_the_step(program, rows):
    fast = program.row_step()
    state = program.initial_state(1)
    own = program.initial_state(1)
    move = fast.bind(own)
    outputs = []
    for row in rows:
        expected, state = program.step(np.array([row], "float32"), state)
        assert fast.read(row)
        outputs.append((move(), expected))
        for array, other in zip(own, state, strict=True):
            np.testing.assert_array_equal(array, other)
    for output, expected in outputs:  # a later step must not change an earlier output
        np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize(
    "x",
    [
        [1.0, 2.0],
        [1.0, 2.0, 3.0, 4.0],
        [1.0, 2.0, None],
        [1.0, 2.0, "3"],
        [1.0, 2.0, float("nan")],
        [1.0, 2.0, float("-inf")],
        [1.0, float("inf"), float("-inf")],
        [1.0, 2.0, 3.5e38],
        [1.0, 2.0, 10**400],
        [],
    ],
)
def test_it_takes_only_finite_numbers_that_fit(program, x):
    assert not program.row_step().read(x)


def test_numbers_at_the_end_of_float32_fit(program):
    largest = float(np.finfo(np.float32).max)
    assert program.row_step().read([largest, largest, -largest])


def test_other_programs_have_none(tmp_path):
    path = small_program(tmp_path)
    assert runtime.load(path, implementation="numpy").row_step() is None

    archive = read_archive(stacked(tmp_path), kind=KIND, version=VERSION)
    nodes = archive.header["graph"]["nodes"]
    nodes[2]["inputs"] = ["hidden"]  # the GRU moves, but the output does not follow it
    nodes[2]["weights"] = {"kernel": "beside"}
    arrays = {**archive.arrays, "beside": random_array(4, 4, seed=9)}
    beside = tmp_path / "beside.program"
    write_archive(beside, archive.header, arrays, kind=KIND, version=VERSION)
    assert runtime.load(beside).row_step() is None
