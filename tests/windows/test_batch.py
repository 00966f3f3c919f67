"""Tests of inputs, targets and weights of a batch, against a loop over windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from seqkeras.errors import ArgumentError, DataError
from seqkeras.windows import GroupedArray, WindowIndex, Windows, WindowSpec

KINDS = ("horizon", "point", "lookback", "next")


def numbers(rows, width=None, sign=1):
    """Return an array without equal numbers, in which no wrong row can hide."""
    shape = (rows,) if width is None else (rows, width)
    return sign * (1 + np.arange(float(np.prod(shape)))).reshape(shape)


def with_features(array):
    return array if array.ndim == 2 else array[:, np.newaxis]


def rows_of(kind, spec, start):
    """Return the target rows of the window at `start`, by counting timesteps."""
    step = [start + i * spec.sampling_rate for i in range(spec.lookback + spec.gap + spec.horizon)]
    first = spec.lookback + spec.gap
    return {
        "horizon": step[first:],
        "point": step[-1:],
        "lookback": step[: spec.lookback],
        "next": step[1 : spec.lookback + 1],
    }[kind]


def one_window(spec, series, start, row, arrays, kind, missing):
    """Return x, y and weights of one window, as documented."""
    inputs = rows_of("lookback", spec, row)
    x = {name: with_features(array)[inputs] for name, array in arrays["past"].items()}
    ahead = rows_of("horizon", spec, row)
    x |= {name: with_features(array)[ahead] for name, array in arrays["future"].items()}
    x |= {name: with_features(array)[series] for name, array in arrays["static"].items()}
    rows = rows_of(kind, spec, row)
    y = arrays["targets"][rows]
    if kind == "point" and y.ndim == 2:
        y = y[0]
    if kind in ("lookback", "next"):
        y = with_features(y)
    weights = None if arrays["weights"] is None else arrays["weights"][rows]
    if y.ndim == 1 and weights is not None:
        weights = weights[0]
    if missing:
        present = ~np.isnan(y)
        weights = np.where(present.all(axis=-1), 1.0 if weights is None else weights, 0)
        y = np.where(present, y, 0)
        x |= {f"{name}_mask": ~np.isnan(array) for name, array in x.items()}
        x = {name: np.where(np.isnan(array), 0, array) for name, array in x.items()}
    return x, y, weights


@pytest.mark.filterwarnings("ignore::seqkeras.errors.SkippedSeriesWarning")
@examples(50)
@given(
    lookback=st.integers(1, 4),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2)),
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=4),
    kind=st.sampled_from(KINDS),
    widths=st.lists(st.sampled_from([None, 1, 2]), min_size=5, max_size=5),
    parts=st.sets(st.sampled_from(["dict", "future", "static", "weights", "missing", "shuffle"])),
    batch_size=st.integers(1, 7),
)
def test_batches_are_those_of_a_loop(lookback, sizes, lengths, kind, widths, parts, batch_size):
    horizon, stride, rate, gap = sizes
    spec = WindowSpec(lookback, horizon=horizon, stride=stride, sampling_rate=rate, gap=gap)
    rows = sum(lengths)
    bounds = np.cumsum([0, *lengths])
    arrays = {
        "past": {"past": numbers(rows, widths[0])},
        "future": {"future": numbers(rows, widths[1], -1)} if "future" in parts else {},
        "static": {"static": numbers(len(lengths), widths[2])} if "static" in parts else {},
        "targets": numbers(rows, widths[3]) + 0.5,
        "weights": numbers(rows) / 7 if "weights" in parts else None,
    }
    if "dict" in parts:
        arrays["past"] = {"a": arrays["past"]["past"], "b": numbers(rows, widths[4], 3)}
    if "missing" in parts:
        random = np.random.default_rng(rows)
        for array in [*arrays["past"].values(), *arrays["future"].values(), arrays["targets"]]:
            array[random.random(array.shape) < 0.2] = np.nan
    no_weights = kind == "horizon" and widths[3] is None and horizon > 1
    if no_weights:
        arrays["weights"] = None
    past = arrays["past"] if "dict" in parts else arrays["past"]["past"]
    first = next(iter(arrays["past"]))
    grouped = GroupedArray(arrays["past"][first], bounds)
    options = {name: arrays[name][name] for name in ("future", "static") if name in parts}
    places = [
        (series, start, int(bounds[series]) + start)
        for series, length in enumerate(lengths)
        for start in range(0, max(0, length - spec.rows + 1), stride)
    ]
    arguments = (past | {first: grouped} if "dict" in parts else grouped, spec)
    options |= {
        "targets": arrays["targets"],
        "target_rows": kind,
        "weights": arrays["weights"],
        "missing": "mask" if "missing" in parts else "raise",
        "batch_size": batch_size,
        "shuffle": "shuffle" in parts,
        "seed": 0,
    }
    if not places:
        with pytest.raises(DataError, match="At least one series must have"):
            Windows(*arguments, **options)
        return
    windows = Windows(*arguments, **options)
    plain = not parts & {"dict", "future", "static", "missing"}
    weighted = arrays["weights"] is not None or "missing" in parts
    for number, batch in enumerate(windows):
        order = windows._order(0, number * batch_size, min((number + 1) * batch_size, len(places)))
        expected = [
            one_window(spec, *places[window], arrays, kind, "missing" in parts) for window in order
        ]
        assert len(batch) == 3 if weighted else 2
        x = {"past": batch[0]} if plain else batch[0]
        assert x.keys() == expected[0][0].keys()
        for name, array in x.items():
            assert array.dtype == (bool if name.endswith("_mask") else np.float32)
            np.testing.assert_allclose(array, np.stack([x[name] for x, *_ in expected]), rtol=1e-6)
        np.testing.assert_allclose(batch[1], np.stack([y for _, y, _ in expected]), rtol=1e-6)
        if weighted:
            assert batch[2].dtype == np.float32
            weights = np.stack([weights for *_, weights in expected])
            np.testing.assert_allclose(batch[2], weights, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "width", "shape"),
    [
        ("horizon", None, (5, 3)),
        ("horizon", 1, (5, 3, 1)),
        ("horizon", 2, (5, 3, 2)),
        ("point", None, (5, 1)),
        ("point", 1, (5, 1)),
        ("point", 2, (5, 2)),
        ("lookback", None, (5, 4, 1)),
        ("lookback", 2, (5, 4, 2)),
        ("next", None, (5, 4, 1)),
        ("next", 2, (5, 4, 2)),
    ],
)
def test_shapes_of_targets_of_each_kind(kind, width, shape):
    options = {"targets": numbers(11, width), "target_rows": kind}
    _, y = Windows(numbers(11), WindowSpec(4, horizon=3), **options)[0]
    assert y.shape == shape


def test_without_a_horizon_batches_are_only_inputs():
    x = Windows(numbers(6), WindowSpec(4, horizon=0))[0]
    assert x[..., 0].tolist() == [[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]]
    x = Windows({"a": numbers(6)}, WindowSpec(4, horizon=0))[0]
    assert list(x) == ["a"]


def test_without_a_horizon_targets_are_those_of_the_lookback():
    x, y = Windows(numbers(6), WindowSpec(4, horizon=0), targets=-numbers(6))[0]
    np.testing.assert_array_equal(y, -x)
    x, y = Windows(numbers(6, 2), WindowSpec(4, horizon=0), target_rows="lookback")[0]
    np.testing.assert_array_equal(y, x)


def test_functions_of_indices_give_targets_and_weights():
    values = GroupedArray(numbers(20), [0, 8, 20])
    labels = np.array([10.0, 20.0])
    indices = []

    def target(index):
        indices.append(index)
        return labels[index.series]

    windows = Windows(
        values, WindowSpec(4, stride=2), targets=target, weights=lambda i: i.start, batch_size=3
    )
    _, y, weights = windows[1]
    assert y.tolist() == [20, 20, 20]
    assert y.dtype == weights.dtype == np.float32
    assert weights.tolist() == [2, 4, 6]
    [index] = indices
    assert isinstance(index, WindowIndex)
    assert index.window.tolist() == [3, 4, 5]
    assert index.row.tolist() == [10, 12, 14]


def test_missing_results_of_a_function_get_weight_0():
    windows = Windows(
        numbers(8),
        WindowSpec(4, horizon=0),
        targets=lambda index: np.where(index.window == 1, np.nan, 5.0),
        weights=lambda index: index.window + 1,
        missing="mask",
    )
    _, y, weights = windows[0]
    assert y.tolist() == [5, 0, 5, 5, 5]
    assert weights.tolist() == [1, 0, 3, 4, 5]


def test_weights_of_windows_apply_to_all_timesteps_if_some_are_missing():
    targets = numbers(9, 1)
    targets[5] = np.nan
    windows = Windows(
        numbers(9),
        WindowSpec(3, horizon=2),
        targets=targets,
        weights=lambda index: index.window + 1.0,
        missing="mask",
    )
    assert windows[0][2].tolist() == [[1, 1], [2, 0], [0, 3], [4, 4], [5, 5]]


def test_integers_have_no_mask():
    windows = Windows(
        {"a": np.arange(9), "b": numbers(9)}, WindowSpec(2, horizon=0), missing="mask"
    )
    assert list(windows[0]) == ["a", "b", "b_mask"]
    _, y = Windows(np.arange(9), WindowSpec(2), missing="mask")[0]
    assert y.shape == (7, 1)


@pytest.mark.parametrize(
    ("options", "message", "fix"),
    [
        ({"values": {}}, r"values must be an array, or a dict .* Got: a dict of \[\]", ""),
        ({"values": {1: numbers(9)}}, r"a dict of \[1\]", ""),
        (
            {"values": {"a": numbers(9)}},
            "targets must be given if values are a dict",
            "horizon=0",
        ),
        (
            {"values": {"a": numbers(9)}, "targets": numbers(9), "future": {"a": numbers(9)}},
            "Names of inputs must differ",
            "'a'",
        ),
        (
            {"static": {"past_mask": [1.0]}, "missing": "mask"},
            "Names of inputs must differ",
            "'past_mask'",
        ),
        ({"future": numbers(8)}, "future must be one row for each of the 9 rows", "(8,)"),
        ({"static": [1.0, 2.0]}, "static must be one row for each of the 1 series", "(2,)"),
        (
            {"static": GroupedArray(numbers(1), [0, 1])},
            "static must be one row for each",
            "Grouped",
        ),
        (
            {"future": numbers(9), "horizon": 0},
            "spec must be a WindowSpec with a horizon",
            "Future",
        ),
        (
            {"weights": numbers(9), "horizon": 0},
            "weights must be omitted without targets",
            "ndarray",
        ),
        ({"weights": numbers(9, 2)}, r"weights must be numbers of shape \(rows,\)", "(9, 2)"),
        ({"weights": numbers(9), "horizon": 2}, "weights must be one for each window", "(rows, 1)"),
        ({"target_rows": "last"}, "target_rows must be one of 'horizon', 'point'", "'last'"),
        ({"target_rows": "next", "horizon": 0}, "must be 'lookback' if horizon=0", "a horizon"),
        (
            {"targets": lambda index: index.row, "target_rows": "point"},
            "target_rows must be omitted if targets is a function",
            "chooses its rows itself",
        ),
        (
            {"targets": lambda index: index.row, "weights": numbers(9)},
            "weights must be a function of a WindowIndex",
            "ndarray",
        ),
        (
            {"targets": GroupedArray(numbers(9), [0, 4, 9])},
            "targets must be series of the same lengths as those of values",
            "There are 1 series in values, and 2 in targets.",
        ),
        (
            {
                "values": GroupedArray(numbers(9), [0, 4, 9]),
                "targets": GroupedArray(numbers(9), [0, 5, 9]),
            },
            "targets must be series of the same lengths as those of values",
            "Series 0 has 4 rows in values, and 5 in targets.",
        ),
        ({"missing": "drop"}, "missing must be one of 'raise', 'mask'", "'drop'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_fix(options, message, fix):
    spec = WindowSpec(2, horizon=options.pop("horizon", 1))
    with pytest.raises(ArgumentError, match=message) as caught:
        Windows(options.pop("values", numbers(9)), spec, **options)
    assert fix in str(caught.value)


@pytest.mark.parametrize(
    ("result", "got"),
    [(5.0, "shape ()"), (np.zeros(3), "shape (3,)"), (["a"] * 7, "<U1")],
)
def test_functions_without_a_number_for_each_window_are_refused(result, got):
    windows = Windows(numbers(9), WindowSpec(2), targets=lambda index: result)
    with pytest.raises(ArgumentError, match="must be a function that returns numbers") as caught:
        windows[0]
    assert got in str(caught.value)


def test_a_missing_result_of_a_function_is_refused_by_its_window():
    targets = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 6.0, 7.0])
    windows = Windows(numbers(9), WindowSpec(2), targets=lambda index: targets, batch_size=7)
    with pytest.raises(DataError, match="targets must have no missing values") as caught:
        windows[0]
    assert "NaN in window 2" in str(caught.value)


def test_weights_with_more_axes_than_targets_are_refused_if_some_may_be_missing():
    windows = Windows(
        numbers(9),
        WindowSpec(2),
        weights=lambda index: np.ones((7, 1)),
        missing="mask",
    )
    with pytest.raises(ArgumentError, match=r"weights must be of shape \(7,\)"):
        windows[0]
