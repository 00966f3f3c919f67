"""Heads: losses beside SciPy's densities, quantiles and draws that agree with these."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from seqkeras import likelihoods
from seqkeras.errors import ArgumentError
from seqkeras.likelihoods._special import log_gamma

pytestmark = pytest.mark.backends

HEADS = {
    "gaussian": likelihoods.Gaussian,
    "student_t": likelihoods.StudentT,
    "negative_binomial": likelihoods.NegativeBinomial,
    "quantiles": likelihoods.Quantiles,
}
every_head = pytest.mark.parametrize("head", [kind() for kind in HEADS.values()], ids=list(HEADS))
distributions = pytest.mark.parametrize(
    "head", [HEADS[name]() for name in list(HEADS)[:3]], ids=list(HEADS)[:3]
)
RNG = np.random.default_rng(0)


def outputs_of(head, *shape, scale=3.0):
    return RNG.normal(4, scale, (*shape, head.outputs))


def losses_of(head, y, outputs):
    found = head.call(*(keras.ops.convert_to_tensor(np.float32(one)) for one in (y, outputs)))
    return keras.ops.convert_to_numpy(found)


def scipy_of(head, outputs):
    """The distribution as SciPy has it, by the words of the docstrings."""
    first = outputs[..., 0]
    above = [special.softplus(outputs[..., i] - first) + 1e-3 for i in range(1, head.outputs)]
    if isinstance(head, likelihoods.Gaussian):
        return stats.norm(first, above[0])
    if isinstance(head, likelihoods.StudentT):
        return stats.t(2 + above[1], first, above[0])
    mean = special.softplus(first) + 1e-3
    successes = np.clip((mean / above[0]) ** 2, 1e-3, 1e3)
    return stats.nbinom(successes, successes / (successes + mean))


@distributions
def test_the_loss_is_the_negative_log_likelihood(head):
    outputs = outputs_of(head, 50, 4)
    y = RNG.integers(0, 30, (50, 4))
    found = scipy_of(head, outputs)
    density = found.logpmf if isinstance(head, likelihoods.NegativeBinomial) else found.logpdf
    np.testing.assert_allclose(losses_of(head, y, outputs), -density(y), rtol=2e-4, atol=2e-3)


@distributions
def test_quantiles_are_those_of_the_distribution(head):
    outputs, probabilities = outputs_of(head, 20, 2), [0.01, 0.3, 0.5, 0.99]
    wanted = np.stack([scipy_of(head, outputs).ppf(one) for one in probabilities], axis=-1)
    np.testing.assert_allclose(head.quantiles(outputs, probabilities), wanted, rtol=1e-9)
    np.testing.assert_allclose(head.point(outputs), wanted[..., 2], rtol=1e-9)


@every_head
def test_draws_have_the_quantiles(head):
    outputs = outputs_of(head, 3, scale=2.0)
    drawn = head.sample(outputs, 20_000, seed=0)
    assert drawn.shape == (20_000, 3)
    probabilities = [0.1, 0.5, 0.9]
    # Of counts, a quantile is where the distribution steps over the probability.
    for place, row in enumerate(head.quantiles(outputs, probabilities)):
        for probability, value in zip(probabilities, row, strict=True):
            below, up_to = (drawn[:, place] < value).mean(), (drawn[:, place] <= value).mean()
            assert below - 0.02 <= probability <= up_to + 0.02


@every_head
def test_the_same_seed_draws_the_same(head):
    outputs = outputs_of(head, 2, 3)
    first, second, other = (head.sample(outputs, 5, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@settings(max_examples=50)
@given(st.lists(st.floats(-1e4, 1e4), min_size=7, max_size=7), st.data())
def test_quantiles_never_cross(values, data):
    probabilities = sorted(data.draw(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=9)))
    for kind in HEADS.values():
        head = kind()
        found = head.quantiles([values[: head.outputs]], probabilities)
        assert np.all(np.diff(found, axis=-1) >= -1e-9)


def test_the_loss_of_the_median_is_the_absolute_error():
    y, outputs = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3, 1))
    found = losses_of(likelihoods.Quantiles([0.5]), y, outputs)
    np.testing.assert_allclose(found, np.abs(y - outputs[..., 0]), rtol=1e-5)


def test_the_pinball_loss_is_least_at_the_quantile():
    head, y = likelihoods.Quantiles([0.9]), RNG.normal(size=(1, 4000))
    grid = np.linspace(0, 3, 61)
    losses = [losses_of(head, y, np.full((1, 4000, 1), one)).mean() for one in grid]
    assert abs(grid[int(np.argmin(losses))] - np.quantile(y, 0.9)) <= 0.05


def test_quantiles_between_and_beyond_those_that_are_known():
    head = likelihoods.Quantiles([0.2, 0.4])
    found = head.quantiles([[10.0, 20.0]], [0.1, 0.2, 0.3, 0.4, 0.9])
    np.testing.assert_allclose(found, [[10, 10, 15, 20, 20]])


@every_head
def test_a_network_learns_the_distribution(head):
    """Of noise that has no pattern, it learns the marginal quantiles."""
    count = isinstance(head, likelihoods.NegativeBinomial)
    y = RNG.negative_binomial(3, 0.5, (512, 2)) if count else RNG.normal(1, 1, (512, 2))
    keras.utils.set_random_seed(0)
    inputs = keras.Input((1,))
    raw = keras.layers.Dense(2 * head.outputs)(inputs)
    model = keras.Model(inputs, keras.layers.Reshape((2, head.outputs))(raw))
    model.compile(keras.optimizers.Adam(0.1), loss=head)
    for _ in range(300):
        model.train_on_batch(np.ones((512, 1)), y)
    found = head.quantiles(model.predict(np.ones((1, 1)), verbose=0), [0.1, 0.5, 0.9])[0, 0]
    np.testing.assert_allclose(
        found, np.quantile(y[:, 0], [0.1, 0.5, 0.9]), atol=1 if count else 0.3
    )


@every_head
def test_a_model_is_saved_with_its_head(head, tmp_path):
    inputs = keras.Input((4,))
    raw = keras.layers.Dense(3 * head.outputs)(inputs)
    model = keras.Model(inputs, keras.layers.Reshape((3, head.outputs))(raw))
    model.compile("sgd", loss=head)
    x, y = np.ones((2, 4)), np.ones((2, 3))
    model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is type(head)
    assert loaded.loss.get_config() == head.get_config()
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))


@every_head
def test_masked_timesteps_have_no_part_in_the_loss(head):
    y, outputs = np.ones((2, 3), "float32"), outputs_of(head, 2, 3).astype("float32")
    weights = np.array([[1, 0, 1], [0, 0, 1]], "float32")
    changed = np.where(weights[..., None] > 0, outputs, 7.0)
    first, second = (float(head(y, one, sample_weight=weights)) for one in (outputs, changed))
    assert first == pytest.approx(second, rel=1e-6)


def test_log_gamma_is_that_of_scipy():
    x = np.concatenate([np.geomspace(1e-3, 1e3, 200), np.arange(1, 9)]).astype("float32")
    found = keras.ops.convert_to_numpy(log_gamma(keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(found, special.gammaln(x), rtol=2e-6, atol=4e-6)


@pytest.mark.parametrize(
    "probabilities", [[], [0.5, 0.5], [0.9, 0.1], [0.0, 0.5], [1.0], [[0.5]], [float("nan")]]
)
def test_probabilities_that_cannot_be_are_refused(probabilities):
    with pytest.raises(ArgumentError, match="probabilities must be a list of"):
        likelihoods.Quantiles(probabilities)


@every_head
def test_outputs_of_another_shape_are_refused(head):
    with pytest.raises(ArgumentError, match="outputs must be an array whose last axis has "):
        head.quantiles(np.zeros((2, head.outputs + 1)), [0.5])
    with pytest.raises(ArgumentError, match="probabilities must be a list"):
        head.quantiles(np.zeros((2, head.outputs)), [1.5])
    with pytest.raises(ArgumentError, match="count must be"):
        head.sample(np.zeros((2, head.outputs)), 0)
