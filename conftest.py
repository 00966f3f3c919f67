"""Settings of all tests, examples in docstrings and pages."""

import gc

import pytest

# Imports make many objects and hardly any garbage. See pytest_collection_finish.
gc.disable()


@pytest.fixture(autouse=True)
def _own_folder(request, tmp_path_factory, monkeypatch):
    if type(request.node).__name__ == "DoctestItem":
        monkeypatch.chdir(tmp_path_factory.mktemp("example"))


def pytest_collection_finish():
    """Spare the garbage collector what lives as long as the run: the modules and the tests.

    Traced graphs have very many objects; most time of a collection is spent on walking old ones.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()
