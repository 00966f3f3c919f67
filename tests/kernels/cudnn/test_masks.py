"""Any mask on kernels that know sequences of different lengths: a loop that knows those alone."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seqkeras.kernels.cudnn._masks import Sequences, run_masked

pytestmark = pytest.mark.backends

masks = st.tuples(st.integers(1, 4), st.integers(1, 6)).flatmap(lambda shape: arrays(bool, shape))


def step(h, x):
    return 0.5 * h + x


def over_lengths(state, seen):
    """A kernel that reads the first timesteps of each row, and gives NaN beyond."""

    def run(x, lengths):
        x, lengths = (keras.ops.convert_to_numpy(one) for one in (x, lengths))
        seen.append(lengths)
        y, last = np.full(x.shape, np.nan, "float32"), state.copy()
        for row, length in enumerate(lengths):
            for t in range(length):
                last[row] = y[row, t] = step(last[row], x[row, t])
        return Sequences(keras.ops.convert_to_tensor(y), [keras.ops.convert_to_tensor(last)])

    return run


def one_by_one(x, state, mask, shown):
    """The same by the rule of Keras: a masked timestep leaves the state, and shows the output."""
    y, last = np.empty_like(x), state.copy()
    before = state if shown == "hold_state" else np.zeros_like(state)
    for row in range(len(x)):
        held = before[row]
        for t in range(x.shape[1]):
            if mask[row, t]:
                held = last[row] = step(last[row], x[row, t])
            y[row, t] = np.zeros_like(held) if shown == "zero" and not mask[row, t] else held
    return y, last


@settings(max_examples=10 if keras.backend.backend() == "jax" else 40)
@given(masks, st.sampled_from(["hold_output", "hold_state", "zero"]))
def test_any_mask_is_lengths_of_what_counts(mask, shown):
    random = np.random.default_rng(0)
    x = random.normal(size=(*mask.shape, 3)).astype("float32")
    x[~mask] = np.nan  # is never read
    state, seen = random.normal(size=(len(mask), 3)).astype("float32"), []
    found = run_masked(
        over_lengths(state, seen),
        keras.ops.convert_to_tensor(x),
        [keras.ops.convert_to_tensor(state)],
        keras.ops.convert_to_tensor(mask),
        shown,
    )
    y, last = one_by_one(x, state, mask, shown)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found.y), y, atol=1e-6)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found.states[0]), last, atol=1e-6)
    np.testing.assert_array_equal(seen[0], np.maximum(mask.sum(1), 1))
