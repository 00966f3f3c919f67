"""A network of a few steps, run over a horizon in one graph."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.models import randomized, to_numpy
from seqkeras.errors import ArgumentError
from seqkeras.models import many_to_many, multi_output, recursive
from seqkeras.training import unrolled

LOOKBACK = 5


def network_of(steps, flag=0, future=0, static=0, **options):
    sizes = {"lookback": LOOKBACK, "future": future, "static": static, "units": 3, "cell": "gru"}
    return randomized(multi_output(1 + flag + future, horizon=steps, **sizes, **options))


def by_hand(network, x, horizon):
    """Loop over the network; the window moves on with each output."""
    parts = x if isinstance(x, dict) else {"inputs": x}
    window = parts["inputs"]
    steps = network.output_shape[1]
    outputs = []
    for done in range(0, horizon, steps):
        part = parts | {"inputs": window}
        rows = np.ones((len(window), steps, window.shape[2]))
        if "future" in parts:
            places = np.minimum(np.arange(done, done + steps), horizon - 1)
            part["future"] = parts["future"][:, places]
            rows[..., -part["future"].shape[2] :] = part["future"]
        output = to_numpy(network(part if isinstance(x, dict) else window))
        rows[..., 0] = output
        outputs.append(output)
        window = np.concatenate([window, rows], axis=1)[:, -LOOKBACK:]
    return np.concatenate(outputs, axis=1)[:, :horizon]


def inputs(horizon, flag, future, static, rows=3):
    random = np.random.default_rng(1)
    parts = {
        "inputs": random.normal(size=(rows, LOOKBACK, 1 + flag + future)),
        "future": random.normal(size=(rows, horizon, future)),
        "static": random.normal(size=(rows, static)),
    }
    parts = {name: part.astype("float32") for name, part in parts.items() if part.shape[-1]}
    return parts if len(parts) > 1 else parts["inputs"]


@examples(3)
@given(
    steps=st.integers(1, 7),
    horizon=st.integers(1, 7),
    flag=st.integers(0, 1),
    future=st.integers(0, 2),
    static=st.integers(0, 1),
)
def test_it_returns_what_a_loop_over_the_network_returns(steps, horizon, flag, future, static):
    network = network_of(steps, flag, future, static)
    x = inputs(horizon, flag, future, static)
    outputs = to_numpy(unrolled(network, horizon=horizon)(x))
    np.testing.assert_allclose(outputs, by_hand(network, x, horizon), rtol=1e-4, atol=1e-5)


@pytest.mark.backends
def test_training_it_trains_the_network():
    network = recursive(lookback=LOOKBACK, units=3)
    model = unrolled(network, horizon=2, teacher_forcing=0.5)
    before = network.get_weights()
    x = inputs(2, 0, 0, 0, rows=16)
    y = np.random.default_rng(2).normal(size=(16, 2)).astype("float32")
    model.compile(keras.optimizers.SGD(0.01), "mae")
    model.fit({"inputs": x, "targets": y}, y, batch_size=8, verbose=0)
    moved = [np.abs(a - b).max() for a, b in zip(network.get_weights(), before, strict=True)]
    assert min(moved) > 0
    outputs = to_numpy(model({"inputs": x, "targets": y}))
    np.testing.assert_allclose(outputs, by_hand(network, x, 2), rtol=1e-4, atol=1e-5)


def test_targets_are_fed_only_in_training():
    network = network_of(1)
    model = unrolled(network, horizon=4, teacher_forcing=1.0)
    x = inputs(4, 0, 0, 0)
    y = np.random.default_rng(2).normal(size=(3, 4)).astype("float32")
    both = {"inputs": x, "targets": y}
    free = to_numpy(model(both, training=False))
    np.testing.assert_allclose(free, by_hand(network, x, 4), rtol=1e-4, atol=1e-5)
    forced = to_numpy(model(both, training=True))
    whole = np.concatenate([x, y[..., np.newaxis]], axis=1)
    each = [to_numpy(network(whole[:, k : k + LOOKBACK])) for k in range(4)]
    np.testing.assert_allclose(forced, np.concatenate(each, axis=1), rtol=1e-4, atol=1e-5)


def test_a_missing_target_is_replaced_by_the_output():
    network = network_of(1)
    model = unrolled(network, horizon=3, teacher_forcing=1.0)
    x = inputs(3, 0, 0, 0)
    missing = np.full((3, 3), np.nan, "float32")
    outputs = to_numpy(model({"inputs": x, "targets": missing}, training=True))
    np.testing.assert_allclose(outputs, by_hand(network, x, 3), rtol=1e-4, atol=1e-5)


def test_it_is_saved_and_loaded(tmp_path):
    model = unrolled(network_of(1), horizon=3, teacher_forcing=0.3)
    x = {"inputs": inputs(3, 0, 0, 0), "targets": np.zeros((3, 3), "float32")}
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(loaded(x)), to_numpy(model(x)))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: "a word", "network must be a functional"),
        (lambda: keras.Sequential([keras.layers.Dense(1)]), "network must be a functional"),
        (lambda: many_to_many(1, units=2), "network must be a functional"),
        (lambda: multi_output(lookback=4, horizon=1, outputs=2), "as a likelihood needs"),
        (lambda: multi_output(4, lookback=4, horizon=1), "at most one flag"),
    ],
    ids=["word", "unbuilt", "sequence", "outputs", "features"],
)
def test_a_network_that_cannot_be_fed_back_is_refused(network, message):
    with pytest.raises(ArgumentError, match=message):
        unrolled(network(), horizon=3)
