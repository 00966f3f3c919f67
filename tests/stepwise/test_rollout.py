"""Rollouts return what the usual loop returns: the model called on the growing sequence."""

import functools
import gc
import weakref

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops

import seqkeras.layers
from helpers import models
from helpers.arrays import random_array
from helpers.examples import examples, long_run_only
from helpers.models import to_numpy
from seqkeras import many_to_one, next_step, one_to_many
from seqkeras.errors import ArgumentError
from seqkeras.stepwise import rollout

ROWS, TIMESTEPS, FEATURES, STEPS = 3, 5, 2, 4


X = random_array(ROWS, TIMESTEPS, FEATURES)


def sequential(*stack, shape=(None, FEATURES), **options):
    return keras.Sequential([keras.Input(shape, **options), *stack])


#: Gives a model large weights, which make every timestep different.
randomized = functools.partial(models.randomized, scale=0.7)


def naive(model, x, steps=STEPS, feedback=lambda value, k: value):
    """Run the loop: call the model on the whole sequence, and append its last output."""
    outputs = []
    for k in range(steps):
        output = to_numpy(model(x, training=False))
        outputs.append(output[:, -1] if output.ndim == 3 else output)
        x = np.concatenate([x, feedback(outputs[-1], k)[:, np.newaxis]], axis=1)
    return np.stack(outputs, axis=1)


def without_padding(model, x, used, steps=STEPS):
    """Run the loop for each row separately, on the timesteps that are used."""
    return np.concatenate(
        [naive(model, row[flags][None], steps) for row, flags in zip(x, used, strict=True)]
    )


CELLS = {
    "lstm": lambda units, **options: layers.LSTM(units, **options),
    "gru": lambda units, **options: layers.GRU(units, **options),
    "simple_rnn": lambda units, **options: layers.SimpleRNN(units, **options),
    "cell": lambda units, **options: layers.RNN(layers.GRUCell(units), **options),
    "cells": lambda units, **options: layers.RNN(
        [layers.LSTMCell(units), layers.SimpleRNNCell(3)], **options
    ),
    "ours": lambda units, **options: seqkeras.layers.GRU(units, **options),
}


levels = st.lists(
    st.tuples(
        st.sampled_from(sorted(CELLS)),
        st.integers(1, 5),  # units
        st.booleans(),  # inside a nested model
        st.sampled_from(["nothing", "skip", "dropout", "dense"]),  # the layer after it
    ),
    min_size=1,
    max_size=3,
)


def built(plan, *, many, masked):
    """Build a model of two features in and out; with `many`, an output for each timestep."""
    x = keras.Input((None, FEATURES))
    h = layers.Masking()(x) if masked else x
    for level, (cell, units, nested, after) in enumerate(plan, start=1):
        each = many or level < len(plan)
        layer = CELLS[cell](units, return_sequences=each)
        nested = nested and not masked  # Keras loses the mask after a nested model
        h = sequential(layer, shape=h.shape[1:])(h) if nested else layer(h)
        if after == "skip" and each and not masked:  # two masks fail in old Keras
            h = layers.Concatenate()([h, x])
        elif after != "nothing":
            h = layers.Dropout(0.5)(h) if after == "dropout" else layers.Dense(3, "relu")(h)
    head = layers.Dense(FEATURES, activation="tanh")
    return randomized(keras.Model(x, layers.TimeDistributed(head)(h) if many else head(h)))


@examples(4)
@given(plan=levels, many=st.booleans(), masked=st.booleans(), steps=st.integers(1, 4))
def test_a_rollout_is_the_loop_over_the_growing_sequence(plan, many, masked, steps):
    model = built(plan, many=many, masked=masked)
    actual = rollout(model, X, steps)
    assert actual.shape == (ROWS, steps, FEATURES)
    np.testing.assert_allclose(actual, naive(model, X, steps), atol=1e-5)


