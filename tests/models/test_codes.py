"""Codes of a trained autoencoder, and back."""

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.models import autoencoder, decode, encode, many_to_one, reconstruct

X = np.random.default_rng(7).normal(size=(4, 6, 3)).astype("float32")


@pytest.fixture(scope="module")
def model(randomize):
    return randomize(autoencoder(3, latent=2, units=4))


@pytest.fixture(scope="module")
def masked(model):
    """The same after a layer that masks rows of zeros, in a model within a model."""
    inner = keras.Sequential([keras.Input((None, 3)), keras.layers.Masking(), model], name="inner")
    x = keras.Input((None, 3))
    return keras.Model(x, inner(x))


@pytest.mark.backends
def test_decoded_codes_are_the_reconstruction_also_after_save_and_load(model, tmp_path):
    expected = model.predict_on_batch(X)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        codes = encode(each, X)
        assert codes.shape == (4, 2)
        np.testing.assert_allclose(codes, model.get_layer("encoder").predict_on_batch(X), atol=1e-6)
        np.testing.assert_allclose(decode(each, codes, timesteps=6), expected, atol=1e-6)
        np.testing.assert_allclose(reconstruct(each, X), expected, atol=1e-6)


def test_layers_before_the_autoencoder_are_applied(model, masked):
    padded = np.pad(X, [(0, 0), (2, 0), (0, 0)])
    assert np.abs(encode(model, padded) - encode(model, X)).max() > 1e-3
    np.testing.assert_allclose(encode(masked, padded), encode(model, X), atol=1e-6)
    np.testing.assert_allclose(reconstruct(masked, padded)[:, 2:], reconstruct(model, X), atol=1e-6)
    codes = encode(model, X)
    np.testing.assert_array_equal(
        decode(masked, codes, timesteps=5), decode(model, codes, timesteps=5)
    )


def test_a_fixed_number_of_timesteps_need_not_be_given(randomize):
    fixed = randomize(autoencoder(3, timesteps=6, latent=2, units=4, batch_size=4))
    codes = encode(fixed, X)
    np.testing.assert_allclose(decode(fixed, codes), reconstruct(fixed, X), atol=1e-6)
    with pytest.raises(ArgumentError, match=r"timesteps must be 6\. Got: timesteps=7"):
        decode(fixed, codes, timesteps=7)
    with pytest.raises(ArgumentError, match=r"x must be of a multiple of 4 rows.*Got: 3 rows"):
        encode(fixed, X[:3])


def test_missing_timesteps_are_refused(model):
    with pytest.raises(ArgumentError, match=r"timesteps must be given.*any length"):
        decode(model, np.zeros((1, 2)))
    with pytest.raises(ArgumentError, match="timesteps must be an integer >= 1"):
        decode(model, np.zeros((1, 2)), timesteps=0)


@pytest.mark.parametrize(
    "call",
    [
        lambda model: encode(model, X),
        lambda model: decode(model, np.zeros((1, 2))),
        lambda model: reconstruct(model, X),
    ],
)
@pytest.mark.parametrize("make", [lambda: many_to_one(3, units=2), lambda: "a path"])
def test_a_model_without_an_autoencoder_is_refused(call, make):
    with pytest.raises(ArgumentError, match=r"model must be one of seqkeras\.models.autoencoder"):
        call(make())


@pytest.mark.parametrize("x", [X[0], X[:, :, :2], X[:0], X[:, :0], None, [["a"]]])
def test_sequences_that_do_not_fit_are_refused(model, x):
    with pytest.raises(ArgumentError, match="x must be an array of"):
        encode(model, x)


def test_sequences_of_different_lengths_are_refused_with_a_way_that_works(model):
    sequences = [X[0], X[1, :4]]
    with pytest.raises(ArgumentError, match=r"different lengths\. Pad them") as caught:
        encode(model, sequences)
    padded = keras.utils.pad_sequences(sequences, padding="post", value=-9.0, dtype="float32")
    masked = keras.Sequential([keras.Input((None, 3)), keras.layers.Masking(-9.0), model])
    for code in (
        'pad_sequences(x, padding="post", value=-9.0, dtype="float32")',
        "keras.Sequential([keras.Input((None, 3)), keras.layers.Masking(-9.0), model])",
    ):
        assert code in str(caught.value)
    codes = [encode(model, sequence[np.newaxis])[0] for sequence in sequences]
    np.testing.assert_allclose(encode(masked, padded), codes, atol=1e-6)


@pytest.mark.parametrize("codes", [np.zeros(2), np.zeros((1, 3)), np.zeros((0, 2))])
def test_codes_that_do_not_fit_are_refused(model, codes):
    with pytest.raises(ArgumentError, match=r"codes must be an array of shape \(any, 2\)"):
        decode(model, codes, timesteps=3)
