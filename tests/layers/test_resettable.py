"""Stateful layers against stateless Keras layers that read each sequence by itself."""

import functools
import itertools
import re

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers.arrays import assert_arrays_close, random_array
from helpers.examples import covering, examples
from helpers.models import assert_close, built, randomized, to_numpy
from helpers.stock_keras import Saved, outputs_with_layers_only
from seqkeras import kernels, layers
from seqkeras.errors import ArgumentError

ROWS, TIMESTEPS, FEATURES, BATCHES = 3, 4, 2, 3
LENGTH = TIMESTEPS * BATCHES

# Our class, the Keras class of the same name, and a function that returns their arguments.
KINDS = {
    "lstm": (layers.LSTM, keras.layers.LSTM, lambda: (5,)),
    "gru": (layers.GRU, keras.layers.GRU, lambda: (5,)),
    "simple_rnn": (layers.SimpleRNN, keras.layers.SimpleRNN, lambda: (5,)),
    "cell": (layers.RNN, keras.layers.RNN, lambda: (keras.layers.GRUCell(5),)),
    "stacked cells": (
        layers.RNN,
        keras.layers.RNN,
        lambda: ([keras.layers.LSTMCell(3), keras.layers.GRUCell(5)],),
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS)

flag_arrays = arrays(bool, (ROWS, LENGTH), elements=st.sampled_from([False, False, True]))
mask_arrays = arrays(bool, (ROWS, LENGTH), elements=st.sampled_from([True, True, False]))


X = random_array(ROWS, LENGTH, FEATURES)


def ours(kind, **options):
    make, _, arguments = KINDS[kind]
    return make(*arguments(), **options)


def stock(kind, **options):
    _, make, arguments = KINDS[kind]
    return make(*arguments(), **options)


def stateful_model(layer, *, masked=False, timesteps=None, head=None, rows=ROWS):
    """Return a model of a layer, with an input of flags and, if `masked`, one of masks."""
    inputs = {"inputs": keras.Input(batch_shape=(rows, timesteps, FEATURES), name="inputs")}
    if masked:
        inputs["mask"] = keras.Input(batch_shape=(rows, timesteps), name="mask", dtype="bool")
    inputs["reset"] = keras.Input(
        batch_shape=(rows, None), name="reset", dtype="bool", optional=True
    )
    y = layer(inputs["inputs"], mask=inputs.get("mask"), reset=inputs["reset"])
    return keras.Model(inputs, head(y) if head else y)


def stateless_model(layer, *, masked=False, head=None):
    """Return the same model of a Keras layer, without flags."""
    x = keras.Input((None, FEATURES), name="inputs")
    mask = keras.Input((None,), name="mask", dtype="bool") if masked else None
    y = layer(x, mask=mask)
    inputs = {"inputs": x, "mask": mask} if masked else {"inputs": x}
    return keras.Model(inputs, head(y) if head else y)


@functools.cache
def twins(kind, *, masked=False, **options):
    """Return a stateful and a stateless model with the same weights, of all timesteps."""
    first_options = {name: options.pop(name) for name in ("go_backwards",) if name in options}
    first = stateful_model(
        ours(kind, stateful=True, return_sequences=True, **options, **first_options),
        masked=masked,
        timesteps=TIMESTEPS if options.get("unroll") else None,
    )
    options.pop("unroll", None)
    second = stateless_model(stock(kind, return_sequences=True, **options), masked=masked)
    randomized(first)
    second.set_weights(first.get_weights())
    return first, second


def batched(x):
    """Split `(rows, length, ...)` into batches of `TIMESTEPS`."""
    return np.split(x, x.shape[1] // TIMESTEPS, axis=1)


def read(model, x, flags, width=TIMESTEPS, mask=None):
    """Return the outputs of all batches in turn, each with its first `width` flags."""
    outputs = []
    for number, part in enumerate(batched(x)):
        batch = {"inputs": part, "reset": batched(flags)[number][:, :width]}
        if mask is not None:
            batch["mask"] = batched(mask)[number]
        outputs.append(model.predict_on_batch(batch))
    return np.concatenate(outputs, axis=1)


def outputs_from_every_start(twin, x, mask=None):
    """Return outputs `[start, row, timestep]` of a stateless model that begins to read at `start`.

    Each start is a row of one batch, rolled to the front. The timesteps that wrap around come last,
    and no layer here looks ahead, so they change nothing.
    """
    rows, length, features = x.shape
    batch = {
        "inputs": np.stack([np.roll(x, -start, axis=1) for start in range(length)]).reshape(
            -1, length, features
        )
    }
    if mask is not None:
        rolled = np.stack([np.roll(mask, -start, axis=1) for start in range(length)])
        batch["mask"] = rolled.reshape(-1, length)
    outputs = twin.predict_on_batch(batch).reshape(length, rows, length, -1)
    return np.stack([np.roll(outputs[start], start, axis=1) for start in range(length)])


def outputs_of_each_sequence(runs, flags):
    """Select, from all starts, the output of each timestep from the start of its own sequence."""
    length = flags.shape[1]
    start = np.maximum.accumulate(np.where(flags, np.arange(length), 0), axis=1)
    return runs[start, np.arange(len(flags))[:, np.newaxis], np.arange(length)]


@functools.cache
def runs_of(kind, **options):
    return outputs_from_every_start(twins(kind, **options)[1], X)


def valid_flags(flags, width=TIMESTEPS):
    """Keep the flags of the first `width` timesteps of each batch, and start every row."""
    flags = flags & (np.arange(flags.shape[1]) % TIMESTEPS < width)
    flags[:, 0] = True
    return flags


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind, marks=[pytest.mark.backends] if kind in ("lstm", "stacked cells") else []
        )
        for kind in KINDS
    ],
)
@examples(10)
@given(flags=flag_arrays, width=st.sampled_from([1, 3, TIMESTEPS]))
def test_flags_give_what_each_sequence_by_itself_gives(kind, flags, width):
    flags = valid_flags(flags, width)
    actual = read(twins(kind)[0], X, flags, width)
    np.testing.assert_allclose(actual, outputs_of_each_sequence(runs_of(kind), flags), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "width"),
    [
        pytest.param("lstm", TIMESTEPS, marks=pytest.mark.backends),
        ("lstm", 1),
        pytest.param("stacked cells", 1, marks=pytest.mark.backends),
        ("stacked cells", TIMESTEPS),
    ],
)
def test_other_flags_give_something_else(kind, width):
    flags = valid_flags(np.zeros((ROWS, LENGTH), bool))
    flags[1, TIMESTEPS] = True
    expected = outputs_of_each_sequence(runs_of(kind), flags)
    model = twins(kind)[0]
    np.testing.assert_allclose(read(model, X, flags, width), expected, atol=1e-5)
    for wrong in (valid_flags(flags & False), valid_flags(flags | True, width)):
        actual = read(model, X, wrong, width)
        assert np.abs(actual - expected)[1, TIMESTEPS:].max() > 1e-2
    # Nor does a row read the flags of another.
    swapped = read(model, X, valid_flags(flags[[1, 0, 2]]), width)
    assert np.abs(swapped - expected)[:2, TIMESTEPS:].max() > 1e-2
    np.testing.assert_allclose(swapped[2], expected[2], atol=1e-5)


