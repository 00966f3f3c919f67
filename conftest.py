"""Settings of all tests, examples in docstrings and pages."""

import gc
import sys
from contextlib import ExitStack

import pytest

#: Packages and pages whose examples train small networks for an epoch: compiling takes longer.
EAGER_EXAMPLES = {"anomaly", "errors.md", "forecasting", "forecasting.md"}

# Imports make many objects and hardly any garbage. See pytest_collection_finish.
gc.disable()


@pytest.fixture(autouse=True)
def _own_folder(request, tmp_path_factory, monkeypatch):
    if type(request.node).__name__ != "DoctestItem":
        yield
        return
    monkeypatch.chdir(tmp_path_factory.mktemp("example"))
    with ExitStack() as stack:
        if EAGER_EXAMPLES & set(request.node.path.relative_to(request.config.rootpath).parts):
            from helpers.models import training_eagerly

            stack.enter_context(training_eagerly())
        yield


def _build_optimizers_early(model_class):
    """Build optimizers before the first step of training is traced, which takes half the time.

    Keras builds them in that step, and TensorFlow traces what creates variables twice.
    """
    make_train_function = model_class.make_train_function

    def build_and_make(model, force=False):
        if model.built and model.optimizer is not None and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        return make_train_function(model, force=force)

    model_class.make_train_function = build_and_make


def pytest_collection_finish():
    """Prepare what is imported and collected for the run."""
    if "keras" in sys.modules:
        _build_optimizers_early(sys.modules["keras"].Model)
    _spare_the_garbage_collector()


def _spare_the_garbage_collector():
    """Spare it what lives as long as the run: the modules and the tests.

    Traced graphs have very many objects; most time of a collection is spent on walking old ones.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()
