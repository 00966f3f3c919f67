"""Segments of the lookback are read and segments of the horizon written by one layer."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from seqkeras import explain, kernels, layers
from seqkeras.errors import ArgumentError
from seqkeras.models import segment_rnn

RANDOM = np.random.default_rng(7)


def weights_of(model, name):
    return model.get_layer(name).get_weights()


def by_hand(model, x, *, segment, horizon, cell, channel_vector, known=None):
    """Forecast one channel from its newest value, segment by segment.

    `channel_vector` is the learned vector of the channel, `known` what is known of each segment.
    """
    newest = x[-1]
    ahead = -(-horizon // segment)
    relative = x - newest
    relative = np.concatenate([np.zeros(-len(x) % segment), relative])
    kernel, bias = weights_of(model, "read_segment")
    read = np.maximum(relative.reshape(-1, segment) @ kernel + bias, 0)
    layer = layers.CELLS[cell](kernel.shape[1], return_state=True)
    layer.build((None, None, kernel.shape[1]))
    layer.set_weights(weights_of(model, "recurrent_1"))
    _, *state = layer(read[np.newaxis].astype("float32"))
    kernel, bias = weights_of(model, "head")
    forecast = []
    for place in range(ahead):
        query = np.concatenate([weights_of(model, "position")[0][place], channel_vector])
        if known is not None:
            weights, shift = weights_of(model, "known")
            query = query + known[place] @ weights + shift
        output, *_ = layer(query.reshape(1, 1, -1).astype("float32"), initial_state=state)
        forecast.append(keras.ops.convert_to_numpy(output)[0] @ kernel + bias)
    return newest + np.concatenate(forecast)[:horizon]


@pytest.mark.parametrize(
    "cell", ["lstm", pytest.param("gru", marks=pytest.mark.backends), "simple_rnn"]
)
def test_numbers_are_those_of_one_segment_after_another(cell, outputs, randomize):
    model = randomize(segment_rnn(lookback=10, horizon=7, segment=4, units=6, cell=cell))
    x = RANDOM.normal(size=(3, 10, 1))
    expected = [
        by_hand(model, row[:, 0], segment=4, horizon=7, cell=cell, channel_vector=[]) for row in x
    ]
    np.testing.assert_allclose(outputs(model, x), expected, atol=1e-5)


def test_future_covariates_are_added_to_the_vector_of_a_segment(randomize):
    """Each row of the horizon together with the one a season before; zeros pad the last segment."""
    model = segment_rnn(
        lookback=8, horizon=7, segment=4, season_length=3, future=2, units=6, cell="gru"
    )
    randomize(model)
    x = RANDOM.normal(size=(8, 1))
    future = RANDOM.normal(size=(7, 2))
    before = x[[5, 6, 7, 5, 6, 7, 5]]
    rows = np.concatenate([future, before - x[-1]], axis=1)
    known = np.concatenate([rows, np.zeros((1, 3))]).reshape(2, 12)
    correction = by_hand(
        model, x[:, 0], segment=4, horizon=7, cell="gru", channel_vector=[], known=known
    )
    forecast = model({"inputs": x[np.newaxis], "future": future[np.newaxis]})
    expected = before[:, 0] + correction - x[-1]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(forecast)[0], expected, atol=1e-5)


def test_each_of_several_targets_is_forecast_from_its_own_past(outputs, randomize):
    model = segment_rnn(3, targets=3, lookback=8, horizon=6, segment=4, units=7)
    randomize(model)
    x = RANDOM.normal(size=(2, 8, 3))
    expected = [
        [
            by_hand(
                model,
                row[:, channel],
                segment=4,
                horizon=6,
                cell="gru",
                channel_vector=weights_of(model, "channel")[0][channel],
            )
            for channel in range(3)
        ]
        for row in x
    ]
    expected = np.swapaxes(expected, 1, 2)
    assert model.output_shape == (None, 6, 3)
    np.testing.assert_allclose(outputs(model, x), expected, atol=1e-5)


@examples(5)
@given(
    lookback=st.integers(1, 9),
    horizon=st.integers(1, 9),
    segment=st.integers(1, 9),
    targets=st.integers(1, 2),
)
def test_lengths_that_segments_do_not_divide_are_padded(lookback, horizon, segment, targets):
    segment = min(segment, lookback)
    model = segment_rnn(
        targets, targets=targets, lookback=lookback, horizon=horizon, segment=segment, units=3
    )
    random = np.random.default_rng(0)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    x = random.normal(size=(2, lookback, targets)).astype("float32")
    forecast = keras.ops.convert_to_numpy(model(x))
    assert forecast.shape == ((2, horizon) if targets == 1 else (2, horizon, targets))
    # The newest observation counts from the first step on.
    x[:, -1] += 1
    assert np.abs(keras.ops.convert_to_numpy(model(x)) - forecast)[:, 0].min() > 1e-6


def test_the_default_segment_is_a_day_of_hours_or_the_whole_window():
    def width(**sizes):
        return segment_rnn(units=2, **sizes).get_layer("read_segment").kernel.shape[0]

    assert width(lookback=96, horizon=48) == 24
    assert width(lookback=36, horizon=12) == 12
    assert width(lookback=5, horizon=12) == 5


def test_one_layer_reads_with_the_requested_kernel_and_writes_without_one():
    model = segment_rnn(lookback=8, horizon=8, segment=4, units=4, implementation="scan")
    with kernels.counting() as counted:
        model(np.zeros((1, 8, 1), "float32"))
    assert dict(counted) == {"scan": 1}
    assert len(explain(model)) == 1
    assert [layer.name for layer in model.layers if isinstance(layer, keras.layers.RNN)] == [
        "recurrent_1"
    ]


def test_a_stack_continues_from_the_state_of_each_layer(outputs, randomize):
    model = segment_rnn(lookback=8, horizon=8, segment=4, units=(5, 4), cell=["lstm", "gru"])
    randomize(model)
    x = RANDOM.normal(size=(2, 8, 1))
    before = outputs(model, x)
    for name in ("recurrent_1", "recurrent_2"):
        layer = model.get_layer(name)
        weights = layer.get_weights()
        layer.set_weights([np.zeros_like(w) for w in weights])
        assert np.abs(outputs(model, x) - before).max() > 1e-3
        layer.set_weights(weights)


def test_a_keras_cell_brings_its_own_width():
    model = segment_rnn(lookback=8, horizon=8, segment=4, cell=keras.layers.GRUCell(5))
    assert model.get_layer("head").kernel.shape == (5, 4)


def test_head_dropout_acts_only_in_training(outputs, randomize):
    model = randomize(segment_rnn(lookback=8, horizon=8, units=8, head_dropout=0.5))
    x = RANDOM.normal(size=(2, 8, 1))
    np.testing.assert_array_equal(outputs(model, x), outputs(model, x))
    assert np.abs(outputs(model, x, training=True) - outputs(model, x)).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment": 9}, "segment must be at most lookback. Got: segment=9."),
        ({"segment": 0}, "segment must be an integer >= 1"),
        ({"targets": 2}, "targets must be 1, or as many as features. Got: targets=2."),
        ({"targets": 3, "future": 1}, "targets must be 1 with future, static or categories"),
        ({"targets": 3, "units": 1}, "units must be at least 2 with several targets"),
        ({"head_dropout": 1.0}, r"head_dropout must be a number in \[0, 1\)"),
        ({"linear_skip": 1}, "linear_skip must be True or False"),
        ({"bidirectional": True}, "bidirectional must be False for segment_rnn"),
        ({"stateful": True}, "stateful must be False for segment_rnn"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        segment_rnn(3, lookback=8, horizon=4, **options)
