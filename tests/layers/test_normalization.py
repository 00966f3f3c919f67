"""Normalization of windows, and its inverse on forecasts."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from helpers.examples import examples
from helpers.models import to_numpy
from seqkeras.errors import ArgumentError
from seqkeras.layers import NORMALIZATIONS, ReversibleNormalization, center_and_scale

RANDOM = np.random.default_rng(3)
every_kind = pytest.mark.parametrize("kind", NORMALIZATIONS)


def weighted(kind, channels, **options):
    """Return a layer whose affine weights are not the initial ones."""
    layer = ReversibleNormalization(kind, affine=True, **options)
    layer.build((None, None, channels))
    layer.set_weights([RANDOM.normal(size=channels) for _ in range(2)])
    return layer


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.backends] if kind == "revin" else [])
        for kind in NORMALIZATIONS
    ],
)
@examples(5 if keras.backend.backend() == "jax" else 20)
@given(
    x=arrays.arrays(
        "float32",
        st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 3)),
        elements=st.floats(-1000, 1000, width=32),
    ),
    affine=st.booleans(),
)
def test_windows_come_back_as_they_were(kind, x, affine):
    layer = weighted(kind, x.shape[-1]) if affine else ReversibleNormalization(kind)
    normal, statistics = layer(x)
    assert np.isfinite(to_numpy(normal)).all()
    np.testing.assert_allclose(
        to_numpy(layer(normal, statistics=statistics)), x, atol=2e-5 * (1 + np.abs(x).max())
    )


def test_how_each_kind_normalizes_a_window():
    x = np.array([[2.0, 4.0, -6.0]])[..., None]
    deviation = np.sqrt(x.var() + 1e-5)
    expected = {"none": x, "last": x + 6, "mean_scale": x / 4, "revin": x / deviation}
    for kind, normal in expected.items():
        np.testing.assert_allclose(to_numpy(ReversibleNormalization(kind)(x)[0]), normal, rtol=1e-6)


@every_kind
@pytest.mark.parametrize("value", [0.0, 5.0])
def test_constant_windows_are_safe(kind, value):
    layer = ReversibleNormalization(kind)
    normal, statistics = layer(np.full((1, 4, 1), value))
    assert np.isfinite(to_numpy(normal)).all()
    assert (to_numpy(statistics)[:, 1] > 0).all()


@every_kind
def test_every_shape_of_a_forecast_gets_the_statistics_of_its_channel(kind):
    layer = weighted(kind, 2)
    _, statistics = layer(RANDOM.normal(size=(3, 5, 2)))
    forecast = RANDOM.normal(size=(3, 4, 2))
    undone = to_numpy(layer(forecast, statistics=statistics))
    many = np.repeat(forecast[..., None], 3, axis=-1)
    np.testing.assert_allclose(
        to_numpy(layer(many, statistics=statistics)), np.repeat(undone[..., None], 3, axis=-1)
    )


@every_kind
def test_several_outputs_of_one_channel_are_undone_alike(kind):
    layer = weighted(kind, 1)
    _, statistics = layer(RANDOM.normal(size=(3, 5, 1)))
    forecast = RANDOM.normal(size=(3, 4))
    undone = to_numpy(layer(forecast, statistics=statistics))
    both = to_numpy(layer(np.stack([forecast, forecast], -1), statistics=statistics))
    np.testing.assert_allclose(both, np.stack([undone, undone], -1))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3)])
def test_a_forecast_of_other_channels_is_refused(shape):
    layer = ReversibleNormalization("last")
    _, statistics = layer(np.ones((2, 4, 2)))
    with pytest.raises(ArgumentError, match="The statistics have 2 channel"):
        layer(np.ones(shape), statistics=statistics)


@every_kind
@pytest.mark.parametrize("channels", [(), (2,)])
def test_masked_values_are_ignored(kind, channels):
    x = RANDOM.normal(size=(2, 6, 2)).astype("float32")
    mask = np.ones((2, 6, *channels), bool)
    mask[:, [1, 5]] = False
    full = mask if channels else mask[..., None]
    layer = ReversibleNormalization(kind)
    _, expected = layer(np.delete(x, [1, 5], axis=1))
    hidden = np.where(full, x, np.nan).astype("float32")
    _, statistics = layer(hidden, mask=mask)
    np.testing.assert_allclose(to_numpy(statistics), to_numpy(expected), rtol=1e-5, atol=1e-6)


@every_kind
def test_a_window_without_a_value_that_counts_is_safe(kind):
    _, statistics = ReversibleNormalization(kind)(np.ones((1, 4, 1)), mask=np.zeros((1, 4), bool))
    center, scale = to_numpy(statistics)[0, :, 0]
    assert center == 0
    assert scale > 0


def test_a_functional_model_with_it_is_saved_and_loaded(tmp_path):
    layer = ReversibleNormalization("revin", affine=True, epsilon=1e-3)
    x = keras.Input((6, 2))
    normal, statistics = layer(x)
    model = keras.Model(x, layer(keras.ops.tanh(normal), statistics=statistics))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    window = RANDOM.normal(size=(3, 6, 2))
    np.testing.assert_allclose(to_numpy(loaded(window)), to_numpy(model(window)), rtol=1e-6)
    assert loaded.layers[1].get_config()["epsilon"] == 1e-3


@pytest.mark.backends
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_statistics_are_exact_under_mixed_precision(dtype):
    layer = ReversibleNormalization("last", dtype=dtype)
    x = (100_000 + np.arange(6.0)).reshape(1, 6, 1)
    normal, statistics = layer(x)
    assert dtype.endswith(keras.backend.standardize_dtype(normal.dtype))
    undone = layer(normal, statistics=statistics)
    assert keras.backend.standardize_dtype(undone.dtype) == "float32"
    np.testing.assert_array_equal(to_numpy(undone), x)


def test_unknown_kinds_are_refused():
    with pytest.raises(ArgumentError, match="kind must be one of 'none', 'last'"):
        ReversibleNormalization("latest")
    with pytest.raises(ArgumentError, match="epsilon must be a finite number > 0"):
        ReversibleNormalization(epsilon=0)


def test_no_center_and_no_scale_where_they_would_change_nothing():
    x = np.ones((2, 3), "float32")
    assert center_and_scale(x, "none") == (None, None)
    assert center_and_scale(x, "last")[1] is None
    assert center_and_scale(x, "mean_scale")[0] is None
