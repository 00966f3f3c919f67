"""Examples in docstrings and pages run in a folder of their own, for some write files."""

import pytest


@pytest.fixture(autouse=True)
def _own_folder(request, tmp_path_factory, monkeypatch):
    if type(request.node).__name__ == "DoctestItem":
        monkeypatch.chdir(tmp_path_factory.mktemp("example"))
