"""Batches of windows against a loop that copies every window."""

import itertools
import pickle
import tracemalloc

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.arrays import assert_arrays_equal
from helpers.examples import examples
from seqkeras.errors import ArgumentError, DataError, SkippedSeriesWarning
from seqkeras.windows import GroupedArray, Windows, WindowSpec

specs = st.builds(
    WindowSpec,
    st.integers(1, 4),
    horizon=st.integers(1, 3),
    stride=st.integers(1, 4),
    sampling_rate=st.integers(1, 3),
    gap=st.integers(0, 2),
)


def naive_windows(series, targets, spec):
    """Build every window of every series in order, row by row."""
    inputs = []
    outputs = []
    for values, labels in zip(series, targets, strict=True):
        for start in range(0, len(values), spec.stride):
            timesteps = range(start, len(values), spec.sampling_rate)
            if len(timesteps) < spec.lookback + spec.gap + spec.horizon:
                break
            inputs.append([values[timesteps[i]] for i in range(spec.lookback)])
            first = spec.lookback + spec.gap
            outputs.append([labels[timesteps[first + i]] for i in range(spec.horizon)])
    return np.array(inputs), np.array(outputs)


def all_batches(windows):
    """Return inputs and targets of one epoch."""
    batches = [windows[index] for index in range(len(windows))]
    return tuple(np.concatenate(part) for part in zip(*batches, strict=True))


def distinct(rows, width=None):
    """Return an array without equal numbers, in which no wrong row can hide."""
    shape = (rows,) if width is None else (rows, width)
    return np.arange(float(np.prod(shape))).reshape(shape)


@pytest.mark.filterwarnings("ignore::seqkeras.errors.SkippedSeriesWarning")
@examples(134)
@given(
    spec=specs,
    # Empty series, one-row series and series of about one window are the borders to get wrong.
    lengths=st.lists(st.integers(0, 25), min_size=1, max_size=5),
    features=st.sampled_from([None, 1, 3]),
    outputs=st.sampled_from(["values", None, 1, 2]),
    batch_size=st.integers(1, 9),
)
def test_windows_are_those_of_a_naive_loop_and_never_cross_a_series_border(
    spec, lengths, features, outputs, batch_size
):
    rows = sum(lengths)
    values = distinct(rows, features)
    targets = values if outputs == "values" else -1 - distinct(rows, outputs)
    indptr = np.cumsum([0, *lengths])
    cuts = indptr[1:-1]
    x, y = naive_windows(np.split(values, cuts), np.split(targets, cuts), spec)
    options = {} if outputs == "values" else {"targets": targets}
    grouped = GroupedArray(values, indptr)
    if not len(x):
        with pytest.raises(DataError, match=f"Got: at most {max(lengths)} rows"):
            Windows(grouped, spec, **options)
        return
    windows = Windows(grouped, spec, batch_size=batch_size, **options)
    actual_x, actual_y = all_batches(windows)
    assert windows.count == len(x)
    np.testing.assert_array_equal(actual_x, x if features else x[..., np.newaxis])
    np.testing.assert_array_equal(actual_y, y)


@given(count=st.integers(1, 30), batch_size=st.integers(1, 40))
def test_every_batch_but_the_last_is_full(count, batch_size):
    windows = Windows(distinct(count + 1), WindowSpec(1), batch_size=batch_size)
    sizes = [len(x) for x, _ in windows]
    assert sum(sizes) == count
    assert all(size == batch_size for size in sizes[:-1])
    assert 0 < sizes[-1] <= batch_size
    assert len(windows) == len(sizes)


@pytest.mark.parametrize(
    ("values", "options", "inputs", "targets"),
    [
        (distinct(9), {}, (6, 3, 1), (6, 1)),
        (distinct(9, 1), {}, (6, 3, 1), (6, 1, 1)),
        (distinct(9, 2), {}, (6, 3, 2), (6, 1, 2)),
        (distinct(9, 2), {"targets": distinct(9)}, (6, 3, 2), (6, 1)),
        (distinct(9), {"targets": distinct(9, 4)}, (6, 3, 1), (6, 1, 4)),
        (distinct(9).tolist(), {"targets": distinct(9, 4).tolist()}, (6, 3, 1), (6, 1, 4)),
    ],
)
def test_shapes_follow_the_axes_of_values_and_targets(values, options, inputs, targets):
    x, y = Windows(values, WindowSpec(3), **options)[0]
    assert (x.shape, y.shape) == (inputs, targets)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64"])
