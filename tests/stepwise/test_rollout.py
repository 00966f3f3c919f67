"""Rollouts against the loop that everyone writes: the model on the growing sequence."""

import gc
import weakref

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

import seqkeras.layers
from seqkeras import many_to_one, next_step
from seqkeras.errors import ArgumentError
from seqkeras.stepwise import rollout

ROWS, TIMESTEPS, FEATURES, STEPS = 3, 5, 2, 4


def numbers(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def to_numpy(x):
    return ops.convert_to_numpy(x)


X = numbers(ROWS, TIMESTEPS, FEATURES)


def sequential(*stack, shape=(None, FEATURES), **options):
    return keras.Sequential([keras.Input(shape, **options), *stack])


def randomized(model, seed=0):
    """Large weights, so that no two timesteps are alike."""
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(0, 0.7, w.shape) for w in model.get_weights()])
    return model


def naive(model, x, steps=STEPS, feedback=lambda value, k: value):
    """The loop: run the model on all there is, take the last output, append it."""
    outputs = []
    for k in range(steps):
        output = to_numpy(model(x, training=False))
        outputs.append(output[:, -1] if output.ndim == 3 else output)
        x = np.concatenate([x, feedback(outputs[-1], k)[:, np.newaxis]], axis=1)
    return np.stack(outputs, axis=1)


def without_padding(model, x, used):
    """The loop for each row alone, on the timesteps that are used."""
    return np.concatenate(
        [naive(model, row[flags][None]) for row, flags in zip(x, used, strict=True)]
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
        st.booleans(),  # in a model of its own
        st.sampled_from(["nothing", "skip", "dropout", "dense"]),  # what comes after
    ),
    min_size=1,
    max_size=3,
)


def built(plan, *, many, masked):
    """A model of two features in and out; with `many`, of an output for each timestep."""
    x = keras.Input((None, FEATURES))
    h = layers.Masking()(x) if masked else x
    for level, (cell, units, nested, after) in enumerate(plan, start=1):
        each = many or level < len(plan)
        layer = CELLS[cell](units, return_sequences=each)
        nested = nested and not masked  # Keras loses the mask behind a nested model
        h = sequential(layer, shape=h.shape[1:])(h) if nested else layer(h)
        if after == "skip" and each and not masked:  # the masks of two fail in old Keras
            h = layers.Concatenate()([h, x])
        elif after != "nothing":
            h = layers.Dropout(0.5)(h) if after == "dropout" else layers.Dense(3, "relu")(h)
    head = layers.Dense(FEATURES, activation="tanh")
    return randomized(keras.Model(x, layers.TimeDistributed(head)(h) if many else head(h)))


@settings(max_examples=10)
@given(plan=levels, many=st.booleans(), masked=st.booleans(), steps=st.integers(1, 4))
def test_a_rollout_is_the_loop_over_the_growing_sequence(plan, many, masked, steps):
    model = built(plan, many=many, masked=masked)
    got = rollout(model, X, steps)
    assert got.shape == (ROWS, steps, FEATURES)
    np.testing.assert_allclose(got, naive(model, X, steps), atol=1e-5)


@settings(max_examples=6)
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
    got = rollout(model, np.where(used[..., np.newaxis], X, 0), STEPS)
    np.testing.assert_allclose(got, without_padding(model, X, used), atol=1e-5)


def language_model(**options):
    stack = [layers.Embedding(6, 3, mask_zero=True), layers.LSTM(5, return_sequences=True)]
    return randomized(sequential(*stack, layers.Dense(6), shape=(None,), **options))


def greedy(logits, seed):
    return 1 + ops.argmax(logits[:, 1:], axis=-1)


def categorical(logits, seed):
    return keras.random.categorical(logits, 1, seed=seed)[:, 0]


@pytest.mark.backends
def test_it_is_the_loop_on_every_backend():
    stack = [layers.LSTM(4, return_sequences=True), layers.GRU(3, return_sequences=True)]
    model = randomized(sequential(layers.Masking(), *stack, layers.Dense(FEATURES)))
    np.testing.assert_allclose(rollout(model, X, STEPS), naive(model, X), atol=1e-5)
    used = np.arange(TIMESTEPS) < np.array([[5], [2], [4]])
    got = rollout(model, np.where(used[..., np.newaxis], X, 0), STEPS)
    np.testing.assert_allclose(got, without_padding(model, X, used), atol=1e-5)


