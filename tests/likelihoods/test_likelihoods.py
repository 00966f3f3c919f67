"""Likelihoods: losses and quantiles equal those of SciPy, and draws agree with them."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from helpers.examples import examples
from seqkeras import likelihoods
from seqkeras.errors import ArgumentError
from seqkeras.likelihoods._special import log_gamma

KINDS = {
    "gaussian": likelihoods.Gaussian,
    "student_t": likelihoods.StudentT,
    "negative_binomial": likelihoods.NegativeBinomial,
    "quantiles": likelihoods.Quantiles,
}
every_likelihood = pytest.mark.parametrize(
    "likelihood", [kind() for kind in KINDS.values()], ids=list(KINDS)
)
distributions = pytest.mark.parametrize(
    "likelihood", [KINDS[name]() for name in list(KINDS)[:3]], ids=list(KINDS)[:3]
)
RNG = np.random.default_rng(0)


def outputs_of(likelihood, *shape, scale=3.0):
    return RNG.normal(4, scale, (*shape, likelihood.outputs))


def losses_of(likelihood, y, outputs):
    tensors = [keras.ops.convert_to_tensor(np.float32(array)) for array in (y, outputs)]
    return keras.ops.convert_to_numpy(likelihood.call(*tensors))


def scipy_of(likelihood, outputs):
    """Return the distribution that the docstrings describe, from SciPy."""
    first = outputs[..., 0]
    above = [special.softplus(outputs[..., i] - first) + 1e-3 for i in range(1, likelihood.outputs)]
    if isinstance(likelihood, likelihoods.Gaussian):
        return stats.norm(first, above[0])
    if isinstance(likelihood, likelihoods.StudentT):
        return stats.t(2 + above[1], first, above[0])
    mean = special.softplus(first) + 1e-3
    successes = np.clip((mean / above[0]) ** 2, 1e-3, 1e3)
    return stats.nbinom(successes, successes / (successes + mean))


@pytest.mark.backends
@distributions
def test_the_loss_is_the_negative_log_likelihood(likelihood):
    outputs = outputs_of(likelihood, 50, 4)
    y = RNG.integers(0, 30, (50, 4))
    distribution = scipy_of(likelihood, outputs)
    discrete = isinstance(likelihood, likelihoods.NegativeBinomial)
    density = distribution.logpmf if discrete else distribution.logpdf
    np.testing.assert_allclose(losses_of(likelihood, y, outputs), -density(y), rtol=2e-4, atol=2e-3)


@distributions
def test_quantiles_are_those_of_the_distribution(likelihood):
    outputs = outputs_of(likelihood, 20, 2)
    probabilities = [0.01, 0.3, 0.5, 0.99]
    distribution = scipy_of(likelihood, outputs)
    expected = np.stack([distribution.ppf(p) for p in probabilities], axis=-1)
    np.testing.assert_allclose(likelihood.quantiles(outputs, probabilities), expected, rtol=1e-9)
    np.testing.assert_allclose(likelihood.point(outputs), expected[..., 2], rtol=1e-9)


@every_likelihood
def test_draws_have_the_quantiles(likelihood):
    outputs = outputs_of(likelihood, 3, scale=2.0)
    drawn = likelihood.sample(outputs, 20_000, seed=0)
    assert drawn.shape == (20_000, 3)
    probabilities = [0.1, 0.5, 0.9]
    # The distribution of counts has steps, so only bounds hold at a quantile.
    for place, row in enumerate(likelihood.quantiles(outputs, probabilities)):
        for probability, value in zip(probabilities, row, strict=True):
            below = (drawn[:, place] < value).mean()
            up_to = (drawn[:, place] <= value).mean()
            assert below - 0.02 <= probability <= up_to + 0.02


@every_likelihood
def test_the_same_seed_draws_the_same(likelihood):
    outputs = outputs_of(likelihood, 2, 3)
    first, second, other = (likelihood.sample(outputs, 5, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@examples(17)
@given(st.lists(st.floats(-1e4, 1e4), min_size=7, max_size=7), st.data())
def test_quantiles_never_cross(values, data):
    probabilities = sorted(data.draw(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=9)))
    for kind in KINDS.values():
        likelihood = kind()
        quantiles = likelihood.quantiles([values[: likelihood.outputs]], probabilities)
        assert np.all(np.diff(quantiles, axis=-1) >= -1e-9)


@pytest.mark.backends
def test_the_loss_of_the_median_is_the_absolute_error():
    y = RNG.normal(size=(5, 3))
    outputs = RNG.normal(size=(5, 3, 1))
    losses = losses_of(likelihoods.Quantiles([0.5]), y, outputs)
    np.testing.assert_allclose(losses, np.abs(y - outputs[..., 0]), rtol=1e-5)


def test_the_pinball_loss_is_least_at_the_quantile():
    likelihood = likelihoods.Quantiles([0.9])
    y = RNG.normal(size=(1, 4000))
    grid = np.linspace(0, 3, 61)
    losses = [losses_of(likelihood, y, np.full((1, 4000, 1), value)).mean() for value in grid]
    assert abs(grid[int(np.argmin(losses))] - np.quantile(y, 0.9)) <= 0.05


def test_quantiles_are_interpolated_and_not_extrapolated():
    likelihood = likelihoods.Quantiles([0.2, 0.4])
    quantiles = likelihood.quantiles([[10.0, 20.0]], [0.1, 0.2, 0.3, 0.4, 0.9])
    np.testing.assert_allclose(quantiles, [[10, 10, 15, 20, 20]])


@every_likelihood
def test_a_network_learns_the_distribution(likelihood):
    """From noise without a pattern it learns the marginal quantiles."""
    count = isinstance(likelihood, likelihoods.NegativeBinomial)
    y = RNG.negative_binomial(3, 0.5, (512, 2)) if count else RNG.normal(1, 1, (512, 2))
    keras.utils.set_random_seed(0)
    inputs = keras.Input((1,))
    raw = keras.layers.Dense(2 * likelihood.outputs)(inputs)
    model = keras.Model(inputs, keras.layers.Reshape((2, likelihood.outputs))(raw))
    model.compile(keras.optimizers.Adam(0.2), loss=likelihood)
    for _ in range(120):
        model.train_on_batch(np.ones((512, 1)), y)
    probabilities = [0.1, 0.5, 0.9]
    outputs = keras.ops.convert_to_numpy(model(np.ones((1, 1))))
    quantiles = likelihood.quantiles(outputs, probabilities)[0, 0]
    expected = np.quantile(y[:, 0], probabilities)
    np.testing.assert_allclose(quantiles, expected, atol=1 if count else 0.3)


@pytest.mark.backends
@every_likelihood
def test_a_model_is_saved_with_its_head(likelihood, tmp_path):
    inputs = keras.Input((4,))
    raw = keras.layers.Dense(3 * likelihood.outputs)(inputs)
    model = keras.Model(inputs, keras.layers.Reshape((3, likelihood.outputs))(raw))
    model.compile("sgd", loss=likelihood, run_eagerly=True)
    x = np.ones((2, 4))
    y = np.ones((2, 3))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is type(likelihood)
    assert loaded.loss.get_config() == likelihood.get_config()
    assert loaded.test_on_batch(x, y) == pytest.approx(model.test_on_batch(x, y))


@pytest.mark.backends
@every_likelihood
def test_masked_timesteps_do_not_count_in_the_loss(likelihood):
    y = np.ones((2, 3), "float32")
    outputs = outputs_of(likelihood, 2, 3).astype("float32")
    weights = np.array([[1, 0, 1], [0, 0, 1]], "float32")
    changed = np.where(weights[..., None] > 0, outputs, 7.0)
    before = float(likelihood(y, outputs, sample_weight=weights))
    after = float(likelihood(y, changed, sample_weight=weights))
    assert before == pytest.approx(after, rel=1e-6)


@pytest.mark.backends
def test_log_gamma_is_that_of_scipy():
    x = np.concatenate([np.geomspace(1e-3, 1e3, 200), np.arange(1, 9)]).astype("float32")
    actual = keras.ops.convert_to_numpy(log_gamma(keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(actual, special.gammaln(x), rtol=2e-6, atol=4e-6)


@pytest.mark.parametrize(
    "probabilities", [[], [0.5, 0.5], [0.9, 0.1], [0.0, 0.5], [1.0], [[0.5]], [float("nan")]]
)
def test_impossible_probabilities_are_refused(probabilities):
    with pytest.raises(ArgumentError, match="probabilities must be a list of"):
        likelihoods.Quantiles(probabilities)


@every_likelihood
def test_outputs_of_another_shape_are_refused(likelihood):
    with pytest.raises(ArgumentError, match="outputs must be an array whose last axis has length "):
        likelihood.quantiles(np.zeros((2, likelihood.outputs + 1)), [0.5])
    with pytest.raises(ArgumentError, match="probabilities must be a list"):
        likelihood.quantiles(np.zeros((2, likelihood.outputs)), [1.5])
    with pytest.raises(ArgumentError, match="count must be"):
        likelihood.sample(np.zeros((2, likelihood.outputs)), 0)


def test_a_likelihood_has_a_name_or_is_an_object():
    assert isinstance(likelihoods.resolve_likelihood("student_t"), likelihoods.StudentT)
    gaussian = likelihoods.Gaussian()
    assert likelihoods.resolve_likelihood(gaussian) is gaussian
    assert likelihoods.resolve_likelihood(None) is None
    for likelihood in ("poisson", 3, likelihoods.Gaussian):
        with pytest.raises(ArgumentError, match="likelihood must be None, one of 'quantiles'"):
            likelihoods.resolve_likelihood(likelihood)


@pytest.mark.parametrize("probabilities", [[0.5], [0.8, 0.9], [0.1, 0.5]])
def test_quantiles_of_a_forecaster_must_enclose_the_median(probabilities):
    with pytest.raises(ArgumentError, match=r"likelihood must be quantiles on both sides of 0\.5"):
        likelihoods.resolve_likelihood(likelihoods.Quantiles(probabilities))