@examples(2)
@given(
    plan=levels,
    many=st.booleans(),
    lengths=st.lists(st.integers(1, TIMESTEPS), min_size=ROWS, max_size=ROWS),
    left=st.booleans(),
)
def test_padding_changes_nothing(plan, many, lengths, left):
    model = built(plan, many=many, masked=True)
    used = np.arange(TIMESTEPS) < np.reshape(lengths, (ROWS, 1))
    used = used[:, ::-1] if left else used
    actual = rollout(model, np.where(used[..., np.newaxis], X, 0), STEPS)
    np.testing.assert_allclose(actual, without_padding(model, X, used), atol=1e-5)


def language_model(**options):
    stack = [layers.Embedding(6, 3, mask_zero=True), layers.LSTM(5, return_sequences=True)]
    return randomized(sequential(*stack, layers.Dense(6), shape=(None,), **options))


def greedy(logits, seed):
    return 1 + ops.argmax(logits[:, 1:], axis=-1)


def categorical(logits, seed):
    return keras.random.categorical(logits, 1, seed=seed)[:, 0]


@pytest.mark.backends
def test_a_rollout_is_the_loop_on_every_backend():
    stack = [layers.LSTM(4, return_sequences=True), layers.GRU(3, return_sequences=True)]
    model = randomized(sequential(layers.Masking(), *stack, layers.Dense(FEATURES)))
    used = np.arange(TIMESTEPS) < np.array([[5], [4], [5]])
    actual = rollout(model, np.where(used[..., np.newaxis], X, 0), 3)
    np.testing.assert_allclose(actual, without_padding(model, X, used, 3), atol=1e-5)


def test_the_last_real_output_is_fed_back_past_a_connection_around_the_layers():
    # The input bypasses the recurrent layer: padding would be visible in the output.
    x = keras.Input((None, FEATURES))
    h = layers.GRU(3, return_sequences=True)(layers.Masking()(x))
    model = randomized(keras.Model(x, layers.Dense(FEATURES)(ops.concatenate([h, x], axis=-1))))
    used = np.arange(TIMESTEPS) < np.array([[5], [2], [4]])
    actual = rollout(model, np.where(used[..., np.newaxis], X, 0), STEPS)
    np.testing.assert_allclose(actual, without_padding(model, X, used), atol=1e-5)


@pytest.mark.backends
def test_token_ids_of_different_lengths():
    model = language_model(dtype="int32")
    ids = np.random.default_rng(0).integers(1, 6, (ROWS, TIMESTEPS))
    used = np.arange(TIMESTEPS) < np.array([[5], [2], [4]])
    actual = rollout(model, np.where(used, ids, 0), STEPS, sample=greedy)
    assert actual.dtype.kind == "i"
    for row, flags, drawn in zip(ids, used, actual, strict=True):
        # No output depends on later timesteps, so one call on the whole sequence returns them all.
        tokens = np.concatenate([row[flags], drawn])
        logits = to_numpy(model(tokens[np.newaxis]))[0, -1 - STEPS : -1]
        assert drawn.tolist() == (1 + logits[:, 1:].argmax(axis=-1)).tolist()


def test_a_row_of_padding_only_returns_what_the_model_returns():
    model = language_model()
    ids = np.array([[0, 0, 0], [1, 2, 3]])
    actual = rollout(model, ids, 1, feedback=lambda logits: ops.argmax(logits, axis=-1))
    np.testing.assert_allclose(actual[:, 0], to_numpy(model(ids))[:, -1], atol=1e-6)


@pytest.mark.backends
def test_future_covariates_are_joined_to_the_output():
    model = randomized(many_to_one(FEATURES + 1, outputs=FEATURES, units=4))
    x = random_array(ROWS, TIMESTEPS, FEATURES + 1)
    calendar = random_array(ROWS, STEPS, 1, seed=2)
    expected = naive(model, x, feedback=lambda y, k: np.concatenate([y, calendar[:, k]], axis=-1))
    for rows in (STEPS - 1, STEPS):
        actual = rollout(model, x, STEPS, future=calendar[:, :rows])
        np.testing.assert_allclose(actual, expected, atol=1e-5)
    whole = rollout(model, x, STEPS, future=np.ones((ROWS, STEPS, 1), dtype=int))
    ones = rollout(model, x, STEPS, future=np.ones((ROWS, STEPS, 1)))
    np.testing.assert_array_equal(whole, ones)


