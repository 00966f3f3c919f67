"""What all forecasting networks have in common: inputs, the naive forecast, how windows move."""

import functools
import itertools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import covering, examples
from helpers.models import randomized
from seqkeras import to_keras
from seqkeras.errors import ArgumentError
from seqkeras.layers import NORMALIZATIONS
from seqkeras.models import encoder_decoder, multi_output, segment_rnn
from seqkeras.models._window import WindowColumns, steps_ahead

NETWORKS = {
    "multi_output": multi_output,
    "segment_rnn": segment_rnn,
    "encoder_decoder": encoder_decoder,
}
LOOKBACK, HORIZON = 8, 5
every_network = pytest.mark.parametrize("network", NETWORKS)
every_kind = pytest.mark.parametrize("normalization", NORMALIZATIONS)


def build(network, features=1, **options):
    sizes = {"lookback": LOOKBACK, "horizon": HORIZON, "units": 4}
    return NETWORKS[network](features, **(sizes | options))


def inputs(features=1, future=0, static=0, categories=(), outputs=1, rows=3, seed=1):
    """Return random inputs of these sizes: an array, or a dict if there are several."""
    random = np.random.default_rng(seed)
    parts = {
        "inputs": random.normal(size=(rows, LOOKBACK, features)),
        "future": random.normal(size=(rows, HORIZON, future)),
        "static": random.normal(size=(rows, static)),
    }
    parts = {name: part.astype("float32") for name, part in parts.items() if part.shape[-1]}
    if categories:
        columns = [random.integers(0, size, rows) for size in categories]
        parts["categories"] = np.stack(columns, axis=1).astype("int32")
    return parts if len(parts) > 1 else parts["inputs"]


def forecast(model, x):
    return keras.ops.convert_to_numpy(model(x))


def history(x):
    return (x["inputs"] if isinstance(x, dict) else x)[:, :, 0]


def train(model, x, y):
    """Train for two steps: in the first one, a head of zeros hides what lies below it."""
    # Two steps are done sooner than the first is traced, but not where JAX compiles each operation.
    run_eagerly = keras.backend.backend() != "jax"
    model.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=run_eagerly)
    for _ in range(2):
        model.train_on_batch(x, y)


CONTEXT = {"features": 2, "future": 2, "static": 3, "categories": (4, 7), "outputs": 3}


@every_network
@examples(4)
@given(
    sizes=st.fixed_dictionaries(
        {
            "features": st.integers(1, 2),
            "future": st.integers(0, 2),
            "static": st.integers(0, 2),
            "categories": st.sampled_from([(), (1,), (4, 7)]),
            "outputs": st.integers(1, 3),
        }
    ),
    season=st.integers(1, 3),
    normalization=st.sampled_from(NORMALIZATIONS),
    linear_skip=st.booleans(),
)
def test_an_untrained_network_is_the_seasonal_naive_forecast(
    network, sizes, season, normalization, linear_skip
):
    model = build(
        network,
        **sizes,
        season_length=season,
        normalization=normalization,
        linear_skip=linear_skip,
    )
    x = inputs(**sizes)
    if isinstance(x, dict):
        assert set(model.input) == set(x)
    past = history(x)
    naive = np.stack([past[:, LOOKBACK - season + k % season] for k in range(HORIZON)], axis=1)
    if sizes["outputs"] > 1:
        naive = np.repeat(naive[..., None], sizes["outputs"], axis=-1)
    np.testing.assert_allclose(forecast(model, x), naive, rtol=1e-6)


@functools.cache
def context_model(network):
    """Return a model of all inputs, which tests only read, with inputs and their forecast."""
    model, x = randomized(build(network, **CONTEXT)), inputs(**CONTEXT)
    return model, x, forecast(model, x)


@every_network
@pytest.mark.parametrize("part", ["inputs", "future", "static", "categories"])
def test_each_input_reaches_the_forecast(network, part):
    model, x, before = context_model(network)
    changed = {**x, part: (x[part] + 1) % 4 if part == "categories" else x[part] + 1}
    assert np.abs(forecast(model, changed) - before).max(axis=(1, 2)).min() > 1e-4


@pytest.mark.parametrize(
    ("network", "normalization", "linear_skip"),
    covering(list(itertools.product(NETWORKS, NORMALIZATIONS, [False, True])), 3),
)
def test_the_newest_observation_counts_in_the_first_step(network, normalization, linear_skip):
    model = randomized(build(network, normalization=normalization, linear_skip=linear_skip))
    x = inputs()
    changed = x.copy()
    changed[:, -1] += 1
    assert np.abs(forecast(model, changed) - forecast(model, x))[:, 0].min() > 1e-3


@every_network
@pytest.mark.parametrize("normalization", ["mean_scale", "revin"])
def test_scaling_a_window_scales_its_forecast(network, normalization):
    model = randomized(build(network, normalization=normalization, season_length=2))
    x = inputs()
    np.testing.assert_allclose(forecast(model, 1000 * x), 1000 * forecast(model, x), rtol=1e-2)


@every_network
@pytest.mark.parametrize("normalization", ["last", "revin"])
def test_shifting_a_window_shifts_its_forecast(network, normalization):
    model = randomized(build(network, normalization=normalization, season_length=2))
    x = inputs()
    np.testing.assert_allclose(forecast(model, x + 50), forecast(model, x) + 50, atol=1e-2)


