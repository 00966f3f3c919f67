"""Steps return what the model returns for whole sequences; layers that cannot be stepped."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

import seqkeras.layers
from helpers.arrays import random_array
from helpers.models import to_numpy
from seqkeras import many_to_one, next_step
from seqkeras.errors import ArgumentError
from seqkeras.states._timewise import why_not_stepwise
from seqkeras.stepwise._model_step import ModelStep

ROWS, TIMESTEPS, FEATURES = 3, 6, 2


X = random_array(ROWS, TIMESTEPS, FEATURES)
PADDED = np.where(np.array([[1] * 6, [1] * 4 + [0] * 2, [0, 1, 1, 0, 1, 1]])[..., None], X, 0)


def stepped(model, x):
    """Return the outputs at every timestep, `(batch, timesteps, ...)`, of a model run by steps."""
    step = ModelStep(model)
    assert step.unsure == []
    state = step.initial_state(len(x))
    outputs = []
    for t in range(x.shape[1]):
        output, state, _ = step(ops.convert_to_tensor(x[:, t]), state)
        outputs.append(output)
    return keras.tree.map_structure(lambda *ys: np.stack([to_numpy(y) for y in ys], 1), *outputs)


def check(model, x=X):
    """Check that steps return what the model returns, at every timestep or after the last."""
    outputs = keras.tree.flatten(stepped(model, x))
    for actual, whole in zip(outputs, keras.tree.flatten(model(x)), strict=True):
        expected = to_numpy(whole)
        compared = actual if actual.ndim == expected.ndim else actual[:, -1]
        np.testing.assert_allclose(compared, expected, atol=2e-6)


def sequential(*stack, shape=(None, FEATURES), **options):
    return keras.Sequential([keras.Input(shape, **options), *stack])


class Leaky(layers.Layer):
    """A custom cell: a leaky sum, with a single state that is not a list."""

    state_size = output_size = FEATURES

    def call(self, inputs, states):
        new = 0.9 * states[0] + inputs
        return ops.tanh(new), new


CELLS = {
    "lstm": lambda **options: layers.LSTM(4, **options),
    "gru": lambda **options: layers.GRU(4, **options),
    "gru, reset before": lambda **options: layers.GRU(4, reset_after=False, **options),
    "simple_rnn": lambda **options: layers.SimpleRNN(4, unroll=False, **options),
    "cells": lambda **options: layers.RNN([layers.LSTMCell(3), layers.GRUCell(4)], **options),
    "custom cell": lambda **options: layers.RNN(Leaky(), **options),
    "ours": lambda **options: seqkeras.layers.LSTM(4, **options),
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.backends if kind in ("cells", "ours") else [])
        for kind in CELLS
    ],
)
def test_a_cell_steps_as_its_layer_runs(kind):
    check(sequential(CELLS[kind](return_sequences=True)))
    # Keras on JAX holds the first state as the last output, which is wrong for some cells.
    if kind != "custom cell" or keras.backend.backend() != "jax":
        check(sequential(layers.Masking(), CELLS[kind]()), PADDED)


def masked_in_many_ways():
    lstm = layers.LSTM(4, return_sequences=True)
    yield sequential(layers.Masking(), lstm, layers.Dense(3), layers.GRU(3, return_sequences=True))
    yield sequential(
        layers.Masking(),
        layers.LSTM(4, return_sequences=True, zero_output_for_mask=True),
        layers.SimpleRNN(3),
    )
    yield sequential(
        layers.Masking(), lstm, layers.TimeDistributed(layers.Dense(3)), layers.Dropout(0.5)
    )
    x = keras.Input((None, FEATURES))
    mask = ops.any(x > 0, axis=-1)
    yield keras.Model(x, layers.GRU(4)(x, mask=mask))


@pytest.mark.parametrize("model", list(masked_in_many_ways()))
def test_a_masked_timestep_holds_the_state(model):
    check(model, PADDED)


def test_flags_tell_which_rows_were_used():
    step = ModelStep(sequential(layers.Masking(), layers.GRU(3)))
    *_, used = step(ops.convert_to_tensor(PADDED[:, 5]), step.initial_state(ROWS))
    assert to_numpy(used).tolist() == [True, False, True]
    step = ModelStep(sequential(layers.GRU(3)))
    *_, used = step(ops.convert_to_tensor(X[:, 0]), step.initial_state(ROWS))
    assert used is None


@pytest.mark.backends
def test_nested_and_shared_models_have_a_state_for_each_call():
    inner = sequential(layers.LSTM(FEATURES, return_sequences=True))
    check(sequential(inner, inner, layers.LayerNormalization(), layers.Dense(2)))
    x = keras.Input((None, FEATURES))
    shared = layers.GRU(FEATURES, return_sequences=True)
    twice = shared(inner(shared(x)))
    check(keras.Model(x, layers.Concatenate()([twice, x, shared(x)])))


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_a_nested_model_sees_the_mask():
    inner = sequential(layers.LSTM(4, return_sequences=True), layers.Dense(2))
    check(sequential(layers.Masking(), inner, layers.GRU(3)), PADDED)


def test_operations_on_features():
    x = keras.Input((None, FEATURES))
    h = layers.GRU(3, return_sequences=True)(x)
    joined = ops.concatenate([ops.tanh(h)[..., :1], x[:, :, 1:] * 2.0 + 1.0, -h], axis=-1)
    check(keras.Model(x, layers.LSTM(3)(joined)))
    check(keras.Model(x, ops.mean(h, axis=-1, keepdims=True)))


def test_layers_for_each_timestep():
    check(
        sequential(
            layers.Normalization(mean=0.1, variance=2.0),
            layers.Conv1D(3, 1, activation="relu"),
            layers.BatchNormalization(),
            layers.GaussianNoise(1.0),
            layers.SimpleRNN(4, return_sequences=True),
            layers.PReLU(shared_axes=[1]),
            layers.Softmax(),
        )
    )


@pytest.mark.backends
def test_token_ids():
    ids = np.random.default_rng(0).integers(0, 4, (ROWS, TIMESTEPS))
    stack = [layers.Embedding(4, 3, mask_zero=True), layers.GRU(4, return_sequences=True)]
    check(sequential(*stack, layers.Dense(4), shape=(None,)), ids)
    check(sequential(*stack, layers.LSTM(4), shape=(None,), dtype="int32"), ids)


def test_convolutional_recurrence():
    x = random_array(2, 4, 5, 5, 1)
    layer = layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True)
    check(sequential(layer, layers.TimeDistributed(layers.Conv2D(1, 1)), shape=(None, 5, 5, 1)), x)
    last = layers.ConvLSTM2D(2, 3, padding="same")
    check(sequential(last, layers.Flatten(), layers.Dense(2), shape=(None, 5, 5, 1)), x)


def test_several_outputs_and_returned_states():
    x = keras.Input((None, FEATURES))
    h, state, carry = layers.LSTM(3, return_sequences=True, return_state=True)(x)
    check(keras.Model(x, {"each": layers.Dense(2)(h), "last": layers.Dense(1)(state + carry)}))
    check(keras.Model(x, [h, state]))


def test_any_layer_may_follow_the_last_timestep():
    decoder = [layers.RepeatVector(5), layers.GRU(3, return_sequences=True), layers.Flatten()]
    check(sequential(layers.LSTM(4), *decoder, layers.Reshape((3, 5)), layers.Permute((2, 1))))


def test_models_of_the_builders():
    check(many_to_one(FEATURES, units=(4, 3), cell="gru", dropout=0.3))
    stateful = next_step(FEATURES, units=(4, 3), stateful=True, batch_size=5)
    twin = next_step(FEATURES, units=(4, 3))
    twin.set_weights(stateful.get_weights())
    np.testing.assert_allclose(stepped(stateful, X), to_numpy(twin(X)), atol=2e-6)


def test_a_layer_keeps_its_precision():
    model = sequential(
        layers.LSTM(4, return_sequences=True, dtype="mixed_float16"), layers.Dense(2)
    )
    np.testing.assert_allclose(stepped(model, X), to_numpy(model(X)), atol=2e-3)
    half = sequential(layers.GRU(4, dtype="mixed_float16"))
    assert stepped(half, X).dtype == "float16"


TIME = {
    "starts at the end of a sequence": [
        layers.LSTM(3, go_backwards=True, return_sequences=True),
        layers.Bidirectional(layers.LSTM(3)),
    ],
    "several timesteps at once": [
        layers.Conv1D(3, 2),
        layers.Conv1D(3, 1, strides=2),
        layers.SeparableConv1D(3, 2),
        layers.Conv1DTranspose(3, 2),
        layers.SpectralNormalization(layers.Conv1D(3, 2)),
    ],
    "all timesteps at once": [layers.Attention(), layers.MultiHeadAttention(1, 2)],
    "pools over timesteps": [
        layers.GlobalAveragePooling1D(),
        layers.MaxPooling1D(),
        layers.GlobalMaxPooling2D(),
    ],
    "the time axis": [
        layers.Flatten(),
        layers.Reshape((-1,)),
        layers.Permute((2, 1)),
        layers.RepeatVector(2),
        layers.LayerNormalization(axis=1),
        layers.BatchNormalization(axis=-2),
        layers.Softmax(axis=(1, 2)),
        layers.UnitNormalization(axis=1),
        layers.Concatenate(axis=1),
    ],
    "changes the number of timesteps": [
        layers.UpSampling1D(),
        layers.ZeroPadding1D(),
        layers.Cropping1D(),
    ],
    "normalizes over timesteps": [layers.GroupNormalization(1)],
    "weights for each timestep": [layers.PReLU()],
}


@pytest.mark.parametrize(
    ("reason", "layer"),
    [
        pytest.param(reason, layer, id=type(layer).__name__)
        for reason, reason_layers in TIME.items()
        for layer in reason_layers
    ],
)
def test_a_layer_that_reads_more_than_its_timestep_has_a_reason(reason, layer):
    assert reason in why_not_stepwise(layer)


@pytest.mark.parametrize(
    "layer",
    [
        layers.LSTM(3),
        layers.Dense(3),
        layers.Conv1D(3, 1),
        layers.Conv3D(3, (1, 3, 3)),
        layers.MaxPooling3D((1, 2, 2)),
        layers.AveragePooling2D((1, 2)),
        layers.UpSampling3D((1, 2, 2)),
        layers.ZeroPadding3D((0, 1, 1)),
        layers.Cropping3D((0, 1, 1)),
        layers.Permute((1, 3, 2)),
        layers.LayerNormalization(),
        layers.PReLU(shared_axes=[1]),
        layers.TimeDistributed(layers.Flatten()),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_for_each_timestep_has_none(layer):
    assert why_not_stepwise(layer, rank=4 if isinstance(layer, layers.Permute) else 3) is None


def test_an_axis_counts_from_the_end_by_the_rank_of_the_input():
    assert why_not_stepwise(layers.Softmax(), rank=2) is not None
    assert why_not_stepwise(layers.Dense(3), rank=2) == "it reads the timesteps as features"


def refused(model, *parts):
    with pytest.raises(ArgumentError) as caught:
        ModelStep(model)
    for part in parts:
        assert re.search(part, str(caught.value)), (part, str(caught.value))


def test_a_refusal_names_the_layer_and_the_reason():
    model = sequential(layers.GRU(3, return_sequences=True), layers.GlobalMaxPooling1D(name="pool"))
    refused(model, "'pool'", "GlobalMaxPooling1D", "pools over timesteps", "model.predict")
    outer = sequential(model, layers.Dense(1))
    refused(outer, "'pool'")


@pytest.mark.parametrize(
    "cut",
    [
        lambda h: h[:, -1:],
        lambda h: h[:, 1:, :],
        lambda h: h[:2, :],
        lambda h: h[0:, ..., ::2, :],
    ],
)
def test_pieces_of_the_time_axis_are_refused(cut):
    x = keras.Input((None, FEATURES))
    h = layers.GRU(3, return_sequences=True)(x)
    refused(keras.Model(x, cut(h)), "get_item", "cuts pieces out")


def test_joining_a_sequence_with_its_end_is_refused():
    x = keras.Input((None, FEATURES))
    h, state = layers.GRU(3, return_sequences=True, return_state=True)(x)
    refused(keras.Model(x, layers.Add(name="sum")([h, state[:, None]])), "'sum'", "joins")
    decoder = layers.GRU(3, return_sequences=True, name="decoder")
    refused(keras.Model(x, decoder(h, initial_state=state)), "'decoder'", "from other layers")


def test_reductions_over_time_are_refused():
    x = keras.Input((None, FEATURES))
    h = layers.GRU(3, return_sequences=True)(x)
    refused(keras.Model(x, ops.mean(h, axis=1)), "'mean", "time axis")
    refused(keras.Model(x, ops.cumsum(h, axis=-2)), "'cumsum", "time axis")


def test_dropout_that_is_always_on_is_refused():
    x = keras.Input((None, FEATURES))
    refused(keras.Model(x, layers.GRU(3, dropout=0.5)(x, training=True)), "gru", "always on")


def test_a_model_without_one_sequence_is_refused():
    refused("model", "must be a keras.Model")
    refused(keras.Sequential([layers.GRU(3)]), "must be built", "Give it an Input")

    class Own(keras.Model):
        pass

    refused(Own(), "must be functional or Sequential")
    x = keras.Input((None, 2))
    z = keras.Input((None, 2))
    refused(keras.Model([x, z], layers.GRU(3)(x + z)), "one input", r"\(None, None, 2\), \(None")