def test_feedback_makes_the_next_input():
    model = randomized(many_to_one(3, outputs=1, units=4))
    x = random_array(ROWS, TIMESTEPS, 3)
    calendar = random_array(ROWS, STEPS, 5, seed=2)
    actual = rollout(
        model,
        x,
        STEPS,
        future=calendar,
        feedback=lambda y, known: ops.concatenate([known[:, :1], 2 * y, known[:, -1:]], axis=-1),
    )
    expected = naive(
        model,
        x,
        feedback=lambda y, k: np.concatenate(
            [calendar[:, k, :1], 2 * y, calendar[:, k, -1:]], axis=-1
        ),
    )
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_several_outputs_keep_the_structure_of_the_model():
    x = keras.Input((None, FEATURES))
    h = layers.GRU(4, return_sequences=True)(x)
    model = keras.Model(x, {"mean": layers.Dense(FEATURES)(h), "spread": layers.Dense(1)(h)})
    actual = rollout(model, X, STEPS, feedback=lambda output: output["mean"])
    assert {name: output.shape for name, output in actual.items()} == {
        "mean": (ROWS, STEPS, FEATURES),
        "spread": (ROWS, STEPS, 1),
    }
    mean = keras.Model(x, model.output["mean"])
    np.testing.assert_allclose(actual["mean"], naive(mean, X), atol=1e-5)


@pytest.mark.backends
def test_draws_are_a_function_of_the_seed():
    model = language_model()
    ids = np.ones((40, 3), dtype=int)

    def draws(seed):
        return rollout(model, ids, 20, sample=categorical, seed=seed)

    first = draws(1)
    np.testing.assert_array_equal(draws(1), first)
    assert (draws(2) != first).any()
    assert (draws(None) != draws(None)).any()
    assert len({tuple(row) for row in first}) > 30  # each row draws its own values
    assert len({tuple(step) for step in first.T}) == 20  # and so does each step


def test_drawn_values_are_fed_back():
    model = randomized(many_to_one(FEATURES, outputs=FEATURES, units=4))

    def noisy(mean, seed):
        return mean + keras.random.normal(ops.shape(mean), seed=seed)

    actual = rollout(model, X, STEPS, sample=noisy, seed=3)
    x = X
    noise = []
    for k in range(STEPS):
        noise.append(actual[:, k] - to_numpy(model(x)))
        x = np.concatenate([x, actual[:, k : k + 1]], axis=1)
    np.testing.assert_allclose(
        np.std(noise), np.std(rollout(model, 0 * X, STEPS, sample=noisy, seed=3)), rtol=0.6
    )
    # The noise depends only on the seed, not on the outputs of the model.
    again = rollout(model, 2 * X, 1, sample=noisy, seed=3)[:, 0] - to_numpy(model(2 * X))
    np.testing.assert_allclose(again, noise[0], atol=1e-5)


@pytest.mark.backends
def test_weights_are_those_of_the_call():
    model = randomized(next_step(FEATURES, units=4))
    before = rollout(model, X, STEPS)
    model.compile("sgd", "mse")
    model.fit(X, X, epochs=1, verbose=0)
    after = rollout(model, X, STEPS)
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(after, naive(model, X), atol=1e-5)