def test_the_last_real_output_is_fed_back_past_a_connection_around_the_layers():
    # The input goes around the recurrent layer: what is padded would be seen in the output.
    x = keras.Input((None, FEATURES))
    h = layers.GRU(3, return_sequences=True)(layers.Masking()(x))
    model = randomized(keras.Model(x, layers.Dense(FEATURES)(ops.concatenate([h, x], axis=-1))))
    used = np.arange(TIMESTEPS) < np.array([[5], [2], [4]])
    got = rollout(model, np.where(used[..., np.newaxis], X, 0), STEPS)
    np.testing.assert_allclose(got, without_padding(model, X, used), atol=1e-5)


@pytest.mark.backends
def test_token_ids_of_different_lengths():
    model = language_model(dtype="int32")
    ids = np.random.default_rng(0).integers(1, 6, (ROWS, TIMESTEPS))
    used = np.arange(TIMESTEPS) < np.array([[5], [2], [4]])
    got = rollout(model, np.where(used, ids, 0), STEPS, sample=greedy)
    assert got.dtype.kind == "i"
    for row, flags, drawn in zip(ids, used, got, strict=True):
        # No output knows what comes after it: one look at the whole sequence tells them all.
        tokens = np.concatenate([row[flags], drawn])
        logits = to_numpy(model(tokens[np.newaxis]))[0, -1 - STEPS : -1]
        assert drawn.tolist() == (1 + logits[:, 1:].argmax(axis=-1)).tolist()


def test_a_row_that_is_all_padding_gives_what_the_model_gives():
    model = language_model()
    ids = np.array([[0, 0, 0], [1, 2, 3]])
    got = rollout(model, ids, 1, feedback=lambda logits: ops.argmax(logits, axis=-1))
    np.testing.assert_allclose(got[:, 0], to_numpy(model(ids))[:, -1], atol=1e-6)


@pytest.mark.backends
def test_future_covariates_are_joined_to_the_output():
    model = randomized(many_to_one(FEATURES + 1, outputs=FEATURES, units=4))
    x, calendar = numbers(ROWS, TIMESTEPS, FEATURES + 1), numbers(ROWS, STEPS, 1, seed=2)
    expected = naive(model, x, feedback=lambda y, k: np.concatenate([y, calendar[:, k]], axis=-1))
    for rows in (STEPS - 1, STEPS):
        got = rollout(model, x, STEPS, future=calendar[:, :rows])
        np.testing.assert_allclose(got, expected, atol=1e-5)
    whole = rollout(model, x, STEPS, future=np.ones((ROWS, STEPS, 1), dtype=int))
    ones = rollout(model, x, STEPS, future=np.ones((ROWS, STEPS, 1)))
    np.testing.assert_array_equal(whole, ones)


