"""What the answers of a network say of the future, in the units that it answers in."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument
from seqkeras.errors import DataError
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.networks._build import in_parts, predict_batches, roll_forward
from seqkeras.likelihoods import Gaussian, Likelihood, NegativeBinomial, Quantiles, StudentT
from seqkeras.windows import GroupedArray, StandardScaler

Floats = npt.NDArray[np.float64]
#: Names of forecasts, `(series or origins, horizon)`.
Forecasts = dict[str, Floats]

HEADS: dict[str, type[Likelihood]] = {
    "quantiles": Quantiles,
    "gaussian": Gaussian,
    "student_t": StudentT,
    "negative_binomial": NegativeBinomial,
}
#: The quantiles whose distance from the median is the unit that intervals are measured in.
_UNIT = (0.1, 0.5, 0.9)
#: Of a network that is fed its own answers: futures that are drawn for each series.
PATHS = 200
_SEED = 0
#: A width below this is as good as none, and would make any error infinitely large.
_LEAST = 1e-3
_MOST_ROWS = 2**16


@dataclass(frozen=True)
class Outlook:
    """Forecasts, and how far what comes may lie from them.

    Attributes:
        point: `(batch, horizon)`: the median.
        below, above: `(batch, horizon)`: from the median to the 10 % and the 90 % quantile. Of a
            network without a head, that says nothing of the kind, 1.
    """

    point: Floats
    below: Floats
    above: Floats

    @classmethod
    def joined(cls, parts: Iterable["Outlook"]) -> "Outlook":
        """One batch behind the other."""
        arrays = zip(*((one.point, one.below, one.above) for one in parts), strict=True)
        return cls(*(np.concatenate(found) for found in arrays))

    def unscaled(self, scaler: StandardScaler) -> "Outlook":
        """The same in the units of the series."""
        point, scale = scaler.inverse_transform(self.point), scaler.scale_[:, np.newaxis]
        return Outlook(point, self.below * scale, self.above * scale)

    def in_widths(self, errors: Floats) -> Floats:
        """Errors, below 0 where the point was too high, in units of `below` or `above`."""
        return errors / np.where(errors < 0, self.below, self.above)


def resolve_head(head: "str | Likelihood | None") -> Likelihood | None:
    """The head of this name, or the head itself.

    Raises:
        ArgumentError: it is neither, or has no quantiles around the median.
    """
    if isinstance(head, Quantiles) and not head.probabilities[0] < 0.5 < head.probabilities[-1]:
        fix = "The forecast is the median, and its intervals have two sides."
        raise bad_argument("head", head.probabilities, "quantiles on both sides of 0.5", fix)
    if head is None or isinstance(head, Likelihood):
        return head
    if isinstance(head, str) and head in HEADS:
        return HEADS[head]()
    names = ", ".join(map(repr, HEADS))
    raise bad_argument("head", head, f"None, one of {names}, or a head of seqkeras.likelihoods")


def scaler_for(series: GroupedArray, head: Likelihood | None) -> StandardScaler:
    """What brings series to mean 0 and deviation 1, or for counts leaves them as they are."""
    if head is None or not head.counts:
        return StandardScaler().fit(series)
    return StandardScaler.from_state(np.zeros(len(series)), np.ones(len(series)))


def are_counts(values: Floats) -> npt.NDArray[np.bool_]:
    """Whether targets are whole numbers from 0 on, or missing."""
    return np.isnan(values) | (values >= 0) & (values == np.round(values))


def check_counts(panel: Panel, head: Likelihood | None) -> None:
    """Raises where a head is of counts, and a target is none.

    Raises:
        DataError: it names the series.
    """
    if head is None or not head.counts:
        return
    values = panel.values.values
    wrong = np.flatnonzero(~are_counts(values))
    if len(wrong):
        series = int(np.searchsorted(panel.values.indptr, wrong[0], side="right")) - 1
        raise DataError(
            f"{panel.name(series)} has the target {values[wrong[0]]:g}, and {type(head).__name__} "
            "is of counts: whole numbers from 0 on. Use another head, such as 'student_t'."
        )


def look_ahead(
    network: keras.Model, head: Likelihood | None, context: Any, horizon: int
) -> Outlook:
    """Forecasts from one window of each series.

    Args:
        network: as for `roll_forward`; with a head `(batch, steps, outputs)`.
        head: what the answers mean; None: they are the forecast.
        context: as for `roll_forward`.
        horizon: timesteps to forecast.
    """
    if head is None:
        point = roll_forward(network, context, horizon).astype(np.float64)
        return Outlook(point, np.ones_like(point), np.ones_like(point))
    if network.output_shape[1] >= horizon:
        found = head.quantiles(predict_batches(network, context)[:, :horizon], _UNIT)
    else:
        found = np.concatenate(
            [
                np.quantile(
                    sample_paths(network, head, some, horizon, PATHS, seed=_SEED, shared=True),
                    _UNIT,
                    axis=0,
                ).transpose(1, 2, 0)
                for some in in_parts(context, _MOST_ROWS // PATHS)
            ]
        )
    low, point, high = np.moveaxis(found, -1, 0)
    least = 1.0 if head.counts else _LEAST
    return Outlook(point, np.maximum(point - low, least), np.maximum(high - point, least))


def sample_paths(
    network: keras.Model,
    head: Likelihood,
    context: Any,
    horizon: int,
    count: int,
    *,
    seed: int | None,
    shared: bool = False,
) -> Floats:
    """Futures of each series: each step is drawn, and fed back before the next one.

    All futures of all series run side by side, a batch in each step. A network that answers the
    whole horizon at once draws each step by itself.

    Args:
        network, head, context, horizon: as for `look_ahead`.
        count: futures of each series.
        seed: of the draws; None is different each time.
        shared: all series have the same draws, so that the futures of one do not depend on which
            others there are.

    Returns:
        `(count, batch, horizon)`.
    """
    rng = np.random.default_rng(seed)

    def draw(outputs: Any) -> Floats:
        rows, steps = outputs.shape[:2]
        if not shared:
            return head.at(outputs, rng.random((rows, steps)))
        return head.at(outputs, np.tile(rng.random((count, steps)), (rows // count, 1)))

    found = []
    for some in in_parts(context, max(1, _MOST_ROWS // count)):
        rng = np.random.default_rng(seed) if shared else rng
        repeated = keras.tree.map_structure(lambda part: np.repeat(part, count, axis=0), some)
        drawn = roll_forward(network, repeated, horizon, answer=draw)
        found.append(np.moveaxis(drawn.reshape(-1, count, horizon), 1, 0))
    return np.concatenate(found, axis=1, dtype=np.float64)
