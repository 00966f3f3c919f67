"""Settings of the whole test run."""

import os

import hypothesis
import pytest

from helpers.examples import LONGER, QUICK

# Read by TensorFlow when it is loaded, which the tests do after this file.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core of its own; more threads would only wait for one another.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The quick profile tries the same examples on every machine, so a test that fails was broken by a
# change. The long one searches for new ones: `make test-long`.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=QUICK, derandomize=True)
hypothesis.settings.register_profile("long", deadline=None, max_examples=LONGER * QUICK)
hypothesis.settings.load_profile("quick")


@pytest.fixture
def eagerly():
    """Train and predict without compiling, where a test builds models for a few small steps."""
    from helpers.models import training_eagerly  # which imports Keras

    with training_eagerly():
        yield
