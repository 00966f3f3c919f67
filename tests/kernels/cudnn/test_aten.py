"""PyTorch's own kernels on a CPU, which run where the native library is not built."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import kernel_calls as calls
from helpers.examples import examples
from seqkeras import kernels, native
from seqkeras.kernels.cudnn import _aten

pytestmark = [
    pytest.mark.backends,
    pytest.mark.skipif(calls.BACKEND != "torch", reason="they only run under PyTorch"),
]


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("mask", [None, "right", "left", "any", "empty"])
def test_it_runs_without_the_native_library(kind, mask, monkeypatch):
    monkeypatch.setattr(native, "why_not", lambda: "the native library is not built")
    layer = calls.built(kind, return_sequences=True, return_state=True)
    problem = calls.problem(kind, mask=mask, timesteps=6)
    with kernels.counting() as chosen:
        actual = calls.run(layer, problem)
    assert chosen == {"aten": 1}
    calls.assert_same(actual, calls.run(layer, problem, "scan"))


@examples(9)
@given(
    st.sampled_from(["LSTM", "GRU"]),
    st.sampled_from([None, "right", "left", "any", "empty"]),
    st.fixed_dictionaries(
        {
            name: st.booleans()
            for name in (
                *("use_bias", "go_backwards", "return_sequences", "return_state"),
                *("zero_output_for_mask", "stateful"),
            )
        }
    ),
    st.sampled_from([{}, {"dropout": 0.3}, {"dropout": 0.3, "implementation": 1}]),
    st.sampled_from(["float32", "float64", "mixed_bfloat16"]),
    st.booleans(),
)
def test_it_is_the_loop(kind, mask, options, dropout, dtype, training):
    layer = calls.built(kind, rows=3, dtype=dtype, seed=7, **options, **dropout)
    problem = calls.problem(kind, mask=mask, given_states=False)._replace(training=training)
    actual, expected = (calls.run(layer, problem, name) for name in ("aten", "scan"))
    if dtype == "mixed_bfloat16":
        calls.assert_same(actual, expected, outputs=5e-2, gradients=1e-1)
    else:
        calls.assert_same(actual, expected)


def test_it_says_why_it_cannot_run():
    lstm = kernels.Spec("lstm", "LSTMCell")
    assert _aten.why_not(lstm, kernels.Runtime("torch", "cpu")) is None
    assert (
        _aten.why_not(lstm, kernels.Runtime("jax", "cpu")) == "it only runs under PyTorch on a CPU"
    )
    assert (
        _aten.why_not(lstm, kernels.Runtime("torch", "cuda"))
        == "it only runs under PyTorch on a CPU"
    )
    simple = kernels.Spec("simple_rnn", "SimpleRNNCell")
    assert "not SimpleRNNCell" in _aten.why_not(simple, kernels.Runtime("torch", "cpu"))


def test_it_accepts_no_rows():
    layer = calls.built("LSTM", return_sequences=True)
    with calls.as_kernel(layer, "aten"), kernels.counting() as chosen:
        assert layer(np.zeros((0, 4, 2), "float32")).shape == (0, 4, 4)
    assert chosen == {"aten": 1}