@pytest.mark.parametrize("own", [pytest.param(True, marks=pytest.mark.backends), False])
def test_the_state_of_a_stateful_model_is_not_touched(own):
    if own:
        model = next_step(FEATURES, units=4, stateful=True, batch_size=2)
        model(X[:2])
    else:
        layer = layers.GRU(4, stateful=True, return_sequences=True)
        own_layer = layers.Lambda(lambda x: 2 * x)  # it is tried out on the model itself
        head = layers.Dense(FEATURES)
        model = keras.Sequential([keras.Input((None, FEATURES), 2), own_layer, layer, head])
        model(X[:2])
    states = [
        state
        for layer in model.layers
        if getattr(layer, "stateful", False)
        for state in keras.tree.flatten(layer.states)
    ]
    before = [to_numpy(state.value).copy() for state in states]
    assert np.abs(before[0]).max() > 1e-3
    first = rollout(model, X, STEPS)
    np.testing.assert_array_equal(rollout(model, X, STEPS), first)
    for value, state in zip(before, states, strict=True):
        np.testing.assert_array_equal(to_numpy(state.value), value)
    if own:
        twin = next_step(FEATURES, units=4)
        twin.set_weights(model.get_weights())
        np.testing.assert_allclose(first, naive(twin, X), atol=1e-5)


@pytest.mark.backends
def test_the_same_shapes_and_functions_are_compiled_once():
    model = next_step(FEATURES, units=3)
    traced = []

    def feedback(output):
        traced.append(output)
        return output

    rollout(model, X, STEPS, feedback=feedback)
    count = len(traced)
    for _ in range(3):
        rollout(model, X, STEPS, feedback=feedback)
    is_eager = keras.backend.backend() == "torch"
    repeated = 3 * (STEPS - 1) if is_eager else 0
    assert len(traced) == count + repeated


@long_run_only
def test_loops_of_old_functions_are_freed():
    # The least that can be compiled.
    model = sequential(layers.SimpleRNN(FEATURES, return_sequences=True))
    functions = [lambda output, k=k: output + k for k in range(9)]
    references = [weakref.ref(function) for function in functions]
    for function in functions:
        rollout(model, X[:, :1], 1, feedback=function)
    del functions, function
    gc.collect()
    assert references[0]() is None
    assert references[-1]() is not None


def test_a_model_is_not_kept_alive():
    model = next_step(FEATURES, units=3)
    rollout(model, X, STEPS, feedback=lambda output, model=model: output)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_a_model_saves_and_changes_as_before(tmp_path):
    model = sequential(layers.SimpleRNN(4, return_sequences=True), layers.Dense(FEATURES))
    before = [variable.path for variable in model.variables]
    first = rollout(model, X, STEPS)
    assert [variable.path for variable in model.variables] == before
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(rollout(loaded, X, STEPS), first, atol=1e-6)
    model.add(layers.Dense(FEATURES, activation="relu"))
    np.testing.assert_allclose(rollout(model, X, STEPS), naive(model, X), atol=1e-5)


def test_a_model_of_fixed_size_takes_contexts_of_any():
    model = keras.Sequential(
        [keras.Input((7, FEATURES), 2), layers.LSTM(4, return_sequences=True), layers.Dense(2)]
    )
    free = sequential(layers.LSTM(4, return_sequences=True), layers.Dense(2))
    free.set_weights(model.get_weights())
    np.testing.assert_allclose(rollout(model, X, STEPS), naive(free, X), atol=1e-5)


def test_precisions():
    half = sequential(layers.LSTM(4, return_sequences=True), layers.Dense(FEATURES))
    mixed = sequential(
        layers.LSTM(4, return_sequences=True, dtype="mixed_float16"),
        layers.Dense(FEATURES, dtype="mixed_float16"),
    )
    mixed.set_weights(half.get_weights())
    actual = rollout(mixed, X, STEPS)
    assert actual.dtype == "float16"
    np.testing.assert_allclose(actual, naive(half, X), atol=1e-2)
    double = sequential(layers.GRU(FEATURES, dtype="float64"), dtype="float64")
    assert rollout(double, X, STEPS).dtype == "float64"


