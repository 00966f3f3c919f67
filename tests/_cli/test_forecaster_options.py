"""The options of a forecaster on the command line."""

import inspect

import pytest

from seqkeras._cli import _forecaster_options
from seqkeras._cli._forecaster_options import check_numbers, forecaster_of
from seqkeras._cli._parser import parser
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Columns, Forecaster, Intervals, Network, Training
from seqkeras.layers import CELLS, NORMALIZATIONS
from seqkeras.likelihoods import LIKELIHOODS


def parsed(*arguments):
    return parser().parse_args(["forecast", "a.csv", "--horizon", "3", *arguments])


def test_without_options_the_forecaster_is_the_default_one():
    assert repr(forecaster_of(parsed())) == repr(
        Forecaster(3, network=Network(), intervals=Intervals(), training=Training(), seed=0)
    )


def test_every_option_of_a_forecaster_has_a_value_on_the_command_line():
    options = vars(parsed())
    renamed = {
        "architecture": "model", "method": "interval_method", "progress": "quiet",
        "id": "id_col", "time": "time_col", "target": "target_col",
    }  # fmt: skip
    for kind in (Columns, Network, Intervals, Training):
        for name in set(inspect.signature(kind).parameters) - {"distributed"}:  # for scripts
            assert renamed.get(name, name) in options
    assert {"lookback", "season_length", "likelihood", "seed"} <= set(options)


def test_the_choices_are_those_of_the_library():
    assert sorted(_forecaster_options.LIKELIHOODS) == sorted(LIKELIHOODS)
    assert tuple(NORMALIZATIONS) == _forecaster_options.NORMALIZATIONS
    assert tuple(CELLS) == _forecaster_options.CELLS


def test_options_reach_the_forecaster():
    words = (
        "--model segment_rnn recursive --units 8 4 --cell lstm --normalization revin --levels 50 "
        "--interval-method split --teacher-forcing scheduled --quiet --season-length 7 "
        "--batch-size 16 --linear-expert off"
    )
    forecaster = forecaster_of(parsed(*words.split()))
    network, training = forecaster.network, forecaster.training
    assert network == Network(
        ["segment_rnn", "recursive"],
        units=(8, 4),
        cell="lstm",
        normalization="revin",
        linear_expert=False,
    )
    assert forecaster.intervals == Intervals((50.0,), method="split")
    assert (training.teacher_forcing, training.progress, training.batch_size) == (
        "scheduled", False, 16
    )  # fmt: skip
    assert forecaster.season_length == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--units 0", "--units must be an integer >= 1"),
        ("--patience 0", "--patience must be"),
        ("--teacher-forcing always", "--teacher-forcing must be a number from 0 to 1"),
        ("--teacher-forcing 2", "--teacher-forcing must be a number from 0 to 1"),
        ("--learning-rate -1", "--learning-rate must be"),
    ],
)
def test_a_number_that_cannot_work_is_refused_by_the_name_of_its_option(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        check_numbers(parsed(*arguments.split()))
