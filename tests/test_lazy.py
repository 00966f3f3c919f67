"""Tests of names imported on first use, and of optional packages."""

import importlib
import sys
from pathlib import Path

import pytest

from seqkeras._lazy import import_optional, require
from seqkeras.errors import MissingDependencyError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write a lazy package `garden`: `_plants` provides `rose`, and `tools` is public."""
    folder = tmp_path / "garden"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from seqkeras._lazy import attach\n"
        "__getattr__, __dir__ = attach(\n"
        "    __name__, {'_plants': ('rose',), 'tools': ('spade',)}\n"
        ")\n"
    )
    (folder / "_plants.py").write_text("def rose(): return 'red'\n")
    (folder / "tools.py").write_text("spade = 'iron'\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("garden")
    for name in [name for name in sys.modules if name.split(".")[0] == "garden"]:
        del sys.modules[name]


def test_nothing_is_imported_before_its_first_use(package):
    assert [name for name in dir(package) if name[:2] != "__"] == ["rose", "spade", "tools"]
    assert not {"garden._plants", "garden.tools"} & sys.modules.keys()


def test_a_name_is_imported_from_its_module_and_stored(package):
    assert package.rose() == "red"
    assert "rose" in vars(package)
    assert "garden.tools" not in sys.modules


def test_a_public_submodule_is_a_module(package):
    assert package.tools is sys.modules["garden.tools"]
    assert package.spade == "iron"


@pytest.mark.parametrize("name", ["thistle", "plants"])
def test_a_name_outside_the_table_is_an_attribute_error(package, name):
    assert not hasattr(package, name)
    with pytest.raises(ImportError, match=name):
        exec(f"from garden import {name}")


def test_star_import_provides_all_names(package):
    names = {}
    exec("from garden import *", names)
    assert package.__all__ == ["rose", "spade", "tools"]
    assert set(package.__all__) <= names.keys()


def test_star_import_omits_names_whose_packages_are_not_installed(package, monkeypatch):
    Path(package.__file__).with_name("tools.py").write_text("import tqdm\nspade = 'iron'\n")
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert package.__all__ == ["rose"]
    with pytest.raises(MissingDependencyError, match=r'pip install "seqkeras\[tensorflow\]"'):
        package.spade  # noqa: B018


def test_an_error_within_the_package_is_not_hidden(package):
    Path(package.__file__).with_name("tools.py").write_text("import no_such_package\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        exec("from garden import *", {})


def test_optional_returns_the_module():
    assert import_optional("json.decoder", extra="plot") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.inner"])
def test_optional_names_the_command_to_install_a_missing_package(module):
    with pytest.raises(MissingDependencyError) as caught:
        import_optional(module, extra="plot")
    assert "'no_such_package'" in str(caught.value)
    assert 'pip install "seqkeras[plot]"' in str(caught.value)
    assert isinstance(caught.value, ImportError)


def test_optional_keeps_the_error_of_a_package_with_a_missing_dependency(tmp_path, monkeypatch):
    # "Install it" would be wrong advice for an installed package.
    (tmp_path / "half_there.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as caught:
        import_optional("half_there", extra="plot")
    assert not isinstance(caught.value, MissingDependencyError)


@pytest.fixture
def without_jax(monkeypatch):
    """Hide JAX, also the parts of it that another test has imported."""
    for name in {"jax", *(name for name in sys.modules if name.startswith("jax."))}:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("without_jax")
def test_optional_names_the_missing_backend_of_keras_and_the_others(tmp_path, monkeypatch):
    # Like Keras: installed, but importing a backend that is not.
    (tmp_path / "keras.py").write_text("import jax\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    with pytest.raises(MissingDependencyError) as caught:
        import_optional("keras", extra="tensorflow")
    assert "Keras is set to run on jax" in str(caught.value)
    assert 'pip install "seqkeras[jax]"' in str(caught.value)
    assert "KERAS_BACKEND to tensorflow or torch." in str(caught.value)


@pytest.mark.usefixtures("without_jax")
def test_optional_does_not_mention_keras_where_a_backend_is_the_package():
    with pytest.raises(MissingDependencyError) as caught:
        import_optional("jax.numpy", extra="jax")
    assert "This needs the package 'jax'" in str(caught.value)
    assert "Keras" not in str(caught.value)


def test_require_imports_every_package():
    require("json", "csv")
    with pytest.raises(MissingDependencyError, match=r"'no_such_package'.*seqkeras\[tensorflow\]"):
        require("json", "no_such_package")
