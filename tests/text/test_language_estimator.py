"""Language models of texts, from strings to strings."""

import keras
import numpy as np
import pytest
from sklearn.base import clone

from helpers.examples import long_run_only
from seqkeras.errors import ArgumentError, DataError, FileFormatError, NotFittedError
from seqkeras.text import LanguageModel
from seqkeras.text._spaced_words import split_words

TEXT = "to be or not to be, that is the question: " * 40
SMALL = {"units": 8, "epochs": 2, "learning_rate": 0.02, "seed": 0, "progress": False}


@pytest.fixture(scope="module")
def characters():
    return LanguageModel(**SMALL | {"epochs": 6}).fit(TEXT)


@pytest.fixture(scope="module")
def sentences():
    return LanguageModel("word", **SMALL | {"epochs": 30}).fit(["Go home.", "Go, go!"] * 40)


def mean_nats(model, ids):
    """Score each id after the first, with a growing context and no state at all."""
    logits = np.asarray(model.predict_on_batch(np.array([ids[:-1]])), np.float64)[0]
    logits -= logits.max(axis=-1, keepdims=True)
    chosen = logits[np.arange(len(ids) - 1), ids[1:]]
    return float(np.mean(np.log(np.exp(logits).sum(axis=-1)) - chosen))


def test_training_lowers_the_perplexity_of_an_unseen_text(characters):
    unseen = "not to be or to be is the question"
    assert characters.perplexity(unseen) < 0.7 * len(characters.vocabulary_)
    assert characters.log_.val_loss[-1] < characters.log_.val_loss[0]


def test_perplexity_has_each_token_once_with_the_state_carried(characters):
    text = TEXT[:600]
    vocabulary = characters.vocabulary_
    ids = [vocabulary.end_id, *vocabulary.ids(list(text))]
    expected = np.exp(mean_nats(characters.model_, ids))
    assert characters.perplexity(text) == pytest.approx(expected, rel=1e-5)


def test_the_ends_of_texts_count_where_the_model_has_learned_them(sentences):
    vocabulary = sentences.vocabulary_
    end = vocabulary.end_id
    ids = [end, *vocabulary.ids(split_words("Go home.")), end, *vocabulary.ids(["Go"]), end]
    expected = np.exp(mean_nats(sentences.model_, ids))
    assert sentences.perplexity(["Go home.", "Go"]) == pytest.approx(expected, rel=1e-5)


def test_unknown_tokens_make_perplexity_larger_and_not_infinite(characters):
    known, unknown = characters.perplexity("to be"), characters.perplexity("to bé")
    assert known < unknown < float("inf")


