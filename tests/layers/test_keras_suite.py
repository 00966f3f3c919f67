"""Keras' own tests of its recurrent layers, with our layers in their place."""

import importlib

import keras
import pytest

from seqkeras import kernels, layers


@keras.saving.register_keras_serializable(package="seqkeras_tests")
class RNN(layers.RNN):
    """Our RNN without `*arguments`, which Keras records in the objects that its tests compare."""

    def __init__(self, cell, **options):
        super().__init__(cell, **options)


NAMES = {
    "LSTM": layers.LSTM,
    "GRU": layers.GRU,
    "SimpleRNN": layers.SimpleRNN,
    "RNN": RNN,
    "Bidirectional": layers.Bidirectional,
}
MODULES = ("lstm", "gru", "simple_rnn", "rnn", "stacked_rnn_cells", "bidirectional")


@pytest.fixture(autouse=True)
def our_layers(monkeypatch):
    for name, ours in NAMES.items():
        monkeypatch.setattr(keras.src.layers, name, ours)


def _tests():
    """Yield copies of the test classes of Keras that pytest finds here, with our layers."""
    for name in MODULES:
        module = importlib.import_module(f"keras.src.layers.rnn.{name}_test")
        for kind in vars(module).values():
            is_own = isinstance(kind, type) and kind.__module__ == module.__name__
            if is_own and any(test.startswith("test") for test in dir(kind)):
                # By the module: in Keras, two of these classes have one name.
                yield f"Test{name.title().replace('_', '')}", kind


def _run_layer_test(self, layer, *arguments, **options):
    """Skip the training of cells that no kernel knows: compiling it takes up to minutes."""
    if keras.backend.backend() != "torch" and issubclass(layer, layers.RNN):
        options |= {"run_training_check": False, "run_mixed_precision_check": False}
    super(type(self), self).run_layer_test(layer, *arguments, **options)


own = {"run_layer_test": _run_layer_test}
globals().update({name: type(name, (kind,), own) for name, kind in _tests()})
for name in ("TestLstm", "TestBidirectional"):  # enough for the other backends
    pytest.mark.backends(globals()[name])


@pytest.mark.backends
@pytest.mark.parametrize("name", ["Lstm", "Gru", "SimpleRnn", "Bidirectional"])
def test_the_tests_use_our_layers(name):
    case = globals()[f"Test{name}"]("test_masking")
    case.setUp()
    with kernels.counting() as chosen:
        case.test_masking()
    assert sum(chosen.values()) > 0
