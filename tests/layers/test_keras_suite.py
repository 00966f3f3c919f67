"""Keras' own tests of its recurrent layers, with ours in their place."""

import importlib

import keras
import pytest

from seqkeras import kernels, layers

pytestmark = pytest.mark.backends

NAMES = {"LSTM": layers.LSTM, "GRU": layers.GRU, "SimpleRNN": layers.SimpleRNN}
MODULES = ("lstm", "gru", "simple_rnn", "rnn", "stacked_rnn_cells", "bidirectional")


@pytest.fixture(autouse=True)
def in_their_place(monkeypatch):
    for name, ours in NAMES.items():
        monkeypatch.setattr(keras.src.layers, name, ours)


def _tests():
    """Classes of tests like Keras', that pytest finds here, where the layers are replaced."""
    for name in MODULES:
        module = importlib.import_module(f"keras.src.layers.rnn.{name}_test")
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                if any(test.startswith("test") for test in dir(kind)):
                    yield f"Test{kind.__name__}", kind


globals().update({name: type(name, (kind,), {}) for name, kind in _tests()})


@pytest.mark.parametrize("name", NAMES)
def test_the_tests_use_our_layers(name):
    case = globals()[f"Test{name}Test"]("test_masking")
    case.setUp()
    with kernels.counting() as chosen:
        case.test_masking()
    assert sum(chosen.values()) > 0
