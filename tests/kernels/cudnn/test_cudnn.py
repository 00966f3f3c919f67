"""The calls of cuDNN, against references of its documented layout, without a GPU.

PyTorch has the same functions on a CPU, and `test_aten` runs those. On JAX, its own reference of
cuDNN's LSTM replaces cuDNN. On TensorFlow, the loop below does, written from the order of
parameters and the equations that NVIDIA documents for `cudnnRNNForward`.
"""

import itertools
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from helpers import kernel_calls as calls
from helpers.examples import covering
from seqkeras import kernels
from seqkeras.kernels.cudnn import _cudnn

pytestmark = [
    pytest.mark.backends,
    pytest.mark.skipif(calls.BACKEND == "torch", reason="test_aten runs PyTorch's functions"),
]

KINDS = ["LSTM", "GRU"] if calls.BACKEND == "tensorflow" else ["LSTM"]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """Replace cuDNN by a reference that runs on this machine."""
    reason = _cudnn.not_in_cudnn
    monkeypatch.setattr(_cudnn, "why_not", lambda spec, runtime: reason(spec))
    if calls.BACKEND == "tensorflow":
        import tensorflow as tf

        from seqkeras.kernels.cudnn import _tensorflow as module

        raw = SimpleNamespace(CudnnRNNV3=reference)
        monkeypatch.setattr(module, "tf", Replaced(tf, raw_ops=raw))
    elif calls.BACKEND == "jax":
        from jax.experimental import rnn

        monkeypatch.setattr(rnn, "lstm", jax_reference)


class Replaced:
    """A module with some attributes replaced."""

    def __init__(self, module, **others):
        self.__dict__.update(others)
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, name)


def jax_reference(x, h_0, c_0, weights, seq_lengths, **options):
    from jax.experimental import rnn

    sizes = [options[name] for name in ("input_size", "hidden_size", "num_layers", "bidirectional")]
    parts = rnn.unpack_lstm_weights(weights, *sizes)
    return rnn.lstm_ref(x, h_0, c_0, *parts, seq_lengths, **options)


def reference(
    input,
    input_h,
    input_c,
    params,
    rnn_mode,
    sequence_lengths,
    time_major,
    is_training,
):
    """Compute `CudnnRNNV3` in a loop: `gates` matrices of the input, of the state, and biases.

    The gates of an LSTM are i, f, c, o; those of a GRU r, z, h (cuDNN calls them r, i, h').
    """
    import tensorflow as tf

    assert is_training
    assert not time_major
    features, units = input.shape[-1], input_h.shape[-1]
    gates = 4 if rnn_mode == "lstm" else 3
    sizes = [units * features] * gates + [units * units] * gates + [units] * 2 * gates
    parts = tf.split(params, sizes)
    of_input = [tf.reshape(part, (units, features)) for part in parts[:gates]]
    of_state = [tf.reshape(part, (units, units)) for part in parts[gates : 2 * gates]]
    biases = parts[2 * gates :]
    h = tf.squeeze(input_h, 1)
    c = tf.squeeze(input_c, 1) if rnn_mode == "lstm" else None
    outputs = []
    for t in range(input.shape[1]):
        a = [input[:, t] @ tf.transpose(w) + b for w, b in zip(of_input, biases, strict=False)]
        r = [h @ tf.transpose(w) + b for w, b in zip(of_state, biases[gates:], strict=True)]
        used = (t < sequence_lengths)[:, None]
        if rnn_mode == "lstm":
            i, f, o = (tf.sigmoid(a[k] + r[k]) for k in (0, 1, 3))
            new_c = f * c + i * tf.tanh(a[2] + r[2])
            new = o * tf.tanh(new_c)
            c = tf.where(used, new_c, c)
        else:
            reset = tf.sigmoid(a[0] + r[0])
            update = tf.sigmoid(a[1] + r[1])
            new = (1 - update) * tf.tanh(a[2] + reset * r[2]) + update * h
        h = tf.where(used, new, h)
        outputs.append(tf.where(used, new, tf.zeros_like(new)))
    states = [tf.expand_dims(h, 1), None if c is None else tf.expand_dims(c, 1)]
    return tf.stack(outputs, 1), *states, None, None


OPTIONS = {
    "plain": {},
    "no bias, backwards": {"use_bias": False, "go_backwards": True},
    "zeros, the last": {"zero_output_for_mask": True, "return_sequences": False},
}


@pytest.mark.parametrize(
    ("kind", "mask", "options"),
    covering(list(itertools.product(KINDS, [None, "right", "any"], OPTIONS)), 2),
)
def test_it_is_the_loop(kind, mask, options):
    options = {"return_sequences": True, "return_state": True, **OPTIONS[options]}
    layer = calls.built(kind, **options)
    problem = calls.problem(kind, mask=mask, timesteps=6)
    calls.assert_same(calls.run(layer, problem, "cudnn"), calls.run(layer, problem, "scan"))


@pytest.mark.parametrize("options", [{}, {"implementation": 1}], ids=["one mask", "one per gate"])
@pytest.mark.parametrize("kind", KINDS)
def test_dropout_of_inputs_is_that_of_the_loop(kind, options):
    layer = calls.built(kind, dropout=0.4, seed=3, return_sequences=True, **options)
    problem = calls.problem(kind, batch=4)._replace(training=True)
    calls.assert_same(calls.run(layer, problem, "cudnn"), calls.run(layer, problem, "scan"))


@pytest.mark.parametrize("kind", KINDS)
def test_it_runs_without_a_request_where_it_can(kind):
    layer = calls.built(kind, use_cudnn=True)
    with kernels.counting() as chosen:
        layer(np.zeros((2, 3, 2), "float32"))
    assert chosen == {"cudnn": 1}


def test_resets_between_batches_still_run_on_cudnn():
    layer = calls.built("LSTM", rows=2, stateful=True)
    other = calls.built("LSTM", rows=2, stateful=True, implementation="scan")
    x = calls.random_array(2, 3, 2, seed=0)
    flags = np.array([[True], [False]])
    with kernels.counting() as chosen:
        outputs = [layer(x, reset=flags) for _ in range(2)]
    assert chosen == {"cudnn": 2}
    for output in outputs:
        pair = (output, other(x, reset=flags))
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, pair), atol=2e-6)
    with kernels.counting() as chosen:
        layer(x, reset=np.eye(2, 3, dtype=bool))
    assert not chosen["cudnn"]
