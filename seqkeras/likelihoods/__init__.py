"""Likelihoods: what a network's outputs for a timestep mean, quantiles or a distribution."""

from seqkeras._lazy import require

require("keras")

from seqkeras.likelihoods._gaussian import Gaussian as Gaussian
from seqkeras.likelihoods._likelihood import Likelihood as Likelihood
from seqkeras.likelihoods._negative_binomial import NegativeBinomial as NegativeBinomial
from seqkeras.likelihoods._quantiles import Quantiles as Quantiles
from seqkeras.likelihoods._resolve import LIKELIHOODS as LIKELIHOODS
from seqkeras.likelihoods._resolve import resolve_likelihood as resolve_likelihood
from seqkeras.likelihoods._student_t import StudentT as StudentT
