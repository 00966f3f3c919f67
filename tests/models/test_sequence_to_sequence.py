"""Encoder-decoders for symbols and numbers."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.models import randomized, to_numpy
from seqkeras.errors import ArgumentError
from seqkeras.models import sequence_to_sequence

RANDOM = np.random.default_rng(2)
FORMS = {
    "additive": {"cell": "gru", "bidirectional": True, "units": (4, 3)},
    "dot": {"attention": "dot", "cell": ["lstm", "gru"], "units": 4, "tied": True},
    "none": {"attention": None, "context": "every_step", "units": 4},
}


def loss_of(model, source, target, labels):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return to_numpy(loss(labels, model({"source": source, "target": target})))


@pytest.fixture(scope="module", params=FORMS)
def model(request):
    keras.utils.set_random_seed(1)
    return randomized(sequence_to_sequence(9, 8, embedding=3, **FORMS[request.param]))


LENGTHS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), min_size=1, max_size=3)


@examples(8)
@given(LENGTHS, st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_padding_changes_neither_outputs_nor_the_loss(model, lengths, more_source, more, in_front):
    sources, targets, outputs, losses, tokens = [], [], [], [], []
    wide, long = 5 + more_source, 4 + more
    for source_length, length in lengths:
        source = RANDOM.integers(1, 9, (1, source_length)).astype("int32")
        target = RANDOM.integers(1, 8, (1, length)).astype("int32")
        # A source without a symbol cannot stand by itself.
        alone = source if source_length else np.zeros((1, 1), "int32")
        outputs.append(to_numpy(model({"source": alone, "target": target}))[0])
        losses.append(loss_of(model, alone, target, target) * length)
        tokens.append(length)
        room = wide - source_length
        pad = (room, 0) if in_front else (0, room)
        sources.append(np.pad(source[0], pad))
        targets.append(np.pad(target[0], (0, long - length)))
    source, target = np.array(sources), np.array(targets)
    padded = to_numpy(model({"source": source, "target": target}))
    assert np.isfinite(padded).all()
    for row, expected in enumerate(outputs):
        np.testing.assert_allclose(padded[row, : len(expected)], expected, atol=2e-6)
    expected = sum(losses) / sum(tokens)
    assert loss_of(model, source, target, target) == pytest.approx(expected, abs=1e-5)


def test_the_states_of_both_directions_are_bridged(model):
    names = [layer.name for layer in model.layers if layer.name.startswith("bridge")]
    is_bidirectional = any("both_ways" in layer.name for layer in model.layers)
    assert names == (["bridge_1_1", "bridge_2_1"] if is_bidirectional else [])
    inputs = {
        "source": np.ones((2, 3), "int32"),
        "target": RANDOM.integers(1, 8, (2, 4)).astype("int32"),
    }
    changed = {**inputs, "source": np.full((2, 3), 2, "int32")}
    first, second = (to_numpy(model(each))[:, 0] for each in (inputs, changed))
    assert np.abs(first - second).max() > 1e-6


@pytest.mark.backends
def test_it_trains_with_fully_padded_rows_and_gives_the_same_after_saving(tmp_path):
    model = sequence_to_sequence(
        9, 8, embedding=3, units=4, cell="gru", bidirectional=True, dropout=0.2, teacher_forcing=0.5
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    source = RANDOM.integers(1, 9, (4, 5)).astype("int32")
    target = RANDOM.integers(1, 8, (4, 6)).astype("int32")
    source[0] = target[1] = 0
    target[0] = 0
    x = {"source": source, "target": target}
    history = model.fit(x, target, epochs=2, batch_size=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    expected = model.predict_on_batch(x)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict_on_batch(x), expected, atol=1e-6)


def test_it_learns_to_write_a_source_from_its_end_to_its_start():
    keras.utils.set_random_seed(0)
    source = np.random.default_rng(0).integers(2, 6, (640, 3)).astype("int32")
    labels = source[:, ::-1]
    target = np.concatenate([np.ones((640, 1), "int32"), labels[:, :-1]], 1)
    model = sequence_to_sequence(6, 6, units=16, cell="gru", attention="dot")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"])
    x = {"source": source, "target": target}
    model.fit(x, labels, epochs=8, batch_size=64, verbose=0)
    assert model.evaluate(x, labels, verbose=0)[1] > 0.95


def test_numbers_are_read_and_predicted_with_padding_of_nan():
    model = sequence_to_sequence(
        source_features=2, target_features=1, units=4, cell="gru", bidirectional=True
    )
    randomized(model)
    source = RANDOM.normal(size=(2, 3, 2)).astype("float32")
    target = RANDOM.normal(size=(2, 4, 1)).astype("float32")
    expected = to_numpy(model({"source": source, "target": target}))
    padded = {
        "source": np.pad(source, [(0, 0), (0, 2), (0, 0)], constant_values=np.nan),
        "target": np.pad(target, [(0, 0), (0, 1), (0, 0)], constant_values=np.nan),
    }
    outputs = to_numpy(model(padded))
    np.testing.assert_allclose(outputs[:, :4], expected, atol=1e-6)
    model.compile("sgd", "mse")
    history = model.fit(padded, np.zeros((2, 5, 1)), verbose=0)
    assert history.history["loss"][0] == pytest.approx((expected**2).mean(), rel=1e-4)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "source_size must be given where source_features is omitted"),
        ({"source_size": 5, "source_features": 2, "target_size": 5}, "source_size must be given"),
        ({"source_size": 1, "target_size": 5}, "source_size must be an integer >= 2"),
        ({"source_size": 5, "target_features": 0}, "target_features must be"),
        ({"source_size": 5, "target_size": 5, "stateful": True, "batch_size": 2}, "stateful must"),
        ({"source_size": 5, "target_size": 5, "attention": "soft"}, "attention must be one of"),
        (
            {"source_size": 5, "target_size": 5, "attention": {"head": 2}},
            "attention must be arguments of layers.AttentionCell. Got: 'head'.*heads",
        ),
        ({"source_size": 5, "target_size": 5, "attention": "dot", "bidirectional": True}, "widths"),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        sequence_to_sequence(**options)
