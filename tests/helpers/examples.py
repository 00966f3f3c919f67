"""What a quick run omits: most examples of property tests, and some tests that take long."""

from collections.abc import Sequence
from typing import TypeVar

import hypothesis
import pytest

T = TypeVar("T")

#: Number of examples of a property test in the quick profile, unless the test states another.
QUICK = 20
#: Factor of the number of examples in the long profile.
LONGER = 10


def examples(quick: int) -> hypothesis.settings:
    """Return settings with `quick` examples, or ten times as many in the long profile."""
    return hypothesis.settings(max_examples=LONGER * quick if _is_long() else quick, deadline=None)


def covering(cases: Sequence[T], every: int) -> Sequence[T]:
    """Return all cases in the long profile, and each `every`-th of them in the quick one.

    Order the cases so that the quick ones cover most: in a product of parameters, each value of
    each parameter.
    """
    return cases if _is_long() else cases[::every]


def _is_long() -> bool:
    return hypothesis.settings.get_current_profile_name() == "long"


#: Mark of a test that takes long, and whose promise a quicker test also holds in most cases.
long_run_only = pytest.mark.skipif(not _is_long(), reason="in `make test-long`")
