"""Layers from the name of a cell, or from a Keras cell."""

import keras
import numpy as np
import pytest

from helpers.models import assert_close
from seqkeras import layers
from seqkeras.errors import ArgumentError
from seqkeras.layers import CELLS, recurrent_layer

X = np.linspace(-1, 1, 24, dtype="float32").reshape(2, 4, 3)


@pytest.mark.parametrize(
    ("name", "stock"),
    [
        ("lstm", keras.layers.LSTM),
        ("gru", keras.layers.GRU),
        ("simple_rnn", keras.layers.SimpleRNN),
    ],
)
def test_a_name_gives_our_layer_which_is_one_of_keras(name, stock):
    layer = recurrent_layer(name, units=8, dropout=0.1, recurrent_dropout=0.2)
    assert isinstance(layer, stock)
    assert (layer.units, layer.dropout, layer.recurrent_dropout) == (8, 0.1, 0.2)


@pytest.mark.parametrize("name", CELLS)
def test_stateful_layers_take_flags(name):
    layer = recurrent_layer(name, units=8, dropout=0.1, stateful=True)
    assert type(layer) is CELLS[name]
    assert isinstance(layer, layers.Resettable)
    assert type(recurrent_layer(keras.layers.GRUCell(4), units=1, stateful=True)) is layers.RNN
    assert type(recurrent_layer(name, units=8)) is CELLS[name]
    assert type(recurrent_layer(keras.layers.GRUCell(4), units=1)) is keras.layers.RNN


@pytest.mark.parametrize("stateful", [1, None, "yes"])
def test_stateful_that_is_not_true_or_false_is_refused(stateful):
    with pytest.raises(ArgumentError, match="stateful must be True or False") as caught:
        recurrent_layer("gru", units=4, stateful=stateful)
    assert f"stateful={stateful!r}" in str(caught.value)


@pytest.mark.parametrize("cell", ["gru", keras.layers.GRUCell(4)], ids=["name", "cell"])
def test_options_reach_the_layer(cell):
    layer = recurrent_layer(
        cell, units=4, return_sequences=True, go_backwards=True, stateful=True, name="memory"
    )
    assert layer.name == "memory"
    assert layer.return_sequences
    assert layer.go_backwards
    assert layer.stateful
    assert layer(X).shape == (2, 4, 4)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("lstm", keras.layers.LSTMCell(4)),
        ("gru", keras.layers.GRUCell(4)),
        ("simple_rnn", keras.layers.SimpleRNNCell(4)),
    ],
)
def test_a_name_and_a_cell_give_the_same_numbers_from_the_same_weights(name, cell):
    from_name = recurrent_layer(name, units=4)
    from_cell = recurrent_layer(cell, units=1)
    for layer in (from_name, from_cell):
        layer.build(X.shape)
    from_cell.set_weights(from_name.get_weights())
    assert_close(from_name(X), from_cell(X), tolerance=1e-6)


def test_a_cell_is_copied_with_its_settings_and_stays_unbuilt():
    cell = keras.layers.LSTMCell(4, activation="relu", dropout=0.3, unit_forget_bias=False)
    first = recurrent_layer(cell, units=1)
    second = recurrent_layer(cell, units=1)
    for layer in (first, second):
        layer.build(X.shape)
    assert not cell.built
    assert first.cell.get_config() == second.cell.get_config() == cell.get_config()
    assert not {id(weight) for weight in first.weights} & {id(weight) for weight in second.weights}


def test_stacked_cells_of_keras_are_a_cell():
    cell = keras.layers.StackedRNNCells([keras.layers.LSTMCell(4), keras.layers.GRUCell(5)])
    assert recurrent_layer(cell, units=1)(X).shape == (2, 5)


@pytest.mark.parametrize("cell", [3, None, keras.layers.Dense(3), keras.layers.LSTMCell, object()])
def test_what_is_not_a_cell_is_refused_with_the_expectation(cell):
    with pytest.raises(ArgumentError) as caught:
        recurrent_layer(cell, units=4)
    message = str(caught.value)
    assert "cell must be one of 'lstm', 'gru', 'simple_rnn', or a Keras cell" in message
    assert f"Got: cell={cell!r}." in message


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ArgumentError, match=r"Got: cell='ltsm'\. Did you mean 'lstm'\?"):
        recurrent_layer("ltsm", units=4)


@pytest.mark.parametrize("rates", [{"dropout": 0.1}, {"recurrent_dropout": 0.2}])
def test_dropout_next_to_a_cell_is_refused_instead_of_ignored(rates):
    with pytest.raises(ArgumentError, match="Set dropout on the cell itself") as caught:
        recurrent_layer(keras.layers.GRUCell(4), units=4, **rates)
    ((name, rate),) = rates.items()
    assert f"{name}={rate}" in str(caught.value)


@pytest.mark.parametrize("name", CELLS)
def test_the_implementation_is_that_of_the_layer(name):
    assert recurrent_layer(name, units=8).implementation == "auto"
    assert recurrent_layer(name, units=8, implementation="scan").implementation == "scan"
    with pytest.raises(ArgumentError, match="implementation must be one of 'auto'"):
        recurrent_layer(name, units=8, implementation="fastest")


def test_keras_cells_run_as_scan():
    cell = keras.layers.GRUCell(4)
    assert recurrent_layer(cell, units=1, implementation="scan")
    with pytest.raises(ArgumentError, match="a name with implementation='fused'"):
        recurrent_layer(cell, units=1, implementation="fused")