def test_a_seed_repeats_the_fit_and_other_generators_keep_their_state(characters):
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    again = LanguageModel(**SMALL | {"epochs": 6}).fit(TEXT)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert again.log_ == characters.log_
    for one, other in zip(again.model_.get_weights(), characters.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_seed_repeats_the_text(characters):
    text = characters.generate("to be", 50, seed=3)
    assert len(text) == 55
    assert text.startswith("to be")
    assert characters.generate("to be", 50, seed=3) == text
    assert characters.generate("to be", 50, seed=4) != text


def test_generated_texts_have_no_special_tokens(characters):
    text = characters.generate(length=300, temperature=3.0, seed=0)
    assert len(text) == 300
    assert set(text) <= set(TEXT)


def test_log_probabilities_are_those_of_the_model(characters):
    drawn = characters.continue_text("to be", 12, temperature=2.0, seed=0)
    vocabulary = characters.vocabulary_
    ids = vocabulary.ids(list(drawn.text))
    before = [vocabulary.end_id, *ids[:5]]
    total = -mean_nats(characters.model_, [*before, *ids[5:]]) * 17
    start = -mean_nats(characters.model_, before) * 5
    assert drawn.log_probabilities.sum() == pytest.approx(total - start, abs=1e-3)


def test_a_continuation_ends_before_a_stop(characters):
    whole = characters.generate("to", 200, seed=1)
    for stop in ("e", "be", ", "):
        drawn = characters.continue_text("to", 200, stop=stop, seed=1)
        assert drawn.finished
        assert stop not in drawn.text[2:]
        assert whole.startswith(drawn.text)
        assert len(drawn.log_probabilities) == len(drawn.tokens)
    assert not characters.continue_text("to", 3, stop="#", seed=1).finished


def test_many_prompts_are_continued_as_each_by_itself(characters):
    prompts = ["to be", "", "not"]
    drawn = characters.continue_texts(prompts, 20, temperature=0, stop="q")
    for prompt, result in zip(prompts, drawn, strict=True):
        alone = characters.continue_text(prompt, 20, temperature=0, stop="q")
        assert (result.text, result.tokens) == (alone.text, alone.tokens)
        assert result.finished == alone.finished
        np.testing.assert_allclose(
            result.log_probabilities, alone.log_probabilities, rtol=1e-5, atol=1e-6
        )


def test_forbidden_tokens_are_never_drawn(characters):
    drawn = characters.generate("to be", 200, forbid=[" ", "e"], temperature=2.0, seed=0)
    assert len(drawn) == 205
    assert not set(drawn[5:]) & {" ", "e"}
    assert "o" not in characters.generate("", 100, forbid="o", seed=0)


def test_a_model_of_several_texts_knows_where_they_end(sentences):
    texts = {sentences.generate(length=50, temperature=0.3, seed=seed) for seed in range(8)}
    assert texts <= {"Go home.", "Go, go!"}
    assert sentences.continue_text(length=50, temperature=0, seed=0).finished


def test_upper_case_and_spaces_of_words_are_generated(sentences):
    assert sentences.generate("Go", 20, temperature=0) in {"Go home.", "Go, go!"}


@long_run_only
def test_without_validation_the_last_epoch_is_kept():
    log = LanguageModel(**SMALL).fit(TEXT, validation=0).log_
    assert log.val_loss == ()
    assert log.best_epoch == 2


def test_the_best_epoch_is_kept_and_training_stops_in_time():
    log = LanguageModel(**SMALL | {"epochs": 9, "patience": 1, "learning_rate": 0.5}).fit(TEXT).log_
    assert log.val_loss[log.best_epoch - 1] == min(log.val_loss)
    assert len(log.val_loss) <= log.best_epoch + 1


@long_run_only
def test_a_function_makes_the_tokens(tmp_path):
    model = LanguageModel(str.split, **SMALL, min_freq=1).fit(TEXT, validation=TEXT[:200])
    assert len(model.log_.val_loss) == 2
    assert "be," in model.vocabulary_
    assert model.generate("to be", 3, seed=0).count(" ") == 4
    model.save(tmp_path / "model")
    with pytest.raises(ArgumentError, match="the function that made the tokens"):
        LanguageModel.load(tmp_path / "model")
    loaded = LanguageModel.load(tmp_path / "model", tokens=str.split)
    assert loaded.generate("to be", 9, seed=0) == model.generate("to be", 9, seed=0)


def test_a_saved_model_does_the_same(characters, sentences, tmp_path):
    for model in (characters, sentences):
        model.save(tmp_path / "model")
        loaded = LanguageModel.load(tmp_path / "model")
        assert loaded.get_params() == model.get_params()
        assert loaded.log_ == model.log_
        assert loaded.ends_ == model.ends_
        assert loaded.vocabulary_ == model.vocabulary_
        assert loaded.generate(length=20, seed=1) == model.generate(length=20, seed=1)
        assert loaded.perplexity("to be") == pytest.approx(model.perplexity("to be"))


def test_a_damaged_file_or_one_of_another_kind_is_refused(characters, tmp_path):
    characters.save(tmp_path / "model")
    data = bytearray((tmp_path / "model").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(data)
    (tmp_path / "short").write_bytes(data[:1000])
    (tmp_path / "text").write_text("to be")
    for name in ("damaged", "short", "text"):
        with pytest.raises(FileFormatError):
            LanguageModel.load(tmp_path / name)


def test_it_is_an_estimator_of_scikit_learn():
    model = LanguageModel("word", units=(8, 4), seed=3)
    assert clone(model).get_params() == model.get_params()
    assert repr(model.set_params(dropout=0.1)) == (
        "LanguageModel(dropout=0.1, seed=3, tokens='word', units=(8, 4))"
    )
    with pytest.raises(NotFittedError, match="LanguageModel is not fitted"):
        model.generate("a")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tokens": "words"}, "tokens must be 'word', 'char', or a function .*Did you mean 'word'"),
        ({"tokens": None}, "tokens must be 'word', 'char', or a function"),
        ({"units": 0}, "units must be an integer >= 1"),
        ({"units": ()}, "units must be an integer, or a tuple"),
        ({"cell": "lsmt"}, "cell must be one of .*Did you mean 'lstm'"),
        ({"dropout": 1.0}, "dropout must be a number in"),
        ({"epochs": 0}, "epochs must be an integer >= 1"),
        ({"patience": 0}, "patience must be an integer >= 1"),
        ({"learning_rate": -1}, "learning_rate must be a finite number > 0"),
        ({"seed": 2**32}, r"seed must be an integer from 0 to 2\*\*32 - 1"),
        ({"max_size": 1}, "max_size must be an integer >= 8"),
        ({"progress": 1}, "progress must be True or False"),
    ],
)
def test_parameters_that_cannot_work_are_refused_before_training(params, message):
    with pytest.raises(ArgumentError, match=message):
        LanguageModel(**params).fit(TEXT)