@every_network
@every_kind
def test_constant_windows_are_safe(network, normalization):
    model = randomized(build(network, normalization=normalization))
    for value in (0, 7):
        x = np.full((1, LOOKBACK, 1), value, "float32")
        assert np.isfinite(forecast(model, x)).all()


@pytest.mark.parametrize(
    "network",
    ["multi_output", "segment_rnn", pytest.param("encoder_decoder", marks=pytest.mark.backends)],
)
def test_the_whole_context_trains_and_is_saved_as_plain_keras(network, tmp_path):
    model = build(network, **CONTEXT, linear_skip=True, normalization="revin")
    x = inputs(**CONTEXT, rows=32)
    before = model.get_weights()
    train(model, x, np.random.default_rng(2).normal(size=(32, HORIZON, 3)))
    moved = [np.abs(a - b).max() for a, b in zip(model.get_weights(), before, strict=True)]
    assert min(moved) > 1e-4
    plain = to_keras(model)
    assert not [layer for layer in plain.layers if "seqkeras" in type(layer).__module__]
    plain.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(forecast(loaded, x), forecast(model, x), atol=1e-5)


@every_network
def test_the_vector_of_an_unknown_category_is_never_trained(network):
    model = build(network, categories=(5,))
    x = inputs(categories=(5,), rows=32)
    x["categories"] = 1 + x["categories"] % 4
    train(model, x, np.random.default_rng(2).normal(size=(32, HORIZON)))
    table = model.get_layer("category_1").get_weights()[0]
    assert not table[0].any()
    assert np.abs(table[1:]).min() > 0


@every_network
def test_a_fixed_batch_is_kept(network):
    model = build(network, **CONTEXT, batch_size=3)
    assert {tensor.shape[0] for tensor in model.input.values()} == {3}
    assert forecast(model, inputs(**CONTEXT)).shape == (3, HORIZON, 3)


@every_network
def test_mixed_precision_does_not_round_the_level_of_a_series(network):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = randomized(build(network, **CONTEXT))
    finally:
        keras.config.set_dtype_policy("float32")
    x = inputs(**CONTEXT)
    x["inputs"][..., 0] += 10_000
    output = forecast(model, x)
    assert output.dtype == np.float32
    assert np.abs(output - 10_000).max() < 50


BAD = {
    "normalization": ["latest", None],
    "future": [-1, 1.5, True],
    "static": [-1, "2"],
    "categories": [5, (0,), ("a",), "ab", (True,)],
    "outputs": [0, 2.0],
    "season_length": [0, LOOKBACK + 1],
    "lookback": [0, None],
    "horizon": [0, "4"],
    "features": [0, 1.0],
}


@every_network
@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, id=f"{name}={value!r}")
        for name, value in itertools.chain.from_iterable(
            [(name, value) for value in values] for name, values in BAD.items()
        )
    ],
)
def test_what_cannot_work_is_refused_by_its_name(network, name, value):
    options = {name: value}
    with pytest.raises(ArgumentError, match=rf"^{name} must be "):
        build(network, options.pop("features", 1), **options)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("future", [0, 2])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_window_moves_on_alike_in_numpy_and_in_keras(masked, future, steps):
    """Also by more steps than it has rows."""
    random = np.random.default_rng(0)
    columns = WindowColumns(masked, future_width=future)
    windows = random.normal(size=(2, 5, columns.count)).astype("float32")
    outputs = random.normal(size=(2, steps)).astype("float32")
    ahead = random.normal(size=(2, steps, future)).astype("float32") if future else None
    moved = columns.advance(windows, outputs, ahead, np)
    tensors = [array if array is None else keras.ops.convert_to_tensor(array) for array in
               (windows, outputs, ahead)]  # fmt: skip
    by_keras = keras.ops.convert_to_numpy(columns.advance(*tensors, keras.ops))
    np.testing.assert_array_equal(moved, by_keras)
    newest = min(steps, 5)
    np.testing.assert_array_equal(moved[:, : 5 - newest], windows[:, newest:])
    np.testing.assert_array_equal(moved[:, -newest:, 0], outputs[:, -newest:])
    if masked:
        assert (moved[:, -newest:, WindowColumns.FLAG] == 1).all()
    if future:
        np.testing.assert_array_equal(moved[:, -newest:, columns.future], ahead[:, -newest:])


def test_columns_of_a_window_follow_one_another():
    columns = WindowColumns(masked=True, past_width=3, future_width=2)
    assert columns.target == slice(0, 2)
    assert columns.past == slice(2, 5)
    assert columns.future == slice(5, 7)
    assert columns.covariates == slice(2, 7)
    assert columns.count == 7


def test_only_windows_without_past_covariates_are_fed_back():
    assert WindowColumns.fed_back(4, 2) == WindowColumns(masked=True, future_width=2)
    assert WindowColumns.fed_back(3, 2) == WindowColumns(future_width=2)
    with pytest.raises(ArgumentError, match="at most one flag"):
        WindowColumns.fed_back(5, 2)


def test_steps_after_the_horizon_repeat_the_last_one():
    assert steps_ahead(2, 4, horizon=4).tolist() == [2, 3, 3, 3]
