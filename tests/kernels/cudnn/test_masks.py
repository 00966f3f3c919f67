"""Any mask on a kernel that only supports sequences of different lengths, here a loop."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers.examples import examples
from seqkeras.kernels.cudnn._masks import Sequences, run_masked

pytestmark = pytest.mark.backends

masks = st.tuples(st.integers(1, 4), st.integers(1, 6)).flatmap(lambda shape: arrays(bool, shape))


def step(h, x):
    return 0.5 * h + x


def over_lengths(state, seen):
    """Return a kernel that reads the first timesteps of each row, with NaN as output after them."""

    def run(x, lengths):
        x = keras.ops.convert_to_numpy(x)
        lengths = keras.ops.convert_to_numpy(lengths)
        seen.append(lengths)
        y = np.full(x.shape, np.nan, "float32")
        last = state.copy()
        for row, length in enumerate(lengths):
            for t in range(length):
                last[row] = y[row, t] = step(last[row], x[row, t])
        return Sequences(keras.ops.convert_to_tensor(y), [keras.ops.convert_to_tensor(last)])

    return run


def one_by_one(x, state, mask, zero_output):
    """Compute the same by Keras' rule: a masked timestep holds the state and the output."""
    y = np.empty_like(x)
    last = state.copy()
    for row in range(len(x)):
        held = state[row]
        for t in range(x.shape[1]):
            if mask[row, t]:
                held = last[row] = step(last[row], x[row, t])
            zero = zero_output and not mask[row, t]
            y[row, t] = np.zeros_like(held) if zero else held
    return y, last


@examples(5 if keras.backend.backend() == "jax" else 13)
@given(masks, st.booleans())
def test_any_mask_is_run_as_lengths(mask, zero_output):
    random = np.random.default_rng(0)
    x = random.normal(size=(*mask.shape, 3)).astype("float32")
    x[~mask] = np.nan  # never read
    state = random.normal(size=(len(mask), 3)).astype("float32")
    seen = []
    result = run_masked(
        over_lengths(state, seen),
        keras.ops.convert_to_tensor(x),
        [keras.ops.convert_to_tensor(state)],
        keras.ops.convert_to_tensor(mask),
        zero_output,
    )
    y, last = one_by_one(x, state, mask, zero_output)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(result.y), y, atol=1e-6)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(result.states[0]), last, atol=1e-6)
    np.testing.assert_array_equal(seen[0], np.maximum(mask.sum(1), 1))