def test_batches_are_float32_whatever_the_values_are(dtype):
    values = np.array([0, 1, 1, 0, 1, 0], dtype=dtype)
    x, y = Windows(values, WindowSpec(2), targets=values[:, np.newaxis])[0]
    assert x.dtype == y.dtype == np.float32
    assert x[..., 0].tolist() == [[0, 1], [1, 1], [1, 0], [0, 1]]
    assert y[:, 0, 0].tolist() == [1, 0, 1, 0]


def test_building_windows_copies_nothing():
    values = np.zeros((500_000, 4))
    tracemalloc.start()
    windows = Windows(values, WindowSpec(100, horizon=10), batch_size=32)
    _, built = tracemalloc.get_traced_memory()
    windows[7]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert built < 50_000
    # One batch of float64 rows, and its float32 copy: about 160 kB out of 16 MB.
    assert peak < 500_000


def test_a_batch_reads_the_array_when_it_is_requested():
    values = np.zeros(10)
    windows = Windows(values, WindowSpec(2))
    values[:] = 7
    assert windows[0][0].min() == 7


def test_batches_do_not_share_memory_with_the_values():
    values = np.zeros(10, dtype=np.float32)
    x, y = Windows(values, WindowSpec(2))[0]
    x[:] = 1
    y[:] = 1
    assert not values.any()


def test_a_memory_map_is_read_like_an_array(tmp_path):
    values = np.memmap(tmp_path / "values", dtype="float64", mode="w+", shape=(50, 2))
    values[:] = distinct(50, 2)
    values.flush()
    on_disk = np.memmap(tmp_path / "values", dtype="float64", mode="r", shape=(50, 2))
    spec = WindowSpec(5, horizon=2, stride=3, sampling_rate=2)
    for actual, expected in zip(
        all_batches(Windows(on_disk, spec)),
        all_batches(Windows(distinct(50, 2), spec)),
        strict=True,
    ):
        np.testing.assert_array_equal(actual, expected)


def test_take_gives_windows_by_number_over_all_series():
    windows = Windows(GroupedArray(distinct(11), [0, 5, 5, 11]), WindowSpec(3))
    x, y = windows.take([3, 0, 3])
    assert x[..., 0].tolist() == [[6, 7, 8], [0, 1, 2], [6, 7, 8]]
    assert y[:, 0].tolist() == [9, 3, 9]


@pytest.mark.parametrize("number", [-1, 5, 2**40])
def test_take_refuses_numbers_beyond_the_windows(number):
    windows = Windows(GroupedArray(distinct(11), [0, 5, 5, 11]), WindowSpec(3))
    assert windows.count == 5
    with pytest.raises(IndexError, match=f"from 0 to 4. Got: {number} to {number}"):
        windows.take([number])


@pytest.mark.parametrize("index", [-1, 3])
def test_batch_beyond_the_last_is_an_index_error(index):
    with pytest.raises(IndexError, match=f"batch index {index} is out of range for a length of 3"):
        Windows(distinct(12), WindowSpec(2), batch_size=4)[index]


def first_rows(windows):
    """Return the first input of every window of an epoch, which identifies the window."""
    return all_batches(windows)[0][:, 0, 0].tolist()


def epochs(count, **options):
    windows = Windows(distinct(41), WindowSpec(1), batch_size=7, shuffle=True, **options)
    orders = []
    for _ in range(count):
        orders.append(first_rows(windows))
        windows.epoch += 1
    return orders


def test_every_shuffled_epoch_has_every_window_once_in_a_new_order():
    orders = epochs(4, seed=3)
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert all(a != b for a, b in itertools.combinations(orders, 2))
    assert list(range(40)) not in orders


def test_the_order_stays_within_an_epoch():
    windows = Windows(distinct(41), WindowSpec(1), batch_size=7, shuffle=True)
    assert first_rows(windows) == first_rows(windows)


def test_the_same_seed_gives_the_same_epochs():
    assert epochs(3, seed=5) == epochs(3, seed=5)
    assert epochs(3, seed=5) != epochs(3, seed=6)
    assert epochs(1) != epochs(1)


def test_shuffled_inputs_keep_their_targets():
    x, y = all_batches(Windows(distinct(41), WindowSpec(1, gap=2), shuffle=True))
    np.testing.assert_array_equal(y[:, 0], x[:, 0, 0] + 3)


def test_without_shuffle_every_epoch_is_in_order():
    windows = Windows(distinct(41), WindowSpec(1), batch_size=7)
    windows.epoch = 1
    assert first_rows(windows) == list(range(40))