def test_feedback_makes_the_next_input():
    model = randomized(many_to_one(3, outputs=1, units=4))
    x, calendar = numbers(ROWS, TIMESTEPS, 3), numbers(ROWS, STEPS, 5, seed=2)
    got = rollout(
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
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_several_outputs_come_as_the_model_has_them():
    x = keras.Input((None, FEATURES))
    h = layers.GRU(4, return_sequences=True)(x)
    model = keras.Model(x, {"mean": layers.Dense(FEATURES)(h), "spread": layers.Dense(1)(h)})
    got = rollout(model, X, STEPS, feedback=lambda output: output["mean"])
    assert {name: one.shape for name, one in got.items()} == {
        "mean": (ROWS, STEPS, FEATURES),
        "spread": (ROWS, STEPS, 1),
    }
    mean = keras.Model(x, model.output["mean"])
    np.testing.assert_allclose(got["mean"], naive(mean, X), atol=1e-5)


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
    assert len({tuple(row) for row in first}) > 30  # rows draw for themselves
    assert len({tuple(step) for step in first.T}) == 20  # and so do steps


@pytest.mark.backends
def test_what_is_drawn_is_fed_back():
    model = randomized(many_to_one(FEATURES, outputs=FEATURES, units=4))

    def noisy(mean, seed):
        return mean + keras.random.normal(ops.shape(mean), seed=seed)

    got = rollout(model, X, STEPS, sample=noisy, seed=3)
    x, noise = X, []
    for k in range(STEPS):
        noise.append(got[:, k] - to_numpy(model(x)))
        x = np.concatenate([x, got[:, k : k + 1]], axis=1)
    np.testing.assert_allclose(
        np.std(noise), np.std(rollout(model, 0 * X, STEPS, sample=noisy, seed=3)), rtol=0.6
    )
    # The noise is that of the seed, whatever the model makes of it.
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


@pytest.mark.backends
@pytest.mark.parametrize("own", [True, False])
def test_what_a_stateful_model_keeps_is_not_touched(own):
    if own:
        model = next_step(FEATURES, units=4, stateful=True, batch_size=2)
        model(X[:2])
    else:
        layer = layers.GRU(4, stateful=True, return_sequences=True)
        own_layer = layers.Lambda(lambda x: 2 * x)  # has to be tried out, on the model itself
        head = layers.Dense(FEATURES)
        model = keras.Sequential([keras.Input((None, FEATURES), 2), own_layer, layer, head])
        model(X[:2])
    states = [
        one
        for layer in model.layers
        if getattr(layer, "stateful", False)
        for one in keras.tree.flatten(layer.states)
    ]
    kept = [to_numpy(one.value).copy() for one in states]
    assert np.abs(kept[0]).max() > 1e-3
    first = rollout(model, X, STEPS)
    np.testing.assert_array_equal(rollout(model, X, STEPS), first)
    for before, after in zip(kept, states, strict=True):
        np.testing.assert_array_equal(before, to_numpy(after.value))
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
    eager = keras.backend.backend() == "torch"
    assert len(traced) == count + (3 * (STEPS - 1) if eager else 0)


def test_many_functions_are_not_kept():
    model = next_step(FEATURES, units=3)
    functions = [lambda output, k=k: output + k for k in range(9)]
    kept = [weakref.ref(one) for one in functions]
    for one in functions:
        rollout(model, X, 1, feedback=one)
    del functions, one
    gc.collect()
    assert kept[0]() is None
    assert kept[-1]() is not None


def test_a_model_is_not_kept_alive():
    model = next_step(FEATURES, units=3)
    rollout(model, X, STEPS, feedback=lambda output, model=model: output)
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


def test_a_model_saves_and_changes_as_before(tmp_path):
    model = sequential(layers.GRU(4, return_sequences=True), layers.Dense(FEATURES))
    before = [one.path for one in model.variables]
    first = rollout(model, X, STEPS)
    assert [one.path for one in model.variables] == before
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
    got = rollout(mixed, X, STEPS)
    assert got.dtype == "float16"
    np.testing.assert_allclose(got, naive(half, X), atol=1e-2)
    double = sequential(layers.GRU(FEATURES, dtype="float64"), dtype="float64")
    assert rollout(double, X, STEPS).dtype == "float64"


@pytest.mark.backends
def test_numbers_of_other_types_are_converted():
    model = next_step(FEATURES, units=3)
    whole = np.arange(ROWS * TIMESTEPS * FEATURES).reshape(X.shape) % 3
    expected = rollout(model, whole.astype("float32"), STEPS)
    for given_ in (whole, whole.astype("float64"), whole.tolist(), ops.convert_to_tensor(whole)):
        np.testing.assert_array_equal(rollout(model, given_, STEPS), expected)


@pytest.mark.backends
def test_nan_stays_in_its_row():
    model = next_step(FEATURES, units=3)
    x = X.copy()
    x[1, 2] = np.nan
    got = rollout(model, x, STEPS)
    assert np.isnan(got[1]).all()
    np.testing.assert_array_equal(got[[0, 2]], rollout(model, X, STEPS)[[0, 2]])


class Centred(layers.Layer):
    """Takes away the mean over time: no Keras layer, so nobody can know."""

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
    """A recurrent layer of Keras with a call of its own."""

    def call(self, sequences, initial_state=None, mask=None, training=False):
        return ops.flip(super().call(ops.flip(sequences, axis=1)), axis=1)


@pytest.mark.backends
@pytest.mark.parametrize("context", [X, X[:, :1], 0 * X], ids=["some", "one timestep", "zeros"])
def test_unknown_layers_are_tried_out(context):
    fine = sequential(Doubled(), layers.GRU(3, return_sequences=True), layers.Dense(FEATURES))
    np.testing.assert_allclose(rollout(fine, context, STEPS), naive(fine, context), atol=1e-5)
    bad = sequential(
        Doubled(name="doubled"), Centred(name="centred"), layers.GRU(2, return_sequences=True)
    )
    with pytest.raises(ArgumentError, match=r"'doubled', 'centred'.*other values"):
        rollout(bad, context, STEPS)


def test_unknown_layers_of_other_kinds_are_tried_out():
    places = sequential(
        Places(name="places"), layers.GRU(2, return_sequences=True), shape=(TIMESTEPS, FEATURES)
    )
    with pytest.raises(ArgumentError, match="'places'"):
        rollout(places, X, STEPS)
    with pytest.raises(ArgumentError, match="'backwards'"):
        rollout(sequential(Backwards(2, return_sequences=True, name="backwards")), X, STEPS)
    x = keras.Input((None, FEATURES))
    row = numbers(TIMESTEPS, FEATURES)
    added = keras.Model(x, layers.GRU(2, return_sequences=True)(x * row[:1]))
    np.testing.assert_allclose(rollout(added, X, STEPS), naive(added, X), atol=1e-5)


def refused(*words, model=None, context=X, steps=STEPS, **options):
    model = model or next_step(FEATURES, units=3)
    with pytest.raises(ArgumentError) as caught:
        rollout(model, context, steps, **options)
    for one in words:
        assert one in str(caught.value), (one, str(caught.value))


def test_a_layer_that_cannot_be_stepped_is_refused():
    pooled = sequential(layers.GRU(2, return_sequences=True), layers.GlobalMaxPooling1D(name="p"))
    refused("'p'", "pools over timesteps", "model.predict", model=pooled)


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
        (["context", "up to 1e+300", "fit float32"], X.astype("float64") * 0 + 1e300),
    ],
)
def test_contexts_that_cannot_be_read_are_refused(words, context):
    refused(*words, context=context)


