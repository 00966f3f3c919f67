"""Settings of the whole test run."""

import os

import hypothesis

from helpers.examples import LONGER, QUICK

# Read by TensorFlow when it is loaded, which the tests do after this file.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# The quick profile tries the same examples on every machine, so a test that fails was broken by a
# change. The long one searches for new ones: `make test-long`.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=QUICK, derandomize=True)
hypothesis.settings.register_profile("long", deadline=None, max_examples=LONGER * QUICK)
hypothesis.settings.load_profile("quick")