def small_model(lookback, features):
    """Build a linear model that trains the same on every run."""
    model = keras.Sequential(
        [
            keras.Input((lookback, features)),
            keras.layers.Flatten(),
            keras.layers.Dense(1, kernel_initializer="ones"),
        ]
    )
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
    return model


@pytest.mark.backends
def test_windows_go_straight_into_fit_evaluate_and_predict():
    values = np.sin(distinct(50, 2))
    windows = Windows(values, WindowSpec(4), targets=values[:, 0], batch_size=16)
    x, y = all_batches(windows)
    model = small_model(4, 2)
    reference = small_model(4, 2)
    model.fit(windows, epochs=2, shuffle=False, verbose=0)
    reference.fit(x, y, epochs=2, batch_size=16, shuffle=False, verbose=0)
    for actual, expected in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    predicted = model.predict(windows, verbose=0)
    assert predicted.shape == y.shape
    np.testing.assert_allclose(predicted, model.predict(x, verbose=0), atol=1e-5)
    loss = model.evaluate(windows, verbose=0)
    assert loss == pytest.approx(np.mean((predicted - y) ** 2), rel=1e-4)


@pytest.mark.backends
def test_fit_draws_a_new_order_each_epoch():
    class Recorded(Windows):
        def batch(self, epoch, index):
            x, y = super().batch(epoch, index)
            orders.setdefault(epoch, {})[index] = x[:, 0, 0].tolist()
            return x, y

    orders = {}
    windows = Recorded(distinct(60) / 60, WindowSpec(1), shuffle=True, seed=0, batch_size=16)
    small_model(1, 1).fit(windows, epochs=3, verbose=0)
    assert sorted(orders) == [0, 1, 2]
    read = [[row for index in range(4) for row in order[index]] for order in orders.values()]
    assert len({tuple(rows) for rows in read}) == 3
    assert all(sorted(rows) == sorted(read[0]) for rows in read)


def test_epochs_of_fit_are_those_of_the_seed_and_a_later_fit_continues():
    class Recorded(Windows):
        def on_epoch_begin(self):
            super().on_epoch_begin()
            read.append(self.epoch)

    read = []
    windows = Recorded(distinct(60) / 60, WindowSpec(1), shuffle=True, seed=0, batch_size=16)
    model = small_model(1, 1)
    model.fit(windows, epochs=3, verbose=0, shuffle=False)
    model.fit(windows, epochs=1, verbose=0, shuffle=False)
    # JAX and PyTorch read the first batch in a separate epoch.
    assert list(dict.fromkeys(read)) == [0, 1, 2, 3]
    windows.epoch = 5
    model.fit(windows, epochs=7, initial_epoch=5, verbose=0, shuffle=False)
    assert list(dict.fromkeys(read)) == [0, 1, 2, 3, 5, 6]


