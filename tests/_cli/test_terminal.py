"""Messages on the terminal."""

import pandas as pd
import pytest

from seqkeras._cli._terminal import tell_picture


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (None, "Picture: a.png\n"),
        (["a", "b", "c", "d"], "Picture: a.png\n"),
        (["a", "b", "c", "d", "e"], "Picture of the first 4 of 5 series: a.png\n"),
    ],
)
def test_a_picture_says_which_part_of_the_series_it_shows(ids, message, capsys):
    df = pd.DataFrame({"shop": ids or ["a", "b"]})
    tell_picture("a.png", df, None if ids is None else "shop")
    assert capsys.readouterr().out == message