def test_numbers_of_other_types_are_converted():
    model = next_step(FEATURES, units=3)
    whole = np.arange(ROWS * TIMESTEPS * FEATURES).reshape(X.shape) % 3
    expected = rollout(model, whole.astype("float32"), STEPS)
    for context in (whole, whole.astype("float64"), whole.tolist(), ops.convert_to_tensor(whole)):
        np.testing.assert_array_equal(rollout(model, context, STEPS), expected)


def test_nan_stays_in_its_row():
    model = next_step(FEATURES, units=3)
    x = X.copy()
    x[1, 2] = np.nan
    actual = rollout(model, x, STEPS)
    assert np.isnan(actual[1]).all()
    np.testing.assert_array_equal(actual[[0, 2]], rollout(model, X, STEPS)[[0, 2]])


class Centered(layers.Layer):
    """Subtracts the mean over time; it is not a layer of Keras, so this is not known."""

    def call(self, x):
        return x - ops.mean(x, axis=1, keepdims=True)


class Places(layers.Layer):
    """Adds a weight for each timestep."""

    def build(self, shape):
        self.places = self.add_weight(shape=shape[1:], initializer="random_normal")

    def call(self, x):
        return x + self.places


class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


class Backwards(layers.LSTM):
    """A recurrent layer of Keras with its own call."""

    def call(self, sequences, initial_state=None, mask=None, training=False):
        return ops.flip(super().call(ops.flip(sequences, axis=1)), axis=1)


def test_unknown_layers_are_tried_out():
    fine = sequential(Doubled(), layers.GRU(3, return_sequences=True), layers.Dense(FEATURES))
    np.testing.assert_allclose(rollout(fine, X, STEPS), naive(fine, X), atol=1e-5)
    first = X[:, :1]
    np.testing.assert_allclose(rollout(fine, first, 2), naive(fine, first, 2), atol=1e-5)
    bad = sequential(
        Doubled(name="doubled"), Centered(name="centered"), layers.GRU(2, return_sequences=True)
    )
    for context in (X, X[:, :1], 0 * X):  # also where all of its timesteps are alike
        with pytest.raises(ArgumentError, match=r"'doubled', 'centered'.*other values"):
            rollout(bad, context, STEPS)


@long_run_only
def test_unknown_layers_of_other_kinds_are_tried_out():
    places = sequential(
        Places(name="places"), layers.GRU(2, return_sequences=True), shape=(TIMESTEPS, FEATURES)
    )
    with pytest.raises(ArgumentError, match="'places'"):
        rollout(places, X, STEPS)
    with pytest.raises(ArgumentError, match="'backwards'"):
        rollout(sequential(Backwards(2, return_sequences=True, name="backwards")), X, STEPS)
    x = keras.Input((None, FEATURES))
    row = random_array(TIMESTEPS, FEATURES)
    added = keras.Model(x, layers.GRU(2, return_sequences=True)(x * row[:1]))
    np.testing.assert_allclose(rollout(added, X, STEPS), naive(added, X), atol=1e-5)


def refused(*words, model=None, context=X, steps=STEPS, **options):
    model = model or next_step(FEATURES, units=3)
    with pytest.raises(ArgumentError) as caught:
        rollout(model, context, steps, **options)
    for word in words:
        assert word in str(caught.value), (word, str(caught.value))


def test_a_layer_that_cannot_be_stepped_is_refused():
    pooled = sequential(layers.GRU(2, return_sequences=True), layers.GlobalMaxPooling1D(name="p"))
    refused("'p'", "pools over timesteps", "model.predict", model=pooled)


def test_a_model_that_unfolds_a_vector_is_refused_with_one_that_feeds_back():
    model = one_to_many(FEATURES, steps=STEPS, units=2)
    refused("'repeat'", "seqkeras.models.next_step", model=model, context=X[:, 0])


