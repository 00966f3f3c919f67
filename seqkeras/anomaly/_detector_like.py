"""What files and adapters need to know of a detector."""

from typing import Any, Protocol

import keras

from seqkeras._arrays import Booleans, Floats
from seqkeras.anomaly._scorer import Scorer
from seqkeras.anomaly._series_reader import PerRow, RowForm
from seqkeras.anomaly._thresholds import Threshold
from seqkeras.forecasting import Columns
from seqkeras.training import TrainingLog


class DetectorLike(Protocol):
    """A `Detector`, for the files that `Detector` imports."""

    scorer_: Scorer
    model_: keras.Model
    log_: TrainingLog
    rule_: Threshold
    _form: RowForm
    _columns: Columns | None
    _is_causal: bool
    _scores: Floats
    _is_held_out: Booleans

    def fit(self, X: Any) -> Any:  # noqa: N803
        """Learn what is usual."""

    def decision_function(self, X: Any) -> PerRow:  # noqa: N803
        """Compute the score of each timestep."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name."""
