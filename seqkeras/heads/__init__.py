"""What the numbers that a network gives for a timestep mean: quantiles, or a distribution."""

from seqkeras._lazy import require

require("keras")

from seqkeras.heads._gaussian import Gaussian as Gaussian
from seqkeras.heads._head import Head as Head
from seqkeras.heads._negative_binomial import NegativeBinomial as NegativeBinomial
from seqkeras.heads._quantiles import Quantiles as Quantiles
from seqkeras.heads._student_t import StudentT as StudentT
