"""Warnings point to the line of the user, however deep in the library they arise."""

import numpy as np
import pytest

from seqkeras.errors import SeqkerasWarning
from seqkeras.windows import GroupedArray, StatefulBatches, Windows, WindowSpec

SERIES = GroupedArray.from_series([np.arange(9.0), np.arange(1.0)])


@pytest.mark.parametrize(
    "read",
    [
        lambda: Windows(SERIES, WindowSpec(3)),
        lambda: Windows(np.arange(9) + 2**24, WindowSpec(3)),
        lambda: StatefulBatches(SERIES, batch_size=1, bptt_steps=3),
    ],
    ids=["skipped by windows", "rounded", "skipped by batches"],
)
def test_a_warning_names_the_line_that_led_to_it(read):
    with pytest.warns(SeqkerasWarning) as caught:
        read()
    assert {warning.filename for warning in caught} == {__file__}
