import copy

import numpy as np
import pytest
from sklearn.base import clone

from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Columns, Forecaster, Intervals, Network, Training, backtest


def test_options_of_defaults_are_listed_and_can_be_set():
    forecaster = Forecaster(4)
    assert forecaster.get_params()["training__epochs"] == 300
    assert forecaster.get_params()["network__architecture"] == "multi_output"
    forecaster.set_params(training__epochs=3, network__units=8, intervals__levels=(50,))
    assert forecaster.training == Training(epochs=3)
    assert forecaster.network == Network(units=8)
    assert forecaster.intervals == Intervals((50,))


def test_setting_an_option_changes_no_other_forecaster():
    training = Training(epochs=9)
    first = Forecaster(4, training=training)
    second = copy.copy(first).set_params(training__epochs=1)
    assert (first.training.epochs, second.training.epochs) == (9, 1)
    assert training.epochs == 9


def test_a_misspelled_option_changes_nothing():
    forecaster = Forecaster(4)
    with pytest.raises(ValueError, match="epohcs"):
        forecaster.set_params(training__epohcs=3)
    assert forecaster.training is None


def test_clones_are_equal():
    forecaster = Forecaster(4, network=Network("recursive", units=[4, 3]), intervals=[80])
    assert clone(forecaster).get_params(deep=False) == forecaster.get_params(deep=False)
    assert Network(units=[4, 3]) == Network(units=(4, 3))
    assert Network(units=4) != Network(units=5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"training": {"epochs": 3}}, "training must be a Training"),
        ({"intervals": "split"}, r"intervals must be .*Intervals\(method='split'\)"),
        ({"intervals": Intervals((80, 100))}, "levels must be"),
        ({"intervals": Intervals(method="narrow")}, "method must be one of"),
        ({"network": 3}, "network must be one of"),
        ({"network": Network(cell="ltsm")}, "Did you mean 'lstm'"),
        ({"network": Network(normalization="best")}, "normalization must be one of"),
        ({"network": Network(lambda *sizes: None, units=4)}, "units must be omitted for"),
        ({"likelihood": "normal"}, "likelihood must be"),
        ({"training": Training(progress=1)}, "progress must be"),
    ],
)
def test_parameters_that_cannot_be_used_are_named(options, words):
    with pytest.raises(ArgumentError, match=words):
        Forecaster(4, **options).settings()


def test_integers_of_numpy_are_integers():
    settings = Forecaster(np.uint8(200), lookback=np.int8(20)).settings()
    assert (type(settings.horizon), type(settings.lookback)) == (int, int)


def test_columns_must_be_columns(one):
    for wrong in ({"id": "shop"}, {}, "shop"):
        with pytest.raises(ArgumentError, match="columns must be a Columns"):
            Forecaster(4).fit(one, columns=wrong)
        with pytest.raises(ArgumentError, match="columns must be a Columns"):
            backtest(Forecaster(4), one, columns=wrong)
    with pytest.raises(ArgumentError, match="by name: columns="):
        Forecaster(4).fit(one, Columns())