@every_kind
def test_without_flags_the_state_continues_as_in_keras(kind):
    first = ours(kind, stateful=True, return_sequences=True)
    second = stock(kind, stateful=True, return_sequences=True)
    for layer in (first, second):
        layer.build((ROWS, TIMESTEPS, FEATURES))
    randomized(first)
    second.set_weights(first.get_weights())
    for part in batched(X):
        np.testing.assert_allclose(to_numpy(first(part)), to_numpy(second(part)), atol=1e-6)


@pytest.mark.backends
def test_without_flags_a_model_continues():
    model = twins("gru")[0]
    parts = batched(X)
    none = np.zeros((ROWS, 1), bool)
    outputs = [model.predict_on_batch({"inputs": parts[0], "reset": ~none})]
    outputs += [model.predict_on_batch({"inputs": part, "reset": none}) for part in parts[1:]]
    expected = runs_of("gru")[0]
    np.testing.assert_allclose(np.concatenate(outputs, axis=1), expected, atol=1e-5)
    # The same in calls, where the flags may be omitted.
    model({"inputs": parts[0], "reset": ~none})
    outputs = [to_numpy(model({"inputs": part, "reset": None})) for part in parts[1:]]
    actual = np.concatenate(outputs, axis=1)
    np.testing.assert_allclose(actual, expected[:, TIMESTEPS:], atol=1e-5)


@pytest.mark.parametrize("kind", covering(list(KINDS), 2))
@examples(2)
@given(flags=flag_arrays, lengths=st.tuples(*[st.integers(0, TIMESTEPS)] * (ROWS * BATCHES)))
def test_right_padding_changes_nothing(kind, flags, lengths):
    within = np.tile(np.arange(TIMESTEPS), BATCHES)
    mask = within < np.repeat(np.reshape(lengths, (ROWS, BATCHES)), TIMESTEPS, axis=1)
    check_masked(kind, valid_flags(flags & mask), mask)


@pytest.mark.parametrize("width", [1, TIMESTEPS])
@pytest.mark.parametrize(
    "kind", [pytest.param("lstm", marks=pytest.mark.backends), "stacked cells"]
)
@examples(4)
@given(flags=flag_arrays, mask=mask_arrays)
def test_masked_timesteps_change_nothing(kind, width, flags, mask):
    check_masked(kind, valid_flags(flags, width), mask, width)


def check_masked(kind, flags, mask, width=TIMESTEPS):
    model, twin = twins(kind, masked=True)
    actual = read(model, X, flags, width, mask)
    expected = outputs_of_each_sequence(outputs_from_every_start(twin, X, mask), flags)
    np.testing.assert_allclose(actual[mask], expected[mask], atol=1e-5)


@examples(4)
@given(flags=flag_arrays, mask=mask_arrays)
def test_zero_output_for_mask_gives_zeros_there(flags, mask):
    model, twin = twins("gru", masked=True, zero_output_for_mask=True)
    flags = valid_flags(flags)
    actual = read(model, X, flags, TIMESTEPS, mask)
    expected = outputs_of_each_sequence(outputs_from_every_start(twin, X, mask), flags)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert not actual[~mask].any()


@pytest.mark.parametrize("kind", ["lstm", "stacked cells"])
@examples(4)
@given(flags=flag_arrays)
def test_backwards_a_flag_counts_before_its_own_timestep_is_read(kind, flags):
    def in_reading_order(x):
        return np.concatenate([part[:, ::-1] for part in batched(x)], axis=1)

    model, twin = twins(kind, go_backwards=True)
    flags = valid_flags(in_reading_order(flags))
    actual = read(model, X, in_reading_order(flags))
    runs = outputs_from_every_start(twin, in_reading_order(X))
    np.testing.assert_allclose(actual, outputs_of_each_sequence(runs, flags), atol=1e-5)


