"""Single steps of the native library against whole sequences; skipped if it is not built."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from seqkeras import native

library = native.load()
pytestmark = pytest.mark.skipif(library is None, reason=str(native.why_not()))

GATES = {"lstm": 4, "gru": 3, "gru_reset_after": 3, "simple_rnn": 1}


def layer_of(cell, features, units, seed=0):
    rng = np.random.default_rng(seed)
    width = GATES[cell] * units
    bias = (2, width) if cell == "gru_reset_after" else (width,)
    shapes = [(features, width), (units, width), bias]
    return native.Layer(cell, *(rng.normal(0, 0.3, shape).astype(np.float32) for shape in shapes))


def zeros(layer, rows):
    return [np.zeros((rows, layer.units), np.float32) for _ in range(1 + layer.has_c)]


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize(("rows", "features", "units"), [(1, 8, 64), (5, 3, 17), (130, 1, 33)])
def test_steps_are_a_sequence_bit_for_bit(cell, rows, features, units):
    layer = layer_of(cell, features, units)
    x = np.random.default_rng(1).normal(size=(rows, 6, features)).astype(np.float32)
    whole = native.forward(layer, x)
    step = native.Step(layer)
    state = zeros(layer, rows)
    other = zeros(layer, rows)
    for t in range(6):
        now = np.ascontiguousarray(x[:, t])
        before = [array.copy() for array in state]
        step.run(now, *state, *other)
        for array, original in zip(state, before, strict=True):
            np.testing.assert_array_equal(array, original)
        step.run(now, *state, *state)  # in place
        for pair in zip(state, other, strict=True):
            np.testing.assert_array_equal(*pair)
        np.testing.assert_array_equal(state[0], whole.y[:, t])
    if layer.has_c:
        np.testing.assert_array_equal(state[1], whole.c_n)


def test_weights_are_copied():
    layer = layer_of("gru", 2, 5)
    step = native.Step(layer)
    x = np.ones((1, 2), np.float32)
    first = zeros(layer, 1)[0]
    second = zeros(layer, 1)[0]
    step.run(x, first, first)
    layer.kernel[...] = layer.recurrent_kernel[...] = 0
    step.run(x, second, second)
    np.testing.assert_array_equal(first, second)


def test_no_rows():
    layer = layer_of("lstm", 2, 5)
    nothing = np.zeros((0, 2), np.float32)
    assert native.Step(layer).run(nothing, *zeros(layer, 0), *zeros(layer, 0)) is None


def test_many_threads_with_one_object():
    layer = layer_of("lstm", 8, 200)
    step = native.Step(layer)
    x = np.random.default_rng(1).normal(size=(8, 100, 3, 8)).astype(np.float32)

    def work(at):
        state = zeros(layer, 3)
        for now in x[at]:
            step.run(now, *state, *state)
        return state[0]

    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(work, range(8)))
    for at, state in enumerate(states):
        np.testing.assert_array_equal(state, work(at))


def test_arrays_that_do_not_fit():
    layer = layer_of("lstm", 2, 5)
    run = native.Step(layer).run
    x = np.zeros((3, 2), np.float32)
    state = zeros(layer, 3)
    for wrong in (
        (x.astype(np.float64), *state, *state),
        (x[:, :1].copy(), *state, *state),
        (x[0], *state, *state),
        (x, state[0][:2], state[1], *state),
        (x, *state, state[0], state[1].astype(np.float64)),
    ):
        with pytest.raises(ValueError, match="must be a float32 array of shape"):
            run(*wrong)
    with pytest.raises((ValueError, BufferError), match="contiguous"):
        run(np.zeros((3, 4), np.float32)[:, ::2], *state, *state)
    for wrong in ((x,), (x, state[0], state[0]), (x, *state, *state, x)):
        with pytest.raises(TypeError):
            run(*wrong)
    with pytest.raises(TypeError):
        run(None, *state, *state)
    fixed = state[0].copy()
    fixed.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        run(x, *state, fixed, state[1])
    gru = native.Step(layer_of("gru", 2, 5))
    with pytest.raises(TypeError, match="only an LSTM"):
        gru.run(x, *state, *state)
