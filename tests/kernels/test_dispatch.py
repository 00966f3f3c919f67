"""The choice of a kernel, as tables of facts and the resulting kernel with its reasons."""

import dataclasses

import keras
import numpy as np
import pytest

from seqkeras import kernels, layers, native
from seqkeras.errors import ArgumentError
from seqkeras.kernels import Runtime, Spec
from seqkeras.kernels.fused import _fused

PLAIN = Spec("lstm", "LSTMCell")
BUILT = pytest.mark.skipif(native.why_not() is not None, reason=str(native.why_not()))


def spec(**facts):
    return dataclasses.replace(PLAIN, **facts)


@pytest.fixture(autouse=True)
def no_library_is_needed(monkeypatch):
    """Pretend that every backend's binding is there: the tables must not depend on the machine."""
    binding = type("Binding", (), {"why_not": staticmethod(lambda: None)})
    monkeypatch.setattr(_fused, "_binding", lambda backend: binding)
    monkeypatch.setattr(native, "why_not", lambda: None)


CPU = [Runtime(backend, "cpu") for backend in ("tensorflow", "jax", "torch")]
GPU = [Runtime(backend, "cuda") for backend in ("tensorflow", "jax", "torch")]


@pytest.mark.parametrize("runtime", CPU, ids=str)
@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"cell": "gru", "kind": "GRUCell"},
        {"cell": "gru_reset_after", "kind": "GRUCell"},
        {"cell": "simple_rnn", "kind": "SimpleRNNCell", "activation": "relu"},
        {"recurrent_activation": "hard_sigmoid"},
        {"recurrent_dropout": 0.2},
        {"resets": True},
        {"zoneout": True},
        {"peephole": True},
        {"normalization": True},
        {"dtype": "bfloat16"},
        {"dtype": "float16"},
        {"use_cudnn": False},
    ],
    ids=str,
)
def test_on_a_cpu_the_fused_kernel_runs_it(facts, runtime):
    choice = kernels.choose("auto", spec(**facts), runtime)
    assert choice == ("fused", "cudnn: it needs an NVIDIA GPU, and this runs on cpu")


@pytest.mark.parametrize("runtime", CPU, ids=str)
@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"cell": None, "kind": "MyCell"}, "MyCell is not one of the cells that it supports"),
        ({"dtype": "float64"}, "it computes in float32, and the layer in float64"),
        ({"activation": "relu"}, "activation='relu' is not supported; supported: tanh"),
        ({"activation": None}, "a custom activation is not supported; supported: tanh"),
        (
            {"recurrent_activation": "tanh"},
            "recurrent_activation='tanh' is not supported; supported: sigmoid, hard_sigmoid",
        ),
        (
            {"cell": "simple_rnn", "activation": "sigmoid"},
            "activation='sigmoid' is not supported; supported: tanh, relu, linear",
        ),
    ],
)
def test_what_the_fused_kernel_does_not_support(facts, reason, runtime):
    facts = spec(**facts)
    assert kernels.why_not(facts, runtime)["fused"] == reason
    choice = kernels.choose("auto", facts, runtime)
    if (runtime.backend, facts.dtype) == ("torch", "float64"):
        assert choice.name == "aten"
    else:
        assert choice.name == "scan"
    assert f"fused: {reason}" in choice.reason


@pytest.mark.parametrize(
    ("runtime", "name", "reason"),
    [
        (
            Runtime("tensorflow", "cpu", "xla"),
            "scan",
            "fused: XLA (jit_compile=True) cannot call it",
        ),
        (Runtime("tensorflow", "cuda", "xla"), "scan", "cudnn: XLA (jit_compile=True) cannot call"),
        (Runtime("torch", "cpu", "compiler"), "scan", "fused: torch.compile would break its graph"),
        (Runtime("torch", "cuda", "compiler"), "scan", "cudnn: torch.compile would break"),
        (Runtime("torch", "cpu", "transform"), "scan", "fused: torch.func cannot transform it"),
        (Runtime("torch", "cpu", "transform"), "scan", "aten: torch.func cannot transform it"),
        (Runtime("torch", "meta"), "scan", "fused: it has no kernel for torch on the device meta"),
        (Runtime("torch", "cpu", "export"), "scan", "aten: the graph is being exported"),
        *(
            (Runtime(backend, device, "export"), "scan", "fused: the graph is being exported")
            for backend in ("tensorflow", "jax", "torch")
            for device in ("cpu", "cuda")
        ),
        (Runtime("jax", "tpu"), "scan", "fused: it has no kernel for jax on the device tpu"),
    ],
    ids=str,
)
def test_graphs_that_run_elsewhere_take_the_loop(runtime, name, reason):
    choice = kernels.choose("auto", PLAIN, runtime)
    assert choice.name == name
    assert reason in choice.reason


