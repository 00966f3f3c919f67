"""Encoder-decoders as two ONNX files draw what `generate` draws."""

import functools

import numpy as np
import pytest

from helpers.examples import covering
from helpers.models import randomized
from seqkeras import runtime
from seqkeras.decoding import generate
from seqkeras.errors import ArgumentError, FileFormatError, SeqkerasError
from seqkeras.models import language_model, sequence_to_sequence

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnx", reason="needs the extra onnx")

from seqkeras.export import save_decoder_onnx  # noqa: E402
from seqkeras.export.onnx._nodes import NODES  # noqa: E402

SOURCES, TARGETS, START = 9, 5, 1
IDS = np.array([[1, 2, 3, 8, 4], [4, 4, 0, 0, 0], [0, 0, 0, 0, 0]], "int32")

FORMS = {
    "fed": {"attention": {"mechanism": "additive", "heads": 2, "input_feeding": True}},
    "dot": {"attention": "dot", "units": (6, 6), "cell": "gru"},
    "location": {
        "attention": {"mechanism": "location", "positions": 4, "query": "new", "heads": 2},
        "bidirectional": True,
        "cell": "simple_rnn",
    },
    "additive": {"bidirectional": True, "units": (6, 4)},
    "initial": {"attention": None, "tied": True, "mask_zero": False},
    "every step": {"attention": None, "context": "every_step"},
    "numbers": {"source_size": None, "source_features": 3},
}


@functools.cache
def built(form):
    sizes = {"source_size": SOURCES, "target_size": TARGETS, "embedding": 4, "units": 6}
    return randomized(sequence_to_sequence(**{**sizes, **FORMS[form]}), scale=0.8)


def greedy_loop(encoder, decoder, sources, length, forbidden):
    """Draw ids with two sessions of ONNX Runtime, by the names of their inputs and outputs."""
    names = [value.name for value in encoder.get_outputs()]
    state = dict(zip(names, encoder.run(None, {"source": sources}), strict=True))
    ids = np.full(len(sources), START, "int32")
    columns, attention = [], []
    for _ in range(length):
        results = decoder.run(None, {"ids": ids, **state})
        named = dict(zip([value.name for value in decoder.get_outputs()], results, strict=True))
        state = {name: named.get(f"{name}/new", array) for name, array in state.items()}
        named["logits"][:, forbidden] = -np.inf
        ids = named["logits"].argmax(axis=1).astype("int32")
        columns.append(ids)
        attention.append(named.get("attention"))
    return np.stack(columns, axis=1), attention


@pytest.mark.parametrize("form", covering(list(FORMS), every=2))
def test_two_sessions_draw_what_generate_draws(form, tmp_path):
    model = built(form)
    sources = IDS
    if form == "numbers":
        sources = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
        sources[1, 2:] = np.nan  # padding
    paths = tmp_path / "encoder.onnx", tmp_path / "decoder.onnx"
    save_decoder_onnx(model, *paths)
    encoder, decoder = (
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for path in paths
    )
    drawn = generate(model, sources, 4, temperature=0, start=START)
    ids, attention = greedy_loop(encoder, decoder, sources, 4, [] if form == "initial" else [0])
    np.testing.assert_array_equal(ids, drawn.ids)
    if drawn.attention is not None:
        np.testing.assert_allclose(np.stack(attention, axis=1), drawn.attention, atol=1e-5)


def test_two_sessions_predict_the_numbers_that_the_model_predicts(tmp_path):
    model = randomized(sequence_to_sequence(SOURCES, target_features=2, units=4, cell="gru"))
    paths = tmp_path / "encoder.onnx", tmp_path / "decoder.onnx"
    save_decoder_onnx(model, *paths)
    encoder, decoder = (onnxruntime.InferenceSession(str(path)) for path in paths)
    targets = np.random.default_rng(1).normal(size=(3, 4, 2)).astype("float32")
    targets[1, 2, 0] = np.nan  # a missing feature is read as 0
    expected = model.predict_on_batch({"source": IDS, "target": targets})
    names = [value.name for value in encoder.get_outputs()]
    state = dict(zip(names, encoder.run(None, {"source": IDS}), strict=True))
    returned = [value.name for value in decoder.get_outputs()]
    for t in range(4):
        results = decoder.run(None, {"numbers": targets[:, t], **state})
        named = dict(zip(returned, results, strict=True))
        np.testing.assert_allclose(named["prediction"], expected[:, t], atol=1e-5)
        state = {name: named.get(f"{name}/new", array) for name, array in state.items()}


def test_load_onnx_says_that_its_files_are_no_programs(tmp_path):
    save_decoder_onnx(built("dot"), tmp_path / "encoder.onnx", tmp_path / "decoder.onnx")
    for name in ("encoder.onnx", "decoder.onnx"):
        with pytest.raises(FileFormatError, match="a part of an encoder-decoder"):
            runtime.load_onnx(tmp_path / name)


def test_nothing_is_written_if_the_model_or_the_graph_is_wrong(tmp_path, monkeypatch):
    paths = tmp_path / "encoder.onnx", tmp_path / "decoder.onnx"
    with pytest.raises(ArgumentError, match=r"without a layers\.SequenceDecoder"):
        save_decoder_onnx(language_model(5, units=2), *paths)
    monkeypatch.setitem(NODES, "attention_context", lambda g, op, w, memory: wrong(g, memory))
    with pytest.raises(SeqkerasError, match="do not return what the model returns"):
        save_decoder_onnx(built("dot"), *paths)
    assert not list(tmp_path.iterdir())


def test_the_two_files_need_two_paths(tmp_path):
    with pytest.raises(ArgumentError, match="decoder_path must be another path than encoder_path"):
        save_decoder_onnx(built("dot"), tmp_path / "model.onnx", str(tmp_path / "model.onnx"))


def wrong(g, memory):
    """Write the mean of a memory without weights."""
    return g.op("ReduceMean", memory, axes=[1], keepdims=0)
