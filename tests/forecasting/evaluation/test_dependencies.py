"""Tests of descriptions that tell the inputs of evaluations apart."""

import functools

import keras
import numpy as np
import pandas as pd
import pytest

from seqkeras.forecasting import Forecaster, Training
from seqkeras.forecasting.evaluation._dependencies import described_parameters


def network(activation):
    return keras.Sequential([keras.Input((4, 1)), keras.layers.Dense(2, activation=activation)])


def builder(units):
    return units


def builders(difference):
    """Return two functions of the same name."""

    def builder(units):
        return units + 1

    return (globals()["builder"], builder)[difference]


def closures(units):
    """Return a function that holds its units, and itself."""

    def build(lookback):
        return (units, build)

    return build


def defaults(units):
    def build(lookback, *, units=units):
        return units

    return build


class Units:
    def __init__(self, units):
        self.units = units

    def build(self, lookback):
        return self.units


class Slots:
    __slots__ = ("units",)

    def __init__(self, units):
        self.units = units

    def build(self, lookback):
        return self.units


class Callable(Units):
    def __call__(self, lookback):
        return self.units


@pytest.mark.parametrize(
    "networks",
    [
        lambda number: network(("relu", "tanh")[number]),
        builders,
        lambda number: functools.partial(builders(number), 3),
        lambda number: [network("relu"), builders(number)],
        lambda number: functools.partial(builder, units=network(("relu", "tanh")[number])),
        lambda number: closures(number + 3),
        lambda number: closures(np.arange(5000) + number),
        lambda number: Units(number).build,
        lambda number: Callable(number),
        lambda number: defaults(number),
        lambda number: closures(Units(number)),
        lambda number: closures(Units(Units(number))),
        lambda number: Slots(number).build,
        lambda number: closures(keras.layers.Dense(number + 3, name="dense")),
        lambda number: closures(pd.Series(range(5000)) + number),
        lambda number: closures(np.array([number, None])),
        lambda number: closures({"relu", "tanh", number}),
    ],
)
def test_networks_are_told_apart_by_their_layers_and_functions_by_their_source(networks):
    first, again, other = (
        described_parameters(Forecaster(2, network=networks(number))) for number in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert "0x" not in first


def test_progress_changes_no_number():
    shown, hidden = (Forecaster(2, training=Training(progress=shown)) for shown in (True, False))
    assert described_parameters(shown) == described_parameters(hidden)
    other = Forecaster(2, training=Training(epochs=2))
    assert described_parameters(other) != described_parameters(shown)
