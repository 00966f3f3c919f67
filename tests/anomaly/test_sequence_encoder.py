"""Sequences as codes, and back: alone, in pipelines, with noise and gaps."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from helpers.anomalies import ALL_CHECKS
from helpers.models import training_eagerly
from seqkeras.anomaly import SequenceEncoder
from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting import Training
from seqkeras.models import encode

QUICK = Training(epochs=1, validation=0, progress=False)


def sines(count=200, timesteps=16):
    draws = np.random.default_rng(0)
    phase, pace = draws.uniform(0, 6, (count, 1)), draws.uniform(0.2, 0.5, (count, 1))
    return np.sin(phase + pace * np.arange(timesteps)) * 3 + 10


@pytest.mark.usefixtures("eagerly")
@parametrize_with_checks(
    [SequenceEncoder(1, units=1, cell="simple_rnn", training=QUICK, seed=0)], legacy=ALL_CHECKS
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def gappy():
    """Return an encoder that was trained on sequences with gaps and noise."""
    training = Training(epochs=30, patience=30, learning_rate=2e-2, progress=False)
    encoder = SequenceEncoder(4, units=8, noise=0.2, missing=0.2, training=training, seed=0)
    return encoder.fit(sines())


@pytest.fixture(scope="module")
def quick():
    with training_eagerly():
        return SequenceEncoder(3, units=4, training=QUICK, seed=0).fit(sines(60))


def test_gaps_are_filled_better_than_by_the_mean_and_known_values_stay(gappy):
    x = sines()
    hidden = np.random.default_rng(1).random(x.shape) < 0.2
    filled = gappy.impute(np.where(hidden, np.nan, x))
    np.testing.assert_array_equal(filled[~hidden], x[~hidden])
    by_mean = np.abs(x[hidden] - x.mean()).mean()
    assert np.abs(filled - x)[hidden].mean() < 0.5 * by_mean


def test_noise_is_reduced(gappy):
    x = sines()
    noisy = x + np.random.default_rng(2).normal(size=x.shape)
    assert np.abs(gappy.denoise(noisy) - x).mean() < 0.8 * np.abs(noisy - x).mean()


def test_codes_are_those_of_the_model_and_decode_to_what_denoise_gives(quick):
    x = sines()
    codes = quick.transform(x)
    scaled = ((x - quick.center_) / quick.scale_)[..., np.newaxis]
    np.testing.assert_allclose(codes, encode(quick.model_, scaled), atol=1e-5)
    np.testing.assert_allclose(quick.inverse_transform(codes), quick.denoise(x), atol=1e-4)


@pytest.mark.usefixtures("eagerly")
def test_sequences_of_several_features_keep_their_shape():
    x = np.stack([sines(60), sines(60) ** 2], axis=-1)
    encoder = SequenceEncoder(3, units=4, missing=0.1, training=QUICK, seed=0)
    assert encoder.fit_transform(x).shape == (60, 3)
    assert encoder.denoise(x[:5]).shape == (5, 16, 2)
    assert encoder.inverse_transform(np.zeros((2, 3))).shape == (2, 16, 2)
    x[3, :, 1] = np.nan
    assert np.isfinite(encoder.impute(x)).all()
    with pytest.raises(ArgumentError, match="as in fit"):
        encoder.transform(x[:, :8])


@pytest.mark.usefixtures("eagerly")
def test_it_works_in_pipelines_and_searches():
    x = sines(60, 8)
    labels = (np.diff(x, axis=1).std(axis=1) > 1).astype(int)
    pipeline = make_pipeline(SequenceEncoder(units=2, training=QUICK, seed=0), LogisticRegression())
    search = GridSearchCV(pipeline, {"sequenceencoder__latent": [1, 2]}, cv=2, refit=False)
    search.fit(x, labels)
    assert search.best_params_["sequenceencoder__latent"] in (1, 2)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_copies_encode_alike(quick):
    x = sines(10)
    copied = pickle.loads(pickle.dumps(quick))
    np.testing.assert_array_equal(copied.transform(x), quick.transform(x))
    assert copied.get_feature_names_out()[-1] == "sequenceencoder2"
    assert not hasattr(clone(quick), "model_")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"latent": 0}, "latent must be"),
        ({"noise": -1}, "noise must be"),
        ({"missing": 1.0}, "missing must be"),
        ({"cell": "rnn"}, "cell must be"),
        ({"training": 5}, "training must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_a_wrong_parameter_is_named(params, message):
    with pytest.raises(ArgumentError, match=message):
        SequenceEncoder(**params).fit(sines())


def test_gaps_need_an_encoder_that_learned_to_fill_them(quick):
    filling = SequenceEncoder(3, units=4, missing=0.1, training=QUICK, seed=0).fit(sines())
    x = sines(3)
    with pytest.raises(ArgumentError, match="missing must be above 0 to impute"):
        quick.impute(x)
    x[1] = np.nan
    with pytest.raises(DataError, match="Sequence 1"):
        filling.impute(x)
    with pytest.raises(ValueError, match="NaN"):
        quick.transform(x)
