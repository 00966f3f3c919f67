"""Translators, from texts to texts."""

import keras
import numpy as np
import pytest
import scipy.special
from sklearn.base import clone

from helpers.examples import covering, long_run_only
from seqkeras import runtime
from seqkeras.decoding import beam
from seqkeras.errors import (
    ArgumentError,
    DataError,
    FileFormatError,
    NotFittedError,
    UnknownTokensWarning,
)
from seqkeras.export import save_decoder
from seqkeras.text import LanguageModel, Translator
from seqkeras.training import _progress

SOURCES = ["The man.", "A dog.", "A man.", "The dog.", "The man, the dog."] * 12
TARGETS = ["L'homme.", "Un chien.", "Un homme.", "Le chien.", "L'homme, le chien."] * 12
SMALL = {"units": 16, "embedding": 16, "dropout": 0.0, "seed": 0, "progress": False}
READS_UNKNOWN = "ignore::seqkeras.errors.UnknownTokensWarning"
LEARNED = SMALL | {"epochs": 60, "batch_size": 15, "learning_rate": 0.03}


@pytest.fixture(scope="module")
def words():
    return Translator(**LEARNED).fit(SOURCES, TARGETS)


def likeliest(model, source, start, end, forbid):
    """Translate greedily with the whole model at each step, and return ids and log-probability."""
    ids, total = [start], 0.0
    while ids[-1] != end and len(ids) < 30:
        inputs = {"source": np.array([source]), "target": np.array([ids])}
        logits = np.asarray(model.predict_on_batch(inputs), np.float64)[0, -1]
        log_probabilities = scipy.special.log_softmax(logits)
        allowed = np.where(np.isin(np.arange(len(logits)), forbid), -np.inf, log_probabilities)
        ids.append(int(allowed.argmax()))
        total += log_probabilities[ids[-1]]
    return ids[1:-1], total


@pytest.mark.parametrize("beam", [1, 3])
def test_what_was_learned_is_translated_with_its_signs_and_spaces(words, beam):
    assert words.translate(SOURCES[:5], beam=beam) == TARGETS[:5]


