"""All scores of a detector side by side, next to the scores of doing almost nothing."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Booleans, Floats
from seqkeras._checks import Description, bad_argument, check_integer
from seqkeras.scoring._affiliation import affiliation_precision_recall
from seqkeras.scoring._anomaly_inputs import check_scores, require_both
from seqkeras.scoring._anomaly_points import best_threshold, point_precision_recall
from seqkeras.scoring._anomaly_ranges import overlap_precision_recall, range_precision_recall
from seqkeras.scoring._reference_scores import moving_z_scores, neighbor_scores, random_scores
from seqkeras.scoring._vus import volumes


@dataclass(frozen=True)
class AnomalyReport:
    """The result of `anomaly_report`; `print` shows it as a table.

    Args:
        lines: the name of each line, with its scores by name; a frame is
            `pd.DataFrame(report.lines).T`.
        window: the window of VUS-PR, VUS-ROC and the reference lines, in rows.
        labeled: the share of rows that are labeled as anomalous.
        threshold: rows with a score of at least this are flagged.
        oracle: whether the labels chose the threshold of each line.
    """

    lines: dict[str, dict[str, float]]
    window: int
    labeled: float
    threshold: float
    oracle: bool

    def __str__(self) -> str:
        columns = list(next(iter(self.lines.values())))
        width = max(map(len, self.lines))
        header = " ".join([" " * width, *columns])
        rows = [
            " ".join([f"{name:{width}}", *(f"{scores[key]:{len(key)}.3f}" for key in columns)])
            for name, scores in self.lines.items()
        ]
        chosen = (
            "each threshold chosen on the labels (optimistic)"
            if self.oracle
            else f"threshold {self.threshold:.6g}; other lines flag as many rows"
        )
        footer = f"window {self.window}; {self.labeled:.1%} of the rows labeled; {chosen}"
        return "\n".join([header, *rows, footer])


def anomaly_report(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    window: int,
    values: npt.ArrayLike | None = None,
    threshold: float | None = None,
    seed: int = 0,
) -> AnomalyReport:
    """Score a detector, next to lines that show what each score is worth on this series.

    The reference lines are: every row flagged; random scores; with `values`, also a moving z-score
    (`moving_z_scores`) and the nearest neighbors of five window statistics (`neighbor_scores`). A
    detector that does not beat them has learned nothing about this series that matters. The first
    column is the share of rows that each line flags.

    Args:
        labels: `(timesteps,)`, True or 1 where a row is anomalous.
        scores: `(timesteps,)`, higher for rows that are more likely anomalous.
        window: rows; the widest slopes of `vus_pr` and `vus_roc`, and the window of the reference
            lines.
        values: the series, `(timesteps,)` or `(timesteps, features)`, finite. Default None leaves
            out the two lines that need it.
        threshold: rows with `scores >= threshold` are flagged, and the reference lines flag as many
            rows, as far as ties allow. Default None takes `best_threshold` for each line, which the
            labels choose.
        seed: of the random scores, default 0.

    Raises:
        ArgumentError: the lengths differ, a label is not 0 or 1, a score is NaN, there is no
            anomaly or no normal row, the window is not an integer >= 0 (with values: from 2 to a
            third of the rows), or values are not finite.

    Example:
        >>> labels = np.zeros(400, bool)
        >>> labels[200:210] = True
        >>> values = np.sin(np.arange(400.0)) + 3 * labels
        >>> report = anomaly_report(labels, np.abs(values), window=20, values=values)
        >>> list(report.lines)
        ['scores', 'all ones', 'random', 'moving z-score', 'nearest neighbors']
        >>> report.lines["scores"]["point F1"], report.lines["all ones"]["overlap F1"]
        (1.0, 1.0)
    """
    flags, own = check_scores(labels, scores)
    require_both(flags)
    width = check_integer("window", window, minimum=0)
    references = _references(len(own), values, width, seed)
    limit = best_threshold(flags, own) if threshold is None else float(threshold)
    flagged = own >= limit
    lines = {"scores": _line(flags, own, flagged, width)}
    for name, line in references.items():
        if threshold is None:
            alarms = line >= best_threshold(flags, line)
        else:
            alarms = _highest(line, int(flagged.sum()))
        lines[name] = _line(flags, line, alarms, width)
    return AnomalyReport(lines, width, float(flags.mean()), limit, oracle=threshold is None)


def _references(
    rows: int, values: npt.ArrayLike | None, window: int, seed: int
) -> dict[str, Floats]:
    lines = {"all ones": np.ones(rows), "random": random_scores(rows, seed=seed)}
    if values is None:
        return lines
    series = np.asarray(values)
    if series.shape[:1] != (rows,):
        expected = f"as long as labels, {rows} rows"
        raise bad_argument("values", Description(f"shape {series.shape}"), expected)
    lines["moving z-score"] = moving_z_scores(series, window=window)
    lines["nearest neighbors"] = neighbor_scores(series, window=window)
    return lines


def _highest(scores: Floats, count: int) -> Booleans:
    """Flag the `count` highest scores, and those equal to the lowest of them."""
    if not count:
        return np.zeros(len(scores), bool)
    return np.asarray(scores >= np.partition(scores, -count)[-count])


def _line(flags: Booleans, scores: Floats, flagged: Booleans, window: int) -> dict[str, float]:
    volume = volumes(flags, scores, window)
    return {
        "flagged": float(flagged.mean()),
        "VUS-PR": volume.pr,
        "VUS-ROC": volume.roc,
        "point F1": point_precision_recall(flags, flagged).f1,
        "range F1": range_precision_recall(flags, flagged).f1,
        "affiliation F1": affiliation_precision_recall(flags, flagged).f1,
        "overlap F1": overlap_precision_recall(flags, flagged).f1,
    }
