"""Wrong uses of the whole library, from docs/errors.md: refused before training, with a way out.

They are in the page, and not here, so that what users read is what is tested.
"""

import contextlib
import functools
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers.models import training_eagerly
from helpers.scripts import load_script
from seqkeras import Windows, WindowSpec, many_to_one
from seqkeras.anomaly import ForecastDetector, SequenceEncoder
from seqkeras.forecasting import Forecaster, load_air_passengers
from seqkeras.text import LanguageModel, Translator

ROOT = Path(__file__).parent.parent
page = load_script(ROOT / "docs/_errors.py")
SECTIONS = page.sections(page.PAGE.read_text())
USES = [
    pytest.param(section, use, id=f"{section.title}-{number}")
    for section in SECTIONS
    for number, use in enumerate(section.uses)
]
#: Each once, as several wrong uses have the same way out.
WAYS_OUT = {
    (section.title, use.right): pytest.param(section, use.right, id=f"{section.title}-{number}")
    for section in SECTIONS
    for number, use in enumerate(section.uses)
}
PERIOD = np.sin(np.arange(200) / 5)


class TrainingBeginsError(BaseException):
    """Raised in place of the first step of a training; no code catches it."""


@contextlib.contextmanager
def watched(*, compiling=False):
    """Stop at the first sign of a training: a model reads a batch, or is changed.

    With `compiling`, stop also where a model is compiled: what can be checked was checked then.
    """

    def begin(*arguments, **options):
        raise TrainingBeginsError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.callbacks.CallbackList, "on_train_batch_begin", begin)
        patch.setattr(keras.optimizers.Optimizer, "apply", begin)
        if compiling:
            patch.setattr(keras.Model, "compile", begin)
        yield


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return a function that runs the examples of a section once, in the folder of all of them."""
    with pytest.MonkeyPatch.context() as patch, training_eagerly():
        patch.chdir(tmp_path_factory.mktemp("wrong_uses"))
        yield functools.cache(page.Section.prepare)


def learned(variables):
    """Return what the models and estimators among variables have learned, to be compared."""
    values = {}
    for name, value in variables.items():
        if isinstance(value, keras.Model):
            values[name] = [weight.tolist() for weight in value.get_weights()]
            optimizer = getattr(value, "optimizer", None)
            values[f"{name}.steps"] = int(optimizer.iterations) if optimizer is not None else None
        elif hasattr(value, "fit") and not isinstance(value, type):
            values[name] = {key: id(attribute) for key, attribute in vars(value).items()}
    return values


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize(("section", "use"), USES)
def test_a_wrong_use_is_refused_before_training(section, use, prepared):
    variables = prepared(section)
    before = learned(variables)
    with watched():
        message = page.run(use.wrong, variables)
    assert message is not None, f"not refused: {use.wrong}"
    assert use.says(message), f"run docs/_errors.py: {use.wrong} says {message}"
    assert learned(variables) == before


@pytest.mark.parametrize(("section", "code"), WAYS_OUT.values())
def test_what_to_write_instead_is_accepted(section, code, prepared):
    variables = prepared(section)
    with watched(compiling=True), contextlib.suppress(TrainingBeginsError):
        assert page.run(code, variables) is None


def test_an_error_says_what_is_wrong_and_what_was_got():
    for use in (use for section in SECTIONS for use in section.uses):
        if use.message.startswith(("ArgumentError", "DataError")):
            assert re.search(" must |Unknown keyword|cannot run| has ", use.message)
            assert re.search("Got: |Unseen: |given: |Unknown keyword|cannot run", use.message)


def test_the_page_has_uses_of_every_area_each_once():
    wrong = [use.wrong for section in SECTIONS for use in section.uses]
    assert len(wrong) == len(set(wrong)) >= 100
    assert len(SECTIONS) >= 15


@pytest.mark.parametrize(
    "fit",
    [
        lambda: Forecaster(6).fit(load_air_passengers()),
        lambda: ForecastDetector(8).fit(PERIOD),
        lambda: SequenceEncoder(2).fit(PERIOD.reshape(10, 20)),
        lambda: LanguageModel().fit("to be or not to be " * 9),
        lambda: Translator("char").fit(["tar", "rest"], ["art", "erst"]),
    ],
    ids=["forecaster", "detector", "encoder", "language_model", "translator"],
)
def test_the_watch_notices_each_training(fit):
    with watched(), pytest.raises(TrainingBeginsError):
        fit()


def test_the_watch_notices_a_training_of_a_compiled_model():
    model = many_to_one(1, units=2)
    model.compile("adam", "mse")
    with watched(), pytest.raises(TrainingBeginsError):
        model.fit(Windows(PERIOD, WindowSpec(8, horizon=1)), verbose=0)
    assert model.optimizer.iterations == 0
