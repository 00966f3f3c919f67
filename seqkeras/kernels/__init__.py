"""Interchangeable ways to run a recurrent layer over time, and the code specific to a backend."""

from seqkeras._lazy import require

require("keras")

from seqkeras.kernels._batch_rows import with_rows as with_rows
from seqkeras.kernels._branching import branch as branch
from seqkeras.kernels._branching import check_branch as check_branch
from seqkeras.kernels._branching import why_not_branch as why_not_branch
from seqkeras.kernels._clearing import where_rows as where_rows
from seqkeras.kernels._dispatch import IMPLEMENTATIONS as IMPLEMENTATIONS
from seqkeras.kernels._dispatch import KernelChoice as KernelChoice
from seqkeras.kernels._dispatch import asked as asked
from seqkeras.kernels._dispatch import choose as choose
from seqkeras.kernels._dispatch import counting as counting
from seqkeras.kernels._dispatch import run as run
from seqkeras.kernels._dispatch import run_both as run_both
from seqkeras.kernels._dispatch import why_not as why_not
from seqkeras.kernels._layer_spec import Spec as Spec
from seqkeras.kernels._layer_spec import shows_state as shows_state
from seqkeras.kernels._layer_spec import state_sizes as state_sizes
from seqkeras.kernels._runtime import Runtime as Runtime
from seqkeras.kernels._runtime import distribution as distribution
from seqkeras.kernels._runtime import here as here