def test_token_ids_that_are_no_whole_numbers_are_refused():
    model = language_model(dtype="int32")
    refused("context", "whole numbers", "int32", model=model, context=np.full((1, 3), 0.5))
    refused("context", "int32", model=model, context=np.full((1, 3), 2**40))


@pytest.mark.parametrize("steps", [0, -1, 2.5, True, None])
def test_steps_that_are_no_number_are_refused(steps):
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
    x = numbers(ROWS, TIMESTEPS, 3)
    words = ["feedback", "(batch, 1)", "(batch, 3)", "feedback=lambda output:", "2 of the features"]
    refused(*words, model=model, context=x)
    future = np.zeros((ROWS, STEPS, 1))
    refused("(batch, 1)", "output, future_t:", model=model, context=x, future=future)
    # Covariates that would not be used are not dropped without a word.
    refused("feedback", "future_t (batch, 1)", future=future)


def test_feedback_is_checked():
    refused("feedback", "(batch, 2)", "(batch, 1)", feedback=lambda output: output[:, :1])
    refused("feedback", "(output)", "TypeError", feedback=lambda output, known: output)
    refused("feedback", "function", feedback="output")
    refused("feedback", "gives None", feedback=lambda output: None)
    refused("feedback", "(batch, 2)", feedback=lambda output: ops.ones((1, 2)))
    ids = {"model": language_model(dtype="int32"), "context": np.ones((2, 3), int)}
    refused("int32", "float32", feedback=lambda logits: logits[:, 0], **ids)


def test_sample_is_checked():
    refused("sample", "for each row", sample=lambda output, seed: ops.sum(output))
    refused("sample", "(output, seed)", "TypeError", sample=lambda output: output)
    refused("sample", "function", sample=1)
    refused("seed", "sample is None", seed=1)
    refused("seed", "integer >= 0", sample=lambda output, seed: output, seed=-1)


def test_logits_need_a_sample():
    refused("keras.random.categorical", model=language_model(), context=np.ones((2, 3), int))


def test_more_inputs_than_the_sequence_are_refused():
    x, z = keras.Input((None, FEATURES)), keras.Input((3,))
    model = keras.Model([x, z], layers.GRU(3)(x, initial_state=z))
    refused("one input", model=model)