@pytest.mark.parametrize("runtime", GPU, ids=str)
def test_on_a_gpu_cudnn_runs_an_lstm(runtime):
    assert kernels.choose("auto", PLAIN, runtime) == ("cudnn", "")


def test_on_a_gpu_cudnn_runs_a_gru_where_the_backend_has_it():
    gru = spec(cell="gru_reset_after", kind="GRUCell")
    chosen = {runtime.backend: kernels.choose("auto", gru, runtime).name for runtime in GPU}
    assert chosen == {"tensorflow": "cudnn", "jax": "scan", "torch": "cudnn"}
    assert kernels.why_not(gru, GPU[1])["cudnn"] == "JAX has no function for cuDNN's GRU"


@pytest.mark.parametrize("runtime", GPU, ids=str)
@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"cell": "gru", "kind": "GRUCell"}, "LSTM and GRU, not GRU(reset_after=False)"),
        ({"cell": "simple_rnn", "kind": "SimpleRNNCell"}, "LSTM and GRU, not SimpleRNNCell"),
        ({"cell": None, "kind": "MyCell"}, "LSTM and GRU, not MyCell"),
        ({"activation": "relu"}, "its activations are tanh and sigmoid, not relu and sigmoid"),
        ({"activation": None}, "not a custom function and sigmoid"),
        ({"recurrent_activation": "hard_sigmoid"}, "not tanh and hard_sigmoid"),
        ({"recurrent_dropout": 0.2}, "recurrent_dropout=0.2 is not supported"),
        ({"zoneout": True}, "zoneout is not supported"),
        ({"peephole": True}, "peephole is not supported"),
        ({"normalization": True}, "normalization is not supported"),
        ({"resets": True}, "clearing states within a batch is not supported"),
        ({"use_cudnn": False}, "use_cudnn=False"),
    ],
)
def test_what_cudnn_does_not_support(facts, reason, runtime):
    choice = kernels.choose("auto", spec(**facts), runtime)
    assert choice.name != "cudnn"
    assert reason in kernels.why_not(spec(**facts), runtime)["cudnn"]
    assert reason in choice.reason


def test_without_the_library_pytorch_runs_its_own_kernels_and_others_the_loop(monkeypatch):
    monkeypatch.setattr(native, "why_not", lambda: "the native library is not built")
    chosen = {runtime.backend: kernels.choose("auto", PLAIN, runtime) for runtime in CPU}
    names = {backend: choice.name for backend, choice in chosen.items()}
    assert names == {"tensorflow": "scan", "jax": "scan", "torch": "aten"}
    for choice in chosen.values():
        assert "fused: the native library is not built" in choice.reason
    with pytest.raises(ArgumentError, match="the native library is not built"):
        kernels.choose("fused", PLAIN, CPU[0])


@pytest.mark.parametrize("implementation", ["fused", "cudnn"])
def test_a_requested_kernel_that_cannot_run_is_an_error_with_the_reason(implementation):
    double = spec(dtype="float64")
    with pytest.raises(ArgumentError) as caught:
        kernels.choose(implementation, double, CPU[0])
    reason = kernels.why_not(double, CPU[0])[implementation]
    assert str(caught.value) == (
        f"implementation='{implementation}' cannot run this layer: {reason}. "
        "With implementation='auto' it runs on 'scan'."
    )


@pytest.mark.parametrize("implementation", ["scan", "fused"])
def test_a_requested_kernel_runs_if_it_can(implementation):
    assert kernels.choose(implementation, PLAIN, CPU[0]) == (implementation, "it was requested")


@pytest.mark.parametrize("implementation", kernels.IMPLEMENTATIONS)
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_stored_graph_never_contains_a_kernel_whatever_was_requested(implementation, backend):
    for device in ("cpu", "cuda"):
        choice = kernels.choose(implementation, PLAIN, Runtime(backend, device, "export"))
        assert choice.name == "scan"


