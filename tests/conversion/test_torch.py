"""Weights of PyTorch, against its outputs in `data/torch.json`, from `data/make_torch.py`."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers.arrays import assert_arrays_close, assert_arrays_equal
from seqkeras import layers
from seqkeras.conversion import load_torch_weights, to_torch
from seqkeras.errors import ArgumentError

GOLDEN = json.loads((Path(__file__).parent / "data" / "torch.json").read_text())
CASES = GOLDEN["cases"]
KINDS = {
    "lstm": (keras.layers.LSTM, {}),
    "lstm one way": (layers.LSTM, {}),
    "gru": (layers.GRU, {}),
    "rnn": (keras.layers.SimpleRNN, {}),
    "rnn relu": (keras.layers.SimpleRNN, {"activation": "relu"}),
    "no bias": (keras.layers.GRU, {"use_bias": False}),
}


def model_for(name, **changes):
    """Return a model of Keras for a stack of PyTorch."""
    kind, options = KINDS[name]
    state = CASES[name]["state"]
    number = sum(key.startswith("weight_ih") and "reverse" not in key for key in state)
    stack = []
    for _ in range(number):
        layer = kind(**{"units": 2, "return_sequences": True, **options, **changes})
        both = any("reverse" in key for key in state)
        stack.append(keras.layers.Bidirectional(layer) if both else layer)
    return keras.Sequential([keras.Input((None, 3)), *stack])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.backends] if name in ("lstm", "gru") else [])
        for name in CASES
    ],
)
def test_a_stack_returns_what_it_returned_in_pytorch(name):
    model = model_for(name)
    load_torch_weights(model, CASES[name]["state"])
    output = keras.ops.convert_to_numpy(model(np.float32(GOLDEN["x"])))
    np.testing.assert_allclose(output, CASES[name]["y"], atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_weights_return_to_pytorch(name):
    model = model_for(name)
    load_torch_weights(model, CASES[name]["state"])
    state = to_torch(model, prefix="net.")
    assert list(state) == [f"net.{key}" for key in CASES[name]["state"]]
    loaded = model_for(name)
    load_torch_weights(loaded, state)
    assert_arrays_equal(loaded.get_weights(), model.get_weights())
    for key, value in CASES[name]["state"].items():
        if "bias" not in key:
            np.testing.assert_allclose(state[f"net.{key}"], value, atol=1e-7)


def test_a_gru_keeps_both_biases():
    model = model_for("gru")
    load_torch_weights(model, CASES["gru"]["state"])
    state = to_torch(model)
    for key, value in CASES["gru"]["state"].items():
        np.testing.assert_allclose(state[key], value, atol=1e-7)


def test_a_stack_is_found_among_other_modules():
    state = {f"encoder.{key}": value for key, value in CASES["gru"]["state"].items()}
    state["fc.weight"] = np.ones((1, 4))
    model = model_for("gru")
    load_torch_weights(model, state)
    check_state(model, "encoder.", state)
    both = dict(state)
    for key, value in CASES["gru"]["state"].items():
        both[f"decoder.{key}"] = 2 * np.array(value)
    with pytest.raises(ArgumentError, match=r"prefix must be one of \['decoder.', 'encoder.'\]"):
        load_torch_weights(model_for("gru"), both)
    for prefix in ("decoder", "encoder."):
        model = model_for("gru")
        load_torch_weights(model, both, prefix)
        check_state(model, prefix.rstrip(".") + ".", both)


def check_state(model, prefix, expected):
    """Assert that a model has the arrays under this prefix."""
    state = to_torch(model, prefix=prefix)
    assert_arrays_close(state.values(), [expected[key] for key in state], atol=1e-7)


def test_a_cell_of_a_layer_is_enough():
    layer = keras.layers.RNN(keras.layers.LSTMCell(2))
    layer.build((None, 4, 3))
    weights = layer.get_weights()
    state = to_torch(layer)
    layer.set_weights([np.zeros_like(weight) for weight in weights])
    load_torch_weights(layer, state)
    assert_arrays_equal(layer.get_weights(), weights)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gru", {"reset_after": False}, "reset_after is False"),
        ("lstm", {"recurrent_activation": "hard_sigmoid"}, "recurrent_activation is"),
        ("rnn", {"activation": "sigmoid"}, "activation is 'sigmoid'.*tanh and relu"),
        ("lstm", {"units": 3}, "of 12 rows. Got: a weight_ih of 8 rows for layer"),
        ("lstm one way", {"go_backwards": True}, "reads backwards"),
        ("no bias", {"use_bias": True}, "shapes "),
    ],
)
def test_a_layer_that_pytorch_does_not_have_is_refused(name, changes, message):
    with pytest.raises(ArgumentError, match=message):
        load_torch_weights(model_for(name, **changes), CASES[name]["state"])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"fc.weight": np.ones((2, 2))}, "state must be one with the weights of an LSTM"),
        (CASES["lstm one way"]["state"], "2 layers, both directions. Got: 3 layers, one direction"),
        ({**CASES["lstm"]["state"], "weight_hr_l0": np.ones((1, 2))}, "a projection"),
        ({"weight_ih_l0": np.ones((8, 3))}, "for l0 only"),
    ],
    ids=["no stack", "another stack", "projection", "missing"],
)
def test_another_state_is_refused(state, message):
    model = model_for("lstm")
    before = model.get_weights()
    with pytest.raises(ArgumentError, match=message):
        load_torch_weights(model, state)
    assert_arrays_equal(model.get_weights(), before)


def test_a_model_without_recurrent_layers_is_refused():
    with pytest.raises(ArgumentError, match="model must be one with recurrent layers"):
        to_torch(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    with pytest.raises(ArgumentError, match="a built model"):
        to_torch(keras.layers.LSTM(2))
