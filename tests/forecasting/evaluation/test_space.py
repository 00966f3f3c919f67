import functools

import pandas as pd
import pytest

from helpers.forecasters import flat_forecaster
from seqkeras import multi_output
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Forecaster
from seqkeras.forecasting.evaluation._space import as_space, default_space, described
from seqkeras.forecasting.frames._columns import Columns
from seqkeras.forecasting.frames._reading import read_panel
from seqkeras.likelihoods import Gaussian, Quantiles

optuna = pytest.importorskip("optuna", reason="needs the extra tune")


def panel_of(rows, **columns):
    stamps = pd.date_range("2024-01-01", periods=rows)
    return read_panel(pd.DataFrame({"ds": stamps, "y": 1.0, "load": 2.0}), Columns(**columns))


def test_what_is_searched_holds_the_forecaster_itself():
    given = flat_forecaster(4, units=(12, 6), learning_rate=0.05, cell="simple_rnn")
    space, itself = default_space(given, panel_of(100))
    assert set(space) == set(itself)
    assert set(space) == {"learning_rate", "lookback", "model", "units", "cell", "normalization"}
    trial = optuna.trial.FixedTrial(itself)
    found = as_space(space, given)(trial)
    assert found == {
        **{"learning_rate": 0.05, "lookback": 21, "architecture": "multi_output"},
        **{"units": (12, 6), "cell": "simple_rnn", "normalization": "last"},
    }


@pytest.mark.parametrize(
    ("rows", "options", "expected"),
    [
        (100, {}, [4, 7, 8, 12, 14, 21, 35]),
        (40, {}, [4, 7, 8, 12, 14, 21]),
        (40, {"season_length": 10}, [10, 12, 20]),
        (100, {"lookback": 30}, [4, 7, 8, 12, 14, 21, 30, 35]),
    ],
)
def test_lookbacks_are_those_that_there_is_room_for(rows, options, expected):
    space, itself = default_space(flat_forecaster(4, **options), panel_of(rows))
    assert space["lookback"] == expected
    assert itself["lookback"] in expected


def builder(*args, **options):
    return multi_output(*args, units=2, **options)


def test_choices_are_called_alike_in_each_process():
    choices = ["recursive", builder, functools.partial(builder, units=3), builder, (8, 4)]
    labels = ["recursive", "1: builder", "2: builder(units=3)", "3: builder", "4: [8, 4]"]
    space = as_space({"architecture": choices}, Forecaster(4))
    for label, choice in zip(labels, choices, strict=True):
        assert space(optuna.trial.FixedTrial({"architecture": label}))["model"] is choice


def test_what_is_described_holds_no_address():
    space = {
        "architecture": [builder, multi_output(1, lookback=4, horizon=2)],
        "likelihood": [Gaussian()],
    }
    assert "0x" not in described(space)
    assert described(space) == described(dict(reversed(space.items())))
    assert described(space) != described(space | {"likelihood": [Quantiles([0.1, 0.5, 0.9])]})
    assert described(builder) == "builder"


def test_answers_are_fed_back_where_that_is_trained():
    space, itself = default_space(
        flat_forecaster(4, architecture="recursive", teacher_forcing="scheduled"), panel_of(100)
    )
    assert space["model"] == ["recursive"]
    assert itself["model"] == "recursive"


def test_networks_that_cannot_be_used_or_are_slow_are_left_out():
    names = {
        "plain": default_space(Forecaster(4), panel_of(100))[0]["model"],
        "past": default_space(Forecaster(4), panel_of(100, past=["load"]))[0]["model"],
        "likelihood": default_space(Forecaster(4, likelihood="gaussian"), panel_of(100))[0][
            "model"
        ],
    }
    assert "recursive" in names["plain"]
    assert names["past"] == names["head"] == ["multi_output", "encoder_decoder", "segment_rnn"]


def test_a_builder_keeps_what_it_brings():
    given = Forecaster(4, network=functools.partial(multi_output, units=3))
    assert set(default_space(given, panel_of(100))[0]) == {"learning_rate", "lookback"}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "space must be a dict from parameters"),
        ("lookback", "space must be a dict from parameters"),
        ({"hidden": [1]}, "space must be one of"),
        ({"horizon": [1, 2]}, "space must be one of"),
        ({"units": 8}, r"space\['units'\] must be a list or a range"),
        ({"units": []}, r"space\['units'\] must be a list or a range"),
        ({"learning_rate": (0.0, 1.0)}, r"the two ends of a range, both above 0\."),
    ],
)
def test_spaces_that_cannot_be_searched_are_refused(space, message):
    with pytest.raises(ArgumentError, match=message):
        as_space(space, Forecaster(4))