@pytest.mark.parametrize("kind", ["gru", "stacked cells"])
@examples(4)
@given(flags=flag_arrays)
def test_an_unrolled_loop_obeys_the_flags(kind, flags):
    flags = valid_flags(flags)
    actual = read(twins(kind, unroll=True)[0], X, flags)
    np.testing.assert_allclose(actual, outputs_of_each_sequence(runs_of(kind), flags), atol=1e-5)


@every_kind
@pytest.mark.parametrize("width", [1, TIMESTEPS])
def test_the_last_output_and_the_states_are_returned(kind, width):
    every = twins(kind)[0]
    last = stateful_model(ours(kind, stateful=True, return_state=True))
    last.set_weights(every.get_weights())
    flags = valid_flags(np.random.default_rng(0).random((ROWS, LENGTH)) < 0.3, width)
    expected = batched(read(every, X, flags, width))
    (layer,) = [layer for layer in last.layers if isinstance(layer, layers.Resettable)]
    for number, part in enumerate(batched(X)):
        batch = {"inputs": part, "reset": batched(flags)[number][:, :width]}
        output, *states = last(batch)
        np.testing.assert_allclose(to_numpy(output), expected[number][:, -1], atol=1e-5)
        variables = keras.tree.flatten(layer.states)
        for state, variable in zip(keras.tree.flatten(states), variables, strict=True):
            np.testing.assert_allclose(to_numpy(state), variable.numpy(), atol=1e-6)
            assert np.abs(variable.numpy()).max() > 1e-2


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("width", [1, TIMESTEPS])
def test_an_initial_state_is_cleared_like_a_stored_one(kind, width):
    layer = ours(kind, stateful=True, return_sequences=True)
    plain = stock(kind, return_sequences=True)
    part = X[:, :TIMESTEPS]
    for either in (layer, plain):
        either.build(part.shape)
    randomized(layer)
    plain.set_weights(layer.get_weights())
    start = [random_array(ROWS, 5, seed=number) for number in range(2 if kind == "lstm" else 1)]
    flags = np.zeros((ROWS, width), bool)
    flags[1, 0] = True
    actual = to_numpy(layer(part, initial_state=start, reset=flags))
    continued = to_numpy(plain(part, initial_state=start))
    np.testing.assert_allclose(actual[[0, 2]], continued[[0, 2]], atol=1e-5)
    np.testing.assert_allclose(actual[1], to_numpy(plain(part))[1], atol=1e-5)


@keras.saving.register_keras_serializable("seqkeras_tests")
class Counter(keras.layers.Layer):
    """A cell that counts its timesteps from `first`, and outputs the count."""

    state_size = output_size = 1

    def __init__(self, first=7.0, **options):
        super().__init__(**options)
        self.first = first

    def get_initial_state(self, batch_size=None):
        return [keras.ops.full((batch_size, 1), self.first)]

    def call(self, inputs, states):
        return states[0] + 0 * inputs[:, :1], [states[0] + 1]


@pytest.mark.parametrize("width", [1, TIMESTEPS])
def test_a_custom_cell_starts_again_from_its_own_initial_state(width):
    layer = layers.RNN(Counter(), stateful=True, return_sequences=True)
    part = X[:, :TIMESTEPS]
    assert to_numpy(layer(part))[:, :, 0].tolist() == [[7, 8, 9, 10]] * ROWS
    flags = np.zeros((ROWS, width), bool)
    flags[0, 0] = flags[2, -1] = True
    counts = to_numpy(layer(part, reset=flags))[:, :, 0].tolist()
    third = [7, 8, 9, 10] if width == 1 else [11, 12, 13, 7]
    assert counts == [[7, 8, 9, 10], [11, 12, 13, 14], third]


class Sums(keras.layers.Layer):
    """A cell whose state is a matrix, with the sum of all inputs in every place."""

    state_size = (ROWS**2,)
    output_size = ROWS**2

    def get_initial_state(self, batch_size=None):
        return [keras.ops.zeros((batch_size, ROWS, ROWS))]

    def call(self, inputs, states):
        new = states[0] + inputs[:, :1, None]
        return keras.ops.reshape(new, (-1, ROWS**2)), [new]


@pytest.mark.parametrize("width", [1, TIMESTEPS])
def test_a_row_of_a_state_with_more_axes_is_cleared_as_a_whole(width):
    layer = layers.RNN(Sums(), stateful=True, return_sequences=True)
    ones = np.ones((ROWS, TIMESTEPS, FEATURES), "float32")
    layer(ones)
    flags = np.zeros((ROWS, width), bool)
    flags[1, 0] = True
    actual = to_numpy(layer(ones, reset=flags))
    counts = [[5, 6, 7, 8], [1, 2, 3, 4], [5, 6, 7, 8]]
    np.testing.assert_array_equal(actual, np.repeat(np.array(counts)[..., None], ROWS**2, -1))


@every_kind
def test_reset_state_clears_every_row(kind):
    layer = ours(kind, stateful=True, return_sequences=True)
    part = X[:, :TIMESTEPS]
    first = to_numpy(layer(part))
    assert np.abs(to_numpy(layer(part)) - first).max() > 1e-3
    layer.reset_state()
    np.testing.assert_allclose(to_numpy(layer(part)), first, atol=1e-6)