def test_an_unknown_implementation_is_refused():
    with pytest.raises(ArgumentError, match=r"implementation='fussed'\. Did you mean 'fused'\?"):
        kernels.choose("fussed", PLAIN, CPU[0])


@pytest.mark.backends
def test_use_cudnn_of_keras_is_obeyed():
    x = np.zeros((1, 2, 3), "float32")
    with pytest.raises(ArgumentError, match="implementation='cudnn' cannot run this layer: it ne"):
        layers.LSTM(2, use_cudnn=True)(x)
    without = Spec.of(layers.LSTM(2, use_cudnn=False))
    assert kernels.why_not(without, GPU[0])["cudnn"] == "use_cudnn=False"


@pytest.mark.backends
def test_the_facts_of_a_layer():
    layer = layers.LSTM(
        2, recurrent_dropout=0.2, zoneout_c=0.1, peephole=True, dtype="mixed_bfloat16"
    )
    facts = Spec.of(layer, training=True, resets=True)
    assert facts == Spec(
        "lstm",
        "LSTMCell",
        dtype="bfloat16",
        recurrent_dropout=0.2,
        resets=True,
        zoneout=True,
        peephole=True,
    )
    assert Spec.of(layer).recurrent_dropout == 0.0
    gru = Spec.of(layers.GRU(2, activation=lambda x: x, reset_after=False, zoneout_h=0.1))
    assert (gru.cell, gru.activation) == ("gru", None)
    assert Spec.of(layers.SimpleRNN(2, activation=None)).activation == "linear"
    custom = Spec.of(keras.layers.RNN([keras.layers.GRUCell(2), keras.layers.LSTMCell(2)]))
    assert (custom.cell, custom.kind) == (None, "StackedRNNCells")
    assert Spec.of(keras.layers.RNN(keras.layers.GRUCell(2))).cell == "gru_reset_after"


def test_a_subclass_of_a_cell_is_another_cell():
    class MyCell(keras.layers.LSTMCell):
        """May compute anything."""

    assert Spec.of(keras.layers.RNN(MyCell(2))).cell is None


def test_counts_only_cover_the_block():
    layer, x = layers.GRU(2, implementation="scan"), np.zeros((1, 2, 3), "float32")
    layer(x)
    with kernels.counting() as outer:
        layer(x)
        with kernels.counting() as inner:
            layer(x)
        assert not outer
    assert (outer, inner) == ({"scan": 2}, {"scan": 1})


def test_the_gpu_kernel_that_was_never_measured_only_runs_if_requested():
    facts, runtime = spec(recurrent_dropout=0.2), Runtime("torch", "cuda")
    choice = kernels.choose("auto", facts, runtime)
    assert choice.name == "scan"
    assert "implementation='fused' selects it" in choice.reason
    assert kernels.choose("fused", facts, runtime).name == "fused"
    with pytest.raises(ArgumentError, match="its GPU kernel does not support normalization"):
        kernels.choose("fused", spec(normalization=True), runtime)
    for backend in ("tensorflow", "jax"):
        with pytest.raises(ArgumentError, match=f"no kernel for {backend} on the device cuda"):
            kernels.choose("fused", facts, Runtime(backend, "cuda"))


@pytest.mark.parametrize(
    ("widths", "reason"),
    [
        ((0, 4), "it supports 1 to 1048575 features, not 0"),
        ((1 << 20, 4), "it supports 1 to 1048575 features, not 1048576"),
        ((3, 1 << 20), "it supports 1 to 1048575 units, not 1048576"),
    ],
)
def test_the_limits_of_the_fused_kernel_are_reasons(widths, reason):
    spec = Spec("lstm", "LSTMCell", widths=widths)
    assert kernels.why_not(spec, CPU[0])["fused"] == reason
    assert kernels.choose("auto", spec, Runtime("jax", "cpu")).name == "scan"


@pytest.mark.backends
@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_a_layer_without_features_runs(kind):
    layer = kind(2)
    outputs = keras.ops.convert_to_numpy(layer(np.zeros((3, 4, 0), "float32")))
    np.testing.assert_array_equal(outputs, np.zeros((3, 2)))  # no biases yet, and no input
