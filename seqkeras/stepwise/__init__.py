"""Run any model one timestep at a time."""

from seqkeras._lazy import require

require("keras")

from seqkeras.stepwise._rollout import rollout as rollout
