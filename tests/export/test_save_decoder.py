"""Encoder-decoders as programs: what `generate` and `beam` return, from a loop in NumPy."""

import functools
import pickle

import keras
import numpy as np
import pytest
import scipy.special

from helpers.examples import covering
from helpers.models import randomized
from seqkeras import native, runtime
from seqkeras._archive import read_archive, write_archive
from seqkeras.decoding import beam, generate
from seqkeras.errors import ArgumentError, DataError, FileFormatError
from seqkeras.export import save_decoder, save_program
from seqkeras.layers import RNN, SequenceDecoder
from seqkeras.models import language_model, sequence_to_sequence
from seqkeras.runtime._decoder_program import KIND, VERSION

SOURCES, TARGETS, START = 9, 5, 1
IDS = np.array([[1, 2, 3, 8, 4], [4, 4, 0, 0, 0], [0, 0, 0, 0, 0]], "int32")
NUMBERS = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
NUMBERS[1, 2:] = np.nan  # padding

FORMS = {
    "additive": {"bidirectional": True},
    "fed": {"attention": {"mechanism": "additive", "heads": 2, "input_feeding": True}},
    "general": {"attention": "general", "cell": "lstm", "units": (6, 4), "bidirectional": True},
    "every step": {
        "attention": None,
        "context": "every_step",
        "units": (6, 4),
        "cell": "simple_rnn",
    },
    "location": {"attention": {"mechanism": "location", "positions": 4, "query": "new"}},
    "dot": {"attention": "dot", "units": (6, 6)},
    "tied": {"tied": True, "mask_zero": False, "embedding": 3},
    "initial": {"attention": None, "tied": True, "bidirectional": True},
    "numbers": {"source_size": None, "source_features": 3},
    "to numbers, fed": {
        "target_size": None,
        "target_features": 2,
        "attention": {"mechanism": "additive", "heads": 2, "input_feeding": True},
    },
    "to numbers, every step": {
        "target_size": None,
        "target_features": 2,
        "attention": None,
        "context": "every_step",
        "cell": "gru",
    },
}
OF_IDS = [form for form in FORMS if not form.startswith("to numbers")]


