"""Look up likelihoods by name."""

from seqkeras._checks import bad_argument
from seqkeras.likelihoods._gaussian import Gaussian
from seqkeras.likelihoods._likelihood import Likelihood
from seqkeras.likelihoods._negative_binomial import NegativeBinomial
from seqkeras.likelihoods._quantiles import Quantiles
from seqkeras.likelihoods._student_t import StudentT

#: The class of each named likelihood.
LIKELIHOODS: dict[str, type[Likelihood]] = {
    "quantiles": Quantiles,
    "gaussian": Gaussian,
    "student_t": StudentT,
    "negative_binomial": NegativeBinomial,
}


def resolve_likelihood(likelihood: str | Likelihood | None) -> Likelihood | None:
    """Return the likelihood of this name, with its defaults, or the likelihood itself.

    Args:
        likelihood: one of `LIKELIHOODS`, a `Likelihood`, or None for point forecasts.

    Raises:
        ArgumentError: `likelihood` is something else, or its quantiles do not enclose the median.

    Example:
        >>> resolve_likelihood("gaussian").outputs
        2
    """
    if isinstance(likelihood, Quantiles):
        probabilities = likelihood.probabilities
        if not probabilities[0] < 0.5 < probabilities[-1]:
            fix = "Add quantiles below and above the median, which is the forecast."
            expected = "quantiles on both sides of 0.5"
            raise bad_argument("likelihood", probabilities, expected, fix)
    if likelihood is None or isinstance(likelihood, Likelihood):
        return likelihood
    if isinstance(likelihood, str) and likelihood in LIKELIHOODS:
        return LIKELIHOODS[likelihood]()
    names = ", ".join(map(repr, LIKELIHOODS))
    expected = f"None, one of {names}, or a Likelihood of seqkeras.likelihoods"
    raise bad_argument("likelihood", likelihood, expected)