def test_a_training_that_was_killed_goes_on_with_the_order_of_the_right_epoch(tmp_path):
    def fit(model, *callbacks):
        values = np.sin(distinct(50, 2))
        windows = Windows(
            values, WindowSpec(4), targets=values[:, 0], batch_size=16, shuffle=True, seed=0
        )
        model.fit(windows, epochs=3, shuffle=False, verbose=0, callbacks=callbacks)
        return model.get_weights()

    def kill(epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    expected = fit(small_model(4, 2))
    killed = keras.callbacks.LambdaCallback(on_epoch_begin=kill)
    with pytest.raises(KeyboardInterrupt):
        fit(small_model(4, 2), keras.callbacks.BackupAndRestore(tmp_path), killed)
    actual = fit(small_model(4, 2), keras.callbacks.BackupAndRestore(tmp_path))
    assert_arrays_equal(actual, expected)


def test_a_batch_of_any_epoch_can_be_read():
    windows = Windows(distinct(41), WindowSpec(1), batch_size=7, shuffle=True, seed=1)
    later, _ = windows.batch(5, 2)
    windows.epoch = 5
    np.testing.assert_array_equal(windows[2][0], later)


@pytest.mark.parametrize("epoch", [-1, 0.5, True])
def test_epoch_that_is_not_a_number_of_one_is_refused(epoch):
    with pytest.raises(ArgumentError, match=f"epoch must be an integer >= 0. Got: epoch={epoch}"):
        Windows(distinct(9), WindowSpec(1)).epoch = epoch


def test_a_drawn_seed_can_be_given_again():
    windows = Windows(distinct(41), WindowSpec(1), shuffle=True)
    again = Windows(distinct(41), WindowSpec(1), shuffle=True, seed=windows.seed)
    assert first_rows(windows) == first_rows(again)


def test_a_pickled_copy_gives_the_same_batches():
    windows = Windows(distinct(5000), WindowSpec(1000), batch_size=7, shuffle=True)
    stored = pickle.dumps(windows)
    assert len(stored) < 50_000  # the values, not every window of them
    np.testing.assert_array_equal(pickle.loads(stored)[1][0], windows[1][0])


def test_balanced_windows_come_from_each_series_equally_often():
    values = GroupedArray(np.repeat([1.0, 2.0, 3.0], [3, 20, 101]), [0, 3, 23, 124])
    windows = Windows(values, WindowSpec(2), shuffle=True, balanced=True, batch_size=10)
    drawn = np.bincount(np.array(first_rows(windows), dtype=int))[1:]
    assert drawn.sum() == windows.count
    assert np.ptp(drawn) <= 1


def test_balance_without_shuffle_is_refused():
    with pytest.raises(ArgumentError, match="balanced must be False if shuffle=False") as caught:
        Windows(distinct(9), WindowSpec(1), balanced=True)
    assert "Add shuffle=True." in str(caught.value)


def test_repr_says_what_is_read_and_what_is_not():
    windows = Windows(distinct(10), WindowSpec(4, stride=3), batch_size=2)
    assert repr(windows) == (
        "Windows(2 windows of 1 series in 1 batches of 2; 0 series skipped, 2 rows unused)"
    )


def test_series_too_short_for_a_window_are_counted_with_a_warning():
    values = GroupedArray(distinct(20), [0, 3, 3, 9, 11, 20])
    with pytest.warns(SkippedSeriesWarning, match="2 of 5 series have fewer than the 6 rows"):
        windows = Windows(values, WindowSpec(4, horizon=2))
    # Series 1 has no rows, so none of them is skipped.
    assert (windows.skipped_series, windows.unused_rows) == (2, 5)
    assert "2 series skipped, 5 rows unused" in repr(windows)


def test_transform_changes_each_batch():
    def center(x, y):
        level = x.mean(axis=1, keepdims=True)
        return x - level, y - level[..., 0]

    x, y = Windows(distinct(9), WindowSpec(3), transform=center)[0]
    assert x[..., 0].tolist() == [[-1, 0, 1]] * 6
    assert y.tolist() == [[2]] * 6


def test_transform_without_targets_gets_none_for_them():
    windows = Windows(distinct(9), WindowSpec(3, horizon=0), transform=lambda x, y: (-x, y))
    assert windows[0][0, :, 0].tolist() == [0, -1, -2]


def test_transform_that_is_not_a_function_or_returns_no_pair_is_refused():
    with pytest.raises(ArgumentError, match="transform must be a function from"):
        Windows(distinct(9), WindowSpec(3), transform="log")
    windows = Windows(distinct(9), WindowSpec(3), transform=lambda x, y: x)
    with pytest.raises(ArgumentError, match="a function that returned a ndarray"):
        windows[0]


def three_input_model():
    past = keras.Input((4, 2), name="past")
    ahead = keras.Input((3, 1), name="calendar")
    size = keras.Input((1,), name="static")
    flat = [keras.layers.Flatten()(tensor) for tensor in (past, ahead, size)]
    dense = keras.layers.Dense(2, kernel_initializer="ones")
    return keras.Model(
        {"past": past, "calendar": ahead, "static": size},
        dense(keras.layers.Concatenate()(flat)),
    )


@pytest.mark.parametrize("steps", [pytest.param(1, marks=pytest.mark.backends), 3])
def test_a_model_of_many_inputs_trains_with_weights(steps):
    rows = np.sin(distinct(60))
    windows = Windows(
        GroupedArray(np.stack([rows, rows**2], axis=1), [0, 25, 60]),
        WindowSpec(4, horizon=3),
        targets=np.stack([rows, -rows], axis=1),
        target_rows="point",
        future={"calendar": rows},
        static=np.array([1.0, 2.0]),
        weights=np.linspace(0, 1, 60),
        batch_size=8,
    )
    model = three_input_model()
    reference = three_input_model()
    model.compile(keras.optimizers.SGD(1e-3), loss="mse", steps_per_execution=steps)
    reference.compile(keras.optimizers.SGD(1e-3), loss="mse")
    model.fit(windows, epochs=2, shuffle=False, verbose=0)
    for x, y, weights in [*windows, *windows]:
        reference.train_on_batch(x, y, sample_weight=weights)
    for actual, expected in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


def test_windows_without_targets_are_predicted():
    windows = Windows(np.sin(distinct(50, 2)), WindowSpec(4, horizon=0), batch_size=16)
    assert windows.count == 47
    assert small_model(4, 2).predict(windows, verbose=0).shape == (47, 1)


@pytest.mark.backends
def test_missing_values_are_kept_out_of_the_loss():
    values = np.sin(distinct(50, 1))
    values[20] = np.nan
    windows = Windows(values, WindowSpec(4), missing="mask", batch_size=16)
    past = keras.Input((4, 1), name="past")
    mask = keras.Input((4, 1), name="past_mask", dtype="bool")
    both = keras.layers.Concatenate()(
        [past, keras.layers.Lambda(lambda m: keras.ops.cast(m, "float32"))(mask)]
    )
    output = keras.layers.Reshape((1, 1))(keras.layers.Dense(1)(keras.layers.Flatten()(both)))
    model = keras.Model({"past": past, "past_mask": mask}, output)
    model.compile(loss="mse")
    losses = model.fit(windows, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()


@pytest.mark.parametrize(
    ("values", "got"),
    [
        (np.array(["a", "b", "c"]), "<U1 of shape (3,)"),
        (np.array([1, None, 2], dtype=object), "object of shape (3,)"),
        (np.array([1j, 2, 3]), "complex128 of shape (3,)"),
        (np.array(["2020", "2021", "2022"], dtype="M8[Y]"), "datetime64[Y] of shape (3,)"),
    ],
)
def test_values_and_targets_that_are_not_numbers_are_refused(values, got):
    for name, arguments, options in [
        ("values", (values,), {}),
        ("targets", (np.arange(3),), {"targets": values}),
    ]:
        with pytest.raises(ArgumentError, match=f"{name} must be numbers") as caught:
            Windows(*arguments, WindowSpec(1), **options)
        assert got in str(caught.value)


@pytest.mark.parametrize("values", [5.0, np.zeros((4, 2, 2))])
def test_values_with_no_or_three_axes_are_refused(values):
    with pytest.raises(ArgumentError, match=r"\(rows,\) or \(rows, features\)") as caught:
        Windows(values, WindowSpec(1))
    assert str(np.shape(values)) in str(caught.value)


@pytest.mark.parametrize("targets", [np.zeros(9), np.zeros((11, 2)), []])
def test_targets_of_another_length_are_refused(targets):
    with pytest.raises(ArgumentError, match="one row for each of the 10 rows") as caught:
        Windows(np.zeros(10), WindowSpec(1), targets=targets)
    assert f"targets={np.shape(targets)}" in str(caught.value)


@pytest.mark.parametrize("values", [[], np.zeros(7), GroupedArray(np.zeros(14), [0, 7, 7, 14])])
def test_too_short_a_series_is_refused_with_the_rows_needed(values):
    with pytest.raises(DataError) as caught:
        Windows(values, WindowSpec(4, horizon=3, gap=1))
    longest = 7 if len(values) else 0
    assert "At least one series must have the 8 rows of a window" in str(caught.value)
    assert f"Got: at most {longest} rows." in str(caught.value)
    assert "smaller lookback, horizon, gap or sampling_rate" in str(caught.value)
    assert "lookback=4, horizon=3" in str(caught.value)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, "32", None])
def test_batch_size_that_is_not_a_positive_integer_is_refused(batch_size):
    with pytest.raises(ArgumentError, match="batch_size must be an integer >= 1") as caught:
        Windows(np.zeros(10), WindowSpec(1), batch_size=batch_size)
    assert f"batch_size={batch_size!r}" in str(caught.value)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint64])
def test_integers_of_numpy_are_as_those_of_python(kind):
    values = np.arange(400.0)
    windows = Windows(values, WindowSpec(kind(3)), shuffle=True, seed=kind(5))
    plain = Windows(values, WindowSpec(3), shuffle=True, seed=5)
    assert WindowSpec(3, stride=2).count(kind(100)) == 49
    for index in (1, 9, 12):  # 32 windows in a batch: beyond what eight bits hold
        for actual, expected in zip(windows[kind(index)], plain[index], strict=True):
            np.testing.assert_array_equal(actual, expected)
        actual = windows.batch(kind(2), kind(index))[0]
        np.testing.assert_array_equal(actual, plain.batch(2, index)[0])