@pytest.mark.parametrize(
    ("text", "validation", "error", "message"),
    [
        ("", None, DataError, "text must have 2 tokens or more. Got: 0 tokens"),
        ("a", None, DataError, "text must have 2 tokens or more. Got: 1 tokens"),
        ([], None, DataError, "text must have one text or more"),
        (["", ""], None, DataError, "Got: 0 tokens"),
        (["ab", None], None, DataError, "text must be strings. Got: None .* at index 1"),
        (b"ab", None, ArgumentError, "text must be a string, or a list of strings"),
        (7, None, ArgumentError, "text must be a list of strings"),
        (TEXT, "", DataError, "validation must have 2 tokens or more"),
        (TEXT, 1.5, ArgumentError, "validation must be a number in"),
        ("abc", 0.9, DataError, "have more tokens"),
    ],
)
def test_texts_that_cannot_work_are_refused_before_training(text, validation, error, message):
    model = LanguageModel(**SMALL)
    with pytest.raises(error, match=message):
        model.fit(text, validation)
    assert not hasattr(model, "model_")


def test_a_prompt_that_cannot_be_read_is_refused(characters):
    with pytest.raises(ArgumentError, match=r"prompt must be of tokens .*'é' in 'bé'"):
        characters.generate("bé")
    with pytest.raises(ArgumentError, match=r"prompt must be a string.*continue_texts"):
        characters.generate(["be"])
    with pytest.raises(ArgumentError, match="prompts must be a list of strings"):
        characters.continue_texts("be")
    with pytest.raises(DataError, match="prompts must have one text or more"):
        characters.continue_texts([])
    with pytest.raises(ArgumentError, match=r"forbid must be of tokens .*'be' in 'be'"):
        characters.generate("be", forbid="be")
    with pytest.raises(ArgumentError, match="forbid must be a token, or a list of tokens"):
        characters.generate("be", forbid=3)
    with pytest.raises(ArgumentError, match="forbid must be ids that leave at least one"):
        characters.generate("be", forbid=sorted(set(TEXT)))
    with pytest.raises(ArgumentError, match="length must be an integer >= 1"):
        characters.generate("be", 0)
    with pytest.raises(ArgumentError, match="stop must be a text that is not empty"):
        characters.generate("be", stop="")
    with pytest.raises(DataError, match="one token or more"):
        characters.perplexity("")


def test_ctrl_c_keeps_the_best_weights_so_far(monkeypatch):
    from seqkeras.text._best_epoch import BestEpoch

    record = BestEpoch.on_epoch_end

    def interrupted(self, epoch, logs=None):
        record(self, epoch, logs)
        raise KeyboardInterrupt

    monkeypatch.setattr(BestEpoch, "on_epoch_end", interrupted)
    model = LanguageModel(**SMALL)
    with pytest.raises(KeyboardInterrupt):
        model.fit(TEXT)
    assert len(model.log_.loss) == 1
    assert model.generate("to", 5, seed=0)


def test_the_network_is_a_plain_model_of_ids(characters):
    assert isinstance(characters.model_, keras.Model)
    assert characters.model_.output_shape == (None, None, len(characters.vocabulary_))
