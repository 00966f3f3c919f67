"""Training over long series: truncated backpropagation, progress, and going on after a break."""

from seqkeras._lazy import require

require("keras", "tqdm")

from seqkeras.training._progress import ProgressBar as ProgressBar
from seqkeras.training._stateful import ResetStates as ResetStates
from seqkeras.training._stateful import fit_stateful as fit_stateful
