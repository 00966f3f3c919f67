"""How many examples property tests try: few in each run, many in `make test-long`."""

import hypothesis

#: Examples of a property test in the quick profile, where it states no number.
QUICK = 20
#: How many times as many the long profile tries.
LONGER = 10


def examples(quick: int) -> hypothesis.settings:
    """Return settings with this many examples, or ten times as many in the long profile."""
    is_long = hypothesis.settings.get_current_profile_name() == "long"
    return hypothesis.settings(max_examples=LONGER * quick if is_long else quick, deadline=None)
