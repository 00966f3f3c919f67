"""The score of the Numenta Anomaly Benchmark (Lavin & Ahmad 2015, as computed by NAB v1.1)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Booleans, Floats, Integers
from seqkeras._checks import Description, bad_argument, check_one_of
from seqkeras.scoring._anomaly_inputs import check_scores, find_runs

#: The first rows of a file do not count: this share of them, and at most `LONGEST_PROBATION`.
PROBATION = 0.15
LONGEST_PROBATION = 750
#: A detection farther behind a window than this many widths of the window costs the full price.
FAR = 3


class Weights(NamedTuple):
    """The value of a detected window, and the prices of a missed window and of a false alarm."""

    hit: float
    miss: float
    false_alarm: float


PROFILES = {
    "standard": Weights(hit=1.0, miss=1.0, false_alarm=0.11),
    "reward_low_FP_rate": Weights(hit=1.0, miss=1.0, false_alarm=0.22),
    "reward_low_FN_rate": Weights(hit=1.0, miss=2.0, false_alarm=0.11),
}


class NabScore(NamedTuple):
    """The result of `nab_score`.

    Args:
        normalized: 0 for a detector that never detects, 100 for one that detects the first row of
            each window and nothing else; NaN if no file has a window.
        threshold: rows with a score of at least this are detections; infinity for none.
        file_scores: `(files,)`, the score of each file; `normalized` is their sum, scaled.
    """

    normalized: float
    threshold: float
    file_scores: Floats


class _Rows(NamedTuple):
    """The rows after probation of one or more files: score, value if detected, and window or -1."""

    score: Floats
    value: Floats
    window: Integers


def nab_score(
    labels: Sequence[npt.ArrayLike],
    scores: Sequence[npt.ArrayLike],
    *,
    profile: str = "standard",
    threshold: float | None = None,
) -> NabScore:
    """Compute the NAB score of a corpus (Lavin & Ahmad 2015), as NAB v1.1 does.

    Each run of labeled rows is a window. Only the best detection in it counts: 1 for its first row,
    falling to almost 0 for its last; a window without a detection costs 1 (2 in the profile
    "reward_low_FN_rate"). Each detection outside of the windows costs up to 0.11 (0.22 in the
    profile "reward_low_FP_rate"), less shortly after a window. The first 15 % of the rows of a
    file, at most 750, are probation, in which nothing counts. The same threshold holds for all
    files.

    Args:
        labels: for each file, `(timesteps,)`, True or 1 inside a window. Windows have at least two
            rows; NAB shares 10 % of the rows of a file among its windows. A file may have no
            window. For a single file, its array also works.
        scores: for each file, `(timesteps,)`, higher for rows that are more likely anomalous.
        profile: "standard" (default), "reward_low_FP_rate" or "reward_low_FN_rate".
        threshold: default None chooses the threshold with the highest score, as NAB does. The
            labels choose it, so that the result is an upper bound.

    Raises:
        ArgumentError: the numbers of arrays or their lengths differ, a label is not 0 or 1, a score
            is NaN or infinity, a window has a single row, or the profile is unknown.

    Example:
        >>> labels = np.zeros(20, bool)
        >>> labels[10:14] = True
        >>> scores = np.zeros(20)
        >>> scores[[10, 19]] = 0.9, 0.5
        >>> result = nab_score([labels], [scores])
        >>> result.normalized, result.threshold
        (100.0, 0.9)
        >>> late = nab_score([labels], [scores], threshold=0.5)
        >>> round(late.normalized, 1)
        94.5
    """
    weights = PROFILES[check_one_of("profile", profile, PROFILES)]
    files = [_file_rows(flags, values, weights) for flags, values in _check_files(labels, scores)]
    corpus = _join(files)
    windows = _count_windows(corpus)
    best = _best_threshold(corpus, weights) if threshold is None else float(threshold)
    file_scores = np.array([_file_score(rows, best, weights) for rows in files])
    null = -weights.miss * windows
    perfect = weights.hit * windows
    normalized = 100 * (file_scores.sum() - null) / (perfect - null) if windows else np.nan
    return NabScore(float(normalized), best, file_scores)


def _check_files(
    labels: Sequence[npt.ArrayLike], scores: Sequence[npt.ArrayLike]
) -> list[tuple[Booleans, Floats]]:
    if not len(labels) or np.ndim(labels[0]) == 0:
        return [_check_file(np.asarray(labels), np.asarray(scores))]
    if len(labels) != len(scores):
        actual = Description(f"{len(scores)} arrays")
        raise bad_argument("scores", actual, f"as many arrays as labels, {len(labels)}")
    return [_check_file(*file) for file in zip(labels, scores, strict=True)]


def _check_file(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Booleans, Floats]:
    flags, values = check_scores(labels, scores)
    if np.isposinf(values).any():
        actual = Description(f"infinity in row {np.argmax(values)}")
        expected = "numbers below infinity, which is the threshold that nothing reaches"
        raise bad_argument("scores", actual, expected)
    return flags, values


def _file_rows(flags: Booleans, scores: Floats, weights: Weights) -> _Rows:
    """Return the rows of a file after its probation, with the value of a detection in each."""
    starts, ends = find_runs(flags)
    widths = ends - starts
    if np.any(widths < 2):
        actual = Description(f"a window of one row, row {starts[np.argmin(widths)]}")
        fix = "Widen each label to a window, for example of 10 % of the rows over all windows."
        raise bad_argument("labels", actual, "windows of at least two rows", fix)
    rows = np.arange(len(flags))
    begun = np.searchsorted(starts, rows, side="right") - 1  # -1 before the first window
    last = np.concatenate([ends - 1, [0]])[begun]
    width = np.concatenate([widths, [2]])[begun]
    value = np.where(
        flags,
        weights.hit * _sigmoid(-(last - rows + 1) / width) / _sigmoid(np.array(-1.0)),
        weights.false_alarm * np.where(begun < 0, -1, _sigmoid((rows - last) / (width - 1))),
    )
    scored = slice(min(int(PROBATION * len(flags)), LONGEST_PROBATION), None)
    return _Rows(scores[scored], value[scored], np.where(flags, begun, -1)[scored])


def _sigmoid(distance: Floats) -> Floats:
    """Return the weight at a distance from the end of a window, in widths of the window."""
    near = 2 / (1 + np.exp(5 * np.minimum(distance, FAR))) - 1
    return np.where(distance > FAR, -1, near)


def _join(files: list[_Rows]) -> _Rows:
    """Join the rows of all files, and number their windows through."""
    windows = []
    before = 0
    for rows in files:
        windows.append(np.where(rows.window >= 0, rows.window + before, -1))
        before = max(before, int(windows[-1].max(initial=-1)) + 1)
    scores, values = ([rows[field] for rows in files] for field in (0, 1))
    return _Rows(np.concatenate(scores), np.concatenate(values), np.concatenate(windows))


def _count_windows(rows: _Rows) -> int:
    """Count the windows with a row after probation."""
    return len(np.unique(rows.window[rows.window >= 0]))


def _file_score(rows: _Rows, threshold: float, weights: Weights) -> float:
    detected = rows.score >= threshold
    inside = rows.window >= 0
    windows, place = np.unique(rows.window[inside], return_inverse=True)
    best = np.full(len(windows), -weights.miss)
    np.maximum.at(best, place[detected[inside]], rows.value[inside & detected])
    return float(best.sum() + rows.value[detected & ~inside].sum())


def _best_threshold(rows: _Rows, weights: Weights) -> float:
    """Return the threshold with the highest total; among equals the highest, as in NAB."""
    order = np.argsort(-rows.score, kind="stable")
    score, value, window = (field[order] for field in rows)
    # What the total gains when the threshold falls below a row: its price outside a window, and in
    # a window the improvement on its best detection so far.
    gain = value.copy()
    by_window = np.argsort(window, kind="stable")[np.sum(window < 0) :]
    for place in np.split(by_window, np.flatnonzero(np.diff(window[by_window])) + 1):
        best = np.maximum.accumulate(np.concatenate([[-weights.miss], value[place]]))
        gain[place] = np.diff(best)
    total = np.concatenate([[0.0], np.cumsum(gain)])
    last_of_equals = np.concatenate([[True], score[1:] != score[:-1], [True]])
    best_count = int(np.argmax(np.where(last_of_equals, total, -np.inf)))
    return float(score[best_count - 1]) if best_count else np.inf
