"""Training: with early stopping, over long series, and on a network's own outputs."""

from seqkeras._lazy import require

require("keras", "tqdm")

from seqkeras.layers import ScheduledSampling as ScheduledSampling
from seqkeras.training._distribution import connect_if_launched
from seqkeras.training._distribution import process_count as process_count
from seqkeras.training._distribution import process_index as process_index
from seqkeras.training._dynamic_evaluation import DynamicEvaluation as DynamicEvaluation
from seqkeras.training._dynamic_evaluation import dynamic_evaluation as dynamic_evaluation
from seqkeras.training._early_stopping import TrainingLog as TrainingLog
from seqkeras.training._fit_distributed import fit_distributed as fit_distributed
from seqkeras.training._kl_annealing import KLAnnealing as KLAnnealing
from seqkeras.training._progress import ProgressBar as ProgressBar
from seqkeras.training._sampled_softmax import sampled_softmax as sampled_softmax
from seqkeras.training._stateful import ResetStates as ResetStates
from seqkeras.training._stateful import fit_stateful as fit_stateful
from seqkeras.training._teacher_forcing_schedule import (
    TeacherForcingSchedule as TeacherForcingSchedule,
)
from seqkeras.training._unrolled import unrolled as unrolled

connect_if_launched()  # here, because JAX must know all processes before its first computation
