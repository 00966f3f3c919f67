import functools

import pandas as pd
import pytest

from helpers.forecasters import flat_forecaster
from seqkeras import multi_output
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Columns, Forecaster
from seqkeras.forecasting.evaluation._space import as_space, default_space, described
from seqkeras.forecasting.frames._reading import read_panel
from seqkeras.likelihoods import Gaussian, Quantiles

RATE = "training__learning_rate"

optuna = pytest.importorskip("optuna", reason="needs the extra tune")


def panel_of(rows, **columns):
    times = pd.date_range("2024-01-01", periods=rows)
    return read_panel(pd.DataFrame({"ds": times, "y": 1.0, "load": 2.0}), Columns(**columns))


def default_of(forecaster, panel):
    return default_space(forecaster.settings(), panel, "raise")


def space_of(space, forecaster):
    return as_space(space, forecaster.get_params())


def test_the_default_space_contains_the_forecaster_itself():
    forecaster = flat_forecaster(4, units=(12, 6), learning_rate=0.05, cell="simple_rnn")
    space, own = default_of(forecaster, panel_of(100))
    options = ["architecture", "cell", "normalization", "units"]
    searched = ["lookback", *(f"network__{option}" for option in options), RATE]
    assert sorted(space) == sorted(own) == searched
    trial = optuna.trial.FixedTrial(own)
    assert space_of(space, forecaster)(trial) == {
        RATE: 0.05,
        "lookback": 21,
        "network__architecture": "multi_output",
        "network__units": (12, 6),
        "network__cell": "simple_rnn",
        "network__normalization": "last",
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
    space, own = default_of(Forecaster(4, **options), panel_of(rows))
    assert space["lookback"] == expected
    assert own["lookback"] in expected


def builder(*args, **options):
    return multi_output(*args, units=2, **options)


def test_choices_have_the_same_labels_in_each_process():
    choices = ["recursive", builder, functools.partial(builder, units=3), builder, (8, 4)]
    labels = ["recursive", "1: builder", "2: builder(units=3)", "3: builder", "4: [8, 4]"]
    space = space_of({"network": choices}, Forecaster(4))
    for label, choice in zip(labels, choices, strict=True):
        assert space(optuna.trial.FixedTrial({"network": label}))["network"] is choice


def test_descriptions_hold_no_address():
    space = {
        "network": [builder, multi_output(1, lookback=4, horizon=2)],
        "likelihood": [Gaussian()],
    }
    assert "0x" not in described(space)
    assert described(space) == described(dict(reversed(space.items())))
    assert described(space) != described(space | {"likelihood": [Quantiles([0.1, 0.5, 0.9])]})
    assert described(builder) == "builder"


def test_only_recursive_is_trained_on_its_own_outputs():
    forecaster = flat_forecaster(4, architecture="recursive", teacher_forcing="scheduled")
    space, own = default_of(forecaster, panel_of(100))
    assert space["network__architecture"] == ["recursive"]
    assert own["network__architecture"] == "recursive"


def test_architectures_that_cannot_be_used_or_are_slow_are_omitted():
    def names(forecaster, **columns):
        return default_of(forecaster, panel_of(100, **columns))[0]["network__architecture"]

    fast = ["multi_output", "encoder_decoder", "segment_rnn"]
    assert "recursive" in names(Forecaster(4))
    assert names(Forecaster(4), past=["load"]) == fast
    assert names(Forecaster(4, likelihood="gaussian")) == fast


def test_a_builder_keeps_its_own_options():
    forecaster = Forecaster(4, network=functools.partial(multi_output, units=3))
    assert set(default_of(forecaster, panel_of(100))[0]) == {RATE, "lookback"}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "space must be a dict from parameters"),
        ("lookback", "space must be a dict from parameters"),
        ({"hidden": [1]}, "space must be one of"),
        ({"units": [8]}, "space must be one of"),
        ({"horizon": [1, 2]}, "space must be one of"),
        ({"intervals__levels": [(80,)]}, "space must be one of"),
        ({"network__units": 8}, r"space\['network__units'\] must be a list or a range"),
        ({"network__units": []}, r"space\['network__units'\] must be a list or a range"),
        ({RATE: (0.0, 1.0)}, r"the two ends of a range, both above 0\."),
    ],
)
def test_spaces_that_cannot_be_searched_are_refused(space, message):
    with pytest.raises(ArgumentError, match=message):
        space_of(space, Forecaster(4))
