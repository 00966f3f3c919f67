"""Explanations of what will run each recurrent layer, against what then runs."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from seqkeras import diagnostics, kernels, layers, native, sequence_to_sequence
from seqkeras.errors import ArgumentError

pytestmark = pytest.mark.backends

BACKEND = keras.backend.backend()
BUILT = native.why_not() is None
NO_GPU = "it needs an NVIDIA GPU, and this runs on cpu"


def only(model):
    (explanation,) = diagnostics.explain(model)
    return explanation


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
@pytest.mark.parametrize(
    "options", [{}, {"recurrent_dropout": 0.2}, {"implementation": "scan"}, {"activation": "elu"}]
)
def test_what_it_says_is_what_runs(kind, options):
    layer, x = kind(4, **options), np.zeros((2, 3, 5), "float32")
    layer.build(x.shape)
    explanation = only(layer)
    for training, name in ((True, explanation.training), (False, explanation.inference)):
        with kernels.counting() as chosen:
            layer(x, training=training)
        assert set(chosen) == {name}


L = keras.layers
CELLS = {"lstm": L.LSTMCell, "gru": L.GRUCell, "simple": L.SimpleRNNCell}
NAMED = {"lstm": layers.LSTM, "gru": layers.GRU, "simple": layers.SimpleRNN}


class OwnCell(L.GRUCell):
    """May compute anything."""


@st.composite
def recurrent_parts(draw):
    """Draw a layer of ours whose kernel depends on one thing or another."""
    kind = draw(st.sampled_from(sorted(CELLS)))
    options = {
        "activation": draw(st.sampled_from(["tanh", "relu"])),
        "recurrent_dropout": draw(st.sampled_from([0.0, 0.2])),
        "dtype": draw(st.sampled_from(["float32", "float64", "mixed_bfloat16"])),
    }
    wrapping = draw(st.sampled_from(["named", "cell", "cells", "own cell", "both", "image"]))
    if wrapping == "image":
        return L.Reshape((-1, 2, 1)), layers.ConvLSTM1D(2, 2), L.Reshape((1, -1))
    if "cell" in wrapping:
        del options["dtype"]  # a cell of Keras draws float32 for its dropout
    loop = {"return_sequences": True}
    if wrapping == "cell":
        return (layers.RNN(CELLS[kind](2, **options), **loop),)
    if wrapping == "cells":
        return (layers.RNN([CELLS[kind](2, **options), L.GRUCell(2)], **loop),)
    if wrapping == "own cell":
        return (layers.RNN(OwnCell(2), **loop),)
    implementation = draw(st.sampled_from(["auto", "scan"]))
    layer = NAMED[kind](2, implementation=implementation, **options, return_sequences=True)
    return (layers.Bidirectional(layer),) if wrapping == "both" else (layer,)


@examples(6)
@given(st.lists(recurrent_parts(), min_size=1, max_size=3), st.booleans())
def test_what_it_says_of_a_model_is_what_runs(parts, training):
    model = keras.Sequential([keras.Input((4, 3)), *(layer for part in parts for layer in part)])
    names = [
        explanation.training if training else explanation.inference
        for explanation in diagnostics.explain(model)
    ]
    with kernels.counting() as chosen:
        model(np.zeros((2, 4, 3), "float32"), training=training)
    pairs = sum(isinstance(layer, L.Bidirectional) for layer in model.layers)
    assert set(chosen) == set(names)
    assert len(names) - pairs <= chosen.total() <= len(names)  # a pair may run in one call


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the others compile in other ways")
@pytest.mark.parametrize("jit_compile", [False, True, "auto"])
def test_what_it_says_of_a_compiled_model_is_what_runs(jit_compile):
    model = keras.Sequential([keras.Input((4, 3)), layers.GRU(2)])
    model.compile("sgd", "mse", jit_compile=jit_compile)
    for name, run in (
        (only(model).training, lambda x: model.train_on_batch(x, x[:, 0, :2])),
        (only(model).inference, model.predict_on_batch),
    ):
        with kernels.counting() as chosen:
            run(np.zeros((2, 4, 3), "float32"))
        assert set(chosen) == {name}


@pytest.mark.skipif(not BUILT, reason=str(native.why_not()))
def test_a_layer_of_ours():
    explanation = only(layers.LSTM(4, name="memory"))
    assert (explanation.layer, explanation.kind) == ("memory", "seqkeras LSTM")
    assert (explanation.training, explanation.inference) == ("fused", "fused")
    assert list(explanation.why_not) == ["cudnn", "fused", *["aten"] * (BACKEND == "torch"), "scan"]
    assert explanation.why_not["cudnn"] == NO_GPU
    assert explanation.why_not["fused"] is None
    assert explanation.why_not["scan"] is None
    assert str(explanation) == f"memory (seqkeras LSTM)\n    runs on fused\n    cudnn: {NO_GPU}"


def test_what_was_asked_for():
    explanation = only(layers.GRU(4, implementation="scan", name="memory"))
    assert (explanation.training, explanation.inference) == ("scan", "scan")
    if BUILT:
        assert "    fused: could run it" in str(explanation)
    assert "    runs on scan" in str(explanation)


def test_what_cannot_run_as_it_was_asked_to():
    explanation = only(layers.LSTM(4, use_cudnn=True))
    assert (explanation.training, explanation.inference) == ("none", "none")
    assert "    cannot run: the kernel that it requires" in str(explanation)
    assert f"    cudnn: {NO_GPU}" in str(explanation)


def test_a_kernel_that_cannot_train_may_predict():
    explanation = diagnostics.Explanation(
        "memory", "seqkeras LSTM", "none", "cudnn", {"cudnn": "dropout"}
    )
    assert "cannot train: the kernel that it requires" in str(explanation)
    assert "predicts on cudnn" in str(explanation)


@pytest.mark.skipif(BACKEND != "torch", reason="a second choice is PyTorch's")
def test_training_and_inference_may_differ(monkeypatch):
    monkeypatch.setattr(native, "why_not", lambda: "the native library is not built")
    explanation = only(layers.LSTM(4, recurrent_dropout=0.2, name="memory"))
    assert (explanation.training, explanation.inference) == ("scan", "aten")
    assert str(explanation).splitlines() == [
        "memory (seqkeras LSTM)",
        "    trains on scan, predicts on aten",
        f"    cudnn: {NO_GPU}",
        "    fused: the native library is not built",
        "    aten: recurrent_dropout=0.2 is not supported",
    ]


def in_a_model(layer):
    return keras.Sequential([keras.Input((None, 3)), layer])


@pytest.mark.skipif(not BUILT, reason=str(native.why_not()))
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_a_layer_of_keras_runs_as_its_loop_without_a_gpu(kind):
    explanation = only(in_a_model(getattr(keras.layers, kind)(4, name="memory")))
    assert (explanation.kind, explanation.training, explanation.inference) == (
        f"keras {kind}",
        "scan",
        "scan",
    )
    assert str(explanation).splitlines() == [
        f"memory (keras {kind})",
        "    runs on scan",
        f"    cudnn: {NO_GPU}",
        "    after seqkeras.accelerate, it runs on fused",
    ]


def test_the_reason_is_given_where_a_conversion_would_not_help():
    explanation = only(in_a_model(keras.layers.LSTM(4, activation="relu")))
    assert f"    cudnn: {NO_GPU}" in str(explanation)
    if BUILT:
        assert "    fused: activation='relu' is not supported; supported: tanh" in str(explanation)
    assert "accelerate" not in str(explanation)


@pytest.fixture
def on_a_gpu(monkeypatch):
    """Let the choice of kernels take this machine for one with a GPU."""
    runtime = kernels.Runtime("tensorflow", "cuda")
    monkeypatch.setattr(kernels, "here", lambda: runtime)


@pytest.mark.usefixtures("on_a_gpu")
def test_on_a_gpu_keras_has_the_choice_unless_the_arguments_rule_cudnn_out():
    explanation = only(in_a_model(keras.layers.LSTM(4)))
    assert (explanation.training, explanation.inference) == ("keras", "keras")
    assert "Keras chooses cudnn if a call and its mask allow it" in str(explanation)
    assert "after seqkeras.accelerate, it runs on cudnn" in str(explanation)
    for options in ({"activation": "relu"}, {"recurrent_dropout": 0.1}, {"use_cudnn": False}):
        explanation = only(in_a_model(keras.layers.LSTM(4, **options)))
        assert (explanation.training, explanation.inference) == ("scan", "scan")
        assert explanation.why_not["cudnn"]
        assert explanation.why_not["cudnn"] in str(explanation)
    for options in ({"use_bias": False}, {"unroll": True}):  # of the layers of Keras only
        layer = keras.layers.LSTM(4, **options)
        explanation = only(keras.Sequential([keras.Input((5, 3)), layer]))
        assert (explanation.training, explanation.inference) == ("scan", "scan")


@pytest.mark.skipif(not BUILT, reason=str(native.why_not()))
def test_accelerate_is_named_only_where_it_takes_the_model():
    class Own(keras.Model):
        """Its calls are hidden."""

        def __init__(self):
            super().__init__()
            self.memory = keras.layers.LSTM(4)

    for model in (Own(), keras.layers.LSTM(4)):
        assert "    as one of seqkeras.layers, it runs on fused" in str(only(model))


def test_cells_of_ones_own_run_as_the_loop():
    class MyCell(keras.layers.GRUCell):
        """May compute anything."""

    explanation = only(keras.layers.RNN(MyCell(4)))
    assert (explanation.training, explanation.inference) == ("scan", "scan")
    assert explanation.why_not["fused"] == "MyCell is not one of the cells that it supports"
    stack = only(keras.layers.RNN([keras.layers.LSTMCell(2), keras.layers.GRUCell(3)]))
    assert "StackedRNNCells is not one of the cells" in stack.why_not["fused"]


def test_every_layer_of_a_model_is_named_by_what_it_lies_in():
    encoder = keras.Sequential(
        [
            keras.Input((None, 3)),
            keras.layers.Bidirectional(layers.LSTM(2, name="both"), name="around"),
        ],
        name="encoder",
    )
    model = keras.Sequential(
        [
            keras.Input((None, 4, 3)),
            keras.layers.TimeDistributed(encoder, name="each"),
            keras.layers.GRU(3, name="last"),
            keras.layers.Dense(1),
        ]
    )
    explanations = diagnostics.explain(model)
    assert [one.layer for one in explanations] == [
        "each/encoder/around/forward_both",
        "each/encoder/around/backward_both",
        "last",
    ]
    assert [one.kind for one in explanations] == ["seqkeras LSTM", "seqkeras LSTM", "keras GRU"]
    assert str(explanations) == repr(explanations) == "\n".join(map(str, explanations))


def test_a_model_that_is_not_built():
    model = keras.Sequential([layers.LSTM(2), keras.layers.Dense(1)])
    assert only(model).kind == "seqkeras LSTM"


def test_a_model_without_recurrent_layers():
    assert str(diagnostics.explain(keras.Sequential([keras.layers.Dense(1)]))) == (
        "There are no recurrent layers."
    )


@pytest.mark.parametrize("wrong", ["model.keras", None, layers.LSTM])
def test_what_is_no_model_is_refused(wrong):
    with pytest.raises(ArgumentError, match="model must be a Keras model or layer"):
        diagnostics.explain(wrong)


@pytest.mark.parametrize("query", ["old", "new"])
def test_the_loop_of_a_decoder_with_attention_is_told(query):
    attention = {"mechanism": "additive", "query": query}
    model = sequence_to_sequence(7, 7, units=4, cell="gru", attention=attention)
    encoder, decoder = diagnostics.explain(model)
    waits = "each timestep waits for the attention of the timestep before"
    assert (decoder.training == "scan" and waits in str(decoder)) is (query == "old")
    assert (decoder.training == encoder.training) is (query == "new")
