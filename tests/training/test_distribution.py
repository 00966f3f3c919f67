"""Several processes train a model as one process does."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers.scripts import load_script
from seqkeras import Forecaster, StatefulBatches, Training, Windows, WindowSpec, many_to_one
from seqkeras.errors import ArgumentError
from seqkeras.training import fit_distributed, process_count, process_index

SCRIPT = Path(__file__).with_name("distribution_cases.py")
CASES = load_script(SCRIPT)

pytestmark = pytest.mark.backends
needs_processes = pytest.mark.skipif(
    keras.config.backend() == "tensorflow", reason="TensorFlow trains in one process"
)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The folder with the results of two processes, one of which was killed once."""
    folder = tmp_path_factory.mktemp("together")
    done = launch("--restarts", "1", str(SCRIPT), str(folder))
    assert done.returncode == 0, done.stderr[-5000:]
    assert "process 1 of 2 was ended by SIGKILL" in done.stderr
    assert not (folder / "backup").exists()
    return folder


def launch(*arguments):
    return subprocess.run(
        [sys.executable, "-P", "-m", "seqkeras", "launch", "-n", "2", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )


@needs_processes
def test_patience_ends_the_training_that_it_should_end():
    assert len(CASES.run(CASES.stopped, distributed=False)["loss"]) < 20


@needs_processes
@pytest.mark.parametrize(
    "case", [*CASES.CASES, CASES.ended, CASES.killed], ids=lambda case: case.__name__
)
def test_two_processes_train_as_one_does(case, together):
    arguments = [together] if case is CASES.killed else []
    expected = CASES.run(case, *arguments, distributed=False)
    largest = max(np.abs(expected[name]).max() for name in expected if "loss" not in name)
    for index in range(2):
        actual = np.load(together / f"{case.__name__}-{index}.npz")
        assert set(actual) == set(expected)
        for name, values in expected.items():
            options = {"rtol": 1e-6} if "loss" in name else {"rtol": 0, "atol": 1e-6 * largest}
            np.testing.assert_allclose(actual[name], values, **options, err_msg=name)


@needs_processes
@pytest.mark.parametrize("index", range(2))
def test_what_processes_cannot_share_is_refused_in_each(together, index):
    rows, data, model, epochs, validation, *rest = (
        (together / f"refusals-{index}").read_text().splitlines()
    )
    assert rows == (
        "batch_size must be a multiple of 2, the number of processes. Got: batch_size=7. "
        "Use 8, for example."
    )
    assert data.startswith("batches must be the same in each process. Got: batches=Windows(")
    assert model.startswith("model must be the same in each process.")
    assert epochs.startswith(f"epochs must be the same in each process. Got: epochs={2 + index}.")
    assert validation.startswith("validation must be the same in each process.")
    if keras.config.backend() == "jax":  # it normalizes the whole batch
        assert not rest
    else:
        assert rest[0].startswith("model must be without batch normalization in several processes")


def test_states_need_fit_stateful():
    series = np.arange(30.0)
    model = many_to_one(1, outputs=1, units=2, stateful=True, batch_size=2)
    model.compile("sgd", "mse")
    with pytest.raises(ArgumentError, match=r"fit_stateful\(\.\.\., distributed=True\)"):
        fit_distributed(model, Windows(series, WindowSpec(3, horizon=1), batch_size=2), 1)
    batches = StatefulBatches(series, batch_size=2, bptt_steps=5)
    with pytest.raises(ArgumentError, match=r"^batches must be batches that do not continue"):
        fit_distributed(model, batches, 1)


def test_what_is_no_data_set_is_refused():
    model = many_to_one(1, outputs=1, units=2)
    model.compile("sgd", "mse")
    x, y = np.zeros((4, 3, 1)), np.zeros((4, 1))
    with pytest.raises(ArgumentError, match=r"batches must be a data set.*Use seqkeras\.Windows"):
        fit_distributed(model, (x, y), 1)
    windows = Windows(np.arange(30.0), WindowSpec(3, horizon=1))
    with pytest.raises(ArgumentError, match=r"validation must be a data set.*Use seqkeras"):
        fit_distributed(model, windows, 1, validation=(x, y))


@pytest.mark.skipif(keras.config.backend() != "torch", reason="how PyTorch shares a step")
def test_a_method_that_the_user_has_set_on_an_object_comes_back():
    from seqkeras.kernels.processes._torch import _replaced

    model = many_to_one(1, units=2)
    model.call = own = lambda inputs: inputs
    with _replaced(model, "call", len):
        assert model.call is len
    assert model.call is own


def test_time_limits_are_refused():
    with pytest.raises(ArgumentError, match=r"^seconds must be None with distributed=True"):
        Forecaster(horizon=1, training=Training(distributed=True, seconds=9)).settings()


def test_without_other_processes_it_is_fit():
    assert (process_count(), process_index()) == (1, 0)
    expected = CASES.run(CASES.lstm, distributed=False)
    actual = CASES.run(CASES.lstm, distributed=True)
    assert all(np.array_equal(actual[name], values) for name, values in expected.items())


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="others have processes")
def test_tensorflow_is_refused_with_the_command(tmp_path):
    script = tmp_path / "train.py"
    script.write_text("import seqkeras.training")
    done = launch(str(script))
    assert done.returncode == 1
    assert "KERAS_BACKEND must be jax or torch. Got: tensorflow." in done.stderr
    assert "KERAS_BACKEND=jax seqkeras launch -n 2 SCRIPT" in done.stderr
