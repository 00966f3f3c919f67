"""One set of weights, three forms: stateless, stateful, and one step after the other."""

from seqkeras._lazy import require

require("keras")
