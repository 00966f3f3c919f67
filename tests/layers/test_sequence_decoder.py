"""Decoders that run over all timesteps at once, or one at a time, with the same numbers."""

import keras
import numpy as np
import pytest

from helpers.models import randomized, to_numpy
from seqkeras import kernels
from seqkeras.errors import ArgumentError
from seqkeras.layers import GRU, LSTM, SequenceDecoder

RANDOM = np.random.default_rng(4)
ROWS, SOURCE, LENGTH, IDS = 4, 6, 5, 9
MEMORY = RANDOM.normal(size=(ROWS, SOURCE, 4)).astype("float32")
MASK = np.array([[1] * 6, [1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 0, 1], [0] * 6], bool)
TARGETS = RANDOM.integers(1, IDS, (ROWS, LENGTH)).astype("int32")
TARGETS[1, 3:] = 0
COUNTS = TARGETS != 0

FORMS = {
    "initial": {},
    "every step": {"context": "every_step"},
    "tied": {"tied": True},
    "additive": {"attention": {"mechanism": "additive", "units": 6, "heads": 2}},
    "additive, tied": {"attention": {"mechanism": "additive", "output_units": 5}, "tied": True},
    "dot, new": {"attention": {"mechanism": "dot", "query": "new"}},
    "general, fed": {
        "attention": {"mechanism": "general", "query": "new", "input_feeding": True, "heads": 2}
    },
    "location, fed": {
        "attention": {"mechanism": "location", "positions": 4, "input_feeding": True}
    },
    "numbers": {"embedding": None},
}
LAYERS = {
    "gru": [GRU],
    "lstm, gru": [LSTM, GRU],
    "cells of Keras": [lambda *_, **options: keras.layers.RNN(keras.layers.GRUCell(4), **options)],
}


def decoder_of(form, layers="lstm, gru", **more):
    stack = [kind(4, return_sequences=True, return_state=True) for kind in LAYERS[layers]]
    return SequenceDecoder(stack, IDS, **{"embedding": 5, **FORMS[form], **more}, name="decoder")


def inputs_of(decoder, targets=TARGETS, memory=MEMORY, mask=MASK):
    random = np.random.default_rng(6)
    sizes = keras.tree.flatten([layer.cell.state_size for layer in decoder.layers])
    states = [random.normal(size=(ROWS, size)).astype("float32") for size in sizes]
    if decoder.vocabulary_size is None:
        numbers = random.normal(size=(*targets.shape, IDS)).astype("float32")
        targets = np.where((targets != 0)[..., None], numbers, np.nan)
    return [keras.ops.convert_to_tensor(array) for array in (targets, memory, mask, *states)]


def built(decoder):
    decoder(inputs_of(decoder))
    return randomized(decoder)


def stepped(decoder, targets, memory, mask, *states):
    moving, constants = decoder.initial_state(memory, mask, states)
    outputs, weights = [], []
    for t in range(targets.shape[1]):
        output, moving, weight = decoder.step(targets[:, t], moving, constants)
        outputs.append(to_numpy(output))
        weights.append(to_numpy(weight) if weight is not None else None)
    return np.stack(outputs, 1), weights


PAIRS = [("initial", "gru"), ("additive", "gru"), ("additive", "cells of Keras")]
PAIRS += [(form, "lstm, gru") for form in FORMS]
ALSO_ELSEWHERE = [("additive", "gru"), ("dot, new", "lstm, gru")]


@pytest.mark.parametrize(
    ("form", "layers"),
    [
        pytest.param(*pair, marks=pytest.mark.backends if pair in ALSO_ELSEWHERE else ())
        for pair in PAIRS
    ],
)
def test_all_timesteps_at_once_give_what_the_loop_of_steps_gives(form, layers):
    decoder = built(decoder_of(form, layers))
    inputs = inputs_of(decoder)
    at_once, weights = decoder(inputs, return_attention=True)
    outputs, steps = stepped(decoder, *inputs)
    np.testing.assert_allclose(to_numpy(at_once)[COUNTS], outputs[COUNTS], atol=1e-5)
    trained = to_numpy(decoder(inputs, training=True))
    np.testing.assert_allclose(trained, to_numpy(at_once), atol=1e-6)
    if decoder.attention is None:
        assert weights is None
        return
    weights = to_numpy(weights)
    np.testing.assert_allclose(weights[COUNTS], np.stack(steps, 1)[COUNTS], atol=1e-5)
    assert (weights[~np.broadcast_to(MASK[:, None], weights.shape)] == 0).all()
    sums = weights.sum(-1)
    np.testing.assert_allclose(sums, np.broadcast_to(MASK.any(1)[:, None], sums.shape), atol=1e-6)


@pytest.mark.parametrize("form", ["initial", "every step", "tied", "additive, tied", "numbers"])
def test_features_are_what_the_layer_of_logits_reads(form):
    decoder = built(decoder_of(form, "gru"))
    inputs = inputs_of(decoder)
    features = decoder(inputs, return_features=True)
    options = {"reverse": True} if decoder.tied else {}
    logits = decoder.logits_layer(features, **options)
    np.testing.assert_allclose(to_numpy(logits), to_numpy(decoder(inputs)), atol=1e-6)
    symbols = [keras.KerasTensor(array.shape, array.dtype) for array in map(to_numpy, inputs)]
    assert decoder(symbols, return_features=True).shape == features.shape


def test_layers_run_on_kernels_wherever_no_timestep_waits_for_an_attention():
    for form, expected in [("initial", 2), ("dot, new", 2), ("additive", 0), ("general, fed", 0)]:
        decoder = built(decoder_of(form))
        with kernels.counting() as counts:
            decoder(inputs_of(decoder))
        assert sum(counts.values()) == expected, form


