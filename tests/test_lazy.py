"""Names imported on first use, and optional packages."""

import importlib
import sys

import pytest

from seqkeras._lazy import optional, require
from seqkeras.errors import MissingDependencyError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A lazy package `garden` on disk: `_plants` gives `rose`, `tools` is itself public."""
    folder = tmp_path / "garden"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from seqkeras._lazy import attach\n"
        "__getattr__, __dir__, __all__ = attach(\n"
        "    __name__, {'_plants': ('rose',), 'tools': ('spade',)}\n"
        ")\n"
    )
    (folder / "_plants.py").write_text("def rose(): return 'red'\n")
    (folder / "tools.py").write_text("spade = 'iron'\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("garden")
    for name in [name for name in sys.modules if name.split(".")[0] == "garden"]:
        del sys.modules[name]


def test_nothing_is_imported_before_it_is_asked_for(package):
    assert package.__all__ == ["rose", "spade", "tools"]
    assert "rose" in dir(package)
    assert not {"garden._plants", "garden.tools"} & sys.modules.keys()


def test_a_name_is_imported_from_its_home_and_kept(package):
    assert package.rose() == "red"
    assert "rose" in vars(package)
    assert "garden.tools" not in sys.modules


def test_a_public_submodule_comes_back_as_a_module(package):
    assert package.tools is sys.modules["garden.tools"]
    assert package.spade == "iron"


@pytest.mark.parametrize("name", ["thistle", "plants"])
def test_a_name_outside_the_table_is_an_attribute_error(package, name):
    assert not hasattr(package, name)
    with pytest.raises(ImportError, match=name):
        exec(f"from garden import {name}")


def test_star_import_gives_all_names(package):
    names = {}
    exec("from garden import *", names)
    assert set(package.__all__) <= names.keys()


def test_optional_gives_the_module():
    assert optional("json.decoder", extra="plot") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.inner"])
def test_optional_says_how_to_install_what_is_missing(module):
    with pytest.raises(MissingDependencyError) as caught:
        optional(module, extra="plot")
    assert "'no_such_package'" in str(caught.value)
    assert 'pip install "seqkeras[plot]"' in str(caught.value)
    assert isinstance(caught.value, ImportError)


def test_optional_leaves_the_error_of_a_package_that_lacks_something_itself(tmp_path, monkeypatch):
    # "Install it" would be wrong advice for a package that is there.
    (tmp_path / "half_there.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as caught:
        optional("half_there", extra="plot")
    assert not isinstance(caught.value, MissingDependencyError)


def test_optional_says_which_backend_keras_lacks_and_how_to_choose_another(tmp_path, monkeypatch):
    # As Keras does: it is there, but imports the backend that it is set to.
    (tmp_path / "on_a_backend.py").write_text("import jax\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingDependencyError) as caught:
        optional("on_a_backend", extra="tensorflow")
    assert "Keras is set to run on jax" in str(caught.value)
    assert 'pip install "seqkeras[jax]"' in str(caught.value)
    assert "KERAS_BACKEND" in str(caught.value)


def test_require_asks_for_every_package():
    require("json", "csv")
    with pytest.raises(MissingDependencyError, match=r"'no_such_package'.*seqkeras\[tensorflow\]"):
        require("json", "no_such_package")
