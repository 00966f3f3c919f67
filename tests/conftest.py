"""Settings of the whole test run."""

import os

import hypothesis

# Read by TensorFlow when it is loaded, which the tests do after this file.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# The same examples on every machine, so that a test which fails was broken by a change. To search
# for new ones: pytest --hypothesis-profile=explore
hypothesis.settings.register_profile("default", deadline=None, max_examples=60, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("default")