def test_an_output_reads_no_target_after_its_own():
    for form in ("dot, new", "additive"):
        decoder = built(decoder_of(form))
        changed = np.where(np.arange(LENGTH) == 2, TARGETS % (IDS - 1) + 1, TARGETS)
        before, after = (
            to_numpy(decoder(inputs_of(decoder, targets))) for targets in (TARGETS, changed)
        )
        moved = np.abs(after - before).max(-1)
        assert moved[:, :2].max() == 0
        assert moved[:, 2].min() > 1e-6


@pytest.mark.backends
@pytest.mark.parametrize("form", ["additive", "dot, new", "numbers"])
def test_padding_changes_no_output(form):
    decoder = built(decoder_of(form))
    targets, memory, mask, *states = inputs_of(decoder)
    fill = 0 if decoder.vocabulary_size else np.nan
    wide = [(0, 0), (0, 2)]
    more = [(0, 0)] * (len(targets.shape) - 2)
    padded = [
        np.pad(to_numpy(targets), [*wide, *more], constant_values=fill),
        np.pad(to_numpy(memory), [(0, 0), (0, 3), (0, 0)], constant_values=7),
        np.pad(to_numpy(mask), [(0, 0), (0, 3)]),
    ]
    expected = to_numpy(decoder([targets, memory, mask, *states]))
    outputs = to_numpy(decoder([*padded, *states]))[:, :LENGTH]
    np.testing.assert_allclose(outputs[COUNTS], expected[COUNTS], atol=1e-6)
    assert np.isfinite(outputs).all()


def test_it_is_saved_and_loaded_with_its_settings(tmp_path):
    for form in ("additive, tied", "location, fed", "every step", "numbers"):
        decoder = decoder_of(form, teacher_forcing=0.5, feedback="argmax", dropout=0.25)
        tensors = inputs_of(decoder)
        inputs = [keras.Input(batch_shape=(None, *x.shape[1:]), dtype=x.dtype) for x in tensors]
        model = keras.Model(inputs, decoder(inputs))
        randomized(decoder)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(to_numpy(loaded(tensors)), to_numpy(model(tensors)))
        assert loaded.get_layer("decoder").get_config() == decoder.get_config()


def left_to_itself(decoder, targets, memory, mask, *states):
    """Return the logits of a loop that feeds the most probable id, except at padding."""
    moving, constants = decoder.initial_state(memory, mask, states)
    ids, outputs = to_numpy(targets)[:, 0], []
    for _ in range(targets.shape[1]):
        logits, moving, _weights = decoder.step(ids, moving, constants)
        outputs.append(to_numpy(logits))
        ids = outputs[-1][:, 1:].argmax(-1).astype("int32") + 1
    return np.stack(outputs, 1)


@pytest.mark.backends
@pytest.mark.parametrize("form", ["additive", "dot, new", "initial"])
def test_with_probability_0_training_reads_its_own_best_predictions(form):
    decoder = built(decoder_of(form, teacher_forcing=0.0, feedback="argmax"))
    inputs = inputs_of(decoder)
    for probability, expected in (
        (0.0, left_to_itself(decoder, *inputs)),
        (1.0, to_numpy(decoder(inputs))),
    ):
        decoder.sampling.probability.assign(probability)
        logits = to_numpy(decoder(inputs, training=True))
        np.testing.assert_allclose(logits[COUNTS], expected[COUNTS], atol=1e-5)


def test_drawn_predictions_follow_the_distribution_and_the_share_of_true_targets():
    decoder = built(decoder_of("initial", "gru", teacher_forcing=0.25))
    decoder.sampling.probability.assign(0.25)
    rows = 2000
    _, memory, mask, state = (np.tile(to_numpy(x)[:1], (rows, *[1] * (len(x.shape) - 1)))
                              for x in inputs_of(decoder))  # fmt: skip
    targets = np.tile(TARGETS[:1, :2], (rows, 1))
    moving, constants = decoder.initial_state(memory, mask, [state])
    first, moving, _ = decoder.step(targets[:, 0], moving, constants)
    candidates = [to_numpy(decoder.step(targets[:, 0] * 0 + i, moving, constants)[0])[0]
                  for i in range(IDS)]  # fmt: skip
    logits = to_numpy(decoder([targets, memory, mask, state], training=True))[:, 1]
    fed = np.abs(logits[:, None] - np.array(candidates)).max(-1).argmin(1)
    scores = np.exp(to_numpy(first)[0].astype("float64"))
    scores[0] = 0
    expected = 0.75 * scores / scores.sum()
    expected[targets[0, 1]] += 0.25
    np.testing.assert_allclose(np.bincount(fed, minlength=IDS) / rows, expected, atol=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": {"mechanizm": "dot"}}, "mechanism"),
        ({"attention": {}, "context": "every_step"}, "context must be 'initial' with attention"),
        ({"tied": True, "embedding": None}, "tied must be False"),
        ({"context": "end"}, "context must be one of"),
        ({"teacher_forcing": 2}, "teacher_forcing must be"),
        ({"feedback": "best"}, "feedback must be one of"),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        SequenceDecoder([GRU(3, return_sequences=True, return_state=True)], 5, **options)


def test_layers_that_return_too_little_are_refused():
    for layer in (GRU(3), GRU(3, return_sequences=True), keras.layers.Dense(3)):
        with pytest.raises(ArgumentError, match="that return sequences and states"):
            SequenceDecoder([layer], 5)
    backwards = GRU(3, return_sequences=True, return_state=True, go_backwards=True)
    with pytest.raises(ArgumentError, match="go_backwards=True"):
        SequenceDecoder([backwards], 5)
