"""Explain how a model runs, and find mistakes in it that Keras does not report."""

from seqkeras._lazy import require

require("keras")

from seqkeras.diagnostics._explain import Explanation as Explanation
from seqkeras.diagnostics._explain import explain as explain
from seqkeras.diagnostics._trap import Trap as Trap
from seqkeras.diagnostics._traps import find_traps as find_traps