@pytest.mark.parametrize(
    ("words", "context"),
    [
        (["context", "(batch, timesteps, 2)", "(3, 5)"], X[..., 0]),
        (["context", "(batch, timesteps, 2)", "(3, 5, 1)"], X[..., :1]),
        (["context", "not empty", "(3, 0, 2)"], X[:, :0]),
        (["context", "not empty", "(0, 5, 2)"], X[:0]),
        (["context", "numbers", "<U1"], [["a"]]),
        (["context", "numbers", "complex"], X + 1j),
        (["context", "one array", "Pad"], [X[0], X[1, :2]]),
        (["context", "numbers"], None),
        (["context", "without a mask", "Fill its gaps"], np.ma.masked_array(X, mask=X > 0)),
        (["context", "up to 1e+300", "fit float32"], X.astype("float64") * 0 + 1e300),
    ],
)
def test_contexts_that_cannot_be_read_are_refused(words, context):
    refused(*words, context=context)


def test_token_ids_that_are_not_whole_numbers_are_refused():
    model = language_model(dtype="int32")
    refused("context", "whole numbers", "int32", model=model, context=np.full((1, 3), 0.5))
    refused("context", "int32", model=model, context=np.full((1, 3), 2**40))


@pytest.mark.parametrize("steps", [0, -1, 2.5, True, None])
def test_steps_that_are_not_positive_integers_are_refused(steps):
    refused("steps", "integer >= 1", steps=steps)


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        (["future", "3 or 4 timesteps for 4 steps", "2 timesteps"], (ROWS, 2, 1)),
        (["future", "3 or 4 timesteps for 4 steps", "5 timesteps"], (ROWS, 5, 1)),
        (["future", "(3, timesteps, covariates)", "(2, 4, 1)"], (2, STEPS, 1)),
        (["future", "(3, timesteps, covariates)", "(3, 4)"], (ROWS, STEPS)),
    ],
)
def test_futures_of_another_shape_are_refused(words, shape):
    model = many_to_one(FEATURES, outputs=1, units=3)
    refused(*words, model=model, future=np.zeros(shape))


def test_outputs_that_are_not_the_next_input_are_refused():
    model = many_to_one(3, outputs=1, units=3)
    x = random_array(ROWS, TIMESTEPS, 3)
    words = ["feedback", "(batch, 1)", "(batch, 3)", "feedback=lambda output:", "2 of the features"]
    refused(*words, model=model, context=x)
    future = np.zeros((ROWS, STEPS, 1))
    refused("(batch, 1)", "output, future_t:", model=model, context=x, future=future)
    # Covariates that would not be used are not dropped silently.
    refused("feedback", "future_t (batch, 1)", future=future)


def test_feedback_is_checked():
    refused("feedback", "(batch, 2)", "(batch, 1)", feedback=lambda output: output[:, :1])
    refused("feedback", "(output)", "TypeError", feedback=lambda output, known: output)
    refused("feedback", "function", feedback="output")
    refused("feedback", "returns None", feedback=lambda output: None)
    refused("feedback", "(batch, 2)", feedback=lambda output: ops.ones((1, 2)))
    ids = {"model": language_model(dtype="int32"), "context": np.ones((2, 3), int)}
    refused("int32", "float32", feedback=lambda logits: logits[:, 0], **ids)


def test_sample_is_checked():
    refused("sample", "for each row", sample=lambda output, seed: ops.sum(output))
    refused("sample", "(output, seed)", "TypeError", sample=lambda output: output)
    refused("sample", "function", sample=1)
    refused("seed", "without sample", seed=1)
    refused("seed", "integer >= 0", sample=lambda output, seed: output, seed=-1)


def test_logits_need_a_sample():
    refused("keras.random.categorical", model=language_model(), context=np.ones((2, 3), int))


def test_more_inputs_than_the_sequence_are_refused():
    x = keras.Input((None, FEATURES))
    z = keras.Input((3,))
    model = keras.Model([x, z], layers.GRU(3)(x, initial_state=z))
    refused("one input", model=model)
