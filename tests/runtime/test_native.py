"""Tests of programs on the native kernels, against the same programs on NumPy."""

import keras
import numpy as np
import pytest

import seqkeras
from helpers.arrays import random_array
from seqkeras import native, runtime
from seqkeras.errors import ArgumentError
from seqkeras.export import save_program

ROWS = 3
STEPS = 40

built = pytest.mark.skipif(native.load() is None, reason=str(native.why_not()))
layers = keras.layers


KINDS = {
    "lstm": lambda: layers.LSTM(7),
    "lstm, hard": lambda: layers.LSTM(7, recurrent_activation="hard_sigmoid", use_bias=False),
    "gru": lambda: layers.GRU(7),
    "gru, reset before": lambda: layers.GRU(7, reset_after=False),
    "simple_rnn": lambda: layers.SimpleRNN(7, activation="relu"),
}


def both(tmp_path, *stack, **options):
    """Return a program on the native kernels, and the same program on NumPy."""
    model = keras.Sequential([keras.Input((None, 3)), *stack])
    model.set_weights([random_array(*weight.shape) * 0.5 for weight in model.weights])
    save_program(model, tmp_path / "p", **options)
    return [runtime.load(tmp_path / "p", implementation=name) for name in ("native", "numpy")]


def assert_close(arrays, others):
    for left, right in zip(arrays, others, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=2e-6)


@built
@pytest.mark.parametrize("kind", KINDS)
def test_both_agree_and_exchange_states(kind, tmp_path):
    compiled, plain = both(tmp_path, KINDS[kind]())
    assert compiled.choices[0].implementation == "native"
    assert plain.choices[0].implementation == "numpy"
    assert compiled.fingerprint == plain.fingerprint
    x = random_array(ROWS, STEPS, 3)
    ys, state = compiled.scan(x, compiled.initial_state(ROWS))
    expected, after = plain.scan(x, plain.initial_state(ROWS))
    assert_close([ys, *state], [expected, *after])
    more = random_array(ROWS, 3)
    crossed = compiled.step(more, plain.unpack_state(compiled.pack_state(after)))
    straight = plain.step(more, state)
    assert_close([crossed[0], *crossed[1]], [straight[0], *straight[1]])


@built
def test_masks_and_windows(tmp_path):
    stack = [layers.Masking(), layers.LSTM(4, return_sequences=True), layers.GRU(3)]
    x = random_array(ROWS, STEPS, 3)
    x[0, ::3] = 0
    for options in ({}, {"window": 6}):
        compiled, plain = both(tmp_path, *stack, **options)
        ys, state = compiled.scan(x, compiled.initial_state(ROWS))
        expected, after = plain.scan(x, plain.initial_state(ROWS))
        assert_close([ys, *state], [expected, *after])


@built
@pytest.mark.parametrize("kind", KINDS)
def test_arguments_are_not_changed_and_out_can_be_the_state(kind, tmp_path):
    compiled, _ = both(tmp_path, KINDS[kind]())
    x = random_array(ROWS, 3)
    state = compiled.scan(random_array(ROWS, 5, 3), compiled.initial_state(ROWS))[1]
    before = [array.copy() for array in state]
    y, new = compiled.step(x, state)
    assert_close(state, before)
    again, written = compiled.step(x, state, out=state)
    assert all(a is b for a, b in zip(written, state, strict=True))
    assert_close([again, *written], [y, *new])


@built
def test_views_are_read_and_written(tmp_path):
    compiled, plain = both(tmp_path, layers.LSTM(4))
    x = random_array(3, 2 * ROWS).T[::2]
    state = tuple(random_array(4, ROWS, seed=seed).T for seed in (1, 2))
    place = tuple(np.zeros((2 * ROWS, 4), "float32")[::2] for _ in state)
    y, new = compiled.step(x, state, out=place)
    expected, after = plain.step(x, state)
    assert_close([y, *place, *new], [expected, *after, *after])


@built
def test_a_layer_outside_the_kernels_runs_on_numpy_with_the_reason(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), layers.LSTM(4, activation="softsign")])
    save_program(model, tmp_path / "p")
    (choice,) = runtime.load(tmp_path / "p").choices
    assert choice.implementation == "numpy"
    assert "activation='softsign' is not supported; supported: tanh" in choice.reason
    with pytest.raises(ArgumentError, match=r"'auto' or 'numpy' for layer .*softsign"):
        runtime.load(tmp_path / "p", implementation="native")


@built
def test_double_precision_runs_on_numpy(tmp_path):
    x = keras.Input((None, 3), dtype="float64")
    model = keras.Model(x, layers.LSTM(4, dtype="float64")(x))
    save_program(model, tmp_path / "p")
    (choice,) = runtime.load(tmp_path / "p").choices
    assert "float32" in choice.reason


def test_without_the_kernels_numpy_runs_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "why_not", lambda: "the native library is not built")
    save_program(seqkeras.many_to_one(3, units=4), tmp_path / "p")
    (choice,) = runtime.load(tmp_path / "p").choices
    assert choice == ("recurrent_1", "numpy", "the native library is not built")
    with pytest.raises(ArgumentError, match="the native library is not built"):
        runtime.load(tmp_path / "p", implementation="native")


def test_an_implementation_is_one_of_three(tmp_path):
    save_program(seqkeras.many_to_one(3, units=4), tmp_path / "p")
    with pytest.raises(ArgumentError, match="implementation must be one of 'auto', 'numpy', 'nat"):
        runtime.load(tmp_path / "p", implementation="fused")