@pytest.mark.parametrize("policy", ["float16", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("width", [1, TIMESTEPS])
def test_a_layer_of_another_precision_obeys_the_flags(policy, width):
    options = {"return_sequences": True, "dtype": policy}
    layer = layers.LSTM(5, stateful=True, **options)
    plain = keras.layers.LSTM(5, **options)
    for either in (layer, plain):
        either.build((ROWS, TIMESTEPS, FEATURES))
    randomized(layer)
    plain.set_weights(layer.get_weights())
    first, second = batched(X)[:2]
    flags = np.zeros((ROWS, width), bool)
    flags[1, 0] = True
    layer(first)
    outputs = layer(second, reset=flags)
    assert keras.backend.standardize_dtype(outputs.dtype) == layer.compute_dtype
    actual = to_numpy(outputs).astype("float32")
    from_second = to_numpy(plain(second)).astype("float32")
    from_first = to_numpy(plain(np.concatenate([first, second], axis=1))).astype("float32")
    tolerance = 0.03 if "bfloat16" in policy else 0.005
    np.testing.assert_allclose(actual[1], from_second[1], atol=tolerance)
    np.testing.assert_allclose(actual[[0, 2]], from_first[[0, 2], TIMESTEPS:], atol=tolerance)
    assert np.abs(from_second - from_first[:, TIMESTEPS:]).max() > 4 * tolerance


@every_kind
@pytest.mark.parametrize("stateful", [False, True])
def test_config_weights_and_names_are_those_of_the_keras_layer(kind, stateful):
    options = {"stateful": stateful, "name": "memory", "go_backwards": True}
    layer = ours(kind, **options)
    plain = stock(kind, **options)
    for either in (layer, plain):
        either.build((ROWS, TIMESTEPS, FEATURES))
    assert isinstance(layer, KINDS[kind][1])
    assert [weight.shape for weight in layer.weights] == [weight.shape for weight in plain.weights]

    def uncounted(names):
        """Remove the numbers that Keras gives to each cell and object."""
        return re.sub(r"(_\d+\b|'shared_object_id': \d+)", "", str(names))

    paths, expected = ([weight.path for weight in either.weights] for either in (layer, plain))
    assert uncounted(paths) == uncounted(expected)
    assert uncounted(layer.get_config()) == uncounted(plain.get_config())


def split_name(layer):
    """Split "gru_3" into "gru" and the number of layers of that name before it."""
    name, number = re.fullmatch(r"(.*?)_?(\d*)", layer.name).groups()
    return name, int(number or 0)


@pytest.mark.parametrize("kind", ["lstm", "gru", "simple_rnn"])
def test_a_layer_names_itself_as_the_keras_layer_does(kind):
    name, number = split_name(stock(kind))
    assert name == kind
    assert split_name(ours(kind)) == (kind, number + 1)


def test_flags_of_timesteps_do_not_use_up_names_of_layers():
    _, number = split_name(stock("cell"))
    layer = layers.GRU(3, stateful=True)
    flags = np.zeros((ROWS, TIMESTEPS), bool)
    layer(X[:, :TIMESTEPS], reset=flags)
    layer(X[:, :TIMESTEPS], reset=flags)
    assert split_name(stock("cell")) == ("rnn", number + 1)


@every_kind
def test_states_are_variables_but_not_weights(kind):
    model = stateful_model(ours(kind, stateful=True), head=keras.layers.Dense(1))
    (layer,) = [layer for layer in model.layers if isinstance(layer, layers.Resettable)]
    states = {id(state) for state in keras.tree.flatten(layer.states)}
    assert len(states) == {"lstm": 2, "stacked cells": 3}.get(kind, 1)
    for group in (model.variables, model.non_trainable_variables, layer.variables):
        assert states <= {id(variable) for variable in group}
    for group in (model.weights, model.trainable_variables, model.non_trainable_weights):
        assert not states & {id(variable) for variable in group}
    layer.trainable = False
    assert states <= {id(variable) for variable in model.non_trainable_variables}
    assert not states & {id(variable) for variable in layer.weights}


def test_a_stateless_layer_has_the_variables_of_keras():
    layer = built(layers.LSTM(3), X.shape)
    plain = built(keras.layers.LSTM(3), X.shape)
    assert len(layer.variables) == len(plain.variables)


@every_kind
def test_without_stateful_the_layer_is_the_keras_layer(kind):
    layer = ours(kind, return_sequences=True)
    plain = stock(kind, return_sequences=True)
    for either in (layer, plain):
        either.build(X.shape)
    randomized(layer)
    plain.set_weights(layer.get_weights())
    for _ in range(2):
        np.testing.assert_allclose(to_numpy(layer(X)), to_numpy(plain(X)), atol=1e-6)


@every_kind
def test_flags_without_a_stored_state_are_refused(kind):
    with pytest.raises(ArgumentError, match="reset must be omitted where stateful=False"):
        ours(kind)(X, reset=np.ones((ROWS, 1), bool))


@pytest.mark.parametrize(
    "shape",
    [(ROWS,), (1, 1), (ROWS + 1, 1), (1, TIMESTEPS), (ROWS, TIMESTEPS + 1), (ROWS, TIMESTEPS, 1)],
)
def test_flags_of_another_shape_are_refused_with_both_shapes(shape):
    layer = layers.GRU(3, stateful=True)
    with pytest.raises(ArgumentError, match=r"reset must be of shape \(3, 1\) or \(3, ") as caught:
        layer(X[:, :TIMESTEPS], reset=np.ones(shape, bool))
    assert str(shape) in str(caught.value)


# -- training ------------------------------------------------------------------------------------


def with_head(kind):
    """Return a new stateful model and its stateless twin, with one number for each timestep."""
    model = stateful_model(
        ours(kind, stateful=True, return_sequences=True), head=keras.layers.Dense(1)
    )
    twin = stateless_model(stock(kind, return_sequences=True), head=keras.layers.Dense(1))
    twin.set_weights(randomized(model).get_weights())
    return model, twin


def many_batches(count=3, width=TIMESTEPS, seed=0):
    """Return inputs, flags and targets of successive batches, as `fit` takes them."""
    x = random_array(ROWS, count * TIMESTEPS, FEATURES)
    flags = valid_flags(np.random.default_rng(seed).random(x.shape[:2]) < 0.5 / width**0.5, width)
    y = random_array(*x.shape[:2], 1, seed=2)
    stacked = [np.concatenate(np.split(part, count, axis=1)) for part in (x, flags, y)]
    batches = {"inputs": stacked[0], "reset": stacked[1][:, :width]}
    return batches, stacked[2], x, flags


def expected_of_batches(twin, x, flags):
    """Return what a stateless twin gives for the batches of `many_batches`."""
    outputs = outputs_of_each_sequence(outputs_from_every_start(twin, x), flags)
    return np.concatenate(np.split(outputs, x.shape[1] // TIMESTEPS, axis=1))


def batches_and_answers(width):
    """Return an uncompiled model, batches, and the outputs that it gives if it obeys the flags."""
    batches, _, x, flags = many_batches(width=width)
    model, twin = with_head("lstm")
    return model, batches, expected_of_batches(twin, x, flags)


@pytest.mark.backends
@pytest.mark.parametrize(("options", "width"), [({}, TIMESTEPS), ({"steps_per_execution": 2}, 1)])
def test_fit_evaluate_and_predict_obey_the_flags(options, width):
    if keras.backend.backend() == "torch":
        options = {}  # Keras takes one step at a time there
    model, batches, expected = batches_and_answers(width)
    model.compile(keras.optimizers.SGD(0.1), "mse", **options)
    batch = {"batch_size": ROWS, "verbose": 0}
    np.testing.assert_allclose(model.predict(batches, **batch), expected, atol=1e-5)
    # With the correct outputs as targets, there is nothing to learn if the flags are obeyed.
    assert model.evaluate(batches, expected, **batch) < 1e-10
    history = model.fit(batches, expected, shuffle=False, epochs=2, **batch).history["loss"]
    assert max(history) < 1e-10
    for wrong in (False, True):
        wrong_batches = {**batches, "reset": np.full_like(batches["reset"], wrong)}
        wrong_batches["reset"][:ROWS, 0] = True
        assert model.evaluate(wrong_batches, expected, **batch) > 1e-5
    assert model.fit(wrong_batches, expected, shuffle=False, **batch).history["loss"][0] > 1e-6


@pytest.mark.parametrize(
    ("options", "width"), [({"jit_compile": True}, TIMESTEPS), ({"run_eagerly": True}, 1)]
)
def test_fit_obeys_the_flags_under_xla_and_eagerly(options, width):
    """The data are those of the test above, where other flags give another loss."""
    model, batches, expected = batches_and_answers(width)
    model.compile(keras.optimizers.SGD(0.1), "mse", **options)
    with kernels.counting() as chosen:
        history = model.fit(batches, expected, batch_size=ROWS, shuffle=False, epochs=2, verbose=0)
    assert max(history.history["loss"]) < 1e-10
    if "jit_compile" in options:
        assert set(chosen) == {"scan"}  # XLA cannot call the other kernels


@pytest.mark.backends
def test_a_generator_may_give_the_batches():
    batches, y, _, _ = many_batches()
    model = randomized(stateful_model(layers.GRU(4, stateful=True, return_sequences=True)))
    expected = model.predict(batches, batch_size=ROWS, verbose=0)
    count = len(y) // ROWS

    def generator():
        for number in range(count):
            rows = slice(ROWS * number, ROWS * (number + 1))
            yield ({name: part[rows] for name, part in batches.items()},)

    outputs = model.predict(generator(), steps=count, verbose=0)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a dataset of TensorFlow")
def test_the_graph_need_not_know_the_sizes_of_a_batch():
    """One graph takes flags of batches and flags of timesteps."""
    import tensorflow as tf

    model, twin = with_head("lstm")
    model.compile(keras.optimizers.SGD(0.0), "mse")
    signature = (
        {
            "inputs": tf.TensorSpec((None, None, FEATURES), "float32"),
            "reset": tf.TensorSpec((None, None), "bool"),
        },
        tf.TensorSpec((None, None, 1), "float32"),
    )

    for width in (1, TIMESTEPS):
        batches, y, x, flags = many_batches(width=width)
        expected = expected_of_batches(twin, x, flags)

        def generator(batches=batches, y=y):
            for start in range(0, len(y), ROWS):
                rows = slice(start, start + ROWS)
                yield {name: part[rows] for name, part in batches.items()}, y[rows]

        unknown = tf.data.Dataset.from_generator(generator, output_signature=signature)
        np.testing.assert_allclose(model.predict(unknown, verbose=0), expected, atol=1e-5)
        loss = np.mean((expected - y) ** 2)
        assert model.evaluate(unknown, verbose=0) == pytest.approx(loss, rel=1e-4)
        assert model.fit(unknown, verbose=0).history["loss"] == pytest.approx([loss], rel=1e-4)


def sum_of_squares():
    return keras.losses.MeanSquaredError(reduction="sum")


@pytest.mark.parametrize(
    ("kind", "width"),
    [
        pytest.param("lstm", 1, marks=pytest.mark.backends),
        pytest.param("lstm", TIMESTEPS, marks=pytest.mark.backends),
        ("gru", TIMESTEPS),
        ("simple_rnn", 1),
        ("stacked cells", TIMESTEPS),
    ],
)
def test_a_gradient_ends_where_a_batch_or_a_sequence_begins(kind, width):
    model, _ = with_head(kind)
    # Graphs of TensorFlow for layers of Keras take seconds to make.
    eagerly = keras.backend.backend() == "tensorflow"
    first_eagerly = eagerly and kind == "stacked cells"
    model.compile(keras.optimizers.SGD(0.1), sum_of_squares(), run_eagerly=first_eagerly)
    before, part = batched(X)[:2]
    y = random_array(ROWS, TIMESTEPS, 1, seed=3)
    model({"inputs": before, "reset": np.ones((ROWS, 1), bool)})
    (layer,) = [layer for layer in model.layers if isinstance(layer, layers.Resettable)]
    start_states = [state.numpy().copy() for state in keras.tree.flatten(layer.states)]
    assert all(np.abs(state).max() > 0.01 for state in start_states)
    # Row 1 starts a new sequence at some timestep. For the twin, the two sequences are two rows.
    new = 0 if width == 1 else 2
    flags = np.zeros((ROWS, width), bool)
    flags[1, new] = True
    rows = np.concatenate([part, np.roll(part[1:2], -new, axis=1)])
    weights = np.ones((ROWS + 1, TIMESTEPS), "float32")
    weights[1, new:] = 0
    weights[ROWS, TIMESTEPS - new :] = 0
    targets = np.concatenate([y, np.roll(y[1:2], -new, axis=1)])
    starts = [np.concatenate([state, np.zeros_like(state[:1])]) for state in start_states]

    x = keras.Input((TIMESTEPS, FEATURES))
    states = [keras.Input(state.shape[1:]) for state in start_states]
    nested = keras.tree.pack_sequence_as(layer.states, states)
    plain = stock(kind, return_sequences=True)
    twin = keras.Model([x, *states], keras.layers.Dense(1)(plain(x, initial_state=list(nested))))
    twin.set_weights(model.get_weights())
    twin.compile(keras.optimizers.SGD(0.1), sum_of_squares(), run_eagerly=eagerly)

    initial = model.get_weights()
    loss = model.train_on_batch({"inputs": part, "reset": flags}, y)
    expected = twin.train_on_batch([rows, *starts], targets, sample_weight=weights)
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    assert_close(model.get_weights(), twin.get_weights(), tolerance=1e-5)
    for old, new in zip(initial, model.get_weights(), strict=True):
        assert np.abs(new - old).max() > 1e-3


@pytest.mark.parametrize("width", [1, pytest.param(TIMESTEPS, marks=pytest.mark.backends)])
def test_a_layer_with_dropout_trains_with_flags_and_drops_only_in_training(width):
    rates = {"dropout": 0.4, "recurrent_dropout": 0.4}
    layer = layers.LSTM(6, stateful=True, return_sequences=True, seed=1, **rates)
    model = randomized(stateful_model(layer, head=keras.layers.Dense(1)))
    plain = stateful_model(
        layers.LSTM(6, stateful=True, return_sequences=True), head=keras.layers.Dense(1)
    )
    plain.set_weights(model.get_weights())
    batches, y, _, _ = many_batches(width=width)
    expected = []
    for first in range(0, len(y), ROWS):
        part = {name: values[first : first + ROWS] for name, values in batches.items()}
        expected.append(to_numpy(plain(part)))
        assert_close(model(part), expected[-1], tolerance=1e-5)
    expected = np.concatenate(expected)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    history = model.fit(batches, y, shuffle=False, epochs=2, batch_size=ROWS, verbose=0)
    history = history.history["loss"]
    undropped = np.mean((expected - y) ** 2)
    # Each epoch draws another mask.
    assert min(abs(history[0] - undropped), abs(history[0] - history[1])) > 1e-5
    assert np.isfinite(history).all()


def test_cells_with_dropout_train_with_flags():
    cells = [keras.layers.LSTMCell(3, dropout=0.5), keras.layers.GRUCell(4, recurrent_dropout=0.5)]
    layer = layers.RNN(cells, stateful=True, return_sequences=True)
    model = stateful_model(layer, head=keras.layers.Dense(1))
    model.compile(keras.optimizers.SGD(0.05), "mse")
    batches, y, _, _ = many_batches()
    before = model.get_weights()
    history = model.fit(batches, y, batch_size=ROWS, shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.abs(old - new).max() > 1e-6


# -- files ---------------------------------------------------------------------------------------


def test_saved_models_give_the_same_numbers_in_another_process(tmp_path):
    flags = valid_flags(np.random.default_rng(0).random(X.shape[:2]) < 0.2)
    parts = [
        {"inputs": part, "reset": flag}
        for part, flag in zip(batched(X), batched(flags), strict=True)
    ]
    models, here = [], []
    for kind in KINDS:
        model = twins(kind)[0]
        here.append(read(model, X, flags))
        model.save(tmp_path / f"{kind}.keras")
        models.append(Saved(tmp_path / f"{kind}.keras", parts))
    there = [np.concatenate(outputs, axis=1) for outputs in outputs_with_layers_only(*models)]
    assert_arrays_close(there, here)


def test_a_loaded_model_has_cleared_states(tmp_path):
    model = twins("lstm")[0]
    part = {"inputs": X[:, :TIMESTEPS], "reset": np.zeros((ROWS, 1), bool)}
    model.predict_on_batch(part)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    fresh = runs_of("lstm")[0][:, :TIMESTEPS]
    np.testing.assert_allclose(loaded.predict_on_batch(part), fresh, atol=1e-5)
    assert np.abs(model.predict_on_batch(part) - fresh).max() > 1e-2


@every_kind
def test_a_clone_has_its_own_states_and_the_same_outputs(kind):
    model = twins(kind)[0]
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    flags = valid_flags(np.zeros((ROWS, LENGTH), bool))
    parts = batched(X)
    expected = runs_of(kind)[0]
    # In turn, each from its own state.
    for number, (part, reset) in enumerate(zip(parts, batched(flags), strict=True)):
        for either in (model, clone):
            outputs = either.predict_on_batch({"inputs": part, "reset": reset})
            np.testing.assert_allclose(outputs, batched(expected)[number], atol=1e-5)


@every_kind
def test_a_layer_comes_back_from_its_config(kind):
    layer = ours(kind, stateful=True, return_sequences=True, zero_output_for_mask=True)
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
    assert copy.states is None


# -- convolutions --------------------------------------------------------------------------------

SPACE = (4, 3, 2)


@functools.cache
def conv_twins(rank, masked, **options):
    """Return a stateful ConvLSTM of this rank with flags, and that of Keras, stateless."""
    options = {"return_sequences": True, "padding": "same", **options}
    shape = (*SPACE[:rank], FEATURES)
    inputs = {
        "inputs": keras.Input(batch_shape=(ROWS, None, *shape), name="inputs"),
        "mask": keras.Input(batch_shape=(ROWS, None), name="mask", dtype="bool"),
        "reset": keras.Input(batch_shape=(ROWS, None), name="reset", dtype="bool"),
    }
    if not masked:
        del inputs["mask"]
    layer = getattr(layers, f"ConvLSTM{rank}D")(3, 2, stateful=True, **options)
    model = keras.Model(
        inputs, layer(inputs["inputs"], mask=inputs.get("mask"), reset=inputs["reset"])
    )
    x = keras.Input((None, *shape))
    twin = keras.Model(x, getattr(keras.layers, f"ConvLSTM{rank}D")(3, 2, **options)(x))
    twin.set_weights(randomized(model).get_weights())
    return model, twin


@pytest.mark.parametrize(
    ("rank", "masked", "data_format", "width"),
    [
        (1, False, "channels_last", 1),
        (2, True, "channels_last", 1),
        pytest.param(2, True, "channels_last", TIMESTEPS, marks=pytest.mark.backends),
        (3, True, "channels_last", TIMESTEPS),
        (1, False, "channels_first", TIMESTEPS),
    ],
)
def test_convolutions_obey_flags(rank, masked, data_format, width):
    if data_format == "channels_first" and keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow convolves channels_first only on a GPU")
    model, twin = conv_twins(rank, masked, data_format=data_format)
    random = np.random.default_rng(rank)
    flags = valid_flags(random.random((ROWS, LENGTH)) < 0.2, width)
    mask = (random.random((ROWS, LENGTH)) < 0.8) | flags if masked else np.ones_like(flags)
    x = random_array(ROWS, LENGTH, *SPACE[:rank], FEATURES)
    outputs = read(model, x, flags, width, mask if masked else None)
    for row in range(ROWS):
        starts = [*np.flatnonzero(flags[row]), LENGTH]
        for start, end in itertools.pairwise(starts):
            used = mask[row, start:end]
            expected = to_numpy(twin(x[[row], start:end][:, used]))[0]
            np.testing.assert_allclose(outputs[row, start:end][used], expected, atol=1e-5)


# -- states in files -----------------------------------------------------------------------------


@pytest.mark.backends
@pytest.mark.parametrize(
    ("kind", "suffix"),
    covering(list(itertools.product(["lstm", "stacked cells"], [".keras", ".weights.h5"])), 3),
)
def test_save_state_keeps_the_states_in_files(kind, suffix, tmp_path):
    options = {"stateful": True, "return_sequences": True}
    model = randomized(stateful_model(ours(kind, **options, save_state=True)))
    parts = batched(X)
    flags = np.zeros((ROWS, 1), bool)
    model({"inputs": parts[0], "reset": flags})
    file = tmp_path / f"model{suffix}"
    if suffix == ".keras":
        model.save(file)
        loaded = keras.saving.load_model(file)
    else:
        model.save_weights(file)
        loaded = stateful_model(ours(kind, **options, save_state=True))
        loaded.load_weights(file)
    batch = {"inputs": parts[1], "reset": flags}
    expected = to_numpy(model(batch))
    assert_close(loaded(batch), expected)

    model.save_weights(tmp_path / "with.weights.h5")
    without = stateful_model(ours(kind, **options))
    without.load_weights(tmp_path / "with.weights.h5")
    fresh = to_numpy(without(batch))
    assert np.abs(fresh - expected).max() > 1e-3
    without.save_weights(tmp_path / "without.weights.h5")
    loaded = stateful_model(ours(kind, **options, save_state=True))
    loaded.load_weights(tmp_path / "without.weights.h5")
    assert_close(loaded(batch), fresh)


def test_states_with_another_number_of_rows_are_refused(tmp_path):
    options = {"stateful": True, "save_state": True, "name": "memory"}
    stateful_model(ours("lstm", **options)).save_weights(tmp_path / "a.weights.h5")
    wider = stateful_model(ours("lstm", **options), rows=ROWS + 1)
    expected = r"memory must be of shapes \[\(4, 5\), \(4, 5\)\]. Got: .*\[\(3, 5\), \(3, 5\)\]"
    with pytest.raises(ValueError, match=expected):
        wider.load_weights(tmp_path / "a.weights.h5")


@every_kind
def test_save_state_is_in_the_config_only_if_set(kind):
    assert "save_state" not in ours(kind, stateful=True).get_config()
    layer = ours(kind, stateful=True, save_state=True)
    assert type(layer).from_config(layer.get_config()).save_state is True
    with pytest.raises(ArgumentError, match="save_state must be True or False"):
        ours(kind, save_state=1)


@keras.saving.register_keras_serializable("seqkeras_tests")
class Attending(keras.layers.SimpleRNNCell):
    """Adds a constant, projected, to each input; built with two shapes, as in Keras 2."""

    def build(self, shapes):
        timestep, constant = shapes
        super().build(timestep)
        self.projection = self.add_weight(shape=(constant[-1], timestep[-1]), name="projection")

    def call(self, inputs, states, constants, training=False):
        inputs = inputs + constants[0] @ self.projection
        return super().call(inputs, states, training=training)


@pytest.mark.parametrize(
    ("options", "masked"),
    [
        ({}, False),
        pytest.param({"go_backwards": True}, True, marks=pytest.mark.backends),
        ({"return_state": True}, True),
    ],
)
def test_a_cell_reads_constants_at_every_timestep(options, masked, tmp_path):
    x = random_array(ROWS, TIMESTEPS, FEATURES)
    constant = random_array(ROWS, 5, seed=2)
    mask = np.array([[True, False, True, True]] * ROWS) if masked else None
    inputs = [keras.Input((TIMESTEPS, FEATURES)), keras.Input((5,))]
    symbols = [keras.Input((TIMESTEPS,), dtype="bool")] if masked else []
    layer = layers.RNN(Attending(4), return_sequences=True, **options)
    y = layer(inputs[0], constants=[inputs[1]], mask=symbols[0] if masked else None)
    model = randomized(keras.Model([*inputs, *symbols], y))
    twin = keras.layers.SimpleRNN(4, return_sequences=True, **options)
    twin.build(x.shape)
    *weights, projection = layer.get_weights()
    twin.set_weights(weights)
    shifted = x + (constant @ projection)[:, None]
    expected = twin(shifted, mask=keras.ops.convert_to_tensor(mask) if masked else None)
    batch = [x, constant, *([mask] if masked else [])]
    assert_close(model(batch), expected)
    model.save(tmp_path / "model.keras")
    assert_close(keras.saving.load_model(tmp_path / "model.keras")(batch), expected)


@pytest.mark.backends
def test_a_stateful_layer_reads_constants_of_each_batch():
    x = random_array(ROWS, LENGTH, FEATURES)
    constant = random_array(ROWS, 5, seed=2)
    whole = layers.RNN(Attending(4), return_sequences=True)
    expected = to_numpy(whole(x, constants=[constant]))
    layer = layers.RNN(whole.cell, return_sequences=True, stateful=True)
    no_flags = keras.ops.zeros((ROWS, 1), "bool")
    parts = [to_numpy(layer(part, constants=constant, reset=no_flags)) for part in batched(x)]
    assert_close(np.concatenate(parts, axis=1), expected)


def test_several_cells_read_no_constants():
    layer = layers.RNN([keras.layers.GRUCell(2), keras.layers.GRUCell(2)])
    with pytest.raises(ArgumentError, match=r"constants.*omitted for several cells"):
        layer(X, constants=[X[:, 0]])


@pytest.mark.parametrize(
    ("kind", "wrap"),
    [
        pytest.param(layers.LSTM, lambda layer: layer, marks=pytest.mark.backends),
        (layers.GRU, layers.Bidirectional),
        (layers.SimpleRNN, lambda layer: layer),
    ],
)
def test_after_a_call_that_failed_dropout_is_drawn_anew(kind, wrap):
    layer = wrap(kind(4, dropout=0.5, recurrent_dropout=0.5))
    layer(X)
    few = X[:1]
    with pytest.raises(Exception, match="features"):
        layer.call(np.zeros((2, 3, FEATURES + 1), "float32"), training=True)
    assert np.isfinite(to_numpy(layer(few, training=True))).all()


@pytest.mark.parametrize("value", ["l2", keras.regularizers.L2(0.5)])
@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_a_penalty_of_the_output_is_counted(kind, value):
    layer = kind(2, activity_regularizer=value)
    outputs = layer(X)
    expected = keras.regularizers.get(value)(outputs) / len(X)
    assert_close(layer.losses, [expected])
    assert type(layer).from_config(layer.get_config()).activity_regularizer is not None


@pytest.mark.backends
@pytest.mark.parametrize(
    ("method", "data", "batch_size"),
    [
        ("evaluate", (np.zeros((8, 5, 1)), np.zeros((8, 2))), ROWS),
        ("predict", (np.zeros((9, 5, 1)),), 9),
    ],
)
def test_batches_of_another_number_of_rows_are_refused_with_the_ways_out(method, data, batch_size):
    x = keras.Input(batch_shape=(ROWS, 5, 1))
    model = keras.Model(x, layers.GRU(2, stateful=True)(x))
    model.compile("sgd", "mse")
    expected = f"{ROWS} rows, the batch size of its state"
    ways_out = f"{expected}.*batch_size={ROWS}.*as_stateful.model, batch_size="
    assert len(model.predict(np.zeros((9, 5, 1)), batch_size=ROWS, verbose=0)) == 9
    # On TensorFlow the error comes from the graph, which was traced for any number of rows.
    with pytest.raises(Exception, match=f"(?s){ways_out}"):
        getattr(model, method)(*data, batch_size=batch_size, verbose=0)