@pytest.mark.filterwarnings(READS_UNKNOWN)
def test_a_translation_is_what_the_model_finds_step_by_step(words):
    source, target = words.source_vocabulary_, words.target_vocabulary_
    forbid = [target.pad_id, target.unknown_id, target.start_id]
    for text in ("A man.", "The dog, a man.", "Man zebra"):
        translation = words.translations([text])[0]
        ids = source.ids(translation.source_tokens)
        expected, total = likeliest(words.model_, ids, target.start_id, target.end_id, forbid)
        assert target.ids(translation.tokens) == expected
        assert translation.log_probability == pytest.approx(total, abs=1e-4)
        assert translation.finished
        assert translation.attention.shape == (
            len(translation.tokens),
            len(translation.source_tokens),
        )
        np.testing.assert_allclose(translation.attention.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.filterwarnings(READS_UNKNOWN)
def test_a_program_of_its_model_translates_in_numpy(words, tmp_path):
    save_decoder(words.model_, tmp_path / "d")
    program = runtime.load_decoder(tmp_path / "d")
    source, target = words.source_vocabulary_, words.target_vocabulary_
    translation = words.translations(["The dog, a man."])[0]
    state = program.begin([source.ids(translation.source_tokens)])
    ids = [target.start_id]
    while ids[-1] != target.end_id and len(ids) < 30:
        logits, state, _ = program.step(ids[-1:], state)
        logits[0, [target.pad_id, target.unknown_id, target.start_id]] = -np.inf
        ids.append(int(logits.argmax()))
    assert target.tokens(ids[1:-1]) == translation.tokens


def test_a_beam_ranks_as_it_is_told(words):
    long = words.translations(["A man."], beam=3, min_length=8)[0]
    assert len(long.tokens) >= 7  # and its end
    source, target = words.source_vocabulary_, words.target_vocabulary_
    options = {"length_penalty": 0.0, "coverage_penalty": 0.5}
    translation = words.translations(["The man, the dog."], beam=3, **options)[0]
    ids = source.ids(translation.source_tokens)
    drawn = beam(
        words.model_,
        [ids],
        20,
        beams=3,
        start=target.start_id,
        stop=target.end_id,
        forbid=[target.unknown_id, target.start_id],
        **options,
    )
    assert translation.tokens == target.tokens(drawn.best.sequences[0])


@pytest.mark.filterwarnings(READS_UNKNOWN)
def test_translations_of_a_beam_have_the_probability_that_the_model_gives_them(words):
    source, target = words.source_vocabulary_, words.target_vocabulary_
    for text in ("The man, a dog.", "Dog the"):
        found = words.translations([text], beam=5)[0]
        ids = [target.start_id, *target.ids(found.tokens), target.end_id]
        inputs = {
            "source": np.array([source.ids(found.source_tokens)]),
            "target": np.array([ids[:-1]]),
        }
        logits = np.asarray(words.model_.predict_on_batch(inputs), np.float64)[0]
        nats = scipy.special.log_softmax(logits, axis=-1)[np.arange(len(logits)), ids[1:]]
        assert found.finished
        assert found.log_probability == pytest.approx(nats.sum(), abs=1e-4)


@pytest.mark.filterwarnings(READS_UNKNOWN)
def test_order_and_neighbors_do_not_change_a_translation(words):
    texts = ["A man.", "The man, the dog, a man, the dog, a man.", "", "A dog.", "xyz"]
    together = words.translate(texts)
    assert together == [words.translate([text])[0] for text in texts]
    assert together == words.translate(texts[::-1])[::-1]
    assert together[2] == ""


@pytest.mark.filterwarnings(READS_UNKNOWN)
def test_unknown_words_are_read_and_never_written(words):
    for text in words.translate(["The zebra.", "§ ß", "zebra " * 20]):
        assert "<" not in text


def test_a_warning_names_unknown_words(words):
    message = r"not in source_vocabulary_: 'zebra' \(1 of 3\)\. They are read as '<unk>'"
    with pytest.warns(UnknownTokensWarning, match=message):
        words.translate(["The zebra.", "The zebra."])
    with pytest.warns(UnknownTokensWarning, match=r"'a', 'b', 'c', 'd', 'e', \.\.\. \(7 of 7\)"):
        words.translate(["a b c d e f g"])


def test_a_translation_always_ends(words):
    found = words.translations(["man " * 200])[0]
    assert len(found.tokens) <= words.expansion_ * 208 + 8


@pytest.mark.usefixtures("eagerly")
def test_a_seed_repeats_the_fit():
    params = SMALL | {"dropout": 0.2, "epochs": 2, "batch_size": 30}
    first, again = (Translator(**params).fit(SOURCES, TARGETS) for _ in range(2))
    assert again.log_ == first.log_
    for one, other in zip(again.model_.get_weights(), first.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@long_run_only
@pytest.mark.parametrize("attention", covering(["dot", None], every=2))
def test_characters_with_every_attention(attention, tmp_path):
    words = ["ab", "ba", "abb", "bab", "aab", "baa"] * 10
    translator = Translator("char", attention=attention, epochs=2, cell="lstm", **SMALL)
    translator.fit(words, [word[::-1] for word in words])
    assert len(translator.translate(["ab", "ba"], beam=2)) == 2
    assert (translator.translations(["ab"])[0].attention is None) == (attention is None)
    translator.save(tmp_path / "translator")
    loaded = Translator.load(tmp_path / "translator")
    assert loaded.translate(words[:6], beam=2) == translator.translate(words[:6], beam=2)


def test_a_saved_translator_does_the_same(words, tmp_path):
    words.save(tmp_path / "translator")
    loaded = Translator.load(tmp_path / "translator")
    assert loaded.get_params() == words.get_params()
    assert loaded.log_ == words.log_
    assert loaded.translate(SOURCES[:5], beam=3) == words.translate(SOURCES[:5], beam=3)
    with pytest.raises(FileFormatError):
        LanguageModel.load(tmp_path / "translator")
    with pytest.raises(ArgumentError, match="tokens must be omitted"):
        Translator.load(tmp_path / "translator", tokens=str.split)


@pytest.mark.usefixtures("eagerly")
def test_validation_can_be_pairs_and_rare_words_become_unknown():
    translator = Translator(epochs=1, min_freq=13, **SMALL)
    translator.fit(SOURCES, TARGETS, validation=(SOURCES[:5], TARGETS[:5]))
    assert len(translator.log_.val_loss) == 1
    assert "A" in translator.source_vocabulary_
    assert "Le" not in translator.target_vocabulary_


@pytest.mark.usefixtures("eagerly")
def test_progress_and_log_show_the_same_losses_without_label_smoothing(monkeypatch, capsys):
    monkeypatch.setattr(_progress, "LINE_SECONDS", 0)
    params = SMALL | {"epochs": 2, "batch_size": 30, "progress": True, "label_smoothing": 0.5}
    log = Translator(**params).fit(SOURCES, TARGETS).log_
    lines = [line for line in capsys.readouterr().err.splitlines() if "epoch" in line]
    for line, loss, val_loss in zip(lines, log.loss, log.val_loss, strict=True):
        shown = dict(part.split("=") for part in line.split(", ") if "=" in part)
        assert shown["loss"] == f"{loss:.4f}"
        assert shown["val_loss"] == f"{val_loss:.4f}"
        assert loss == pytest.approx(np.log(float(shown["perplexity"])), abs=1e-3)


@long_run_only
def test_without_validation_the_last_epoch_is_kept():
    log = Translator(epochs=2, **SMALL).fit(SOURCES, TARGETS, validation=0).log_
    assert log.val_loss == ()
    assert log.best_epoch == 2


def test_it_is_an_estimator_of_scikit_learn():
    translator = Translator("char", attention=None, units=8)
    assert clone(translator).get_params() == translator.get_params()
    with pytest.raises(NotFittedError, match="Translator is not fitted"):
        translator.translate(["a"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tokens": "sentence"}, "tokens must be 'word', 'char', or a function"),
        ({"attention": "aditive"}, "attention must be one of .*Did you mean 'additive'"),
        ({"label_smoothing": 1}, "label_smoothing must be a number in"),
        ({"units": "many"}, "units must be an integer"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
    ],
)
def test_parameters_that_cannot_work_are_refused_before_training(params, message):
    with pytest.raises(ArgumentError, match=message):
        Translator(**params).fit(SOURCES, TARGETS)


@pytest.mark.parametrize(
    ("sources", "targets", "error", "message"),
    [
        ([], [], DataError, "sources must have one text or more"),
        (["a"], ["b", "c"], ArgumentError, "2 targets for 1 sources"),
        ("a", "b", ArgumentError, r"sources must be a list of strings.*Pass \[sources\]"),
        (["a", 3], ["b", "c"], DataError, "sources must be strings. Got: 3 .* at index 1"),
        (["a", "b"], ["c", None], DataError, "targets must be strings. Got: None"),
        (["a", " "], ["b", "c"], DataError, "sources must have tokens.*index 1, and 1 in all"),
        (["a", "b"], ["b", ""], DataError, "targets must have tokens"),
        (None, None, ArgumentError, "sources must be a list of strings"),
    ],
)
def test_pairs_that_cannot_work_are_refused_before_training(sources, targets, error, message):
    translator = Translator(**SMALL)
    with pytest.raises(error, match=message):
        translator.fit(sources, targets)
    assert not hasattr(translator, "model_")


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (("a", "b", "c"), "validation must be a pair of sources and targets"),
        ((["a"], ["b", "c"]), "2 targets of validation for 1 sources of validation"),
        (1.0, "validation must be a number in"),
        (0.99, "validation must be a smaller share of 60 pairs"),
    ],
)
def test_validation_that_cannot_work_is_refused(validation, message):
    with pytest.raises(ArgumentError, match=message):
        Translator(**SMALL).fit(SOURCES, TARGETS, validation=validation)


def test_sources_that_cannot_be_read_are_refused(words):
    with pytest.raises(ArgumentError, match="sources must be a list of strings"):
        words.translate("A man.")
    with pytest.raises(ArgumentError, match="beam must be an integer >= 1"):
        words.translate(["A man."], beam=0)
    with pytest.raises(ArgumentError, match="min_length must be omitted with beam=1"):
        words.translate(["A man."], min_length=3)
    with pytest.raises(ArgumentError, match="length_penalty must be"):
        words.translate(["A man."], beam=2, length_penalty=-1)


def test_the_network_is_a_plain_model_of_ids(words):
    assert isinstance(words.model_, keras.Model)
    assert words.model_.output_shape == (None, None, len(words.target_vocabulary_))