@functools.cache
def built(form="additive"):
    sizes = {"source_size": SOURCES, "target_size": TARGETS, "embedding": 4, "units": 6}
    return randomized(sequence_to_sequence(**{**sizes, **FORMS[form]}), scale=0.8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a function from the name of a form to the path of its program."""
    folder = tmp_path_factory.mktemp("decoders")

    @functools.cache
    def path_of(form="additive"):
        save_decoder(built(form), folder / form)
        return folder / form

    return path_of


def greedy_loop(program, sources, length, forbidden=(0,)):
    """Return ids, their log-probabilities and the attention, `(batch, length, ...)` each."""
    state = program.begin(sources)
    ids = np.full(len(state[0]), START)
    steps = []
    for _ in range(length):
        logits, state, attention = program.step(ids, state)
        log_probabilities = scipy.special.log_softmax(logits, axis=1)
        logits[:, list(forbidden)] = -np.inf
        ids = logits.argmax(axis=1)
        chosen = log_probabilities[np.arange(len(ids)), ids]
        steps.append([ids, chosen, attention if attention is not None else ids])
    return [np.stack(column, axis=1) for column in zip(*steps, strict=True)]


@pytest.mark.backends
@pytest.mark.parametrize("form", covering(OF_IDS, every=2))
def test_a_loop_in_numpy_draws_what_generate_draws(form, saved):
    program = runtime.load_decoder(saved(form))
    sources = NUMBERS if form == "numbers" else IDS
    forbidden = [] if form == "tied" else [0]
    drawn = generate(built(form), sources, 4, temperature=0, start=START)
    ids, log_probabilities, attention = greedy_loop(program, sources, 4, forbidden)
    np.testing.assert_array_equal(ids, drawn.ids)
    np.testing.assert_allclose(log_probabilities, drawn.log_probabilities, atol=1e-5)
    assert program.has_attention == (drawn.attention is not None)
    if program.has_attention:
        np.testing.assert_allclose(attention, drawn.attention, atol=1e-5)


@pytest.mark.parametrize("form", ["to numbers, fed", "to numbers, every step"])
def test_a_loop_in_numpy_predicts_the_numbers_that_the_model_predicts(form, saved):
    program = runtime.load_decoder(saved(form))
    targets = np.random.default_rng(1).normal(size=(3, 4, 2)).astype("float32")
    targets[1, 2, 0] = np.nan  # a missing feature is read as 0
    expected = built(form).predict_on_batch({"source": IDS, "target": targets})
    state = program.begin(IDS)
    for t in range(4):
        numbers, state, attention = program.step(targets[:, t], state)
        np.testing.assert_allclose(numbers, expected[:, t], atol=1e-6)
        assert (attention is not None) == program.has_attention


def test_a_program_of_numbers_names_what_it_reads_and_refuses_the_rest(saved):
    program = runtime.load_decoder(saved("to numbers, fed"))
    assert repr(program).endswith("source (batch, timesteps) -> 2 numbers)")
    assert program.vocabulary_size is None
    state = program.begin(IDS)
    for numbers, message in (
        (np.zeros((3, 3)), r"numbers must be of shape \(batch, 2\). Got: shape \(3, 3\)"),
        (np.zeros(3), r"numbers must be of shape \(batch, 2\). Got: shape \(3,\)"),
        (np.zeros((2, 2)), "state must be a tuple of decoder_1/h"),
        (np.full((3, 2), 1e300), "numbers must be numbers that float32 can hold"),
    ):
        with pytest.raises(ArgumentError, match=message):
            program.step(numbers, state)


def beam_loop(program, source, length, beams):
    """Search the likeliest sequences without an end; return their ids and log-probabilities."""
    state = program.begin(source)
    ids, totals = np.full((1, 1), START), np.zeros(1)
    for _ in range(length):
        logits, state, _ = program.step(ids[:, -1], state)
        log_probabilities = scipy.special.log_softmax(logits, axis=1)
        log_probabilities[:, 0] = -np.inf  # padding
        totals = (totals[:, None] + log_probabilities).ravel()
        best = np.argsort(-totals)[:beams]
        totals = totals[best]
        rows, new = np.divmod(best, TARGETS)
        ids = np.concatenate([ids[rows], new[:, None]], axis=1)
        state = tuple(array[rows] for array in state)
    return ids[:, 1:], totals


@pytest.mark.parametrize("form", covering(["additive", "every step", "fed", "general"], every=2))
def test_a_loop_in_numpy_finds_the_beams_that_beam_finds(form, saved):
    program = runtime.load_decoder(saved(form))
    searched = beam(built(form), IDS, 5, beams=4, nbest=4, length_penalty=0, start=START)
    for row in range(len(IDS)):
        ids, totals = beam_loop(program, IDS[[row]], 5, beams=4)
        np.testing.assert_array_equal(searched.ids[row], ids)
        np.testing.assert_allclose(searched.scores[row], totals, atol=1e-4)


def test_rows_and_padding_do_not_change_each_other(saved):
    program = runtime.load_decoder(saved())
    ids, *_ = greedy_loop(program, IDS, 4)
    alone, *_ = greedy_loop(program, IDS[1:2, :2], 4)
    np.testing.assert_array_equal(alone[0], ids[1])
    state = program.begin(IDS)
    rows = [2, 0]
    expected = program.step([START] * 3, state)
    chosen = program.step([START] * 2, tuple(array[rows] for array in state))
    np.testing.assert_allclose(chosen.logits, expected.logits[rows], atol=1e-6)
    np.testing.assert_array_equal(expected.attention[2], 0)


def test_a_step_leaves_the_state_before_it_as_it_was(saved):
    program = runtime.load_decoder(saved("fed"))
    state = program.begin(IDS)
    copies = [array.copy() for array in state]
    first = program.step([START] * 3, state)
    again = pickle.loads(pickle.dumps(program)).step([START] * 3, state)
    np.testing.assert_array_equal(again.logits, first.logits)
    for array, copy in zip(state, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.skipif(native.why_not() is not None, reason=str(native.why_not()))
def test_native_kernels_and_numpy_give_the_same(saved):
    programs = [
        runtime.load_decoder(saved("general"), implementation=implementation)
        for implementation in ("native", "numpy")
    ]
    assert [choice.implementation for choice in programs[0].choices] == ["native"] * 6
    ours, plain = (greedy_loop(program, IDS, 4)[1] for program in programs)
    np.testing.assert_allclose(ours, plain, atol=1e-5)


def test_what_a_program_reads_and_returns_is_named(saved):
    program = runtime.load_decoder(saved("fed"))
    assert (
        repr(program) == "DecoderProgram(sequence_to_sequence: source (batch, timesteps) -> 5 ids)"
    )
    assert program.inputs[0].below == SOURCES
    assert dict(program.states) == {
        "decoder_1/h": (6,), "decoder_1/c": (6,), "fed": (6,),
        "memory": (None, 6), "mask": (None,), "keys": (None, 6),
    }  # fmt: skip
    shapes = [array.shape for array in program.begin(IDS)]
    assert shapes == [(3, 6)] * 3 + [(3, 5, 6), (3, 5), (3, 5, 6)]


def test_weights_in_double_precision_stay_so(tmp_path):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = randomized(sequence_to_sequence(SOURCES, TARGETS, units=4, embedding=3))
        save_decoder(model, tmp_path / "d")
    finally:
        keras.config.set_dtype_policy(policy)
    assert runtime.load_decoder(tmp_path / "d").begin(IDS)[0].dtype == np.float64


@pytest.mark.parametrize(
    ("sources", "error", "message"),
    [
        (IDS[0], ArgumentError, r"source must be of shape \(batch, timesteps\)"),
        (IDS[:, :0], ArgumentError, "shape"),
        ([[1, 2], [3]], ArgumentError, "source must be an array"),
        (IDS + 0.5, ArgumentError, "source must be numbers that int32 can hold"),
        (IDS + 4, DataError, "source must hold ids of 0 to 8. Got: 12"),
        ({"text": IDS}, ArgumentError, "sources must be a dict of"),
    ],
)
def test_sources_that_do_not_fit_are_refused(sources, error, message, saved):
    with pytest.raises(error, match=message):
        runtime.load_decoder(saved()).begin(sources)


def test_steps_that_do_not_fit_are_refused(saved):
    program = runtime.load_decoder(saved())
    state = program.begin(IDS)
    for ids, wrong, error, message in (
        ([[1], [1], [1]], state, ArgumentError, r"ids must be of shape \(batch,\)"),
        ([1, 1, TARGETS], state, DataError, "ids must hold ids of 0 to 4. Got: 5"),
        ([1, 1, -1], state, DataError, "ids must hold ids"),
        ([1, 1], state, ArgumentError, "state must be a tuple of decoder_1/h"),
        ([1, 1, 1], state[:-1], ArgumentError, "Take it from begin or step"),
        ([1, 1, 1], list(state), ArgumentError, r"h \(3, 6\), .* Got: list\."),
        ([1, 1, 1], (*state, [[1], [1, 2]]), ArgumentError, "state must be a tuple"),
        ([1, 1, 1], (*state[:-1], state[-1][:, 1:]), ArgumentError, "state must be a tuple"),
        ([1, 1, 1], tuple(array.astype("float64") for array in state), ArgumentError, "float32"),
    ):
        with pytest.raises(error, match=message):
            program.step(ids, wrong)


class Doubling(keras.layers.SimpleRNNCell):
    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states, training=training)
        return 2 * output, states


def own_cell():
    ids, source = keras.Input((None,), dtype="int32"), keras.Input((None, 2))
    memory, state = keras.layers.GRU(2, return_sequences=True, return_state=True)(source)
    layer = RNN(Doubling(2), return_sequences=True, return_state=True, name="mine")
    mask = keras.ops.not_equal(memory[..., 0], 0)
    decoder = SequenceDecoder([layer], TARGETS, embedding=2)
    return keras.Model([ids, source], decoder([ids, memory, mask, state]))


def fixed_source():
    ids, source = keras.Input((None,), dtype="int32"), keras.Input((4, 2), name="short")
    memory, state = keras.layers.GRU(2, return_sequences=True, return_state=True)(source)
    layer = keras.layers.GRU(2, return_sequences=True, return_state=True)
    mask = keras.ops.ones_like(memory[..., 0], dtype="bool")
    decoder = SequenceDecoder([layer], TARGETS, embedding=2)
    return keras.Model([ids, source], decoder([ids, memory, mask, state]))


REFUSED = {
    "no decoder": (lambda: language_model(5, units=2), "without a layers.SequenceDecoder"),
    "own cell": (own_cell, "layer 'mine': its cell Doubling is not supported"),
    "fixed length": (fixed_source, "layer 'short': a source of the shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_cannot_be_saved_is_refused_with_the_reason(name, tmp_path):
    make, message = REFUSED[name]
    with pytest.raises(ArgumentError, match=message):
        save_decoder(make(), tmp_path / "d")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_nan_are_refused(tmp_path):
    model = keras.models.clone_model(built("dot"))
    model.weights[0].assign(np.full(model.weights[0].shape, np.nan))
    with pytest.raises(ArgumentError, match="finite weights"):
        save_decoder(model, tmp_path / "d")


@pytest.mark.parametrize(
    "changes",
    [
        {"fed": 3},
        {"target": {"name": "ids", "shape": [], "dtype": "int32", "below": 6}},
        {"target": {"name": "ids", "shape": [], "dtype": "int32"}},
        {"target": {"name": "ids", "shape": [5], "dtype": "float32"}},
        {"constants": ["memory", "mask"]},
        {"reads": {"memory": 40}},
        {"reads": {"memory": 0, "mask": 1, "keys": 2, "query": 0}},
        {"inputs": []},
        {"dtype": "float16"},
    ],
    ids=repr,
)
def test_a_file_that_describes_something_else_is_refused(changes, saved, tmp_path):
    header, arrays, *_ = read_archive(saved(), kind=KIND, version=VERSION)
    write_archive(tmp_path / "d", {**header, **changes}, arrays, kind=KIND, version=VERSION)
    with pytest.raises(FileFormatError, match="is not a valid decoder"):
        runtime.load_decoder(tmp_path / "d")


def test_files_of_other_kinds_are_refused(saved, tmp_path):
    save_program(language_model(5, units=2), tmp_path / "p")
    with pytest.raises(FileFormatError):
        runtime.load_decoder(tmp_path / "p")
    with pytest.raises(FileFormatError):
        runtime.load(saved())
    damaged = bytearray(saved().read_bytes())
    damaged[-5] ^= 1
    (tmp_path / "d").write_bytes(damaged)
    with pytest.raises(FileFormatError):
        runtime.load_decoder(tmp_path / "d")
